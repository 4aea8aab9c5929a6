"""Statistics of sequences with NumPy: python3 tests/golden/series.py > tests/golden/series.txt

Samples follow from a hash of names and indices, as in energy.py, so that tests/flowmap/series.cpp makes the same ones. For each size the mean, the
variance, the autocorrelation (numpy.correlate of each centred sample) and the power (numpy.fft.rfft), channel after channel; then the errors of these
between two sets.
"""
import numpy as np

from draws import draws


def show(name, values):
    print(name, *(f"{v:.15e}" for v in np.asarray(values).reshape(-1)))


def samples(key, n, channels, length, shift):
    x = draws(key, n * channels * length).reshape(n, channels, length) + np.sin(np.arange(length) * 0.9 + shift)   # a mean, which the correlation must not see
    return x.astype(np.float32).astype(np.float64)


def statistics(x):
    length = x.shape[2]
    centred = x - x.mean(0)
    full = np.array([[np.correlate(row, row, "full")[length - 1:] for row in sample] for sample in centred])
    covariance = full.mean(0) / (length - np.arange(length))
    power = 2 * (abs(np.fft.rfft(x)) ** 2).mean(0) / length**2
    power[:, 0] /= 2
    if length % 2 == 0:
        power[:, -1] /= 2
    assert np.allclose(power.sum(1), (x**2).mean((0, 2)))
    return x.mean(0), x.var(0), covariance / covariance[:, :1], power


def errors(x, y):
    (m, v, r, p), (real_m, real_v, real_r, real_p) = statistics(x), statistics(y)
    lags = min(128, x.shape[2] // 2)
    binned = [np.concatenate([q[:, :129], q[:, 129:].sum(1, keepdims=True)], 1) for q in (p, real_p)]
    return (np.sqrt(((m - real_m) ** 2).sum() / real_v.sum()), np.sqrt(((v - real_v) ** 2).mean()) / real_v.mean(),
            np.sqrt(((r - real_r)[:, 1:lags + 1] ** 2).mean()), abs(binned[0] - binned[1]).sum() / real_p.sum())


for n, channels, length in ((5, 2, 7), (40, 1, 12)):
    name = f"{n}_{channels}_{length}"
    for part, values in zip(("mean", "variance", "correlation", "power"), statistics(samples("series.x", n, channels, length, 0))):
        show(f"{name}.{part}", values)
for n, channels, length in ((5, 2, 7), (40, 1, 12), (4, 1, 300)):          # of 300 values lags and frequencies beyond 128 are left out, or one
    show(f"{n}_{channels}_{length}.errors", errors(samples("series.x", n, channels, length, 0), samples("series.y", n + 3, channels, length, 0.3)))
