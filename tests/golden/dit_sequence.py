"""DiT^DH on sequences (C, L) and on latents that are not square, in PyTorch, float64: python3 tests/golden/dit_sequence.py > tests/golden/dit_sequence.txt

Written from the network's equations with other means than nn/models/dit_dh.cpp: patches by strided convolutions, rotations as products of complex
numbers, the output by a transposed convolution. Weights, inputs and directions follow from their numbers, so that tests/nn/dit_sequence.cpp makes
the same ones. Of each case: the table of positions, the output, its derivative along (w, ds = 0, dt = 1) by torch.func.jvp, and gradients of
sum(output * gy) by autograd.
"""
import math

import torch
import torch.nn.functional as F

import models as m

SEQUENCE = m.Sizes(name="sequence", shape=(3, 20), patch=4, width=12, depth=2, heads=2, head_width=20, head_depth=1, head_heads=2, classes=5)
RECTANGLE = m.Sizes(name="rectangle", shape=(2, 4, 6), patch=2, width=16, depth=1, heads=2, head_width=24, head_depth=1, head_heads=2, classes=5)


def grid_of(c):
    return [d // c.patch for d in c.shape[1:]]


def positions(c, width):
    """(N, axes): where each token is, row-major; and the frequencies of one axis, of `width` channels by pairs."""
    at = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid_of(c)), indexing="ij"), -1).flatten(0, -2)
    pairs = width // 2 // len(grid_of(c))
    return at, 10000.0 ** -(torch.arange(pairs, dtype=torch.float64) / pairs)


def position_table(c):
    """MAE's: the last axis (the column) first, each as sines, then cosines."""
    at, omega = positions(c, c.width)
    parts = [f(at[:, axis, None] * omega) for axis in reversed(range(at.shape[1])) for f in (torch.sin, torch.cos)]
    return torch.cat(parts, 1).float().double()


def turns(c, head_width):
    """(N, head_width / 2) complex numbers of size 1, the first axis first; rounded as the tables in a file are."""
    at, f = positions(c, head_width)
    angles = torch.cat([at[:, axis, None] * f for axis in range(at.shape[1])], 1)
    return torch.complex(angles.cos().float().double(), angles.sin().float().double())


def attend(q, k, v, heads, turn):
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    rotate = lambda x: torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turn).flatten(-2)
    weights = torch.softmax(rotate(q) @ rotate(k).transpose(-1, -2) / math.sqrt(q.shape[-1]), -1)
    return (weights @ v).transpose(1, 2).flatten(2)


def block(w, name, heads, turn, x, condition):
    shift1, scale1, gate1, shift2, scale2, gate2 = m.linear(w, name + ".adaLN_modulation.1", F.silu(condition)).chunk(6, -1)
    q, k, v = m.linear(w, name + ".attn.qkv", m.rms_norm(w, name + ".norm1", x) * (1 + scale1) + shift1).chunk(3, -1)
    x = x + gate1 * m.linear(w, name + ".attn.proj", attend(q, k, v, heads, turn))
    a, b = m.linear(w, name + ".mlp.w12", m.rms_norm(w, name + ".norm2", x) * (1 + scale2) + shift2).chunk(2, -1)
    return x + gate2 * m.linear(w, name + ".mlp.w3", F.silu(a) * b)


def network(w, c, x, s, t, y):
    sequence = len(c.shape) == 2
    convolve = F.conv1d if sequence else F.conv2d
    embedded = lambda name: convolve(x, w[name + ".proj.weight"], w[name + ".proj.bias"], stride=c.patch).flatten(2).transpose(1, 2)
    te = m.time_embedding(w, "t_embedder", t) + m.time_embedding(w, "r_embedder", t - s)
    condition = F.silu(te + F.embedding(y, w["y_embedder.embedding_table.weight"]))[:, None]
    tokens = embedded("s_embedder") + position_table(c)
    for i in range(c.depth):
        tokens = block(w, f"blocks.{i}", c.heads, turns(c, c.width // c.heads), tokens, condition)
    each = m.linear(w, "s_projector", F.silu(te[:, None] + tokens))
    h = embedded("x_embedder")
    for i in range(c.depth, c.depth + c.head_depth):
        h = block(w, f"blocks.{i}", c.head_heads, turns(c, c.head_width // c.head_heads), h, each)
    shift, scale = m.linear(w, "final_layer.adaLN_modulation.1", F.silu(each)).chunk(2, -1)
    h = m.rms_norm(w, "final_layer.norm_final", h) * (1 + scale) + shift
    # A token's output has its place in the patch outermost and channels innermost; a transposed convolution wants (in, channels, places).
    kernel = w["final_layer.linear.weight"].unflatten(0, ([c.patch] if sequence else [c.patch, c.patch]) + [c.shape[0]])
    kernel = kernel.permute(2, 1, 0) if sequence else kernel.permute(3, 2, 0, 1)
    places = w["final_layer.linear.bias"].unflatten(0, (-1, c.shape[0])).T.reshape([c.shape[0]] + ([c.patch] if sequence else [c.patch, c.patch]))
    bias = places.repeat([1] + grid_of(c))
    deconvolve = F.conv_transpose1d if sequence else F.conv_transpose2d
    return deconvolve(h.transpose(1, 2).unflatten(2, grid_of(c)), kernel, stride=c.patch) + bias


def shapes(c):
    """Those of a square DiT^DH with other patches and tables."""
    n, patch = math.prod(grid_of(c)), (c.patch,) * len(grid_of(c))
    square = m.Sizes(side=1, channels=c.shape[0], mean_flow=True, **{k: v for k, v in vars(c).items() if k not in ("name", "shape", "patch")})
    for name, shape in m.dit_shapes(square):
        if name == "pos_embed":
            shape = (1, n, c.width)
        elif name.endswith("embedder.proj.weight"):
            shape = shape[:2] + patch
        elif name.startswith("final_layer.linear"):
            shape = (c.shape[0] * math.prod(patch),) + shape[1:]
        elif "feat_rope" in name:
            shape = (n,) + shape[1:]
        yield name, shape


def filled(c):
    """Tensor number o, element i: 0.2 sin(0.7 (i + 1) + 0.31 o), as f32; around 1 for norms, of size 1 for frequencies."""
    w = {}
    for o, (name, shape) in enumerate(shapes(c)):
        i = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
        base = 1 if "norm" in name and name.endswith("weight") else 0
        w[name] = (base + (1 if name.endswith(".W") else 0.2) * torch.sin(0.7 * i + 0.31 * o)).float().double().reshape(shape)
    return w


def wave(shape, step):
    return torch.sin(step * torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)).reshape(shape)


def show(name, values):
    print(name, *(f"{v:.13e}" for v in values.detach().reshape(-1).tolist()))


s, t = torch.tensor([0.1, 0.5], dtype=torch.float64), torch.tensor([0.8, 0.5], dtype=torch.float64)
y = torch.tensor([2, 5])
for c in (SEQUENCE, RECTANGLE):
    w, shape = filled(c), (2,) + c.shape
    x, direction, gy = 1.5 * wave(shape, 0.37), wave(shape, 0.91), wave(shape, 1.7)
    show(c.name + ".positions", position_table(c))
    graded = {name: w[name].requires_grad_() for name in ("x_embedder.proj.weight", "s_embedder.proj.weight", "blocks.0.norm1.weight", "final_layer.linear.bias")}
    x.requires_grad_()
    out = network(w, c, x, s, t, y)
    show(c.name, out)
    for name, g in zip(["x", *graded], torch.autograd.grad((out * gy).sum(), [x, *graded.values()])):
        show(f"{c.name}.gradient.{name}", g)
    _, derivative = torch.func.jvp(lambda x, s, t: network(w, c, x, s, t, y), (x, s, t), (direction, torch.zeros_like(s), torch.ones_like(t)))
    show(c.name + ".derivative", derivative)
