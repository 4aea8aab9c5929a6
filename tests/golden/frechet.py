"""Frechet distances, precision and recall by NumPy and SciPy in float64: python3 tests/golden/frechet.py > tests/golden/frechet.txt

The features follow from a hash of names and indices, so that tests/flowmap/frechet.cpp draws the same ones. Each Frechet distance is computed
three ways, and the ways must agree: SciPy's matrix square root, eigenvalues of a symmetric product, and singular values of the product of
the centred features, which is exact for covariances that are singular. The last is written down.
"""
import numpy as np
import scipy.linalg

from draws import draws


def table(key, n, d, mix, shift, spread):
    """Rows whose neighbours are correlated: x_j = z_j + mix x_(j-1), then shift + spread x, rounded to float32."""
    x = draws(key, n * d).reshape(n, d)
    for j in range(1, d):
        x[:, j] += mix * x[:, j - 1]
    return (shift + spread * x).astype(np.float32)


def distance(x, y):
    x, y = x.astype(np.float64), y.astype(np.float64)
    a, b = ((t - t.mean(0)) / np.sqrt(len(t) - 1) for t in (x, y))
    s, t = a.T @ a, b.T @ b
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    values, vectors = np.linalg.eigh(s)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    by_eigenvalues = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ t @ root), 0)).sum()
    by_square_root = np.trace(scipy.linalg.sqrtm(s @ t)).real
    scale = np.trace(s) + np.trace(t)
    # Of singular covariances the other two ways see rounding errors, of which they take the root.
    tolerance = 1e-5 if min(len(x), len(y)) <= x.shape[1] or (x.std(0) == 0).any() else 1e-12
    assert abs(by_eigenvalues - cross) < tolerance * scale, (by_eigenvalues, cross)
    assert abs(by_square_root - cross) < tolerance * scale, (by_square_root, cross)
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + scale - 2 * cross


def neighbours(x, y, k):
    """precision, recall: y against x. A radius is the distance to the k-th nearest other row; balls are closed."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    between = lambda a, b: ((a[:, None] - b[None]) ** 2).sum(-1)

    def radii(a):
        d = between(a, a)
        np.fill_diagonal(d, np.inf)
        return np.sort(d, 1)[:, k - 1]

    d = between(y, x)
    return (d <= radii(x)[None]).any(1).mean(), (d <= radii(y)[:, None]).any(0).mean()


def whole(key, n, d, low, high, offset):
    """Whole numbers low .. high-1 above an offset: full of ties and duplicates."""
    return (offset + np.floor((draws(key, n * d).reshape(n, d) + 1) / 2 * (high - low)) + low).astype(np.float32)


def apart(x, offset):
    """Every other row far on the other side: no mean takes the offsets away."""
    x = x.copy()
    x[::2] += np.float32(offset)
    x[1::2] -= np.float32(offset)
    return x


def dead(x):
    x = x.copy()
    x[:, 3:7] = 0
    x[:, 9] = 0.25
    return x


def show(name, *values):
    print(name, *(f"{v:.16e}" for v in values))


x, y = lambda n, d=16: table("frechet.x", n, d, 0.5, 0, 1), lambda n, d=16: table("frechet.y", n, d, 0.3, 0.2, 1.2)
show("full", distance(x(96), y(80)))
show("singular", distance(x(12), y(10)))
show("mixed", distance(x(300), y(10)))
show("two", distance(x(2), y(2)))
show("dead", distance(dead(x(96)), dead(y(80))))
show("dead_in_one", distance(dead(x(96)), y(80)))
show("near", distance(x(96), (x(96) + 1e-3 * table("near", 96, 16, 0.5, 0, 1)).astype(np.float32)))
show("blocks", distance(x(400, 100), y(500, 100)))
show("wide", distance(x(90, 100), y(70, 100)))
show("far_mean", distance(x(96) + np.float32(1000), y(80) + np.float32(1000)))
for k in (1, 3, 5):
    show(f"neighbours_{k}", *neighbours(x(96), y(80), k))
    show(f"ties_{k}", *neighbours(whole("ties.x", 90, 2, 0, 5, 0), whole("ties.y", 70, 2, 1, 6, 0), k))
    show(f"far_{k}", *neighbours(whole("far.x", 90, 24, 0, 3, 4096), whole("far.y", 70, 24, 0, 3, 4096), k))
    show(f"apart_{k}", *neighbours(apart(whole("far.x", 90, 24, 0, 3, 0), 3000), apart(whole("far.y", 70, 24, 0, 3, 0), 3000), k))
