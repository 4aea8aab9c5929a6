"""Loss and parameter gradient of each objective, by PyTorch in float64: python3 tests/golden/objectives.py > tests/golden/objectives.txt

The formulas are in objective_formulas.py and objective_consistency.py, written from the papers' equations. Here: a small network, a target network and a
teacher of the same form, a log variance of (s, t), points on the path, and the cases. What is random is rounded to three decimals, so that the file holds
what was computed with. tests/flowmap/objective_golden.cpp computes the same cases with flowmap/objective. In objectives.txt:

  NETWORK.PARAMETER ...              net, target, teacher (w1 b1 w2 b2 w3 table) and row: l = r0 + r1 s + r2 t + r3 s t
  INPUTS.z0 / eps / s / t / y ...    rows with s < t first; z where it is not (1-t) z0 + t eps
  trajectory ...                     (times, rows, DIM): the teacher's states from the noise of "pairs"
  case NAME entry=... inputs=... w=... KEY=VALUE ...      what differs from the entry's defaults
                                     variant=V: Drawn::variant;  now=STEP/TOTAL: the entry makes its numbers, as at that step
  NAME.number.KEY ...                numbers of the entry's own
  NAME.completed.KEY ...             those that the entry should have made itself
  NAME.loss / raw / gradient ...     the loss, the mean square of each row's residual, d loss / d net (and row, where it is in the loss)
"""
import torch

import objective_consistency  # noqa: F401 (its entries)
import objective_formulas  # noqa: F401
from objective_parts import ENTRIES, NUMBERS, Case, column, network

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
DIM, WIDTH, LABELS = 3, 5, 3                                # label 2 stands for "none"
random = torch.Generator().manual_seed(20)


def normal(*shape, scale=1.0):
    return (scale * torch.randn(*shape, generator=random)).mul(1000).round() / 1000


def new_network():
    return {"w1": normal(WIDTH, DIM + 2, scale=0.8), "b1": normal(WIDTH, scale=0.4), "w2": normal(WIDTH, WIDTH, scale=0.8), "b2": normal(WIDTH, scale=0.4),
            "w3": normal(DIM, WIDTH, scale=0.8), "table": normal(LABELS, WIDTH, scale=0.6)}


def points(s, t):
    n = len(t)
    return {"z0": normal(n, DIM), "eps": normal(n, DIM), "s": torch.tensor(s), "t": torch.tensor(t), "y": torch.arange(n) % LABELS}


NETWORKS = {"net": new_network(), "target": new_network(), "teacher": new_network(), "row": {"r": torch.tensor([0.3, -0.4, 0.5, 0.7])}}
# One t within 0.005 of 1, one t - s below 0.005: where differences are cut.
INPUTS = {"pairs": points([0.0, 0.2, 0.35, 0.4, 0.1, 0.55, 0.25, 0.8], [0.3, 0.9, 0.6, 0.403, 0.998, 0.75, 0.25, 0.8]),
          "diagonal": points([0.05, 0.3, 0.5, 0.7, 0.85, 0.97], [0.05, 0.3, 0.5, 0.7, 0.85, 0.97]),
          "to_data": points([0.0] * 6, [0.08, 0.25, 0.45, 0.6, 0.8, 0.999]),
          "grid": points([0.0] * 6, [0.08, 0.25, 0.45, 0.6, 0.8, 0.97]),
          "groups": points([0.1] * 4 + [0.3] * 4, [0.7] * 4 + [0.85] * 4),
          "any": points([0.0, 0.2, 0.35, 0.9, 0.6, 0.75], [0.3, 0.9, 0.6, 0.4, 0.1, 0.75])}


def trajectory_pairs():
    """Two states of Euler's trajectory of the teacher from the noise of "pairs", on the times 1, 0.8, 0.45, 0.1: between them the chords."""
    x = INPUTS["pairs"]
    times, states = [1.0, 0.8, 0.45, 0.1], [x["eps"]]
    for now, then in zip(times, times[1:]):
        t = torch.full((len(x["y"]),), now)
        states.append(states[-1] - (now - then) * network(NETWORKS["teacher"], states[-1], t, t, x["y"]))
    chosen = [(0, 1), (0, 3), (1, 2), (2, 3), (1, 3), (0, 2), (2, 3), (0, 3)]                 # from the noisier state
    start, end = (torch.stack([states[pair[i]][row] for row, pair in enumerate(chosen)]) for i in (0, 1))
    t, s = (torch.tensor([times[pair[i]] for pair in chosen]) for i in (0, 1))
    INPUTS["chords"] = {**x, "s": s, "t": t, "z": start}
    return {"target": (start - end) / column(t - s)}, torch.stack(states)


CHORDS, STATES = trajectory_pairs()
SPLIT = {"split": torch.tensor([0.5, 0.2, 0.7, 0.4, 0.9, 0.35, 0.6, 0.1])}
ALPHA = {"alpha": torch.tensor([0.5, 0.2, 0.7, 0.4, 0.9, 0.1, 0.6, 0.3])}


STEPS = {"alpha": torch.tensor([0.5, 0.2, 0.7, 0.4, 0.9, 0.1, 1.0, 1.0])}
MIDDLE = {"middle": torch.tensor([0.1, 0.75, 0.35, 0.401, 0.6, 0.7, 0.25, 0.8])}
SECOND = {"second_time": torch.tensor([0.2, 0.9, 0.05, 0.4, 0.75, 0.5, 0.6, 0.99])}
EARLIER = {"r": torch.tensor([0.07, 0.1, 0.4, 0.0, 0.75, 0.9]), "weight": torch.tensor([1.0, 0.5, 2.0, 1.5, 0.7, 0.1])}
RISING = {"warmup": torch.tensor([0.0, 0.3, 1.0, 0.8, 0.5, 1.0])}


def of_rows(value, rows=8):
    return torch.full((rows,), float(value))


# name of the case, entry, inputs, velocity, settings, numbers
CASES = [
    ("flow_matching", "diagonal", "one-point", "", {}),
    ("flow_matching", "diagonal", "teacher", "metric.kind=pseudo_huber metric.c=0.4", {}),
    ("cmt", "chords", "one-point", "", CHORDS),
    ("cmt", "chords", "one-point", "metric.kind=adaptive", CHORDS),
    ("mean_flow", "pairs", "one-point", "", {}),
    ("mean_flow", "pairs", "teacher", "derivative.kind=central metric.kind=adaptive metric.p=0.75", {}),
    ("mean_flow", "pairs", "blend=0.3", "tangent.clamp=0.3 tangent.warmup=0.7 tangent.normalise=0.1", {}),
    ("mean_flow", "pairs", "one-point", "derivative.kind=semi metric.kind=pseudo_huber metric.reduction=mean", {}),
    ("mean_flow", "pairs", "one-point", "derivative.kind=forward metric.kind=squared_adaptive", {}),
    ("mean_flow", "pairs", "teacher", "derivative.kind=backward derivative.delta=0.02 metric.kind=adaptive metric.reduction=mean metric.c=0.5", {}),
    ("improved_mean_flow", "pairs", "one-point", "", {}),
    ("improved_mean_flow", "pairs", "teacher", "through_derivative=true metric.kind=adaptive", {}),
    ("improved_mean_flow", "pairs", "one-point", "derivative.kind=central", {}),
    ("improved_mean_flow", "pairs", "one-point", "omega=2.5 low=0.28 high=0.95", {}),
    ("alpha_flow", "pairs", "one-point", "clamp=0", ALPHA),
    ("alpha_flow", "pairs", "teacher", "clamp=0.4 metric.kind=adaptive", ALPHA),
    ("alpha_flow", "pairs", "one-point", "clamp=0.4 variant=2", {"alpha": of_rows(1)}),
    ("alpha_flow", "pairs", "one-point", "variant=1", {"alpha": of_rows(0)}),
    ("alpha_flow", "pairs", "one-point", "now=450/1000", {}),
    ("continuous_cm", "to_data", "one-point", "", {}),
    ("continuous_cm", "to_data", "one-point", "tangent.normalise=0.1 tangent.warmup=0.6 derivative.kind=central", {}),
    ("continuous_cm", "pairs", "teacher", "tangent.clamp=0.3 metric.kind=adaptive", {}),
    ("continuous_cm", "to_data", "one-point", "now=100/1000 tangent.warmup=0.99 tangent.warmup_over=0.2 tangent.normalise=0.1 tangent.norm=rms", {}),
    ("lsd", "pairs", "one-point", "", {}),
    ("lsd", "pairs", "one-point", "through_derivative=false metric.kind=adaptive", {}),
    ("lsd", "pairs", "teacher", "end_velocity=teacher", {}),
    ("lsd", "pairs", "one-point", "row_weight=true metric.kind=adaptive", {}),
    ("shortcut", "pairs", "one-point", "", {}),
    ("shortcut", "pairs", "teacher", "clamp=0.5 metric.kind=pseudo_huber", {}),
    ("shortcut", "pairs", "one-point", "target_decay=0", {}),
    ("split_mean_flow", "pairs", "one-point", "", SPLIT),
    ("split_mean_flow", "pairs", "teacher", "metric.kind=adaptive", SPLIT),
    ("split_mean_flow", "pairs", "one-point", "row_weight=true", SPLIT),
    ("so_flow", "pairs", "one-point", "", STEPS),
    ("so_flow", "pairs", "teacher", "metric.kind=adaptive metric.reduction=mean metric.p=0.5", STEPS),
    ("so_flow", "pairs", "one-point", "now=200/1000", {}),
    ("ct", "to_data", "one-point", "", EARLIER),
    ("ct", "grid", "one-point", "now=300/1000 metric.kind=log", {}),
    ("ct", "to_data", "one-point", "target_decay=0", EARLIER),
    ("ict", "grid", "one-point", "now=400/1000 metric.kind=pseudo_huber", {}),
    ("cd", "to_data", "one-point", "", EARLIER),
    ("cd", "grid", "one-point", "now=0/1000 solver=euler", {}),
    ("ect", "grid", "one-point", "now=0/1000 metric.kind=power metric.p=0.5", {}),
    ("ect", "grid", "teacher", "now=600/1000", {}),
    ("esd", "pairs", "one-point", "", {}),
    ("esd", "pairs", "teacher", "through_space=false metric.kind=adaptive", {}),
    ("esd", "pairs", "one-point", "velocity=source", {}),
    ("esd", "pairs", "one-point", "row_weight=true", {}),
    ("lmd", "pairs", "one-point", "", {}),
    ("tvm", "pairs", "one-point", "", SECOND),
    ("tvm", "pairs", "teacher", "metric.kind=adaptive", SECOND),
    ("tvm", "pairs", "one-point", "target_decay=0", SECOND),
    ("flow_map_matching", "any", "one-point", "", {}),
    ("flow_map_matching", "any", "teacher", "metric.kind=pseudo_huber metric.c=0.5", {}),
    ("ctm", "pairs", "one-point", "solver_steps=2", MIDDLE),
    ("ctm", "pairs", "teacher", "solver=euler solver_steps=3 diagonal_weight=0.3 metric.kind=adaptive", MIDDLE),
    ("imm", "groups", "one-point", "now=0/1 halvings=8", {}),
    ("imm", "groups", "one-point", "now=0/1 halvings=6 group=2 power=2 bias=3 scale=edm deviation=0.5", {}),
    ("guided_mean_flow", "pairs", "one-point", "", {}),
    ("guided_mean_flow", "pairs", "teacher", "omega=0.5 kappa=0.3 low=0.28 high=0.95 metric.kind=adaptive", {}),
    ("sct", "to_data", "one-point", "", RISING),
    ("sct", "to_data", "one-point", "data_deviation=0.5 normalise=0.1 norm=rms row_weight=true", RISING),
    ("sct", "to_data", "teacher", "data_deviation=0.5 rcm_warmup=true sigma_weight=false derivative.kind=central", RISING),
    ("scd", "to_data", "one-point", "normalise=0.1 row_weight=true now=50/1000", {}),
    ("facm", "to_data", "one-point", "", {}),
    ("facm", "to_data", "teacher", "cosine=1 power=0.7 tangent.clamp_residual=0.3 metric.kind=adaptive metric.reduction=mean metric.c=1e-3 metric.p=0.5", {}),
    ("tim", "pairs", "one-point", "", {}),
    ("tim", "pairs", "teacher", "metric.kind=adaptive metric.reduction=mean metric.c=1e-5", {}),
]


def show(name, values):
    print(name, *(f"{v:.13g}" for v in values.reshape(-1).tolist()))


def compute(name, entry, inputs, velocity, settings, numbers):
    networks = {k: {q: x.clone().requires_grad_(k in ("net", "row")) for q, x in of.items()} for k, of in NETWORKS.items()}
    settings = dict(word.split("=", 1) for word in settings.split())
    case = Case(INPUTS[inputs], networks, settings, numbers, velocity)
    made = {}
    if "now" in settings:
        step, total = settings["now"].split("/")
        made = NUMBERS[entry](case, int(step) / int(total))
        case.numbers = made | numbers
    rows, raw = ENTRIES[entry](case)
    assert settings.keys() <= case.asked, f"{name}: its formula has no {settings.keys() - case.asked}"
    trained = [x for k in ("net", "row") for x in networks[k].values()]
    gradients = torch.autograd.grad(rows.mean(), trained, allow_unused=True)
    print("case", name, f"entry={entry} inputs={inputs} w={velocity}", *(f"{k}={v}" for k, v in settings.items()))
    for key, x in numbers.items():
        show(f"{name}.number.{key}", x)
    for key, x in made.items():
        show(f"{name}.completed.{key}", x)
    show(f"{name}.loss", rows.mean().detach())
    show(f"{name}.raw", raw)
    net = [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, trained)][:-1]
    show(f"{name}.gradient", torch.cat([g.reshape(-1) for g in net + ([] if gradients[-1] is None else [gradients[-1]])]))


for of in (NETWORKS, INPUTS):
    for name, tensors in of.items():
        for key, x in tensors.items():
            show(f"{name}.{key}", x)
show("trajectory", STATES)
count = {}
for case in CASES:
    count[case[0]] = count.get(case[0], 0) + 1
    compute(f"{case[0]}/{count[case[0]]}", *case)
