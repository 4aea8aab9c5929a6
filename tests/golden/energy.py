"""Energy distances by NumPy in float64: python3 tests/golden/energy.py > tests/golden/energy.txt

The points follow from a hash of names and indices, so that tests/flowmap/energy.cpp makes the same ones.
"""
import numpy as np
from scipy.spatial.distance import cdist, pdist


def draws(key, n):
    """v in [-1, 1) for index 0 .. n-1: FNV-1a of the key, then SplitMix64, 24 bits."""
    h = 0xCBF29CE484222325
    for byte in key.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return 2 * ((z >> np.uint64(40)).astype(np.float64) / 2**24) - 1


def points(key, n, d, shift, spread):
    return (shift + spread * draws(key, n * d).reshape(n, d)).astype(np.float32).astype(np.float64)


def energy(x, y):
    """pdist has the pairs i < j: its mean is the mean over i != j."""
    return 2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean()


for n, m, d in ((2, 3, 1), (255, 257, 2), (600, 512, 2), (300, 290, 3), (70, 40, 130)):
    print(f"{n}_{m}_{d} {energy(points('energy.x', n, d, 0, 1), points('energy.y', m, d, 0.1, 1.2)):.16e}")
print(f"far {energy(points('energy.x', 300, 2, 1000, 1), points('energy.y', 300, 2, 1000.1, 1.2)):.16e}")
