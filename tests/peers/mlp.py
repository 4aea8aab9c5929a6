# The network of tests/bench/mlp.h in PyTorch, for steps.py: layers of a product and a GELU, conditioned once at the start.
import torch.nn.functional as F

import peer  # noqa: F401 (its path leads to golden)
from golden import models as m


def shapes(c):
    values = c.channels * c.side**2
    times = m.time_shapes("t_embedder", c.width) + (m.time_shapes("r_embedder", c.width) if c.mean_flow else [])
    layers = [s for i in range(c.depth) for s in m.linear_shapes(f"layers.{i}", c.width, c.width)]
    return (m.linear_shapes("in", c.width, values) + times + [("y_embedder.embedding_table.weight", (c.classes + 1, c.width))] + layers
            + m.linear_shapes("out", values, c.width))


def forward(w, c, z, t, y, s=None):
    condition = m.time_embedding(w, "t_embedder", t) + F.embedding(y, w["y_embedder.embedding_table.weight"])
    if c.mean_flow:
        condition = condition + m.time_embedding(w, "r_embedder", t - s)
    h = m.linear(w, "in", z.flatten(1)) + condition
    for i in range(c.depth):
        h = F.gelu(m.linear(w, f"layers.{i}", h))
    return m.linear(w, "out", h).reshape(z.shape)
