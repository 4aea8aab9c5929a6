# Writes pillow_resize.txt: what Pillow makes of pictures that both sides compute. Run: pip install pillow==10.4.0; python3 pillow_resize.py
# One picture per line: kind, input width, height, channels, output width, height, then the output's bytes in hexadecimal.
# The crop is the one of openai/guided-diffusion (image_datasets.center_crop_arr), written anew here.
import pathlib

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


def lines():
    for kind, filter in (("box", Image.BOX), ("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)):
        for width, height, channels, out_width, out_height in (
            (16, 12, 1, 5, 4), (13, 17, 1, 6, 8), (7, 9, 3, 5, 5), (6, 5, 1, 11, 13), (20, 4, 3, 20, 3), (5, 9, 1, 9, 9), (40, 40, 1, 7, 3)):
            out = picture(width, height, channels).resize((out_width, out_height), filter)
            yield kind, width, height, channels, out_width, out_height, out.tobytes().hex()
    for width, height, channels, size in ((50, 37, 1, 8), (33, 70, 3, 8), (9, 13, 1, 12), (31, 16, 1, 8), (8, 8, 3, 8), (15, 101, 1, 7), (100, 67, 3, 9)):
        yield "crop", width, height, channels, size, size, crop(picture(width, height, channels), size).tobytes().hex()


text = "\n".join(" ".join(str(field) for field in line) for line in lines())
pathlib.Path(__file__).with_suffix(".txt").write_text(text + "\n")
