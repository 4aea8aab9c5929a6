"""The losses of flow-map objectives as their equations read; notation in objective_parts.py. Consistency models: objective_consistency.py."""
import math

import torch
from torch.func import jvp

from objective_parts import (along, column, completed, corrected, cut, derivative, end_slope, entry, guarded, heun, jump, network, on_path, rho, sg, sigma, weighed)


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
    return rho(u - sg(u + corrected(target - u, c)), c)


def guided(c, of_w, of_label, of_null, low, high):
    """of_w w + of_label v(z, t, y) + of_null v(z, t, null) for t in [low, high] on rows with a label, w elsewhere."""
    null, net = 2, c.networks["net"]
    with_label, without = (sg(network(net, c.z, c.t, c.t, y)) for y in (c.y, torch.full_like(c.y, null)))
    acts = (c.t >= low) & (c.t <= high) & (c.y != null)
    return torch.where(column(acts), of_w * c.w + of_label * with_label + of_null * without, c.w)


@entry("improved_mean_flow")
def improved_mean_flow(c):
    """|V - w|^2,  V = u + (t-s) sg(D_v u) along v = sg u(z, t, t); or without the outer sg. Guided: w + (1 - 1/omega) (v(z, t, y) - v(z, t, null))."""
    v, extra = sg(c.v(c.z, c.t)), 1 - 1 / c.get("omega", 1.0)
    c.w = guided(c, 1, extra, -extra, c.get("low", 0.0), c.get("high", 1.0))
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
    y = cut(y, limit)
    rows, raw = rho(c.u(c.z, c.s, c.t) - sg(torch.where(c.off, y, c.w)), c)
    weight = c.numbers["alpha"] if c.get("metric.kind", "l2") == "adaptive" else 1 / c.numbers["alpha"]
    return rows * torch.where(c.off[:, 0], weight, 1.0), raw


@completed("alpha_flow")
def alpha_flow_numbers(c, share):
    """a = 1 - 1 / (1 + exp(-25 (p - 1/2))) over the training."""
    return {"alpha": torch.full_like(c.t, 1 - 1 / (1 + math.exp(-25 * (share - 0.5))))}


@entry("continuous_cm")
def continuous_cm(c):
    """g = df/dt = w - u - r (t-s) D_w u;  |f - sg(f - g)|^2 / 2, whose gradient is g . grad f."""
    u = c.u(c.z, c.s, c.t)
    g = corrected(sg(c.w - u - c.gap * guarded(derivative(c, c.w), c)), c)
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
    rows, raw = rho(torch.where(c.off, u - c.gap * slope - sg(v_end), u - c.w), c)
    return weighed(rows, c), raw


@entry("shortcut")
def shortcut(c):
    """|u(z, s, t) - sg (u1 + u2)/2|^2 of two half jumps by the target network; the state between them and the mean are cut."""
    half, jumps = (c.t - c.s) / 2, c.averaged()
    u1 = jumps(c.z, c.t - half, c.t)
    limit = c.get("clamp", 4.0)
    state = c.z - column(half) * u1
    u2 = jumps(cut(state, limit), c.s, c.t - half)
    return rho(c.u(c.z, c.s, c.t) - torch.where(c.off, cut(sg(u1 + u2) / 2, limit), c.w), c)


@entry("split_mean_flow")
def split_mean_flow(c):
    """m = (1-l) t + l s,  u2 = u(z, m, t),  u1 = u(f_{t->m}(z), s, m),  |u - sg(l u2 + (1-l) u1)|^2"""
    l = c.numbers["split"]
    m = (1 - l) * c.t + l * c.s
    u2 = c.u(c.z, m, c.t)
    u1 = c.u(jump(c.u, c.z, m, c.t), c.s, m)
    rows, raw = rho(c.u(c.z, c.s, c.t) - torch.where(c.off, sg(column(l) * u2 + (1 - column(l)) * u1), c.w), c)
    return weighed(rows, c), raw


@entry("esd")
def esd(c):
    """|b - u - (t-s) D_b u|^2,  b = sg v(z, t); gradients pass through D, or through its time part alone."""
    b = c.w if c.get("velocity", "own") == "source" else sg(c.v(c.z, c.t))
    space = jvp(lambda z: c.u(z, c.s, c.t), (c.z,), (b,))[1]
    time = jvp(lambda t: c.u(c.z, c.s, t), (c.t,), (torch.ones_like(c.t),))[1]
    space = space if c.get("through_space", True) else sg(space)
    u = c.u(c.z, c.s, c.t)
    rows, raw = rho(torch.where(c.off, b - u - c.gap * (space + time), c.w - u), c)
    return weighed(rows, c), raw


@entry("lmd")
def lmd(c):
    """|u - sg(v_phi(f, s) + (t-s) du/ds)|^2"""
    target = c.v_teacher(jump(c.u, c.z, c.s, c.t), c.s) + c.gap * end_slope(c.u, c.z, c.s, c.t)
    return rho(c.u(c.z, c.s, c.t) - sg(torch.where(c.off, target, c.w)), c)


@entry("tvm")
def tvm(c):
    """|d_s f - sg v-(sg f, s)|^2 + |v(z_s', s') - vh|^2 on all rows; the first is 0 where s = t."""
    end = sg(jump(c.u, c.z, c.s, c.t))
    moves = jvp(lambda s: jump(c.u, c.z, s, c.t), (c.s,), (torch.ones_like(c.s),))[1]
    first, raw = rho(torch.where(c.off, moves - sg(c.averaged()(end, c.s, c.s)), 0.0), c)
    at = c.numbers["second_time"]
    z = on_path(c, at)
    second, raw_velocity = rho(c.v(z, at) - c.velocity(z, at), c)
    return first + second, raw + raw_velocity


@entry("flow_map_matching")
def flow_map_matching(c):
    """y = f_{t->s}(z_t);  |d_t f_{s->t}(y) - vh|^2 + |f_{s->t}(y) - z_t|^2,  f_{s->t}(y) = y - (s-t) u(y, t, s)."""
    y = jump(c.u, c.z, c.s, c.t)
    back, slope = jvp(lambda t: jump(c.u, y, t, c.s), (c.t,), (torch.ones_like(c.t),))
    first, raw_moves = rho(slope - c.w, c)
    second, raw_returns = rho(back - c.z, c)
    return first + second, raw_moves + raw_returns


@entry("ctm")
def ctm(c):
    """|a - b|^2,  a = f-_{s->0}(f_{t->s}(z_t)),  b = sg f-_{s->0}(f-_{m->s}(Solve(z_t, t -> m))).
    Rows s = t: Karras' weight (sigma^2 + 1) / sigma^2 times |x - z0|^2, x = z - t v, so that x - z0 = t (w - v). A weight is outside of the metric."""
    m, zero = c.numbers["middle"], torch.zeros_like(c.s)
    a = jump(c.u_target, jump(c.u, c.z, c.s, c.t), zero, c.s)
    solved = heun(c.v_teacher, c.z, c.t, m, c.get("solver_steps", 4), c.get("solver", "heun"))
    b = sg(jump(c.u_target, jump(c.u_target, solved, c.s, m), zero, c.s))
    rows, raw = rho(torch.where(c.off, a - b, c.v(c.z, c.t) - c.w), c)
    karras = (sigma(c.t) ** 2 + 1) / sigma(c.t) ** 2 * c.t**2 * c.get("diagonal_weight", 1.0)
    return rows * torch.where(c.off[:, 0], 1.0, karras), raw


@completed("imm")
def imm_numbers(c, share):
    """r = max(s, eta_r / (1 + eta_r)), eta_r = t/(1-t) - 160 / 2^k;  .5 sigmoid(b - l) (-dl/dt) (1-t)^a / ((1-t)^2 + t^2), l = 2 log((1-t)/t)."""
    t = c.t.clone().requires_grad_()
    l = 2 * torch.log((1 - t) / t)
    slope, = torch.autograd.grad(l.sum(), t)
    both = (1 - c.t) ** 2 + c.t**2
    eta = sigma(c.t) - 160 / 2 ** c.get("halvings", 12)
    scale = c.t if c.get("scale", "time") == "time" else c.get("deviation", 1.0) * c.t / torch.sqrt(both)
    return {"middle": torch.maximum(c.s, eta / (1 + eta)), "width": scale * c.z.shape[1],
            "weight": 0.5 * torch.sigmoid(c.get("bias", 5.0) - sg(l)) * -slope * (1 - c.t) ** c.get("power", 1.0) / both}


@entry("imm")
def imm(c):
    """Groups of M rows of one (s, r, t): weight mean_jk [k(y_j, y_k) - 2 k(y_j, y'_k) + k(y'_j, y'_k)],  y = f_{t->s}(z_t), y' = sg f_{r->s}(z_r),
    k = exp(-max(|.|, 1e-8) / (D c_out)). The raw number of a row is its group's distance over M."""
    M, r = c.get("group", 4), c.numbers["middle"]
    y, other = jump(c.u, c.z, c.s, c.t), sg(jump(c.u, on_path(c, r), c.s, r))
    rows, raw = [], []
    for first in range(0, len(r), M):
        def kernel(a, b):
            return torch.exp(-max(torch.linalg.vector_norm(a - b), torch.tensor(1e-8)) / c.numbers["width"][first])
        group = range(first, first + M)
        total = sum(kernel(y[j], y[k]) - 2 * kernel(y[j], other[k]) + kernel(other[j], other[k]) for j in group for k in group) / M**2
        rows += [c.numbers["weight"][first] * total] * M
        raw += [sg(total) / M] * M
    return torch.stack(rows), torch.stack(raw)


@entry("guided_mean_flow")
def guided_mean_flow(c):
    """MeanFlow with w = omega vh + kappa v(z, t, y) + (1 - omega - kappa) v(z, t, null) for t in [low, high] and rows with a label; vh elsewhere."""
    omega, kappa = c.get("omega", 0.2), c.get("kappa", 0.92)
    c.w = guided(c, omega, kappa, 1 - omega - kappa, c.get("low", 0.0), c.get("high", 0.75))
    return mean_flow(c)
