"""Kernel distances by NumPy in float64: python3 tests/golden/kernel_distance.py > tests/golden/kernel_distance.txt

The features follow from a hash of names and indices, as those of frechet.py; tests/flowmap/kernel_distance.cpp makes the same ones.
"""
import numpy as np

from draws import draws


def table(key, n, d, mix, shift, spread):
    """Rows whose neighbours are correlated: x_j = z_j + mix x_(j-1), then shift + spread x, rounded to float32."""
    x = draws(key, n * d).reshape(n, d)
    for j in range(1, d):
        x[:, j] += mix * x[:, j - 1]
    return (shift + spread * x).astype(np.float32).astype(np.float64)


def kernel_distance(x, y):
    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a):
        k = kernel(a, a)
        return (k.sum() - np.trace(k)) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def pair(n, m, d):
    return table("frechet.x", n, d, 0.5, 0, 1), table("frechet.y", m, d, 0.3, 0.2, 1.2)


for n, m, d in ((80, 80, 16), (32, 32, 16), (96, 80, 16), (2, 3, 1), (600, 513, 7)):
    print(f"{n}_{m}_{d} {kernel_distance(*pair(n, m, d)):.16e}")
x = table("frechet.x", 96, 16, 0.5, 0, 1)
print(f"near {kernel_distance(x[:48], x[48:]):.16e}")
