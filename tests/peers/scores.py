"""Frechet distances of the features that a program wrote, by NumPy and SciPy in float64, beside the program's own.

    evaluate ... --samples 40 --features-out f.npz; python3 tests/peers/scores.py f.npz RUN/scores.csv
    bench_frechet 50000 2048 f.npz;                 python3 tests/peers/scores.py f.npz

The arrays: `reference`, and of each generator `<name>_<calls>`, compared with the newest such row of the table; or `samples` and `frechet`.
"""
import csv
import sys
import time

import numpy as np
import scipy.linalg


def distance(x, y):
    x, y = x.astype(np.float64), y.astype(np.float64)
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # tr (S T)^(1/2) is the sum of the roots of the eigenvalues of S T, which are real and not negative.
    values = scipy.linalg.eigvals(s @ t)
    root = np.sqrt(np.maximum(values.real, 0)).sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * root


def main():
    arrays = np.load(sys.argv[1])
    wanted = {}
    if len(sys.argv) > 2:
        for row in csv.DictReader(open(sys.argv[2], newline="")):
            wanted[row["name"] + (f"_{row['calls']}" if row["calls"] else "")] = float(row["frechet"])
    else:
        wanted["samples"] = float(arrays["frechet"][0])
    reference = arrays["reference"]
    print(f"reference {reference.shape}")
    for name in arrays.files:
        if name.endswith("_labels") or name not in wanted:
            continue
        start = time.time()
        numpy_says = distance(arrays[name], reference)
        difference = abs(wanted[name] - numpy_says) / abs(numpy_says)
        print(f"{name:20} {arrays[name].shape} program {wanted[name]:.12g} numpy {numpy_says:.12g} relative difference {difference:.1e} ({time.time() - start:.0f} s)")


main()
