# Writes models.safetensors: what PyTorch computes with small models whose weights and inputs both sides make by a rule, and what
# tests/nn/torch_agreement.cpp compares the C++ models with. Run: pip install torch numpy; python3 make_models.py (PyTorch 2.5 or later).
# Computed in f64 from weights rounded to f32, stored in f32.
import math
import pathlib

import torch

import models as m

ENCODER = dict(patch=4, grid=5, width=16, depth=2, heads=2, mlp_width=24, registers=3)
DECODER = m.Sizes(channels=16, side=5, width=16, depth=2, heads=2, mlp_width=40, patch=3, eps=1e-12)
DIT = dict(side=4, channels=8, width=16, depth=2, heads=2, head_width=24, head_depth=1, head_heads=2, classes=10)


def rule(shape, o, scale, base):
    i = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
    return (base + scale * torch.sin(0.7 * i + 0.31 * o)).reshape(shape).float()


def filled(shapes, tables={}):
    """Tensor number o of the state dictionary, element i: 0.08 sin(0.7 (i + 1) + 0.31 o), around 1 for weights of norms and layer scales,
    not scaled for frozen frequencies; `tables` as they are."""
    w = {}
    for o, (name, shape) in enumerate(shapes):
        base = 1 if ("norm" in name and name.endswith("weight")) or name.endswith("lambda1") else 0
        w[name] = tables[name] if name in tables else rule(shape, o, 1 if name.endswith(".W") else 0.08, base)
        assert w[name].shape == shape, name
    return {name: t.double() for name, t in w.items()}


def wave(shape, step=0.05):
    """1.5 sin(step (i + 1)), rounded to f32 before the factor"""
    return (1.5 * torch.sin(step * torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)).float()).reshape(shape).double()


def picture(shape):
    return 0.5 + wave(shape, 0.37) / 3


def encoders(out):
    for kind in m.ENCODERS:
        c = m.Sizes(kind=kind, eps=1e-12 if kind == "mae" else 1e-6, **ENCODER)
        w = filled(m.encoder_shapes(c))
        for name, batch, height, width in (("own", 2, 20, 20), ("smaller", 1, 12, 16), ("larger", 1, 24, 32)):
            out[f"encoder.{kind}.{name}"] = m.encode(w, c, wave((batch, 3, height, width)))


def decoder(out):
    w = filled(m.decoder_shapes(DECODER), {"decoder_pos_embed": m.sin_cos_positions(DECODER.side, DECODER.width, True)})
    out["decoder"] = m.decode(w, DECODER, wave((2, DECODER.side**2, DECODER.channels)))


def rae(out):
    """Images of 24 pixels, seen by the encoder at 20 and decoded to 15; statistics with a mean for one kind, without for the others."""
    mean, std = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64), torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)
    decoder_weights = filled(m.decoder_shapes(DECODER), {"decoder_pos_embed": m.sin_cos_positions(DECODER.side, DECODER.width, True)})
    latent = (DECODER.channels, DECODER.side, DECODER.side)
    for kind in m.ENCODERS:
        c = m.Sizes(kind=kind, eps=1e-12 if kind == "mae" else 1e-6, **ENCODER)
        stats = (wave(latent, 0.11) / 10 if kind == "mae" else None, 1 + wave(latent, 0.23) / 3)
        z = m.rae_encode(filled(m.encoder_shapes(c)), c, picture((2, 3, 24, 24)), mean, std, 20, stats)
        out[f"rae.{kind}.latent"] = z
        out[f"rae.{kind}.decoded"] = m.rae_decode(decoder_weights, DECODER, z, mean, std, stats)


def dits(out):
    x, v = wave((2, 8, 4, 4)), wave((2, 8, 4, 4), 0.13)
    r, t = (torch.tensor(values, dtype=torch.float32).double() for values in ([0.2, 0.35], [0.9, 0.35]))
    y = torch.tensor([3, 10])
    for name, mean_flow in (("teacher", False), ("mean_flow", True)):
        c = m.Sizes(mean_flow=mean_flow, **DIT)
        w = filled(m.dit_shapes(c), m.fixed_tables(c))
        out[f"dit.{name}"] = m.dit(w, c, x, t, y, r if mean_flow else None)
    u = lambda x, r, t: m.dit(w, c, x, t, y, r)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        value, derivative = torch.func.jvp(u, (x, r, t), (v, torch.zeros_like(r), torch.ones_like(t)))
    assert torch.allclose(value, out["dit.mean_flow"])
    out["dit.mean_flow.derivative"] = derivative


results = {}
for part in (encoders, decoder, rae, dits):
    part(results)
m.save_safetensors(pathlib.Path(__file__).with_name("models.safetensors"), [(name, tuple(t.shape)) for name, t in results.items()],
                   lambda name, _: results[name].float())
for name, t in results.items():
    print(f"{name:28} {tuple(t.shape)!s:18} sum {t.sum():.6f}, rms {t.square().mean().sqrt():.4f}")
