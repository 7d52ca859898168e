"""Decode an image file of any common format into the square of pixels that the paper trains on (section 2)."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

# No format that runs a program (EPS) or reads other files.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SUFFIXES = {
    "JPEG": (".jpeg", ".jpg", ".jpe", ".jfif"),
    "MPO": (".jpeg", ".jpg", ".mpo"),
    "TIFF": (".tiff", ".tif"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
NAMES = {f".{form.lower()}" for form in FORMATS}.union(*SUFFIXES.values())
SIXTEEN = ("PPM", "PNG")
"""Formats for which Pillow opens 16-bit grey in mode I (32 bits); for PNG, only up to Pillow 10."""
SCAN = b"\xff\xda"
"""The marker at the start of each scan of a JPEG."""
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the operation that turns the image upright; orientation 1 is upright."""
BYTES = 2**30
"""Files with more bytes are not read."""
PIXELS = 178_956_970
"""Images with more pixels are not decoded (Pillow's own limit). A pixel takes 10 bytes, 20 of WebP: up to 3.6 GB."""
SCANS = 20
"""A progressive JPEG may have so many scans of ``PIXELS`` pixels; a smaller one, proportionally more."""
STRIP = 2**20
"""Pixels that are converted to RGB at a time."""


class Unreadable(Exception):
    """A file is not an image, or is damaged; the message says why in one line."""


def is_image_name(name: str) -> bool:
    """Whether a file's name ends like that of an image: .jpeg, .png, ..."""
    return name[name.rfind(".") :].lower() in NAMES if "." in name else False


def square(content: bytes, name: str, size: int) -> tuple[Pixels, list[str]]:
    """The central square of an image, resized to ``size`` x ``size``: (size, size, 3) uint8 RGB, and remarks.

    The central square is resized in one step (bilinear with antialiasing); the paper's two steps would also round the
    longer side. A JPEG whose shorter side is at least four times ``size`` is decoded at a half, a quarter or an eighth
    of its size, but not below twice ``size``. Images in other modes than RGB are converted, those with an EXIF
    orientation are turned, and those of another format than their ``name`` says are taken; a remark says so each time.
    Raises Unreadable for anything else.
    """
    with _opened(content) as image:
        return _square(image, name, size)


def check(content: bytes) -> None:
    """Raise Unreadable if the first bytes are not those of an image. The pixels are not decoded."""
    with _opened(content):
        pass


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """The image of a file. Whatever is wrong with it, also in the block, is raised as Unreadable."""
    if not content:
        raise Unreadable("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata and large images only warn
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                pixels = image.width * image.height
                if pixels > PIXELS:
                    raise Unreadable(f"more than {PIXELS:,} pixels")
                if image.format in ("JPEG", "MPO") and pixels * content.count(SCAN) > SCANS * PIXELS:
                    raise Unreadable("too many scans of its pixels")
                yield image
    except (Unreadable, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise Unreadable("not an image") from None
    except Exception as error:  # a decoder meets a damaged file with whatever comes to hand
        raise Unreadable(" ".join(f"{error}".split())[:120] or type(error).__name__) from None


def _square(image: Image.Image, name: str, size: int) -> tuple[Pixels, list[str]]:
    remarks = []
    suffix, form = name[name.rfind(".") :].lower() if "." in name else "", image.format or ""
    if suffix not in SUFFIXES.get(form, (f".{form.lower()}",)):
        remarks.append(f"{form} by another name")
    turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    image.draft(None, (2 * size, 2 * size))
    if image.mode != "RGB":
        remarks.append(f"mode {image.mode}")
        image = _rgb(image)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    if turn is not None:  # the centre of a turned image is its turned centre
        remarks.append("turned upright")
        image = image.transpose(turn)
    return np.asarray(image), remarks


def _rgb(image: Image.Image) -> Image.Image:
    """An image of another mode in RGB, a strip at a time, so that no third copy of all of it is made.

    Raises Unreadable for numbers of which nobody knows what is white: floats, and whole numbers of 32 bits.
    """
    if image.mode == "F" or (image.mode == "I" and image.format not in SIXTEEN):
        raise Unreadable(f"mode {image.mode}, of which no number is known to be white")
    rows = max(1, STRIP // image.width)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        whole.paste(_strip_rgb(image.crop((0, top, image.width, bottom))), (0, top))
    return whole


def _strip_rgb(image: Image.Image) -> Image.Image:
    """Some rows in RGB: 16-bit grey by its upper bytes, transparency over white."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
