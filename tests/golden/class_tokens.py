#!/usr/bin/env python3
"""Golden numbers of tests/flowmap/class_tokens.cpp: how REG's code prepares images for DINOv2 and resizes its positions, by PyTorch's own functions.

REPA's and REG's train.py: x / 255, normalized, interpolate(x, 224, mode="bicubic"); utils.py: timm's resample_abs_pos_embed(pos_embed, [16, 16]), which is
interpolate(grid, (16, 16), mode="bicubic", antialias=True) in f32. The images are resized in f64: in f32 PyTorch rounds the positions of the samples (1e-5 of
a pixel at 256, 5e-5 in values of noise).

  python3 tests/golden/class_tokens.py          prints the numbers (PyTorch, numpy)
"""
import numpy as np
import torch
import torch.nn.functional as F


def name_hash(name):
    h = 0xCBF29CE484222325                       # FNV-1a
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) % 2 ** 64
    return h


def values(key, n):
    """v of tests/support/hash_fill.h."""
    with np.errstate(over="ignore"):
        z = np.uint64(name_hash(key)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return 2 * ((z >> np.uint64(40)).astype(np.float64) / 2.0 ** 24) - 1


def show(name, x):
    flat = x.double().flatten()
    print(name, tuple(x.shape), "norm", repr(float(flat.norm())), "first", [float(v) for v in flat[:4]], "last", [float(v) for v in flat[-2:]])


def main():
    table = torch.tensor(0.5 * values("pos_embed", 1370 * 384), dtype=torch.float32).reshape(1, 1370, 384)
    grid = table[:, 1:].reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    show("positions", F.interpolate(grid, (16, 16), mode="bicubic", antialias=True).permute(0, 2, 3, 1).reshape(1, 256, 384))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).reshape(3, 1, 1), torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).reshape(3, 1, 1)
    for side in (16, 256):
        image = torch.tensor(0.5 + 0.5 * values(f"image {side}", 3 * side * side), dtype=torch.float32).double().reshape(1, 3, side, side)
        show(f"input from {side}", F.interpolate((image - mean) / deviation, 224, mode="bicubic"))


main()
