# Writes torch/<layout>-<version>.pt, small checkpoints of every layout that torch.save makes of published weights, and
# torch/expected-<version>.txt, what torch.load reads back from them. Run once with PyTorch 1.13 (numpy < 2) and once with 2.x:
#
#   python tests/golden/make_torch_files.py
#
# A line of expected: file, path of the entry, element type as the engine reads it, shape (or -), bytes in hexadecimal in row-major order.
import collections
import pathlib

import torch

FOLDER = pathlib.Path(__file__).parent / "torch"
VERSION = "1.13" if torch.__version__.startswith("1.13") else "2"
LOAD = {} if VERSION == "1.13" else {"weights_only": False}
TYPES = {torch.float64: "f64", torch.float32: "f32", torch.float16: "f32", torch.bfloat16: "bf16", torch.int64: "i64", torch.int32: "i32",
         torch.uint8: "u8", torch.bool: "u8"}


def ramp(*shape):
    return (torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * 0.37 - 1.1).sin().reshape(shape)


def types():
    out = collections.OrderedDict()
    for dtype in TYPES:
        out["of." + str(dtype).split(".")[1]] = (ramp(3, 5) * 100).abs().to(dtype)
    out["of.bool"] = ramp(7) > 0
    out["halves"] = torch.tensor([0.0, -0.0, 1.5, 65504.0, 6e-8, -3e-5, float("inf"), float("-inf"), float("nan")]).half()
    out["scalar"] = torch.tensor(2.5)
    out["empty"] = torch.zeros(2, 0, 3)
    return out


def strided():
    base = ramp(4, 6).float()
    out = collections.OrderedDict(base=base, transposed=base.t(), rows=base[1:3], columns=base[:, 1::2], last=base[3, 5], tied=base)
    out["expanded"] = torch.tensor([1.0, 2.0, 3.0]).expand(4, 3)
    out["half.transposed"] = ramp(3, 2).half().t()
    out["channels_last"] = ramp(1, 2, 3, 3).float().contiguous(memory_format=torch.channels_last)
    out["parameter"] = torch.nn.Parameter(ramp(2, 2).float())
    return out


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def training():
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, betas=(0.9, 0.95))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    model(ramp(5, 3).float()).square().sum().backward()
    optimizer.step()
    scheduler.step()
    ema = collections.OrderedDict((name, value * 0.5 if value.is_floating_point() else value) for name, value in model.state_dict().items())
    return {"step": 300000, "epoch": 3, "model": model.state_dict(), "ema": ema, "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(), "best": 1.25, "name": "gr\u00fc\u00df", "done": False, "device": torch.device("cpu"),
            "dtype": torch.bfloat16, "size": torch.Size([2, 3]), "seed": 2**63 + 12345, "many": 70000, "negative": -70000, "nothing": None,
            "list": [1, [2.5, "x"], (), {}], "counts": collections.Counter([3, 3, 5])}


LAYOUTS = {"types": types, "strided": strided, "bare": lambda: network().state_dict(), "ema": lambda: {"ema": network().state_dict()},
           "model": lambda: {"model": network().state_dict(), "epoch": 1},
           "state_dict": lambda: {"state_dict": network().state_dict(), "lr": 0.1},
           "training": training, "stat": lambda: {"mean": None, "var": ramp(2, 3, 3).float().abs()}}


def entries(value, path=""):
    if isinstance(value, torch.Tensor):
        yield path, value.detach()
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield from entries(inside, path + "/" + str(key))


def line(file, path, tensor):
    shape = ",".join(str(n) for n in tensor.shape) or "-"
    flat = tensor.contiguous().reshape(-1)
    raw = flat.view(torch.int16).numpy() if flat.dtype == torch.bfloat16 else flat.numpy()
    if flat.dtype == torch.float16:  # by NumPy: PyTorch's own conversion changes the bits of NaN
        raw = raw.astype("float32")
    return " ".join((file, path, TYPES[tensor.dtype], shape, raw.tobytes().hex() or "-"))


FOLDER.mkdir(exist_ok=True)
lines = []
for layout, make in LAYOUTS.items():
    file = FOLDER / f"{layout}-{VERSION}.pt"
    torch.save(make(), file)
    lines += [line(file.name, path, tensor) for path, tensor in entries(torch.load(file, **LOAD))]
(FOLDER / f"expected-{VERSION}.txt").write_text("\n".join(lines) + "\n")
