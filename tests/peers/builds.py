# Two builds of this engine beside each other: the same steps of bench_step in turn, so that a change's cost is a ratio within one run.
#
#   python tests/peers/builds.py --before old/tests/bench/bench_step --after build/tests/bench/bench_step --models quickstart,s64 --kinds jvp
#
# Each pair of calls takes turns in who is first. Prints the median of ratios after / before with the smallest and largest, the ratio of the
# best times (what a busy machine disturbs least), peak memory, and how far results differ (0: the same bits).
import argparse
import os
import statistics
import tempfile

import steps

MODELS = {**steps.MODELS, "deep": (192, 28, 3, 384, 2, 6, 8, 192, 1000)}      # as many blocks as the published sizes B to XL


def compare(kind, before_command, after_command, pairs, folder):
    before, after = steps.Server(before_command), steps.Server(after_command)
    try:
        saved = []
        for side in (before, after):
            side.call(kind + " save")
            saved.append(os.path.join(folder, f"saved_{len(saved)}.safetensors"))
            os.replace(os.path.join(folder, kind + ".safetensors"), saved[-1])
        error = steps.difference(saved[1], saved[0])
        for _ in range(2):
            before.call(kind), after.call(kind)
        rows = []
        for i in range(pairs):
            order = (before, after) if i % 2 == 0 else (after, before)
            first, second = (side.call(kind, steps.PAUSE) for side in order)
            rows.append((first, second) if i % 2 == 0 else (second, first))
    finally:
        before.end(), after.end()
    ratios = sorted(a["seconds"] / b["seconds"] for b, a in rows)
    least = [min(r[side]["seconds"] for r in rows) for side in (0, 1)]
    most = [max(r[side]["peak"] for r in rows) for side in (0, 1)]
    return (f"| {kind} | {error:.1e} | {statistics.median(b['seconds'] for b, _ in rows):.4f} | {statistics.median(a['seconds'] for _, a in rows):.4f} | "
            f"{statistics.median(ratios):.3f} | {ratios[0]:.3f} to {ratios[-1]:.3f} | {least[1] / least[0]:.3f} | {most[0]:.0f} | {most[1]:.0f} | "
            f"{most[1] / most[0]:.3f} |")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--before", required=True)
    p.add_argument("--after", required=True)
    p.add_argument("--models", default="quickstart,narrow64,s64,mlp")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    p.add_argument("--kinds", default="jvp")
    p.add_argument("--pairs", type=int, default=20)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = p.parse_args()
    for model in arguments.models.split(","):
        sizes = argparse.Namespace(**dict(zip(steps.FIELDS, MODELS[model])))
        with tempfile.TemporaryDirectory() as folder:
            steps.write_case(folder, sizes, arguments.batch)
            common = ["--folder", folder, "--precision", arguments.precision, "--threads", str(arguments.threads)] + steps.size_options(sizes)
            print(f"{model}, batch {arguments.batch}, {arguments.precision}, {arguments.threads} threads, {arguments.pairs} pairs")
            print("| step | difference | before, s | after, s | ratio | smallest to largest | of best times | before, MiB | after, MiB | ratio |")
            print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
            for kind in arguments.kinds.split(","):
                print(compare(kind, [arguments.before] + common, [arguments.after] + common, arguments.pairs, folder), flush=True)


if __name__ == "__main__":
    main()
