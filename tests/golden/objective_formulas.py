"""Losses of flow-map objectives as their equations read, in PyTorch and float64. Used by objectives.py, which says what is fixed.

z_t = (1-t) z0 + t eps,  u(z, s, t) the average velocity,  f(z, s, t) = z - (t-s) u(z, s, t) the map from t to s,  v(z, t) = u(z, t, t),  w the velocity
that a target is built from (eps - z0, or a teacher's). D_w u is the derivative along (w, ds = 0, dt = 1). sg() is the stop-gradient.

Each formula is evaluated on all rows; rows with s = t take their flow-matching residual by `where`. It returns the loss of each row and the mean square
of each row's residual.
"""
import torch
from torch.func import jvp

ENTRIES = {}


def entry(name):
    return lambda formula: ENTRIES.setdefault(name, formula)


def sg(x):
    return x.detach()


def column(x):
    return x[:, None]


def network(p, z, s, t, y):
    """tanh(W1 (z, s, t) + b1 + table[y]), one more tanh layer, a linear layer."""
    h = torch.tanh(torch.cat([z, column(s), column(t)], 1) @ p["w1"].T + p["b1"] + p["table"][y])
    return torch.tanh(h @ p["w2"].T + p["b2"]) @ p["w3"].T


class Case:
    """The inputs of one loss: points on the path, networks, settings, numbers of the entry's own."""

    def __init__(self, inputs, networks, settings, numbers, velocity):
        self.z0, self.eps, self.s, self.t, self.y = (inputs[k] for k in ("z0", "eps", "s", "t", "y"))
        self.numbers, self.settings, self.asked = numbers, settings, {"variant"}
        self.z = inputs["z"] if "z" in inputs else (1 - column(self.t)) * self.z0 + column(self.t) * self.eps
        self.off, self.gap = column(self.s < self.t), column(self.t - self.s)
        self.u = lambda z, s, t: network(networks["net"], z, s, t, self.y)
        self.u_target = lambda z, s, t: network(networks["target"], z, s, t, self.y)
        self.v_teacher = lambda z, t: network(networks["teacher"], z, t, t, self.y)
        self.row = networks["row"]
        self.networks = networks
        share = {"one-point": 0.0, "teacher": 1.0}.get(velocity)
        share = float(velocity.removeprefix("blend=")) if share is None else share
        self.vh = self.eps - self.z0
        self.w = (1 - share) * self.vh + share * sg(self.v_teacher(self.z, self.t))

    def get(self, key, otherwise):
        """A setting, as the type of its default."""
        self.asked.add(key)
        text = self.settings.get(key)
        return otherwise if text is None else text == "true" if isinstance(otherwise, bool) else type(otherwise)(text)

    def v(self, z, t):
        return self.u(z, t, t)


def jump(u, z, s, t):
    return z - column(t - s) * u(z, s, t)


def along(u, z, s, t, w):
    """D_w u: gradients pass through it unless sg() is put around it."""
    return jvp(lambda z, t: u(z, s, t), (z, t), (w, torch.ones_like(t)))[1]


def end_slope(u, z, s, t):
    """du/ds at fixed z and t."""
    return jvp(lambda s: u(z, s, t), (s,), (torch.ones_like(s),))[1]


def derivative(c, w):
    """D_w u without gradients: exact, or a difference on the line (z + d w, t + d) that stays within s <= t <= 1."""
    kind, delta = c.get("derivative.kind", "jvp"), c.get("derivative.delta", 5e-3)
    if kind == "jvp":
        return sg(along(c.u, c.z, c.s, c.t, w))

    def at(t, w):
        return c.u(c.z + column(t - c.t) * w, c.s, t)

    def central(w):
        low, high = torch.maximum(c.t - delta, c.s), torch.clamp(c.t + delta, max=1)
        return sg((at(high, w) - at(low, w)) / column(high - low))

    if kind == "central":
        return central(w)
    if kind == "semi":
        return sg(jvp(lambda z: c.u(z, c.s, c.t), (c.z,), (w,))[1]) + central(torch.zeros_like(w))
    step = {"forward": torch.where(c.t + delta > 1, -delta, delta), "backward": torch.where(c.t - delta < c.s, delta, -delta)}[kind]
    other = c.t + step
    return sg((at(other, w) - at(c.t, w)) / column(other - c.t))


def rho(residual, c):
    """Of each row, by its sum (or mean) of squares S, as the metric says; and its mean square."""
    kind, power = c.get("metric.kind", "l2"), c.get("metric.p", 1.0)
    elements = residual.shape[1]
    total = (residual**2).sum(1)
    raw = sg(total / elements)
    constant = c.get("metric.c", 0.0)
    if kind == "l2":
        return total / elements, raw
    S = total / elements if c.get("metric.reduction", "sum") == "mean" else total
    if kind == "adaptive":
        return S / sg(S + (constant or 0.01)) ** power, raw
    if kind == "squared_adaptive":
        return S**2 / sg(S**2 + (constant or 1e-3)) ** power, raw
    constant = constant or 0.00054 * elements**0.5
    return torch.sqrt(S + constant**2) - constant, raw


def normalised(g, c):
    """g / (|g| + c), where the setting is above 0."""
    constant = c.get("tangent.normalise", 0.0)
    return g / (torch.linalg.vector_norm(g, dim=1, keepdim=True) + constant) if constant > 0 else g


def guarded(d, c):
    limit = c.get("tangent.clamp", 0.0)
    return c.get("tangent.warmup", 1.0) * (torch.clamp(d, -limit, limit) if limit > 0 else d)


# ---- the entries --------------------------------------------------------------------------------------------------------------------------------------


@entry("flow_matching")
def flow_matching(c):
    """|v(z, t) - w|^2"""
    return rho(c.v(c.z, c.t) - c.w, c)


@entry("cmt")
def cmt(c):
    """|u(z_i, t_j, t_i) - (z_i - z_j) / (t_i - t_j)|^2 for two states of a teacher's trajectory: the chord is data."""
    return rho(c.u(c.z, c.s, c.t) - c.numbers["target"], c)


@entry("mean_flow")
def mean_flow(c):
    """|u - sg(w - (t-s) D_w u)|^2"""
    target = c.w - c.gap * guarded(derivative(c, c.w), c)
    u = c.u(c.z, c.s, c.t)
    return rho(u - sg(u + normalised(target - u, c)), c)


@entry("improved_mean_flow")
def improved_mean_flow(c):
    """|V - w|^2,  V = u + (t-s) sg(D_v u) along v = sg u(z, t, t); or without the outer sg."""
    v = sg(c.v(c.z, c.t))
    d = along(c.u, c.z, c.s, c.t, v) if c.get("through_derivative", False) else derivative(c, v)
    return rho(c.u(c.z, c.s, c.t) + c.gap * d - c.w, c)


@entry("alpha_flow")
def alpha_flow(c):
    """|u - sg y|^2 / a,  y = a w + (1-a) u(z - a(t-s) w, s, t - a(t-s)); MeanFlow at a = 0. With the adaptive metric the weight is a."""
    if (c.numbers["alpha"] == 0).all():
        return mean_flow(c)
    a = column(c.numbers["alpha"])
    y = a * c.w + (1 - a) * c.u(c.z - a * c.gap * c.w, c.s, c.t - (a * c.gap)[:, 0])
    limit = c.get("clamp", 4.0)
    if limit > 0 and not (a == 1).all():
        y = torch.clamp(y, -limit, limit)
    rows, raw = rho(c.u(c.z, c.s, c.t) - sg(torch.where(c.off, y, c.w)), c)
    weight = c.numbers["alpha"] if c.get("metric.kind", "l2") == "adaptive" else 1 / c.numbers["alpha"]
    return rows * torch.where(c.off[:, 0], weight, 1.0), raw


@entry("continuous_cm")
def continuous_cm(c):
    """g = df/dt = w - u - r (t-s) D_w u;  |f - sg(f - g)|^2 / 2, whose gradient is g . grad f."""
    u = c.u(c.z, c.s, c.t)
    g = normalised(sg(c.w - u - c.gap * guarded(derivative(c, c.w), c)), c)
    f = jump(c.u, c.z, c.s, c.t)
    rows, raw = rho(f - sg(f - g), c)
    return rows / 2, raw


@entry("lsd")
def lsd(c):
    """|d_s f - sg v(sg f, s)|^2 with d_s f = u - (t-s) du/ds; without the gradient of du/ds it is AYF's LMD. Rows s = t: flow matching."""
    u, slope = c.u(c.z, c.s, c.t), end_slope(c.u, c.z, c.s, c.t)
    slope = slope if c.get("through_derivative", True) else sg(slope)
    end = sg(jump(c.u, c.z, c.s, c.t))
    v_end = c.v_teacher(end, c.s) if c.get("end_velocity", "own") == "teacher" else c.v(end, c.s)
    return rho(torch.where(c.off, u - c.gap * slope - sg(v_end), u - c.w), c)


@entry("shortcut")
def shortcut(c):
    """|u(z, s, t) - sg (u1 + u2)/2|^2 of two half jumps by the target network, between which the state is cut."""
    half = (c.t - c.s) / 2
    u1 = c.u_target(c.z, c.t - half, c.t)
    limit = c.get("clamp", 4.0)
    state = c.z - column(half) * u1
    u2 = c.u_target(torch.clamp(state, -limit, limit) if limit > 0 else state, c.s, c.t - half)
    return rho(c.u(c.z, c.s, c.t) - torch.where(c.off, sg(u1 + u2) / 2, c.w), c)


@entry("split_mean_flow")
def split_mean_flow(c):
    """m = (1-l) t + l s,  u2 = u(z, m, t),  u1 = u(f_{t->m}(z), s, m),  |u - sg(l u2 + (1-l) u1)|^2"""
    l = c.numbers["split"]
    m = (1 - l) * c.t + l * c.s
    u2 = c.u(c.z, m, c.t)
    u1 = c.u(jump(c.u, c.z, m, c.t), c.s, m)
    return rho(c.u(c.z, c.s, c.t) - torch.where(c.off, sg(column(l) * u2 + (1 - column(l)) * u1), c.w), c)
