# SD-VAE at full width beside diffusers' AutoencoderKL in eager PyTorch: the same random weights, image and latent, on the same threads, call by call in
# turn. Results must agree before anything is timed. Each engine has a process of its own, so that its peak memory is its own.
#
#   python tests/peers/vae.py --bench build/tests/bench/bench_vae --image-size 256 --precision f32 --pairs 7
#
# Needs `pip install torch diffusers`. bench_vae: ninja -C build bench_vae. Times are seconds and, in brackets, processor seconds of all threads, which
# depend less on other users of the machine. Ratios are flowmap's divided by PyTorch's.
import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):          # set on some machines; they slow a BLAS down
    os.environ.pop(name, None)

import numpy
import torch


def autoencoder():
    import diffusers
    blocks = dict(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, block_out_channels=[128, 256, 512, 512])
    return diffusers.AutoencoderKL(layers_per_block=2, latent_channels=4, sample_size=256, **blocks).eval()


def peak_mib():
    """Of this process alone: getrusage counts the memory of the process that started it, too."""
    return float(re.search(r"VmHWM:\s*(\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024


def serve(folder, threads, precision):
    """The other process: answers lines as bench_vae does."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    from safetensors.torch import load_file
    with torch.device("meta"):
        model = autoencoder()
    model.load_state_dict(load_file(folder / "vae.safetensors"), assign=True)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model.to(dtype)
    inputs = {kind: torch.from_numpy(numpy.load(folder / f"{name}.npy")).to(dtype) for kind, name in (("encode", "image"), ("decode", "latent"))}
    print(f"loaded, peak {peak_mib():.1f}", flush=True)
    for line in sys.stdin:
        kind = line.split()[0]
        wall, processor = time.perf_counter(), time.process_time()
        y = model.encode(inputs[kind]).latent_dist.parameters if kind == "encode" else model.decode(inputs[kind]).sample
        print(f"seconds {time.perf_counter() - wall:.4f} processor {time.process_time() - processor:.4f} peak {peak_mib():.1f}", flush=True)
        numpy.save(folder / f"torch_{kind}.npy", y.float().numpy())


class Engine:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.loaded = float(self.process.stdout.readline().split()[-1])

    def call(self, kind):
        self.process.stdin.write(kind + "\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        return {words[i]: float(words[i + 1]) for i in range(0, len(words), 2)}

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def write_inputs(folder, size):
    """Weights as PyTorch draws them, but norms and biases spread, so that nothing is hidden by ones and zeros."""
    from safetensors.torch import save_file
    torch.manual_seed(1)
    state = autoencoder().state_dict()
    for name, t in state.items():
        if t.dim() == 1:
            t.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.1)
    save_file(state, folder / "vae.safetensors")
    numpy.save(folder / "image.npy", (torch.rand(1, 3, size, size) * 2 - 1).numpy())
    numpy.save(folder / "latent.npy", torch.randn(1, 4, size // 8, size // 8).numpy())


def report(kind, rows):
    for what in ("seconds", "processor"):
        own, peer = ([pair[i][what] for pair in rows] for i in (0, 1))
        ratios = sorted(a / b for a, b in zip(own, peer))
        print(f"{kind} {what:9} flowmap min {min(own):.3f} median {statistics.median(own):.3f}, PyTorch {torch.__version__} min {min(peer):.3f} median "
              f"{statistics.median(peer):.3f}; ratio of minima {min(own) / min(peer):.3f}, median ratio {statistics.median(ratios):.3f} "
              f"({ratios[0]:.3f} to {ratios[-1]:.3f})", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", required=True)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--kinds", default="decode,encode")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", help="where the weights go; a temporary folder by default")
    parser.add_argument("--serve", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve, arguments.threads, arguments.precision)
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = pathlib.Path(name)
        torch.set_grad_enabled(False)
        write_inputs(folder, arguments.image_size)
        common = ["--image-size", str(arguments.image_size), "--precision", arguments.precision]
        for kind in arguments.kinds.split(","):                  # fresh processes, so that each kind has its own peak memory
            ours = Engine([arguments.bench, *common, "--weights", name])
            theirs = Engine([sys.executable, __file__, "--bench", "", *common, "--serve", name, "--threads", str(arguments.threads)])
            ours.call(kind), theirs.call(kind)
            a, b = (torch.from_numpy(numpy.load(folder / f"{who}{kind}.npy")) for who in ("", "torch_"))
            error = ((a - b).norm() / b.norm()).item()
            print(f"{kind} {arguments.image_size}: relative difference {error:.2e}")
            if not error < (1e-4 if arguments.precision == "f32" else 5e-2):
                raise SystemExit("the results do not agree: nothing was timed")
            rows = [(ours.call(kind), theirs.call(kind)) for _ in range(arguments.pairs)]
            report(kind, rows)
            peaks = rows[-1][0]["peak"], rows[-1][1]["peak"]
            print(f"{kind} peak memory: flowmap {peaks[0]:.0f} MiB, PyTorch {peaks[1]:.0f} MiB, of which {theirs.loaded:.0f} before the first call "
                  f"(flowmap {ours.loaded:.0f}); ratio {peaks[0] / peaks[1]:.2f}")
            ours.close(), theirs.close()


main()
