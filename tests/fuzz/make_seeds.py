# Writes seeds/<target>/*, small valid files that the fuzz targets begin with. Needs only the standard library and files of tests/golden.
import gzip
import io
import pathlib
import struct
import zipfile
import zlib

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden"


def write(target, name, data):
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def pickles():
    for name in ("bare-2", "strided-1.13", "training-2", "stat-1.13"):
        with zipfile.ZipFile(GOLDEN / "torch" / f"{name}.pt") as archive:
            write("torch", f"{name}.pkl", archive.read(f"{name}/data.pkl"))


def safetensors():
    header = b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
    header += b'"b":{"dtype":"F16","shape":[1,3],"data_offsets":[8,14]},"c":{"dtype":"BOOL","shape":[],"data_offsets":[14,15]}}'
    write("safetensors", "three.safetensors", struct.pack("<Q", len(header)) + header + bytes(range(15)))


def npy(descr, shape, values, fortran=False):
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + values


def arrays():
    matrix = npy("<f8", "(2, 2)", struct.pack("<4d", 1, 2, 3, 4), True)
    write("npz", "halves.npy", npy("<f2", "(2,)", b"\0\x3e\0\xc0"))
    write("npz", "matrix.npy", matrix)
    for name, method in (("stored.npz", zipfile.ZIP_STORED), ("deflated.npz", zipfile.ZIP_DEFLATED)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for member, data in (("sigma", matrix), ("arr_0", npy("|u1", "(1, 1, 2, 3)", b"abcdef"))):
                archive.writestr(zipfile.ZipInfo(f"{member}.npy"), data, method)
        write("npz", name, out.getvalue())


def idx():
    images = bytes((0, 0, 8, 3)) + struct.pack(">3I", 2, 1, 2) + bytes((9, 8, 7, 6))
    write("idx", "images", images)
    write("idx", "images.gz", gzip.compress(images, mtime=0))
    write("idx", "labels", b"L" + bytes((0, 0, 8, 1)) + struct.pack(">I", 2) + bytes((3, 4)))


def png(color, depth, row_bytes, palette=b"", before=()):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(bytes([filter_]) + bytes((17 * filter_ + 5 * i) % 256 for i in range(row_bytes)) for filter_ in range(5))
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 4, 5, depth, color, 0, 0, 0))
    head += b"".join(chunk(kind, b"") for kind in before)
    return head + (chunk(b"PLTE", palette) if palette else b"") + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pictures():
    for name, color, depth, row in (("grey", 0, 8, 4), ("rgb", 2, 8, 12), ("rgba", 6, 8, 16), ("grey16", 0, 16, 8), ("bits", 0, 1, 1)):
        write("image", f"{name}.png", png(color, depth, row))
    write("image", "empty-data.png", png(2, 8, 12, before=(b"IDAT",)))
    write("image", "palette.png", png(3, 2, 1, bytes(range(12))))
    for line in (GOLDEN / "pillow_jpeg.txt").read_text().splitlines():
        kind, data = line.split()[0], line.split()[4]
        write("image", f"{kind}.jpg", bytes.fromhex(data))


def recipes():
    write("toml", "small.toml", b'data = "shapes"\nseed = 7 # a comment\n\n[judge.loop]\nsteps = 1_000\nema = 0.99\n[judge.loop.rate]\npeak = 2e-3\n')


def hellos():
    def little(value, size):
        return value.to_bytes(size, "little")
    words = (2, 7, 1, 2, 0, 0, 4000)  # version, job, rank, size, to, purpose, port
    write("hello", "hello", b"\0" + little(0x464C4F574D415031, 8) + b"".join(little(w, 4) for w in words) + b"n" * 16)
    write("hello", "challenge", b"\0" + little(0x464C4F574D414332, 8) + little(2, 4) + b"c" * 16)
    write("hello", "verdict", b"\1" + little(0x464C4F574D415632, 8) + little(1, 4) + little(3, 4) + b"p" * 32 + b"no!")
    write("hello", "places", b"\2\3- 4000\n192.0.2.7 65535\nfe80::1%eth0 1\n")


def indices():
    samples = b"".join(struct.pack("<QIIiI", 512 + 2048 * i, 70, 5, i - 1, 0) for i in range(3))
    write("tar", "index", b"fmtarix1" + struct.pack("<QqQ", 8192, 17, 3) + samples + bytes(4))


for make in (hellos, indices, pickles, safetensors, arrays, idx, pictures, recipes):
    make()
