# Writes foreign/*, small files as other programs write them, and foreign/expected.txt, what those programs read back. Run with PyTorch 2.6 or newer,
# NumPy 2 and safetensors:
#
#   python tests/golden/make_foreign_files.py
#
# A line of expected: file, path of the entry, element type as the engine reads it, shape (or -), bytes in hexadecimal in row-major order. An
# entry that the engine does not read has "unread" for its type and no more.
import argparse
import collections
import datetime
import enum
import io
import pathlib
import random
import types
import warnings
import zipfile

import numpy as np
import safetensors.torch
import torch
from torch.utils.serialization import config as serialization

warnings.simplefilter("ignore")  # prototypes: sparse and quantized tensors
FOLDER = pathlib.Path(__file__).parent / "foreign"
WIDER = {torch.float64: "f64", torch.float32: "f32", torch.float16: "f32", torch.bfloat16: "bf16", torch.int64: "i64", torch.int32: "i32",
         torch.int16: "i32", torch.int8: "i32", torch.uint8: "u8", torch.uint16: "i32", torch.uint32: "i64", torch.uint64: "i64",
         torch.bool: "u8"}
EIGHT = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu]
ENGINE = {"f64": "<f8", "f32": "<f4", "i64": "<i8", "i32": "<i4", "u8": "|u1"}
lines = []


OF_NUMPY = {"f2": "f32", "f4": "f32", "f8": "f64", "i1": "i32", "i2": "i32", "i4": "i32", "i8": "i64", "u1": "u8", "u2": "i32", "u4": "i64",
            "u8": "i64", "b1": "u8"}


def expect(file, path, tensor):
    """What the engine is to read of a tensor: the numbers that PyTorch or NumPy has, in the engine's type. Every NaN has the same bits here."""
    if isinstance(tensor, torch.Tensor):
        tensor = tensor.detach()
        kind = "bf16" if tensor.dtype == torch.bfloat16 else "f32" if tensor.dtype in EIGHT else WIDER[tensor.dtype]
        if kind == "bf16":
            array = tensor.contiguous().view(torch.int16).numpy()
        elif kind == "f32" and tensor.dtype != torch.float16:
            array = tensor.float().numpy()
        else:
            array = tensor.numpy()
    else:
        kind, array = OF_NUMPY[tensor.dtype.str[1:]], tensor
    if kind != "bf16":
        array = array.astype(ENGINE[kind], order="C")
    if kind == "f32":
        array = np.where(np.isnan(array), np.float32(np.nan), array)
    lines.append(" ".join((file, path, kind, ",".join(str(n) for n in tensor.shape) or "-", array.tobytes().hex() or "-")))


def unread(file, path):
    lines.append(f"{file} {path} unread")


def ramp(*shape):
    return (torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * 0.37 - 1.1).sin().reshape(shape)


def every_type():
    out = {"of." + str(dtype).split(".")[1]: (ramp(3, 5) * 100).abs().to(dtype) for dtype in WIDER}
    out |= {"negative.int8": torch.tensor([-128, -1, 0, 127], dtype=torch.int8), "negative.int16": torch.tensor([-32768, 32767], dtype=torch.int16),
            "large.uint16": torch.tensor([65535], dtype=torch.uint16), "large.uint32": torch.tensor([2**32 - 1], dtype=torch.uint32),
            "large.uint64": torch.tensor([2**63 - 1], dtype=torch.uint64)}
    for dtype in EIGHT:
        out["all." + str(dtype).split(".")[1]] = torch.arange(256).to(torch.uint8).view(dtype)
    out["empty"] = torch.zeros(2, 0, 3)
    out["scalar"] = torch.tensor(2.5)
    return out


# ---- safetensors ---------------------------------------------------------------------------------------------------------------------------


def write_safetensors():
    tensors = every_type() | {"complex": torch.tensor([1 + 2j]), "beyond.uint64": torch.tensor([2**63], dtype=torch.uint64),
                              "nine": torch.zeros((1,) * 9)}
    safetensors.torch.save_file(tensors, FOLDER / "types.safetensors", {"format": "pt"})
    for name, tensor in tensors.items():
        unread("types.safetensors", name) if name in ("complex", "beyond.uint64", "nine") else expect("types.safetensors", name, tensor)


# ---- NumPy ---------------------------------------------------------------------------------------------------------------------------------


def arrays():
    base = ramp(3, 4).numpy()
    out = {}
    for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
        for order in "<>":
            out[("big." if order == ">" else "little.") + kind] = (base * 100 * (kind[0] != "u") + 5).astype(order + kind)
    out |= {"bool": base > 0, "fortran": np.asfortranarray(base), "fortran.big": np.asfortranarray(base.astype(">f4")), "scalar": np.float32(2.5).reshape(()),
            "empty": np.zeros((2, 0, 3)), "folder/of.array": base, "\u6a21\u578b": base[0]}
    return out


def write_numpy():
    good = arrays()
    odd = {"complex": np.array([1 + 2j]), "text": np.array(["grün"]), "bytes": np.array([b"a"]), "date": np.array(["2024-01-01"], "M8[D]"),
           "objects": np.array([None, {"a": 1}], dtype=object), "structured": np.array([(1, 2.0)], [("a", "<i4"), ("b]", "<f8")]),
           "long": np.array([1], np.longdouble), "beyond": np.array([2**63], np.uint64), "eight": np.zeros(2, "V1"),
           "nine": np.zeros((1,) * 9, "f4")}
    for file, save in (("stored.npz", np.savez), ("deflated.npz", np.savez_compressed)):
        save(FOLDER / file, **good, **odd)
        back = np.load(FOLDER / file, allow_pickle=True)
        for name in back.files:
            unread(file, name) if name in odd else expect(file, name, back[name])
    with zipfile.ZipFile(FOLDER / "mixed.npz", "w") as archive:
        for name, data in (("a.npy", good["little.f4"]), ("sub/b.npy", good["fortran"])):
            member = io.BytesIO()
            np.save(member, data)
            archive.writestr(zipfile.ZipInfo(name), member.getvalue())
            expect("mixed.npz", name[:-4], data)
        archive.writestr(zipfile.ZipInfo("README.txt"), "where these numbers come from\n")
        archive.writestr(zipfile.ZipInfo("no_array.npy"), "this is none\n")
        unread("mixed.npz", "no_array")
    # bfloat16 as ml_dtypes (JAX) gives it to NumPy: two bytes of no kind. Its bits are written down by PyTorch.
    half = ramp(2, 3).to(torch.bfloat16)
    np.save(FOLDER / "bf16.npy", half.view(torch.int16).numpy().view("V2"))
    expect("bf16.npy", "bf16", half)
    for version in (2, 3):
        with open(FOLDER / f"version{version}.npy", "wb") as file:
            np.lib.format.write_array(file, good["little.f4"], version=(version, 0))
        expect(f"version{version}.npy", f"version{version}", good["little.f4"])
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 4L), }"  # as Python 2 writes it on Windows
    header += b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    (FOLDER / "python2.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + good["little.f4"].tobytes())
    expect("python2.npy", "python2", np.load(FOLDER / "python2.npy"))


# ---- PyTorch -------------------------------------------------------------------------------------------------------------------------------


class Task(enum.Enum):
    TRAIN = 1


class Settings(dict):  # as EasyDict and the like: a dict of a class of its own
    pass


class Marked(torch.Tensor):  # a subclass, which is saved with its class
    pass


class Node:
    pass


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def objects():
    """What training scripts keep beside their weights: nothing of it is built."""
    loop = Node()
    loop.itself, loop.list = loop, [loop]
    return {"args": argparse.Namespace(lr=1e-4, data=pathlib.PurePosixPath("/data"), task=Task.TRAIN), "settings": Settings(a=1, b=[2]),
            "loss": np.float64(0.5), "count": np.int64(3), "random": random.Random(0).getstate()[1][:9], "numpy": np.random.RandomState(0).get_state(),
            "generator": np.random.default_rng(0), "when": datetime.datetime(2024, 1, 2), "bytes": b"\0\xff" * 40,
            "array": bytearray(b"abc"), "complex": 1 + 2j, "set": {1, 2}, "frozen": frozenset([3]), "deque": collections.deque([1], 4),
            "default": collections.defaultdict(list, {"k": [1]}), "counter": collections.Counter("aab"), "class": torch.nn.Linear,
            "function": torch.nn.functional.gelu, "ellipsis": ..., "slice": slice(1, 2), "range": range(3), "loop": loop, "tuple key": {(1, 2): 3},
            "large": 2**70, "negative": -2**70, "storage": torch.arange(3.0).storage(), "names": types.SimpleNamespace(x=1)}


def training():
    """The layout of DiT's, SiT's and REPA's checkpoints, with all that others add."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    model(ramp(5, 3).float()).square().sum().backward()
    optimizer.step()
    ema = collections.OrderedDict((name, value * 0.5 if value.is_floating_point() else value) for name, value in model.state_dict().items())
    return {"model": model.state_dict(), "ema": ema, "opt": optimizer.state_dict(), "scheduler": scheduler, **objects()}


def views():
    base = ramp(4, 6).float()
    out = collections.OrderedDict(base=base, transposed=base.t(), rows=base[1:3], columns=base[:, 1::2], last=base[3, 5], tied=base)
    out["expanded"] = torch.tensor([1.0, 2.0, 3.0]).expand(4, 3)
    out["parameter"] = torch.nn.Parameter(ramp(2, 2).float())
    tagged = torch.nn.Parameter(ramp(3).float())
    tagged.no_decay = True
    out["tagged"] = tagged
    out["marked"] = torch.arange(4.0).as_subclass(Marked)
    out["marked"].note = Node()
    out["transposed f8"] = ramp(2, 3).float().to(torch.float8_e4m3fn).t()
    out["half rows"] = ramp(5, 2).half()[2:]
    return out


def unreadable():
    """Tensors that PyTorch has and the engine has not, beside one that it has."""
    whole = torch.tensor([1 + 2j, 3 - 4j])
    return {"good": torch.tensor([1.0, 2.0]), "complex": whole, "double complex": whole.to(torch.complex128), "conjugated": whole.conj(),
            "negated": whole.clone().conj().imag, "sparse": torch.eye(3).to_sparse(), "csr": torch.eye(3).to_sparse_csr(),
            "quantized": torch.quantize_per_tensor(torch.tensor([1.0, 2.0]), 0.1, 3, torch.quint8),
            "channels": torch.quantize_per_channel(torch.ones(2, 2), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8),
            "meta": torch.empty(3, device="meta"), "nine": torch.zeros((1,) * 9), "repeated": torch.zeros(1).expand(1 << 21),
            "beyond": torch.tensor([2**63], dtype=torch.uint64), "args": argparse.Namespace(lr=1), "jagged": torch.nested.nested_tensor([torch.ones(2)]),
            "parameter": torch.nn.Parameter(whole)}


def expect_all(file, saved):
    for name, tensor in saved.items():
        expect(file, name, tensor) if isinstance(tensor, torch.Tensor) else None


def rewritten(source, target, change, method=zipfile.ZIP_STORED):
    """The archive's members, each as change(name, bytes) has it."""
    with zipfile.ZipFile(FOLDER / source) as old, zipfile.ZipFile(FOLDER / target, "w") as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), change(name, old.read(name)), method)


def save(file, saved, **how):
    torch.save(saved, FOLDER / file, **how)
    return file


def hide_place(name):
    """The old layout stores where a module's source lies: the same number of letters, so that lengths stay right."""
    place = torch.__file__.split("/torch/")[0].encode()
    file = FOLDER / name
    file.write_bytes(file.read_bytes().replace(place, b"/" + b"x" * (len(place) - 1)))


def write_torch():
    named = {name.replace(" ", "_"): value for name, value in views().items()}
    for layout, protocol in (("zip", 2), ("zip", 3), ("zip", 5), ("legacy", 2), ("legacy", 4)):
        saved = training()
        how = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": layout == "zip"}
        expect_all(save(f"training-{layout}-{protocol}.pt", saved, **how), saved["ema"])
        hide_place(f"training-{layout}-{protocol}.pt")
    for old in (False, True):
        layout, how = ("legacy", {"_use_new_zipfile_serialization": False}) if old else ("zip", {})
        expect_all(save(f"types-{layout}.pt", every_type(), **how), every_type())
        expect_all(save(f"views-{layout}.pt", named, **how), {name: torch.Tensor(value) if name == "marked" else value for name, value in named.items()})
        expect_all(save(f"one-{layout}.pt", ramp(3), **how), {f"one-{layout}": ramp(3)})
        saved = {name.replace(" ", "_"): value for name, value in unreadable().items()}
        if old:
            saved.pop("channels"), saved.pop("quantized")  # that layout has no name for their storages
        file = save(f"unreadable-{layout}.pt", saved, **how)
        for name in saved:
            expect(file, name, saved[name]) if name == "good" else unread(file, name)
    serialization.save.compute_crc32 = False
    expect_all(save("no_crc.pt", network().state_dict()), network().state_dict())
    serialization.save.compute_crc32 = True
    rewritten("types-zip.pt", "deflated.pt", lambda name, data: data, zipfile.ZIP_DEFLATED)
    expect_all("deflated.pt", every_type())
    numbers = {"a": ramp(3, 4), "b": ramp(5).float(), "c": torch.arange(4, dtype=torch.int16), "d": torch.arange(3, dtype=torch.uint8),
               "e": torch.arange(5).to(torch.uint64), "f": ramp(3).to(torch.bfloat16)}
    save("numbers.pt", numbers)
    sizes = {name: data.element_size() for name, data in zip("012345", numbers.values())}

    def swapped(name, data):
        if name.endswith("byteorder"):
            return b"big"
        if "/data/" in name:
            size = sizes[name[-1]]
            return b"".join(data[i:i + size][::-1] for i in range(0, len(data), size))
        return data

    rewritten("numbers.pt", "big-endian.pt", swapped)
    (FOLDER / "numbers.pt").unlink()
    expect_all("big-endian.pt", numbers)


FOLDER.mkdir(exist_ok=True)
write_safetensors()
write_numpy()
write_torch()
(FOLDER / "expected.txt").write_text("\n".join(lines) + "\n")
