"""Metrics of evaluations by NumPy and SciPy in float64: python3 tests/golden/evaluation_metrics.py > tests/golden/evaluation_metrics.txt

Features, logits and images follow from a hash of names and indices (draws.py), so that the tests of tests/flowmap make the same ones. With an argument,
the folder of statistics files (tests/golden/statistics) is written too.
"""
import sys

import numpy as np
import scipy.special

from draws import draws


def show(name, *values):
    print(name, *(f"{v:.16e}" for v in np.ravel(values)))


def table(key, n, d, mix, shift, spread):
    x = draws(key, n * d).reshape(n, d)
    for j in range(1, d):
        x[:, j] += mix * x[:, j - 1]
    return (shift + spread * x).astype(np.float32).astype(np.float64)


def x(n, d=16):
    return table("frechet.x", n, d, 0.5, 0, 1)


def y(n, d=16):
    return table("frechet.y", n, d, 0.3, 0.2, 1.2)


def whole(key, n, d, low, high):
    """Whole numbers low .. high-1: full of ties and duplicates."""
    return np.floor((draws(key, n * d).reshape(n, d) + 1) / 2 * (high - low)) + low


# ---- permutations
for seed, n in ((0, 1), (0, 2), (2020, 10), (1, 33), (4294967295, 20)):
    print(f"permutation_{seed}_{n}", *np.random.RandomState(seed).permutation(n))
for seed, n in ((2020, 1000), (5, 300007)):
    p = np.random.RandomState(seed).permutation(n)
    print(f"permutation_{seed}_{n}", *p[:8], *p[-8:], int((p * np.arange(n)).sum()))
r = np.random.RandomState(9)
print("choices_9", *(r.choice(30, 5, replace=False).tolist() + r.choice(12, 12, replace=False).tolist() + r.choice(7, 1, replace=False).tolist()))


# ---- Inception Score
def inception(logits, bounds):
    scores = []
    for a, b in bounds:
        log_p = scipy.special.log_softmax(logits[a:b].astype(np.float64), axis=1)
        p = np.exp(log_p)
        log_q = scipy.special.logsumexp(log_p, axis=0) - np.log(b - a)      # another way than the code under test
        scores.append(np.exp((p * (log_p - log_q)).sum(1).mean()))
    return np.mean(scores), np.std(scores)


def logits(n, c, scale):
    return (scale * draws("is.logits", n * c).reshape(n, c)).astype(np.float32)


def tenths(n, count=10):
    return [(i * n // count, (i + 1) * n // count) for i in range(count)]


def shuffled(z, seed=2020):
    return z[np.random.RandomState(seed).permutation(len(z))]


show("inception_in_order", inception(logits(200, 20, 4), tenths(200)))
show("inception_shuffled", inception(shuffled(logits(200, 20, 4)), tenths(200)))
show("inception_50", inception(logits(200, 20, 4), [(i, i + 50) for i in range(0, 200, 50)]))
show("inception_one", inception(logits(200, 20, 4), [(0, 200)]))
show("inception_odd", inception(logits(73, 7, 4), [(0, 20), (20, 40), (40, 60), (60, 73)]))
show("inception_odd_shuffled", inception(shuffled(logits(73, 7, 4), 3), tenths(73, 11)))
show("inception_sharp", inception(logits(700, 11, 3000), [(0, 700)]))


# ---- kernel distances of subsets
def kernel_distance(a, b):
    k = lambda s, t: (s @ t.T / s.shape[1] + 1) ** 3
    inner = lambda s: (k(s, s).sum() - np.trace(k(s, s))) / (len(s) * (len(s) - 1))
    return inner(a) + inner(b) - 2 * k(a, b).mean()


def of_subsets(a, b, subsets, rows, seed):
    random, values = np.random.RandomState(seed), []
    for _ in range(subsets):
        first = a[random.choice(len(a), rows, replace=False)]
        values.append(kernel_distance(first, b[random.choice(len(b), rows, replace=False)]))
    return np.mean(values), np.std(values)


show("kid_10_40", of_subsets(x(96), y(80), 10, 40, 2020))
show("kid_7_23", of_subsets(x(41, 5), y(37, 5), 7, 23, 11))
show("kid_1_2", of_subsets(x(3, 1), y(2, 1), 1, 2, 0))


# ---- neighbors, with open balls
def squares(a, b):
    return ((a[:, None] - b[None]) ** 2).sum(-1)


def radii(a, k):
    d = squares(a, a)
    np.fill_diagonal(d, np.inf)
    return np.sort(d, 1)[:, k - 1]


def open_balls(real, generated, k):
    d = squares(real, generated)
    in_real = d < radii(real, k)[:, None]
    recall = (d < radii(generated, k)[None]).any(1).mean() if len(generated) > k else -1
    return in_real.any(0).mean(), recall, in_real.sum() / (k * len(generated)), in_real.any(1).mean()


for k in (1, 3, 5):
    show(f"balls_plain_{k}", open_balls(x(96), y(80), k))
    show(f"balls_ties_{k}", open_balls(whole("ties.x", 90, 2, 0, 5), whole("ties.y", 70, 2, 1, 6), k))
    show(f"balls_blocks_{k}", open_balls(x(700, 3), y(530, 3), k))
    show(f"balls_few_{k}", open_balls(x(96), y(2), k))


# ---- Frechet distances: the limit and the error
def frechet(a, b):
    a, b = ((t - t.mean(0)) / np.sqrt(len(t) - 1) for t in (a, b)), ((a.mean(0) - b.mean(0)) ** 2).sum()
    (s, t), means = a, b
    return means + (s**2).sum() + (t**2).sum() - 2 * np.linalg.svd(s @ t.T, compute_uv=False).sum()


def limit(generated, real, seed, sizes):
    n, random = len(generated), np.random.RandomState(seed)
    first = min(5000, max(2, n // 10))
    counts = [first + (n - first) * i // (sizes - 1) for i in range(sizes)]
    distances = [frechet(generated[random.choice(n, c, replace=False)], real) for c in counts]
    slope, value = np.polyfit(1 / np.array(counts), distances, 1)
    return [value, slope, *counts, *distances]


def of_halves(generated, real, seed, halves):
    n, random = len(generated), np.random.RandomState(seed)
    d = [frechet(generated[random.choice(n, n // 2, replace=False)], real) for _ in range(halves)]
    return np.std(d, ddof=1) * np.sqrt((n // 2) / (n - n // 2)), np.mean(d)


show("limit_200", limit(y(200), x(96), 2020, 15))
show("limit_61", limit(y(61, 5), x(96, 5), 4, 4))
show("limit_20", limit(y(20, 3), x(96, 3), 1, 15))
show("halves_80", of_halves(y(80), x(96), 2020, 20))
show("halves_31", of_halves(y(31, 3), x(40, 3), 6, 5))


# ---- images
def ssim(a, b, crop):
    d = np.arange(11) - 5
    w = np.exp(-(d**2) / (2 * 1.5**2))
    w = np.outer(w, w) / w.sum() ** 2
    mean = lambda m: (np.lib.stride_tricks.sliding_window_view(np.pad(m, 5, mode="reflect"), (11, 11)) * w).sum((2, 3))
    out = []
    for p, q in zip(a, b):                                                 # channels
        mp, mq = mean(p), mean(q)
        vp, vq, c = np.maximum(mean(p * p) - mp**2, 0), np.maximum(mean(q * q) - mq**2, 0), mean(p * q) - mp * mq
        m = (2 * mp * mq + 1e-4) * (2 * c + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4))
        out.append(m[5:-5, 5:-5].mean() if crop else m.mean())
    return np.mean(out)


def pictures(key, n, c, h, w):
    return ((draws(key, n * c * h * w).reshape(n, c, h, w) + 1) / 2).astype(np.float32).astype(np.float64)


for n, c, h, w in ((2, 3, 13, 17), (3, 1, 6, 7), (1, 2, 11, 30)):
    a = pictures("image.a", n, c, h, w)
    b = (0.75 * a + 0.25 * pictures("image.b", n, c, h, w)).astype(np.float32).astype(np.float64)
    name = f"{n}_{c}_{h}_{w}"
    show(f"ssim_{name}", [ssim(*pair, False) for pair in zip(a, b)])
    if min(h, w) >= 11:
        show(f"ssim_cropped_{name}", [ssim(*pair, True) for pair in zip(a, b)])
    show(f"psnr_{name}", 10 * np.log10(1 / ((a - b) ** 2).mean((1, 2, 3))))


# ---- statistics files as other programs write them
if len(sys.argv) > 1:
    folder = sys.argv[1]
    mean, covariance = x(40, 5).mean(0), np.cov(x(40, 5), rowvar=False)
    spatial_mean, spatial = y(30, 3).mean(0), np.cov(y(30, 3), rowvar=False)
    f32 = lambda t: t.astype(np.float32)
    np.savez(f"{folder}/guided_diffusion.npz", arr_0=np.zeros((2, 4, 4, 3), np.uint8), mu=f32(mean), sigma=covariance, mu_s=f32(spatial_mean), sigma_s=spatial)
    np.savez_compressed(f"{folder}/pytorch_fid.npz", mu=mean, sigma=np.asfortranarray(covariance))
    np.savez(f"{folder}/mean_flow.npz", ref_mu=f32(mean), ref_sigma=f32(covariance))
    np.savez(f"{folder}/images.npz", arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    np.savez(f"{folder}/counted.npz", mu=mean, sigma=covariance, count=40, network=np.frombuffer(b"inception", np.uint8))
