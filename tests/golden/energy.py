"""Energy distances by NumPy in float64: python3 tests/golden/energy.py > tests/golden/energy.txt

The points follow from a hash of names and indices, so that tests/flowmap/energy.cpp makes the same ones.
"""
import numpy as np
from scipy.spatial.distance import cdist, pdist

from draws import draws


def points(key, n, d, shift, spread):
    return (shift + spread * draws(key, n * d).reshape(n, d)).astype(np.float32).astype(np.float64)


def energy(x, y):
    """pdist has the pairs i < j: its mean is the mean over i != j."""
    return 2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean()


for n, m, d in ((2, 3, 1), (255, 257, 2), (600, 512, 2), (300, 290, 3), (70, 40, 130)):
    print(f"{n}_{m}_{d} {energy(points('energy.x', n, d, 0, 1), points('energy.y', m, d, 0.1, 1.2)):.16e}")
print(f"far {energy(points('energy.x', 300, 2, 1000, 1), points('energy.y', 300, 2, 1000.1, 1.2)):.16e}")
