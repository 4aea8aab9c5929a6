# What the peers of steps.py share: options, files, and the loop that answers a line of input with seconds, peak memory and loss.
import argparse
import json
import math
import os
import sys
import time

import numpy

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--folder", required=True)
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    p.add_argument("--compile", type=int, default=0)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    for name in ("width", "depth", "heads", "head_width", "head_depth", "head_heads", "grid", "channels", "classes"):
        p.add_argument("--" + name.replace("_", "-"), type=int, required=True)
    return p.parse_args()


class Sizes:
    def __init__(self, **values):
        self.__dict__.update(values)


def sizes(a, mean_flow):
    return Sizes(side=a.grid, channels=a.channels, width=a.width, depth=a.depth, heads=a.heads, head_width=a.head_width,
                 head_depth=a.head_depth, head_heads=a.head_heads, classes=a.classes, mean_flow=mean_flow)


def is_trained(name):
    return not (name == "pos_embed" or "freqs_" in name or name.endswith(".W"))


def read_safetensors(path):
    """f32 and i64 tensors as numpy arrays of their own memory."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        start = f.tell()
        out = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            f.seek(start + begin)
            kind = {"F32": numpy.float32, "I64": numpy.int64}[entry["dtype"]]
            out[name] = numpy.frombuffer(bytearray(f.read(end - begin)), kind).reshape(entry["shape"])
    return out


def write_safetensors(path, tensors):
    header, offset = {}, 0
    tensors = {n: numpy.ascontiguousarray(t) for n, t in tensors.items()}
    for name, t in tensors.items():
        header[name] = {"dtype": {"float32": "F32", "int64": "I64"}[str(t.dtype)], "shape": list(t.shape), "data_offsets": [offset, offset + t.nbytes]}
        offset += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for t in tensors.values():
            f.write(t.tobytes())


def status_mib(key):
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1]) / 1024
    return math.nan


def serve(make, version):
    a = options()
    before = status_mib("VmRSS")
    steps = make(a)
    print("ready", version, flush=True)
    for line in sys.stdin:
        kind, *save = line.split()
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
        start = time.perf_counter()
        loss, saved = (steps.draw if kind in ("sample", "euler") else steps.train)(kind, bool(save))
        seconds = time.perf_counter() - start
        peak = status_mib("VmHWM") - before
        if saved is not None:
            write_safetensors(os.path.join(a.folder, f"peer_{kind}.safetensors"), saved)
        print(f"seconds {seconds:.5f} peak {peak:.1f} loss {loss:.8g}", flush=True)
