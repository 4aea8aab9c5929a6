# How the time of a training step grows with batch, depth and tokens, and what a second thread brings; of this engine alone.
#
#   python tests/peers/scaling.py --bench build/tests/bench/bench_step --kind jvp --rounds 5
#   python tests/peers/scaling.py --bench build/tests/bench/bench_step --steps s256 --batch 4 --rounds 7
#
# The second form: flow matching, MeanFlow by JVP and by finite difference of one model (steps.py's) in turn, as medians of ratios.
#
# DiT^DH of width 192, head 2 x 384. Each point is the smallest time of the rounds, in which all points take turns. "fit" is the straight line
# through all points by least squares, with the largest part by which a point is off it; tokens are fitted by a + b n + c n^2.
import argparse
import os
import tempfile

import numpy

import steps

BASE = dict(zip(steps.FIELDS, (192, 8, 3, 384, 2, 6, 8, 192, 1000)))


def server(arguments, folder, batch, threads, **changed):
    sizes = argparse.Namespace(**{**BASE, **changed})
    os.makedirs(folder)
    steps.write_case(folder, sizes, batch)
    command = [arguments.bench, "--folder", folder, "--precision", arguments.precision, "--threads", str(threads)] + steps.size_options(sizes)
    return steps.Server(command)


def fitted(x, y, degree):
    x, y = numpy.array(x, float), numpy.array(y)
    p = numpy.polyfit(x, y, degree)
    off = numpy.abs(numpy.polyval(p, x) / y - 1).max()
    terms = " + ".join(f"{c:.3g}" + (f" n^{degree - i}" if i < degree - 1 else " n" if i == degree - 1 else "") for i, c in enumerate(p))
    return f"fit {terms}, off by {100 * off:.1f} % at most"


def compare_steps(arguments):
    with tempfile.TemporaryDirectory() as folder:
        sizes = argparse.Namespace(**dict(zip(steps.FIELDS, steps.MODELS[arguments.steps])))
        s = server(arguments, os.path.join(folder, "case"), arguments.batch, 2, **vars(sizes))
        kinds = ("fm", "jvp", "fd")
        for kind in kinds:
            s.call(kind)
        rounds = [{kind: s.call(kind) for kind in kinds} for _ in range(arguments.rounds)]
        s.end()
    for a, b in (("jvp", "fm"), ("jvp", "fd")):
        ratios = [r[a]["seconds"] / r[b]["seconds"] for r in rounds]
        print(f"{arguments.steps}, batch {arguments.batch}, {arguments.precision}: {a} / {b} time {numpy.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    for kind in kinds:
        print(f"{kind}: {numpy.median([r[kind]['seconds'] for r in rounds]):.2f} s, " + ", ".join(f"{k} {v:g}" for k, v in rounds[-1][kind].items() if k != "seconds"))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bench", required=True)
    p.add_argument("--kind", default="jvp", choices=steps.KINDS)
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", choices=list(steps.MODELS), help="compare the steps of this model instead")
    p.add_argument("--batch", type=int, default=4)
    arguments = p.parse_args()
    if arguments.steps:
        return compare_steps(arguments)
    groups = {
        "batch": [(b, dict(batch=b, threads=2)) for b in (8, 16, 32, 64)],
        "depth": [(d, dict(batch=16, threads=2, depth=d)) for d in (4, 8, 16, 24)],
        "tokens": [(g * g, dict(batch=4, threads=2, grid=g)) for g in (8, 16, 24, 32)],
        "threads": [(t, dict(batch=32, threads=t)) for t in (1, 2)],
    }
    for name, points in groups.items():
        with tempfile.TemporaryDirectory() as folder:
            servers = [server(arguments, os.path.join(folder, str(i)), **options) for i, (_, options) in enumerate(points)]
            for s in servers:
                s.call(arguments.kind)
            times = [[s.call(arguments.kind)["seconds"] for s in servers] for _ in range(arguments.rounds)]
            for s in servers:
                s.end()
        best = [min(column) for column in zip(*times)]
        line = ", ".join(f"{x}: {t:.3f} s" for (x, _), t in zip(points, best))
        if name == "threads":
            print(f"threads  {line}; {best[0] / best[1]:.2f} times as fast", flush=True)
        else:
            print(f"{name:8} {line}; {fitted([x for x, _ in points], best, 2 if name == 'tokens' else 1)}", flush=True)


main()
