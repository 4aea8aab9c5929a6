"""nn/models/flow_mlp.h in PyTorch, float64: python3 tests/golden/flow_mlp.py > tests/golden/flow_mlp.txt

Weights, points and directions follow from their numbers, so that tests/nn/flow_mlp.cpp makes the same ones. For each network the output, with
two times also the derivative along (w, ds = 0, dt = 1) by torch.func.jvp, and the gradient of sum(output * wave) for every parameter.
"""
import math

import torch
from torch import nn

DIM, WIDTH, DEPTH, F, LOW, HIGH, CLASSES = 3, 6, 3, 4, 0.5, 10.0, 5


class FlowMlp(nn.Module):
    def __init__(self, times, classes):
        super().__init__()
        inputs = DIM + 2 * F * times
        self.layers = nn.ModuleList([nn.Linear(inputs, WIDTH)] + [nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH - 1)] + [nn.Linear(WIDTH, DIM)])
        self.table = nn.Embedding(classes + 1, WIDTH) if classes else None
        self.frequencies = (LOW * (HIGH / LOW) ** (torch.arange(F, dtype=torch.float64) / (F - 1))).float().double()

    def embed(self, t):
        angle = t[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], 1)

    def forward(self, z, t, gap=None, y=None):
        parts = [z, self.embed(t)] + ([] if gap is None else [self.embed(gap)])
        h = self.layers[0](torch.cat(parts, 1))
        if self.table is not None:
            h = h + self.table(y)
        for layer in self.layers[1:]:
            h = layer(nn.functional.silu(h))
        return h


def fill(model):
    """Parameter number o in the order of registration, element i: 0.3 sin(0.7 (i + 1) + 0.31 o), as f32."""
    for o, p in enumerate(model.parameters()):
        i = torch.arange(1, p.numel() + 1, dtype=torch.float64)
        p.data = (0.3 * torch.sin(0.7 * i + 0.31 * o)).float().double().reshape(p.shape)


def wave(rows, step):
    return torch.sin(step * torch.arange(1, rows * DIM + 1, dtype=torch.float64)).reshape(rows, DIM)


def show(name, values):
    print(name, *(f"{v:.16e}" for v in values.reshape(-1).tolist()))


z, w, gy = wave(4, 0.37) * 1.5, wave(4, 0.91), wave(4, 1.7)
s, t = torch.tensor([0.1, 0.3, 0.0, 0.5], dtype=torch.float64), torch.tensor([0.8, 0.3, 1.0, 0.9], dtype=torch.float64)
y = torch.tensor([2, 5, 0, 4])
for times in (1, 2):
    for classes in (0, CLASSES):
        model, name = FlowMlp(times, classes), f"{'velocity' if times == 1 else 'map'}{'.labels' if classes else ''}"
        fill(model)
        call = lambda z, s, t: model(z, t, t - s if times == 2 else None, y if classes else None)
        out = call(z, s, t)
        show(name, out)
        for o, g in enumerate(torch.autograd.grad((out * gy).sum(), list(model.parameters()))):
            show(f"{name}.gradient.{o}", g)
        if times == 2:
            _, derivative = torch.func.jvp(call, (z, s, t), (w, torch.zeros_like(s), torch.ones_like(t)))
            show(f"{name}.derivative", derivative.detach())
