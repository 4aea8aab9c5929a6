# Writes pillow_jpeg.txt: small JPEG files made by Pillow and the pixels that Pillow 10.4.0 reads back from them.
# One per line: kind, width, height, channels, the file and its pixels in hexadecimal; CMYK is read as RGB.
import io
import pathlib

from PIL import Image


def jpeg(mode, width, height, **options):
    image = Image.new(mode, (width, height))
    bands = len(image.getbands())
    values = [tuple((40 * band + 13 * x + 7 * y) % 256 for band in range(bands)) for y in range(height) for x in range(width)]
    image.putdata(values if bands > 1 else [v[0] for v in values])
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def lines():
    for kind, mode, options in (("grey", "L", {}), ("rgb", "RGB", {"subsampling": 0, "quality": 90}), ("rgb420", "RGB", {"subsampling": 2}),
                                ("progressive", "RGB", {"progressive": True, "quality": 80}), ("cmyk", "CMYK", {"quality": 85})):
        data = jpeg(mode, 19, 11, **options)
        image = Image.open(io.BytesIO(data))
        image = image.convert("RGB") if image.mode == "CMYK" else image
        yield kind, image.width, image.height, len(image.getbands()), data.hex(), image.tobytes().hex()


text = "\n".join(" ".join(str(field) for field in line) for line in lines())
pathlib.Path(__file__).with_suffix(".txt").write_text(text + "\n")
