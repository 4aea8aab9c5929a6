# Training and sampling steps of this engine beside PyTorch (eager, torch.compile) and JAX (jit): the same model, weights, batch and threads,
# each in a process of its own, called in turn. Gradients (or samples) must agree before anything is timed.
#
#   python tests/peers/steps.py --bench build/tests/bench/bench_step --model s256 --batch 8 --peers eager,compile,jax --pairs 5
#
# Ratios are medians over pairs of calls in turn, with the smallest and largest: below 1 this engine takes less. Memory is resident memory
# at its highest within a step, less that of the process before it made its models: weights, gradients, both moments, average, teacher (in
# all of them) and activations. Processes start anew for each kind of step. Needs PyTorch 2.4+ and JAX (pip install torch numpy jax).
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

import mlp
import peer
from golden import models as m

import torch

MODELS = {  # width, depth, heads, head_width, head_depth, head_heads, grid, channels, classes
    "quickstart": (128, 4, 4, 128, 2, 4, 4, 64, 10),
    "narrow64": (192, 12, 3, 384, 2, 6, 8, 192, 1000),
    "narrow256": (192, 12, 3, 384, 2, 6, 16, 192, 1000),
    "s64": (384, 12, 6, 2048, 2, 16, 8, 768, 1000),
    "s256": (384, 12, 6, 2048, 2, 16, 16, 768, 1000),
    "mlp": (1024, 8, 0, 0, 0, 0, 4, 64, 10),                                   # no heads: mlp.py
}
FIELDS = ("width", "depth", "heads", "head_width", "head_depth", "head_heads", "grid", "channels", "classes")
KINDS = ("fm", "jvp", "fd", "mfd", "cmt", "sample", "euler")
PAUSE = 0.3                                                        # seconds until the other side's threads, which spin for a while, are asleep
HERE = os.path.dirname(os.path.abspath(__file__))


def random_weights(sizes, seed):
    """Gaussian, products with the deviation 1 / sqrt(fan-in), modulations small: a network whose derivative is of the size of its value."""
    c = peer.sizes(sizes, mean_flow=seed == 1)
    g, fixed = torch.Generator().manual_seed(seed), m.fixed_tables(c) if c.heads else {}
    weights = {}
    for name, shape in m.dit_shapes(c) if c.heads else mlp.shapes(c):
        if name in fixed:
            weights[name] = fixed[name]
        elif name.endswith("weight") and "norm" in name:
            weights[name] = torch.ones(shape)
        elif name.endswith(".W"):
            weights[name] = torch.empty(shape).normal_(0, 1, generator=g)
        else:
            small = "adaLN" in name or name.endswith("bias") or "table" in name
            fan_in = max(1, torch.Size(shape[1:]).numel())
            weights[name] = torch.empty(shape).normal_(0, 0.02 if small else fan_in**-0.5, generator=g)
    if c.width == c.head_width:
        weights = {n: t for n, t in weights.items() if not n.startswith("s_projector")}
    return {n: t.numpy() for n, t in weights.items()}


def random_batch(sizes, rows):
    g = torch.Generator().manual_seed(3)
    shape = (rows, sizes.channels, sizes.grid, sizes.grid)
    t, k = torch.linspace(0.9, 0.2, rows), max(1, rows // 4)
    s = torch.where(torch.arange(rows) < k, t * 0.4, t)
    return {"z0": torch.empty(shape).normal_(generator=g).numpy(), "eps": torch.empty(shape).normal_(generator=g).numpy(), "t": t.numpy(),
            "s": s.numpy(), "y": torch.randint(0, sizes.classes, (rows,), generator=g).numpy()}


def write_case(folder, sizes, batch):
    """What every side reads: weights of student and teacher, and the batch."""
    peer.write_safetensors(os.path.join(folder, "weights.safetensors"), random_weights(sizes, 1))
    peer.write_safetensors(os.path.join(folder, "teacher.safetensors"), random_weights(sizes, 2))
    peer.write_safetensors(os.path.join(folder, "batch.safetensors"), random_batch(sizes, batch))


def size_options(sizes):
    return [word for field in FIELDS for word in ("--" + field.replace("_", "-"), str(getattr(sizes, field)))]


class Server:
    def __init__(self, command, environment=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.version = self.reply()

    def reply(self):
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{self.process.args[0]} ended with {self.process.wait()}")
        return line

    def call(self, words, pause=0):
        time.sleep(pause)
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        w = self.reply().split()
        return {w[i]: float(w[i + 1]) for i in range(0, len(w), 2)}

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def peer_environment():
    drop = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")             # set on some machines; they slow a BLAS down
    return {k: v for k, v in os.environ.items() if k not in drop}


def difference(a, b):
    """Norm of the difference of two files over the norm of the second; what only one of them has counts."""
    a, b = peer.read_safetensors(a), peer.read_safetensors(b)
    names = set(a) | set(b)
    zero = numpy.zeros(1, numpy.float32)
    off = sum(float(((a.get(n, zero).astype(numpy.float64) - b.get(n, zero)) ** 2).sum()) for n in names)
    return (off / sum(float((x.astype(numpy.float64) ** 2).sum()) for x in b.values())) ** 0.5


def compare(kind, ours_command, peer_command, arguments, folder):
    ours, theirs = Server(ours_command), Server(peer_command, peer_environment())
    try:
        a, b = ours.call(kind + " save"), theirs.call(kind + " save")
        error = difference(os.path.join(folder, kind + ".safetensors"), os.path.join(folder, f"peer_{kind}.safetensors"))
        limit = arguments.tolerance or (1e-4 if arguments.precision == "f32" else 1e-1)
        if not error < limit:
            raise SystemExit(f"{kind}: results differ by {error:.2e} (losses {a['loss']:.6g} and {b['loss']:.6g}): nothing was timed")
        for _ in range(2):
            theirs.call(kind), ours.call(kind)
        rows = [(theirs.call(kind, PAUSE), ours.call(kind, PAUSE)) for _ in range(arguments.pairs)]
    finally:
        ours.end(), theirs.end()
    ratios = sorted(o["seconds"] / t["seconds"] for t, o in rows)
    return {"version": theirs.version.removeprefix("ready "), "error": error, "ours": statistics.median(o["seconds"] for _, o in rows),
            "theirs": statistics.median(t["seconds"] for t, _ in rows), "ratio": statistics.median(ratios), "low": ratios[0],
            "high": ratios[-1], "mib": max(o["peak"] for _, o in rows), "their_mib": max(t["peak"] for t, _ in rows)}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bench", required=True)
    p.add_argument("--model", default="s256", choices=MODELS)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    p.add_argument("--peers", default="eager,compile,jax")
    p.add_argument("--kinds", default=",".join(KINDS))
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--tolerance", type=float, help="largest difference of results; 1e-4 in f32, 0.1 in bf16")
    arguments = p.parse_args()
    sizes = argparse.Namespace(**dict(zip(FIELDS, MODELS[arguments.model])))
    with tempfile.TemporaryDirectory() as folder:
        write_case(folder, sizes, arguments.batch)
        common = ["--folder", folder, "--precision", arguments.precision, "--threads", str(arguments.threads)] + size_options(sizes)
        print(f"{arguments.model}, batch {arguments.batch}, {arguments.precision}, {arguments.threads} threads, {arguments.pairs} pairs")
        print("| step | peer | difference | flowmap, s | peer, s | ratio | smallest to largest | flowmap, MiB | peer, MiB | ratio |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        versions = set()
        for kind in arguments.kinds.split(","):
            for name in arguments.peers.split(","):
                script = "jax_steps.py" if name == "jax" else "torch_steps.py"
                command = [sys.executable, os.path.join(HERE, script), "--compile", str(int(name == "compile"))] + common
                r = compare(kind, [arguments.bench] + common, command, arguments, folder)
                versions.add(r["version"])
                print(f"| {kind} | {name} | {r['error']:.1e} | {r['ours']:.3f} | {r['theirs']:.3f} | {r['ratio']:.2f} | {r['low']:.2f} to "
                      f"{r['high']:.2f} | {r['mib']:.0f} | {r['their_mib']:.0f} | {r['mib'] / r['their_mib']:.2f} |", flush=True)
        print("; ".join(sorted(versions)))


if __name__ == "__main__":
    main()
