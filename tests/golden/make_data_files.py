# Writes data/*: small data sets as other programs write them, and pillow_webp.txt: WebP files made by Pillow and the pixels that it reads back
# (kind, width, height, channels, file, pixels; those with alpha are laid over white as data/image.h says). NumPy, Pillow with libwebp.
import io
import json
import pathlib
import tarfile
import zipfile

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
OUT = HERE / "data"


def png(value, size=4):
    out = io.BytesIO()
    Image.new("RGB", (size, size), (value, value, value)).save(out, "PNG")
    return out.getvalue()


# Sample i: a grey of 10 + i, label 2 - i; labels as .cls, .json and .cls. The second key is too long for a plain header.
def shard(name, kind):
    tarfile.RECORDSIZE = 1024
    keys = ["train/0000", "train/" + "n" * (160 if kind != tarfile.USTAR_FORMAT else 60), "train/0002"]
    with tarfile.open(OUT / name, "w", format=kind) as tar:
        for i, key in enumerate(keys):
            label = (".json", json.dumps({"label": 2 - i, "text": "x"})) if i == 1 else (".cls", f"{2 - i}\n")
            for ending, data in ((".PNG" if i == 2 else ".png", png(10 + i)), (label[0], label[1].encode()), (".txt", b"a caption")):
                member = tarfile.TarInfo(key + ending)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


# As EDM2's dataset_tool.py: stored members, labels by name. Picture i is a grey of i, its label i % 3.
def edm():
    with zipfile.ZipFile(OUT / "edm.zip", "w", zipfile.ZIP_STORED) as archive:
        names = [f"{i // 10:05d}/img{i:08d}.png" for i in range(12)]
        for i, name in enumerate(names):
            archive.writestr(zipfile.ZipInfo(name), png(i))
        labels = [[name, i % 3] for i, name in enumerate(names)]
        archive.writestr(zipfile.ZipInfo("dataset.json"), json.dumps({"labels": labels}))


# Row r, element k of (20, 2, 3): r + k / 8, exact in f16.
def arrays():
    x = np.arange(20).reshape(20, 1, 1) + np.arange(6).reshape(1, 2, 3) / 8
    np.save(OUT / "f16.npy", x.astype("<f2"))
    np.save(OUT / "f64_big_endian.npy", x.astype(">f8"))
    np.savez(OUT / "i16.npz", x=(8 * x).astype("<i2"), y=np.arange(20, dtype=np.int32) % 4)
    pictures = np.arange(6 * 2 * 4 * 3, dtype=np.uint8).reshape(6, 2, 4, 3)
    np.savez_compressed(OUT / "medmnist_like.npz", train_images=pictures, train_labels=np.array([[0], [1], [2]] * 2, dtype=np.uint8),
                        test_images=pictures[::-1][:2], test_labels=np.array([[1], [0]], dtype=np.uint8))


def webp():
    lines = []
    for kind, mode, options in (("lossless", "RGB", {"lossless": True}), ("lossy", "RGB", {"quality": 80}), ("alpha", "RGBA", {"lossless": True, "exact": True})):
        image = Image.new(mode, (19, 11))
        image.putdata([tuple((40 * band + 13 * x + 7 * y) % 256 for band in range(len(mode))) for y in range(11) for x in range(19)])
        out = io.BytesIO()
        image.save(out, "WEBP", **options)
        back = Image.open(io.BytesIO(out.getvalue()))
        pixels = np.asarray(back).astype(int)
        if mode == "RGBA":
            a = pixels[..., 3:]
            pixels = (pixels[..., :3] * a + 255 * (255 - a) + 127) // 255
        lines.append(f"{kind} 19 11 3 {out.getvalue().hex()} {pixels.astype(np.uint8).tobytes().hex()}")
    (HERE / "pillow_webp.txt").write_text("\n".join(lines) + "\n")


OUT.mkdir(exist_ok=True)
shard("ustar.tar", tarfile.USTAR_FORMAT)
shard("pax.tar", tarfile.PAX_FORMAT)
shard("gnu.tar", tarfile.GNU_FORMAT)
edm()
arrays()
webp()
