# Writes autocast_error.txt: how far PyTorch's autocast to bf16 is from f64 in a step of a deep DiT^DH, what tests/nn/autocast_error.cpp holds
# this engine's bf16 against. Run: pip install torch numpy; python3 autocast_error.py (PyTorch 2.5 or later; half a minute).
#
# Both sides make the weights by one rule (`hashed`): element i of tensor o is a hash of (o, i), uniform with deviation 1, times a scale.
import math
import pathlib

import numpy
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import models as m

SIZES = m.Sizes(side=8, channels=16, width=256, depth=28, heads=4, head_width=384, head_depth=2, head_heads=6, classes=10, mean_flow=True)
S, T, LABELS = [0.3, 0.2], [0.9, 0.6], [3, 10]


def hashed(shape, o):
    """splitmix64 of 2^32 o + i, its upper 53 bits as a number in [-sqrt 3, sqrt 3)"""
    x = numpy.arange(math.prod(shape), dtype=numpy.uint64) + numpy.uint64(o << 32) + numpy.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    x = x ^ (x >> numpy.uint64(31))
    unit = (x >> numpy.uint64(11)).astype(numpy.float64) / 2.0**53
    return torch.from_numpy(((2 * unit - 1) * math.sqrt(3)).astype(numpy.float32).reshape(shape))


def weights(gate):
    """Products keep the size of what they read; shifts, scales and gates of the blocks are about `gate`."""
    w, fixed = {}, m.fixed_tables(SIZES)
    for o, (name, shape) in enumerate(m.dit_shapes(SIZES)):
        if name in fixed:
            w[name] = fixed[name]
        elif name.endswith(".W"):
            w[name] = hashed(shape, o)
        elif "norm" in name:
            w[name] = 1 + 0.1 * hashed(shape, o)
        else:
            scale = gate if "adaLN" in name else 1
            w[name] = hashed(shape, o) * numpy.float32(scale * (math.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 1 if "adaLN" in name else 0.1))
    return w


def is_trained(name):
    return not name.endswith((".W", "pos_embed", "freqs_cos", "freqs_sin"))


def step(w, dtype, autocast):
    """u, du/dt along (v, 0, 1), and the gradient of MeanFlow's mean square residual, each as one vector in f64"""
    w = {n: x.to(dtype).requires_grad_(is_trained(n)) for n, x in w.items()}
    shape = (2, SIZES.channels, SIZES.side, SIZES.side)
    z, v = hashed(shape, 1000).to(dtype), hashed(shape, 1001).to(dtype)
    s, t = (torch.tensor(x, dtype=torch.float32).to(dtype) for x in (S, T))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast), sdpa_kernel(SDPBackend.MATH):
        u = lambda z, t: m.dit(w, SIZES, z, t, torch.tensor(LABELS), s)
        with torch.no_grad():
            derivative = torch.func.jvp(u, (z, t), (v, torch.ones_like(t)))[1]
        value = u(z, t)
        loss = (value - (v - (t - s)[:, None, None, None] * derivative)).square().mean()
    loss.backward()
    gradient = torch.cat([w[n].grad.double().flatten() for n in w if is_trained(n)])
    return {"u": value.detach().double().flatten(), "du/dt": derivative.double().flatten(), "gradient": gradient}


with open(pathlib.Path(__file__).with_name("autocast_error.txt"), "w") as out:
    print(f"# gates, quantity, error of autocast against f64 over the size of f64, that size; PyTorch {torch.__version__.split('+')[0]}, autocast_error.py", file=out)
    for gate in (0.2, 0.05):
        w = weights(gate)
        exact, rounded = step(w, torch.float64, False), step(w, torch.float32, True)
        for name, x in exact.items():
            line = f"{gate} {name} {(rounded[name] - x).norm() / x.norm():.4e} {x.norm():.8e}"
            print(line, file=out)
            print(line, flush=True)
