"""The losses of consistency models, whose jumps end at data (s = 0), and of their relatives, as the equations read; notation in objective_parts.py."""
import math

import torch

from objective_parts import column, completed, corrected, derivative, entry, guarded, heun, jump, normalised, rho, sg, sigma, weighed


def consistency(c, z_r, u_end):
    """weight |f_{t->0}(z_t) - sg f_{r->0}(z_r)|^2"""
    r = c.numbers["r"]
    rows, raw = rho(jump(c.u, c.z, c.s, c.t) - sg(jump(u_end, z_r, c.s, r)), c)
    return rows * c.numbers["weight"], raw


@entry("ct")
def ct(c):
    """Both points of one noise (w = eps - z0), the end by the target network."""
    return consistency(c, c.z - column(c.t - c.numbers["r"]) * c.w, c.averaged())


@entry("ict")
def ict(c):
    """As CT, the end by the network itself. The pseudo-Huber constant .00054 sqrt(D) is for data of deviation 1/2: twice that here."""
    c.huber = 2 * 0.00054
    return consistency(c, c.z - column(c.t - c.numbers["r"]) * c.w, c.u)


@entry("cd")
def cd(c):
    """z_r is the teacher's: one step from z_t."""
    return consistency(c, heun(c.v_teacher, c.z, c.t, c.numbers["r"], 1, c.get("solver", "heun")), c.averaged())


@entry("ect")
def ect(c):
    """As iCT; where r = 0 the target is the data."""
    r = column(c.numbers["r"])
    end = torch.where(r > 0, jump(c.u, c.z - (column(c.t) - r) * c.w, c.s, r[:, 0]), c.z - column(c.t) * c.w)
    rows, raw = rho(jump(c.u, c.z, c.s, c.t) - sg(end), c)
    return rows * c.numbers["weight"], raw


@completed("ect")
def ect_numbers(c, share):
    """sigma_r = sigma max(0, 1 - q^-(k+1) (1 + 8 sigmoid(-slope sigma))), k the stage, 0 to 8; slope 1 for data of deviation 1/2."""
    first = sigma(c.t)
    k = math.floor(8 * share)
    last = first * torch.clamp(1 - c.get("q", 2.0) ** -(k + 1) * (1 + 8 * torch.sigmoid(-0.5 * first)), min=0)
    return {"r": last / (1 + last), "weight": 1 / (first - last)}


def karras_numbers(c, points, weight):
    """r: one of the N points before t, evenly spaced in sigma^(1/7) between 0.004 and 160."""
    low, high = 0.004 ** (1 / 7), 160 ** (1 / 7)
    last = (sigma(c.t) ** (1 / 7) - (high - low) / (points - 1)) ** 7
    return {"r": last / (1 + last), "weight": 1 / (sigma(c.t) - last) if weight else torch.ones_like(c.t)}


@completed("ct")
def ct_numbers(c, share):
    """N(k) = ceil(sqrt(k/K ((s1 + 1)^2 - s0^2) + s0^2) - 1) + 1, s0 = 2, s1 = 150."""
    return karras_numbers(c, math.ceil(math.sqrt(share * (151**2 - 4) + 4) - 1) + 1, False)


@completed("ict")
def ict_numbers(c, share, total=1000):
    """N(k) = min(s0 2^floor(k / K'), s1) + 1,  K' = floor(K / (log2 floor(s1 / s0) + 1)),  s0 = 10, s1 = 1280."""
    each = math.floor(total / (math.log2(1280 // 10) + 1))
    return karras_numbers(c, min(10 * 2 ** math.floor(share * total / each), 1280) + 1, True)


@completed("cd")
def cd_numbers(c, share):
    return karras_numbers(c, 18, False)


@completed("so_flow")
def so_flow_numbers(c, share):
    """a falls exponentially from 0.1 to 0.002."""
    return {"alpha": torch.where(c.off[:, 0], 0.1 * (0.002 / 0.1) ** share, 1.0)}


@entry("so_flow")
def so_flow(c):
    """|f_{t->s}(z_t) - sg f_{t'->s}(z')|^2 / (a (t-s)^2),  z' = z - a(t-s) w, t' = t - a(t-s); adaptive: S/a (S/a^2 + c)^-p."""
    a = c.numbers["alpha"]
    gap = torch.where(c.off, c.gap, 1.0)
    moved = c.gap * column(a)
    residual = (jump(c.u, c.z, c.s, c.t) - sg(jump(c.u, c.z - moved * c.w, c.s, c.t - moved[:, 0]))) / gap
    residual = torch.where(c.off, residual, c.w - c.v(c.z, c.t))
    scale = torch.where(c.off[:, 0], a, 1.0)
    rows, _ = rho(residual / column(scale), c)
    return rows * scale, sg((residual**2).mean(1))


def scaled_cm(c, w):
    """sCM in velocity form, m = sqrt(k^2 (1-t)^2 + t^2), k the data's deviation:
    g = (k^2 (1-t)^2 / m) (w-u) + r (1-t) t [((t - k^2 (1-t)) / m) (w-u) - m D_w u];  (1/sigma) e^-l mean_sq((m/k)(u - sg u) - sg g^) + l"""
    t, r, k = column(c.t), column(c.numbers["warmup"]), c.get("data_deviation", 1.0)
    m = torch.sqrt(k**2 * (1 - t) ** 2 + t**2)
    u = c.u(c.z, c.s, c.t)
    first = k * (1 - t) * torch.sqrt(1 - (r * t / m) ** 2) if c.get("rcm_warmup", False) else k**2 * (1 - t) ** 2 / m
    g = sg(first * (w - u) + r * (1 - t) * t * ((t - k**2 * (1 - t)) / m * (w - u) - m * derivative(c, w)))
    raw, elements = (g**2).mean(1), g.shape[1]
    rms, constant = c.get("norm", "row") == "rms", c.get("normalise", 0.0)
    g = normalised(g, constant, rms)
    rows = ((m / k * (u - sg(u)) - g) ** 2).mean(1)
    rows = rows / elements if rms and constant > 0 else rows
    rows = rows / sigma(c.t) if c.get("sigma_weight", True) else rows
    return weighed(rows, c), raw


@entry("sct")
def sct(c):
    return scaled_cm(c, c.w)


@entry("scd")
def scd(c):
    return scaled_cm(c, sg(c.v_teacher(c.z, c.t)))


@completed("scd")
@completed("sct")
def sct_numbers(c, share):
    """r rises over a fifth of the training."""
    return {"warmup": torch.full_like(c.t, min(1, share / 0.2))}


@completed("continuous_cm")
def continuous_cm_numbers(c, share):
    return {"warmup": torch.full_like(c.t, c.get("tangent.warmup", 1.0) * min(1, share / c.get("tangent.warmup_over", 0.0)))}


@entry("facm")
def facm(c):
    """|v - w|^2 + cosine (1 - cos(v, w)) + sin(pi t / 2) |u - sg(u - a g)|^2,  g = u - w + t D_w u, a = 1 - (1-t)^p, u with s = 0."""
    v, u = c.v(c.z, c.t), c.u(c.z, c.s, c.t)
    g = sg(u - c.w + c.gap * guarded(derivative(c, c.w), c))
    rows, raw = rho(u - sg(u - (1 - (1 - column(c.t)) ** c.get("power", 0.5)) * corrected(g, c)), c)
    anchor = ((v - c.w) ** 2).mean(1)
    cosine = torch.nn.functional.cosine_similarity(v, c.w, dim=1)
    return torch.sin(torch.pi * c.t / 2) * rows + anchor + c.get("cosine", 0.0) * (1 - cosine), raw + sg(anchor)


@entry("tim")
def tim(c):
    """MeanFlow whose D is a central difference on the path of z0 and eps, times 1 / sqrt(tan t - tan s + 1)."""
    target = c.w - c.gap * derivative(c, c.vh, "central")
    rows, raw = rho(c.u(c.z, c.s, c.t) - sg(target), c)
    return rows / torch.sqrt(torch.tan(c.t) - torch.tan(c.s) + 1), raw
