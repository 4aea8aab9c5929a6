# The Frechet distance of two folders of images: `evaluate pictures` beside pytorch-fid and torch-fidelity, with the same rule-filled weights of FID's
# Inception (tests/golden/inception_modules.py), as whole commands in turn, each with an empty cache.
#
#   pip install torch torchvision scipy pytorch-fid torch-fidelity
#   python3 tests/peers/fid.py --evaluate build/apps/evaluate --images 2000 --side 64 --threads 2 --rounds 1
#
# Fails if a distance differs from its peer's by more than 1e-4 of it. Prints seconds, processor seconds of all threads, and peak memory of each command.
import argparse
import csv
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):          # set on some machines; they slow a BLAS down
    os.environ.pop(name, None)

import numpy as np

golden = pathlib.Path(__file__).resolve().parent.parent / "golden"


def draw(folder, count, side, seed):
    """Smooth colored noise, so that a resize has something to do and PNG something to pack."""
    from PIL import Image
    random = np.random.default_rng(seed)
    folder.mkdir()
    for i in range(count):
        small = random.normal(size=(8, 8, 3)).cumsum(seed % 2)
        grid = np.linspace(0, 7, side)
        low, part = np.minimum(grid.astype(int), 6), (grid - np.minimum(grid.astype(int), 6))
        rows = small[low] * (1 - part)[:, None, None] + small[low + 1] * part[:, None, None]
        image = rows[:, low] * (1 - part)[None, :, None] + rows[:, low + 1] * part[None, :, None]
        Image.fromarray(np.uint8(np.clip(128 + 40 * image + random.normal(size=image.shape) * 8, 0, 255))).save(folder / f"{i:05}.png")


def peer(kind, folder, threads):
    """Runs in a process of its own and prints the distance."""
    import torch
    torch.set_num_threads(threads)
    if kind == "torch-fidelity":
        import torch_fidelity
        got = torch_fidelity.calculate_metrics(input1=str(folder / "samples"), input2=str(folder / "real"), fid=True, cuda=False, batch_size=50, verbose=False, cache=False,
                                               feature_extractor_weights_path=str(folder / "weights.pth"))
        return print("distance", got["frechet_inception_distance"])
    import pytorch_fid.inception as inception
    inception.load_state_dict_from_url = lambda *_, **__: torch.load(folder / "weights.pth")
    from pytorch_fid.fid_score import calculate_fid_given_paths
    print("distance", calculate_fid_given_paths([str(folder / "samples"), str(folder / "real")], 50, "cpu", 2048, num_workers=0))


def write_weights(folder):
    sys.argv, kept = [sys.argv[0], "none", "--sides", ""], sys.argv
    sys.path.insert(0, str(golden))
    source = (golden / "inception_modules.py").read_text().split("parser = argparse")[0]      # its functions alone
    names = {"__name__": "inception_modules"}
    exec(compile(source, "inception_modules.py", "exec"), names)
    sys.argv = kept
    values = names["pytorch_fid_net"]()[2]
    names["torch"].save(values, folder / "weights.pth")


def run(command):
    """Distance, seconds, processor seconds and peak MiB of a command."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak = 0.0
    while process.poll() is None:
        try:
            found = re.search(r"VmHWM:\s*(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, float(found[1]) / 1024 if found else 0)
        except OSError:
            pass
        time.sleep(0.05)
    text = process.stdout.read()
    if process.returncode != 0:
        raise SystemExit(f"{command}: {text}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return text, time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def ours(options, folder, preparation, number):
    out = folder / f"out-{preparation}-{number}"
    _, seconds, processor, peak = run([options.evaluate, "pictures", "--samples", folder / "samples", "--reference", folder / "real", "--features", f"inception:{folder / 'weights.pth'}",
                                       "--preparation", preparation, "--metrics", "fid", "--halves", "0", "--threads", str(options.threads), "--out", out])
    rows = list(csv.DictReader(open(out / "pictures.csv")))
    return float(rows[0]["value"]), seconds, processor, peak


def theirs(options, folder, kind):
    text, seconds, processor, peak = run([sys.executable, __file__, "--peer", kind, "--folder", folder, "--threads", str(options.threads)])
    return float(re.search(r"distance (\S+)", text)[1]), seconds, processor, peak


parser = argparse.ArgumentParser()
parser.add_argument("--evaluate")
parser.add_argument("--images", type=int, default=2000)
parser.add_argument("--side", type=int, default=64)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=1)
parser.add_argument("--folder", type=pathlib.Path)
parser.add_argument("--peer")
options = parser.parse_args()
if options.peer:
    peer(options.peer, options.folder, options.threads)
    sys.exit()
failed = False
with tempfile.TemporaryDirectory(dir=options.folder) as name:
    folder = pathlib.Path(name)
    draw(folder / "samples", options.images, options.side, 0)
    draw(folder / "real", options.images, options.side, 1)
    write_weights(folder)
    print("| command | distance | seconds | processor seconds | peak MiB |")
    print("|---|---|---|---|---|")
    for number in range(options.rounds):
        for kind, preparation in (("pytorch-fid", "half-pixel"), ("torch-fidelity", "tf1")):
            theirs_now, ours_now = theirs(options, folder, kind), ours(options, folder, preparation, number)
            for label, (distance, seconds, processor, peak) in ((kind, theirs_now), (f"evaluate pictures, {preparation}", ours_now)):
                print(f"| {label} | {distance:.9g} | {seconds:.1f} | {processor:.1f} | {peak:.0f} |", flush=True)
            off = abs(ours_now[0] / theirs_now[0] - 1)
            print(f"{kind}: relative difference {off:.2g}, seconds {ours_now[1] / theirs_now[1]:.2f}, processor seconds {ours_now[2] / theirs_now[2]:.2f}, memory "
                  f"{ours_now[3] / theirs_now[3]:.2f} of the peer's", flush=True)
            failed |= off > 1e-4
sys.exit(failed)
