# One-step sampling at full size beside PyTorch: DiT^DH (MeanFlow) and RAE's ViT decoder with the same random weights, noise and labels, in
# f32 or bf16, on the same threads, call by call in turn. Outputs must agree before anything is timed.
#
#   python tests/peers/sampling.py --bench build/tests/bench/bench_sampling --size XL --decoder XL --batch 1 --precision f32 --pairs 7
#
# Needs PyTorch 2.4 or later (pip install torch numpy), 8 GiB of disk in --folder and 14 GiB of memory for XL. bench_sampling: ninja -C build.
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):          # set on some machines; they slow a BLAS down
    os.environ.pop(name, None)

import numpy
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
import models as m

DIT = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}
DECODER = {"B": (768, 12, 12, 3072), "L": (1024, 24, 16, 4096), "XL": (1152, 28, 16, 4096)}


def random_weights(shapes, fixed):
    """Gaussian with the deviation of a linear layer's usual initial values, also where a fresh model has zeros."""
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for name, shape in shapes:
        if name in fixed:
            weights[name] = fixed[name]
        elif name.endswith("weight") and "norm" in name:
            weights[name] = torch.ones(shape)
        else:
            fan_in = max(1, torch.Size(shape[1:]).numel()) if len(shape) > 1 else 256
            weights[name] = torch.empty(shape).normal_(0, fan_in**-0.5 / 3**0.5, generator=generator)
    return weights


def in_precision(weights, precision):
    """bf16: everything but the tables that are read as numbers."""
    if precision == "f32":
        return weights
    return {name: t.to(torch.bfloat16) for name, t in weights.items()}


class Ours:
    def __init__(self, arguments, folder):
        command = [arguments.bench, "--size", arguments.size, "--decoder", arguments.decoder, "--batch", str(arguments.batch), "--precision",
                   arguments.precision, "--weights", folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.loading = self.process.stdout.readline().strip()

    def call(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        return {words[i]: float(words[i + 1]) for i in range(0, len(words), 2)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", required=True)
    parser.add_argument("--size", default="XL")
    parser.add_argument("--decoder", default="XL")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--folder", help="where the weights go; a temporary folder by default")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)

    width, depth, heads = DIT[arguments.size]
    c = m.Sizes(side=16, channels=768, width=width, depth=depth, heads=heads, head_width=2048, head_depth=2, head_heads=16, classes=1000,
                mean_flow=True)
    width, depth, heads, hidden = DECODER[arguments.decoder]
    d = m.Sizes(side=16, channels=768, width=width, depth=depth, heads=heads, mlp_width=hidden, patch=16, eps=1e-12)
    weights = random_weights(m.dit_shapes(c), m.fixed_tables(c))
    decoder = random_weights(m.decoder_shapes(d), {"decoder_pos_embed": m.sin_cos_positions(16, d.width, True)})

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name, tensors in (("dit", weights), ("decoder", decoder)):
            shapes = [(key, tuple(t.shape)) for key, t in tensors.items()]
            m.save_safetensors(os.path.join(folder, name + ".safetensors"), shapes, lambda key, _: tensors[key])
        ours = Ours(arguments, folder)
        first = ours.call()
        made = {name: torch.from_numpy(numpy.load(os.path.join(folder, name + ".npy"))) for name in ("noise", "image")}

        weights, decoder = in_precision(weights, arguments.precision), in_precision(decoder, arguments.precision)
        dtype = torch.float32 if arguments.precision == "f32" else torch.bfloat16
        dit = torch.compile(m.dit) if arguments.compile else m.dit
        decode = torch.compile(m.decode) if arguments.compile else m.decode
        noise, labels = made["noise"].to(dtype), torch.full((arguments.batch,), 207)
        one, zero = torch.ones(arguments.batch, dtype=dtype), torch.zeros(arguments.batch, dtype=dtype)

        def theirs():
            start = time.perf_counter()
            z = noise - dit(weights, c, noise, one, labels, zero)
            middle = time.perf_counter()
            image = decode(decoder, d, z.flatten(2).transpose(1, 2))
            return middle - start, time.perf_counter() - middle, image

        image = theirs()[2].float()
        error = ((image - made["image"]).norm() / image.norm()).item()
        print(f"{ours.loading}; relative difference of the images {error:.2e}")
        if not error < (1e-4 if arguments.precision == "f32" else 2e-2):
            raise SystemExit("the outputs do not agree: nothing was timed")

        rows = []
        for _ in range(arguments.pairs):
            t = theirs()
            o = ours.call()
            rows.append((o["dit"], o["decoder"], t[0], t[1]))
        for name, i, j in (("DiT^DH", [0], [2]), ("decoder", [1], [3]), ("both", [0, 1], [2, 3])):
            own, peer = ([sum(r[k] for k in which) for r in rows] for which in (i, j))
            ratios = sorted(a / b for a, b in zip(own, peer))
            print(f"{name:8} flowmap {statistics.median(own):.3f} s, PyTorch {torch.__version__}{' compiled' if arguments.compile else ''} "
                  f"{statistics.median(peer):.3f} s, ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        print(f"peak memory of flowmap {first['peak']:.2f} GiB with the weights' mapped pages; {arguments.size} + ViT-{arguments.decoder}, batch "
              f"{arguments.batch}, {arguments.precision}, {arguments.threads} threads, {arguments.pairs} pairs")


main()
