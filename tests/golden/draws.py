"""Numbers that follow from a name: what the golden files of tests/flowmap are computed from, and the C++ tests draw again."""
import numpy as np


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
