"""What the equations of objective_formulas.py and objective_consistency.py share, in PyTorch and float64.

z_t = (1-t) z0 + t eps,  u(z, s, t) the average velocity,  f(z, s, t) = z - (t-s) u(z, s, t) the map from t to s,  v(z, t) = u(z, t, t),
w the velocity that a target is built from (eps - z0, or a teacher's). D_w u is the derivative along (w, ds = 0, dt = 1). sg() is the stop-gradient.

Each formula is evaluated on all rows; rows with s = t take their flow-matching residual by `where`. It returns the loss of each row and the
mean square of each row's residual.
"""
import torch
from torch.func import jvp

ENTRIES, NUMBERS = {}, {}


def registered(formulas, name):
    def register(formula):
        formulas[name] = formula
        return formula
    return register


def entry(name):
    return registered(ENTRIES, name)


def completed(name):
    """The numbers that an entry's schedules make, by the share of the training that is over."""
    return registered(NUMBERS, name)


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
        self.numbers, self.settings, self.asked = numbers, settings, {"variant", "now"}
        self.z = inputs["z"] if "z" in inputs else (1 - column(self.t)) * self.z0 + column(self.t) * self.eps
        self.off, self.gap = column(self.s < self.t), column(self.t - self.s)
        self.u = lambda z, s, t: network(networks["net"], z, s, t, self.y)
        self.u_target = lambda z, s, t: network(networks["target"], z, s, t, self.y)
        self.v_teacher = lambda z, t: network(networks["teacher"], z, t, t, self.y)
        self.row = networks["row"]
        self.huber = 0.00054
        self.networks = networks
        share = {"one-point": 0.0, "teacher": 1.0}.get(velocity)
        share = float(velocity.removeprefix("blend=")) if share is None else share
        self.vh = self.eps - self.z0
        self.velocity = lambda z, t: (1 - share) * self.vh + share * sg(self.v_teacher(z, t))
        self.w = self.velocity(self.z, self.t)

    def get(self, key, otherwise):
        """A setting, as the type of its default."""
        self.asked.add(key)
        text = self.settings.get(key)
        return otherwise if text is None else text == "true" if isinstance(otherwise, bool) else type(otherwise)(text)

    def v(self, z, t):
        return self.u(z, t, t)

    def averaged(self):
        """The network that targets come from: the target network, or with target_decay = 0 the network itself."""
        return self.u if self.get("target_decay", 1.0) == 0 else self.u_target


def jump(u, z, s, t):
    return z - column(t - s) * u(z, s, t)


def along(u, z, s, t, w):
    """D_w u: gradients pass through it unless sg() is put around it."""
    return jvp(lambda z, t: u(z, s, t), (z, t), (w, torch.ones_like(t)))[1]


def end_slope(u, z, s, t):
    """du/ds at fixed z and t."""
    return jvp(lambda s: u(z, s, t), (s,), (torch.ones_like(s),))[1]


def derivative(c, w, usual="jvp"):
    """D_w u without gradients: exact, or a difference on the line (z + d w, t + d) that stays within s <= t <= 1."""
    kind, delta = c.get("derivative.kind", usual), c.get("derivative.delta", 5e-3)
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
    if kind == "log":
        return torch.log(S + (constant or 0.01)), raw
    if kind == "power":
        return (S + (constant or 1e-12)) ** power, raw
    constant = constant or c.huber * elements**0.5
    return torch.sqrt(S + constant**2) - constant, raw


def normalised(g, constant, rms=False):
    """g / (|g| + c), where c is above 0; |g| of the row, or divided by the root of its number of elements."""
    norm = torch.linalg.vector_norm(g, dim=1, keepdim=True) / (g.shape[1] ** 0.5 if rms else 1)
    return g / (norm + constant) if constant > 0 else g


def corrected(g, c):
    """The correction g = target - u, cut and normalised."""
    return normalised(cut(g, c.get("tangent.clamp_residual", 0.0)), c.get("tangent.normalise", 0.0), c.get("tangent.norm", "row") == "rms")


def cut(x, limit):
    return torch.clamp(x, -limit, limit) if limit > 0 else x


def guarded(d, c):
    """The derivative, cut and scaled; the factor may be a number of each row, which a schedule moves."""
    factor = column(c.numbers["warmup"]) if "warmup" in c.numbers else c.get("tangent.warmup", 1.0)
    return factor * cut(d, c.get("tangent.clamp", 0.0))


def on_path(c, t):
    return (1 - column(t)) * c.z0 + column(t) * c.eps


def sigma(t):
    return t / (1 - t)


def heun(v, z, t, m, steps, solver):
    """The ODE of v from t to m <= t, in equal steps of each row. Without gradients."""
    h = (t - m) / steps
    for k in range(steps):
        now = t - k * h
        slope = v(z, now)
        z = z - column(h) * (slope if solver == "euler" else (slope + v(z - column(h) * slope, now - h)) / 2)
    return sg(z)


def log_variance(c):
    r = c.row["r"]
    return r[0] + r[1] * c.s + r[2] * c.t + r[3] * c.s * c.t


def weighed(rows, c):
    """e^-l L + l with a learned log variance l(s, t), where the setting asks for it."""
    return torch.exp(-log_variance(c)) * rows + log_variance(c) if c.get("row_weight", False) else rows
