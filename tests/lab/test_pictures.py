from contextlib import suppress

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import v2

from alexnet_repro.lab.pictures import Unreadable, square

from ..pictures import BAD, GOOD, jpeg, nasty, png, scene

REMARKS = {
    "plain.JPEG": [],
    "grey.JPEG": ["mode L"],
    "cmyk.JPEG": ["mode CMYK"],
    "sideways.JPEG": ["turned upright"],
    "png.JPEG": ["PNG by another name"],
    "deep.png": ["mode I;16"],
    "glass.png": ["mode RGBA"],
    "palette.gif": [],
    "dot.png": [],
    "strip.png": [],
    "large.JPEG": [],
}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_what_can_be_mended(name):
    pixels, remarks = square(nasty()[name], name, 32)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    if name == "palette.gif":  # Pillow opens a first frame as a palette or as RGB, by its version
        assert remarks in ([], ["mode P"])
    else:
        assert remarks == REMARKS[name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("corrupt.JPEG", "."), ("cut.JPEG", "truncated"), ("empty.JPEG", "empty"), ("text.jpg", "not an image")],
)
def test_what_cannot(name, reason):
    with pytest.raises(Unreadable, match=reason):
        square(nasty()[name], name, 32)


def test_every_bad_file_is_unreadable():
    for name in BAD:
        with pytest.raises(Unreadable):
            square(nasty()[name], name, 32)


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (50, 50), (333, 100)])
def test_beside_torchvision(size):
    # Its two steps round the longer side, and cut at a whole pixel: a small shift along that side.
    image = scene(3, *size)
    theirs = np.asarray(v2.Compose([v2.Resize(32), v2.CenterCrop(32)])(image)).astype(int)
    ours = square(png(image), "a.png", 32)[0].astype(int)
    difference = abs(theirs - ours)
    assert difference.max() == 0 if size[0] == size[1] else difference.mean() < 4


def test_upright_is_what_a_viewer_shows():
    # The same decoder for both, which may round as it likes.
    lying = square(jpeg(scene(1, 60, 40)), "a.jpg", 32)[0]
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        shown = Image.fromarray(lying)
        shown.getexif()[0x0112] = orientation
        upright = np.asarray(ImageOps.exif_transpose(shown))
        assert np.array_equal(square(jpeg(scene(1, 60, 40), exif=exif.tobytes()), "a.jpg", 32)[0], upright)
        assert np.array_equal(upright, lying) == (orientation == 1)


def test_sixteen_bits_and_transparency():
    deep = square(nasty()["deep.png"], "deep.png", 40)[0]
    assert deep[0].max() < 30
    assert deep[-1].min() > 225
    assert (square(nasty()["glass.png"], "glass.png", 32)[0] == 255).all()


def test_a_large_jpeg_is_decoded_small_and_looks_the_same():
    image = scene(8, 900, 700)
    whole, small = square(png(image), "a.png", 32)[0], square(jpeg(image), "a.jpg", 32)[0]
    # Decoders round as they like; another picture is 50 away on average, and this one upside down, too.
    assert abs(whole.astype(int) - small.astype(int)).mean() < 6


def test_no_decoder_that_runs_programs():
    with pytest.raises(Unreadable, match="not an image"):
        square(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a.eps", 32)


def test_random_bytes_after_a_real_header_never_crash():
    rng = np.random.default_rng(0)
    for name in ("plain.JPEG", "png.JPEG", "palette.gif"):
        content = bytearray(nasty()[name])
        for _ in range(40):
            broken = bytearray(content)
            for place in rng.integers(0, len(content), 8):
                broken[place] = rng.integers(256)
            with suppress(Unreadable):
                assert square(bytes(broken), name, 16)[0].shape == (16, 16, 3)
