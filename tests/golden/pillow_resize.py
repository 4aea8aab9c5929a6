# Writes pillow_resize.txt: what Pillow makes of pictures that both sides compute. Run: pip install pillow==10.4.0; python3 pillow_resize.py
# One picture per line: kind, input width, height, channels, output width, height, then the output's bytes in hexadecimal, or their CRC-32 where
# the kind begins with "large-".
# The crop is the one of openai/guided-diffusion (image_datasets.center_crop_arr), written anew here.
import pathlib
import zlib

from PIL import Image


def picture(width, height, channels):
    """Byte i of the interleaved picture is ((i + 1) * 2654435761 mod 2^32) >> 24, or a ramp where that says below 100."""
    data = bytearray()
    for i in range(width * height * channels):
        noise = ((i + 1) * 2654435761 % 2**32) >> 24
        data.append(noise if noise >= 100 else (i // channels % width) * 255 // width)
    return Image.frombytes("RGB" if channels == 3 else "L", (width, height), bytes(data))


def crop(image, size):
    while min(image.size) >= 2 * size:
        image = image.resize(tuple(side // 2 for side in image.size), resample=Image.BOX)
    scale = size / min(image.size)
    image = image.resize(tuple(round(side * scale) for side in image.size), resample=Image.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def shorter(image, side):
    """torchvision's Resize(side)."""
    width, height = image.size
    size = (side * width // height, side) if width > height else (side, side * height // width)
    return image if size == image.size else image.resize(size, resample=Image.BICUBIC)


def lines():
    for kind, filter in (("box", Image.BOX), ("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)):
        for width, height, channels, out_width, out_height in (
            (16, 12, 1, 5, 4), (13, 17, 1, 6, 8), (7, 9, 3, 5, 5), (6, 5, 1, 11, 13), (20, 4, 3, 20, 3), (5, 9, 1, 9, 9), (40, 40, 1, 7, 3)):
            out = picture(width, height, channels).resize((out_width, out_height), filter)
            yield kind, width, height, channels, out_width, out_height, out.tobytes().hex()
    for width, height, channels, size in ((50, 37, 1, 8), (33, 70, 3, 8), (9, 13, 1, 12), (31, 16, 1, 8), (8, 8, 3, 8), (15, 101, 1, 7), (100, 67, 3, 9)):
        yield "crop", width, height, channels, size, size, crop(picture(width, height, channels), size).tobytes().hex()
    for width, height, channels, side in ((17, 29, 3, 12), (25, 14, 1, 21), (9, 9, 3, 9)):
        out = shorter(picture(width, height, channels), side)
        yield "shorter", width, height, channels, out.width, out.height, out.tobytes().hex()
    for width, height, size in ((500, 375, 256), (333, 500, 256), (1600, 1200, 256), (257, 300, 256), (256, 256, 256), (640, 513, 512), (2049, 1024, 512)):
        yield "large-crop", width, height, 3, size, size, "%08x" % zlib.crc32(crop(picture(width, height, 3), size).tobytes())
    for width, height, side in ((500, 375, 384), (200, 300, 384)):
        out = shorter(picture(width, height, 3), side)
        yield "large-shorter", width, height, 3, out.width, out.height, "%08x" % zlib.crc32(out.tobytes())


text = "\n".join(" ".join(str(field) for field in line) for line in lines())
pathlib.Path(__file__).with_suffix(".txt").write_text(text + "\n")
