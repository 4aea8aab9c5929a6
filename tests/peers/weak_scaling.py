# Weak scaling: images a second of two ranks with one thread each, on twice the batch, over twice those of one rank with one thread.
#
#   python tests/peers/weak_scaling.py --train build/apps/flowmap_train --config configs/quickstart.toml --batch 64 --pairs 5
#
# The fm stage on cached latents. One rank and two take turns, each going on from where it stopped; rates are those of the run's own
# metrics.csv (first step, saving and pictures excluded). "--launcher mpirun" starts ranks by MPI, else they meet by TCP. 1 is ideal.
import argparse
import csv
import os
import shutil
import statistics
import subprocess
import tempfile


def run(arguments, out, ranks, steps, port):
    command = [arguments.train, "fm", "--config", arguments.config, "--out", out, "--latents", "cache", "--threads", "1", "--steps", str(steps),
               "--batch", str(arguments.batch * ranks), "--log-every", str(arguments.steps), "--ckpt-every", str(arguments.steps),
               "--sample-every", "-1", "-q"]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    if ranks == 1:
        lines = [command]
    elif arguments.launcher == "mpirun":
        lines = [["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] + command]
    else:
        lines = [command + ["--rank", str(r), "--world-size", str(ranks), "--rendezvous", f"127.0.0.1:{port}"] for r in range(ranks)]
    processes = [subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL) for line in lines]
    if any([p.wait() for p in processes]):
        raise SystemExit(f"{' '.join(lines[0])} failed")
    with open(os.path.join(out, "fm", "metrics.csv")) as f:
        return float(list(csv.DictReader(f))[-1]["samples_per_second"])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--train", required=True)
    p.add_argument("--config", default="configs/quickstart.toml")
    p.add_argument("--batch", type=int, default=64, help="samples a rank and step")
    p.add_argument("--steps", type=int, default=40, help="of each turn")
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--launcher", default="tcp", choices=["tcp", "mpirun"])
    p.add_argument("--port", type=int, default=29410)
    arguments = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        one, two = os.path.join(folder, "one"), os.path.join(folder, "two")
        for stage in ("encode", "stats"):
            subprocess.run([arguments.train, stage, "--config", arguments.config, "--out", one, "-q"], check=True)
        shutil.copytree(one, two, symlinks=True)
        ratios = []
        for i in range(arguments.pairs):
            steps = arguments.steps * (i + 1)
            alone, together = run(arguments, one, 1, steps, 0), run(arguments, two, 2, steps, arguments.port)
            ratios.append(together / (2 * alone))
            print(f"one rank {alone:.0f} images/s, two {together:.0f}: {ratios[-1]:.3f}", flush=True)
    print(f"weak scaling {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), {arguments.launcher}, {arguments.batch} a rank")


main()
