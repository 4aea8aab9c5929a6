# The steps of tests/bench/step.cpp in JAX, for steps.py: the same folder, kinds and replies. DiT^DH as a plain function of a dictionary of
# weights (see tests/golden/models.py for the same in PyTorch), every step one jitted function with its buffers donated: loss, gradients,
# clipping, AdamW and average together, as XLA can fuse them.
#
#   python jax_steps.py --folder DIR --precision f32 --width 384 ...
#
# In bf16 the blocks compute in bf16 on weights that are cast from f32; embeddings, norms, softmax sums and the loss are f32.
import copy
import math
import os

import jax
import jax.numpy as jnp
import numpy

import peer


def linear(w, name, x):
    return x @ w[name + ".weight"].T.astype(x.dtype) + w[name + ".bias"].astype(x.dtype)


def time_embedding(w, name, t):
    angles = 2 * math.pi * t[:, None] * w[name + ".W"]
    return linear(w, name + ".mlp.2", jax.nn.silu(linear(w, name + ".mlp.0", jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], 1))))


def rms_norm(w, name, x):
    f = x.astype(jnp.float32)
    return (f * jax.lax.rsqrt((f * f).mean(-1, keepdims=True) + 1e-6) * w[name + ".weight"]).astype(x.dtype)


def rotated(x, cos, sin):
    a, b = x[..., 0::2], x[..., 1::2]
    return x * cos.astype(x.dtype) + jnp.stack([-b, a], -1).reshape(x.shape) * sin.astype(x.dtype)


def attend(q, k, v, heads, cos, sin):
    split = lambda x: x.reshape(*x.shape[:2], heads, -1)
    q, k, v = rotated(split(q), cos[:, None], sin[:, None]), rotated(split(k), cos[:, None], sin[:, None]), split(v)
    return jax.nn.dot_product_attention(q, k, v).reshape(*q.shape[:2], -1)


def block(w, name, heads, rope, x, condition):
    shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(linear(w, name + ".adaLN_modulation.1", jax.nn.silu(condition)), 6, -1)
    q, k, v = jnp.split(linear(w, name + ".attn.qkv", rms_norm(w, name + ".norm1", x) * (1 + scale1) + shift1), 3, -1)
    cos, sin = (w[f"{rope}_feat_rope.freqs_{part}"] for part in ("cos", "sin"))
    x = x + gate1 * linear(w, name + ".attn.proj", attend(q, k, v, heads, cos, sin))
    a, b = jnp.split(linear(w, name + ".mlp.w12", rms_norm(w, name + ".norm2", x) * (1 + scale2) + shift2), 2, -1)
    return x + gate2 * linear(w, name + ".mlp.w3", jax.nn.silu(a) * b)


def dit(w, c, dtype, x, t, y, r=None):
    te = time_embedding(w, "t_embedder", t)
    if c.mean_flow:
        te = te + time_embedding(w, "r_embedder", t - r)
    condition = jax.nn.silu(te + w["y_embedder.embedding_table.weight"][y])[:, None].astype(dtype)
    tokens = x.reshape(*x.shape[:2], -1).transpose(0, 2, 1).astype(dtype)
    embedded = lambda name: tokens @ w[name + ".proj.weight"][:, :, 0, 0].T.astype(dtype) + w[name + ".proj.bias"].astype(dtype)
    s = embedded("s_embedder") + w["pos_embed"].astype(dtype)
    for i in range(c.depth):
        s = block(w, f"blocks.{i}", c.heads, "enc", s, condition)
    s = jax.nn.silu(te[:, None].astype(dtype) + s)
    if "s_projector.weight" in w:
        s = linear(w, "s_projector", s)
    h = embedded("x_embedder")
    for i in range(c.depth, c.depth + c.head_depth):
        h = block(w, f"blocks.{i}", c.head_heads, "dec", h, s)
    shift, scale = jnp.split(linear(w, "final_layer.adaLN_modulation.1", jax.nn.silu(s)), 2, -1)
    out = linear(w, "final_layer.linear", rms_norm(w, "final_layer.norm_final", h) * (1 + scale) + shift)
    return out.transpose(0, 2, 1).reshape(x.shape).astype(jnp.float32)


def mlp(w, c, dtype, z, t, y, s=None):
    """The network of tests/bench/mlp.h."""
    condition = time_embedding(w, "t_embedder", t) + w["y_embedder.embedding_table.weight"][y]
    if c.mean_flow:
        condition = condition + time_embedding(w, "r_embedder", t - s)
    h = linear(w, "in", z.reshape(len(z), -1).astype(dtype)) + condition.astype(dtype)
    for i in range(c.depth):
        h = jax.nn.gelu(linear(w, f"layers.{i}", h), approximate=False)
    return linear(w, "out", h).reshape(z.shape).astype(jnp.float32)


class Steps:
    def __init__(self, a):
        self.folder, self.c, self.c1 = a.folder, peer.sizes(a, mean_flow=True), peer.sizes(a, mean_flow=False)
        self.net = dit if a.heads else mlp
        self.dtype = jnp.bfloat16 if a.precision == "bf16" else jnp.float32
        weights = self.load("weights")
        trained = {n: x for n, x in weights.items() if peer.is_trained(n)}
        self.data = {"fixed": {n: x for n, x in weights.items() if not peer.is_trained(n)}, "teacher": self.load("teacher"),
                     "batch": self.load("batch")}
        self.__dict__.update(self.data)
        self.k = int((self.batch["s"] < self.batch["t"]).sum())
        zeros = lambda: {n: jnp.zeros_like(x) for n, x in trained.items()}
        self.state = {"w": trained, "average": {n: x.copy() for n, x in trained.items()}, "m": zeros(), "v": zeros(), "step": jnp.zeros((), jnp.int32)}
        kinds = ("fm", "jvp", "fd", "mfd", "cmt")
        self.updates = {kind: jax.jit(lambda state, data, kind=kind: self.given(data).update(kind, state), donate_argnums=0) for kind in kinds}
        self.gradients = {kind: jax.jit(jax.value_and_grad(lambda w, data, kind=kind: getattr(self.given(data), kind)(w))) for kind in kinds}
        self.draws = {kind: jax.jit(lambda w, data, kind=kind: getattr(self.given(data), kind)(w)) for kind in ("sample", "euler")}

    def given(self, data):
        """Itself with these arrays: what is jitted takes all arrays as arguments, since XLA computes with constants while it compiles."""
        other = copy.copy(self)
        other.__dict__.update(data)
        return other

    def load(self, name):
        return {n: jnp.asarray(x) for n, x in peer.read_safetensors(os.path.join(self.folder, name + ".safetensors")).items()}

    def u(self, w, z, s, t, y):
        return self.net({**w, **self.fixed}, self.c, self.dtype, z, t, y, s)

    def v(self, z, t, y):
        return self.net(self.teacher, self.c1, self.dtype, z, t, y)

    def points(self):
        b = self.batch
        t = b["t"][:, None, None, None]
        return (1 - t) * b["z0"] + t * b["eps"], b["s"], b["t"], b["y"]

    def fm(self, w):
        z, s, t, y = self.points()
        return ((self.u(w, z, t, t, y) - (self.batch["eps"] - self.batch["z0"])) ** 2).mean()

    def mean_flow(self, w, velocity, derivative):
        z, s, t, y = self.points()
        k = self.k
        dudt = derivative(jax.lax.stop_gradient(w), z[:k], s[:k], t[:k], y[:k], velocity[:k])
        head = velocity[:k] - (t[:k] - s[:k])[:, None, None, None] * dudt
        target = jax.lax.stop_gradient(jnp.concatenate([head, velocity[k:]]))
        return ((self.u(w, z, s, t, y) - target) ** 2).mean()

    def exact(self, w, z, s, t, y, direction):
        return jax.jvp(lambda z, t: self.u(w, z, s, t, y), (z, t), (direction, jnp.ones_like(t)))[1]

    def difference(self, w, z, s, t, y, direction):
        high, low = jnp.minimum(t + 0.005, 1), jnp.maximum(t - 0.005, s)
        at = lambda x: self.u(w, z + (x - t)[:, None, None, None] * direction, s, x, y)
        return (at(high) - at(low)) / (high - low)[:, None, None, None]

    def jvp(self, w):
        return self.mean_flow(w, self.batch["eps"] - self.batch["z0"], self.exact)

    def fd(self, w):
        return self.mean_flow(w, self.batch["eps"] - self.batch["z0"], self.difference)

    def mfd(self, w):
        z, s, t, y = self.points()
        return self.mean_flow(w, self.v(z, t, y), self.exact)

    def cmt(self, w):
        y, states = self.batch["y"], [self.batch["eps"]]
        full = lambda x: jnp.full_like(self.batch["t"], x)
        for i in range(4):
            states.append(states[-1] - 0.25 * self.v(states[-1], full(1 - 0.25 * i), y))
        return ((self.u(w, states[1], full(0.25), full(0.75), y) - (states[1] - states[3]) / 0.5) ** 2).mean()

    def sample(self, w):
        b = self.batch
        return b["eps"] - self.u(w, b["eps"], jnp.zeros_like(b["t"]), jnp.ones_like(b["t"]), b["y"])

    def euler(self, w):
        b = self.batch
        return b["eps"] - self.v(b["eps"], jnp.ones_like(b["t"]), b["y"]) * 0.02

    def update(self, kind, state):
        loss, g = jax.value_and_grad(getattr(self, kind))(state["w"])
        norm = jnp.sqrt(sum((x * x).sum() for x in g.values()))
        scale = jnp.minimum(1.0, 1.0 / (norm + 1e-6))
        step = state["step"] + 1
        c1, c2 = 1 - 0.9 ** step, 1 - 0.95 ** step
        new = {"w": {}, "average": {}, "m": {}, "v": {}, "step": step}
        for n, w in state["w"].items():
            x = g[n] * scale
            new["m"][n] = 0.9 * state["m"][n] + 0.1 * x
            new["v"][n] = 0.95 * state["v"][n] + 0.05 * x * x
            new["w"][n] = w - 1e-6 * (new["m"][n] / c1) / (jnp.sqrt(new["v"][n] / c2) + 1e-8)
            new["average"][n] = 0.9995 * state["average"][n] + 0.0005 * new["w"][n]
        return new, loss

    def train(self, kind, save):
        if save:
            loss, g = self.gradients[kind](self.state["w"], self.data)
            return float(loss), {n: numpy.asarray(x) for n, x in g.items()}
        self.state, loss = self.updates[kind](self.state, self.data)
        jax.block_until_ready(self.state)
        return float(loss), None

    def draw(self, kind, save):
        z = jax.block_until_ready(self.draws[kind](self.state["w"], self.data))
        return 0.0, {"z": numpy.asarray(z)} if save else None


if __name__ == "__main__":
    peer.serve(Steps, f"JAX {jax.__version__}, XLA's own products")
