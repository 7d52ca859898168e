import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import v2

from alexnet_repro.training.data import decode
from alexnet_repro.training.data.decode import Unreadable, check, is_image_name, square

from ..pictures import BAD, GOOD, jpeg, nasty, png, scene

KINDS = nasty()
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


def pgm(values, most=65535):
    """A 16-bit grey picture as PGM has it."""
    height, width = values.shape
    return f"P5 {width} {height} {most}\n".encode() + values.astype(">u2").tobytes()


def test_sixteen_bit_pgm_is_scaled_as_png_is():
    values = np.linspace(0, 65535, 60 * 40).astype(np.uint16).reshape(40, 60)
    ours, remarks = square(pgm(values), "a.pgm", 32)
    theirs = square(png(Image.fromarray(values)), "a.png", 32)[0]
    assert np.array_equal(ours, theirs)
    assert remarks == ["mode I"]
    assert (ours == 255).mean() < 0.05


def tiff(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, format="TIFF")
    return file.getvalue()


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_of_no_known_scale_are_left_out(kind):
    with pytest.raises(Unreadable, match="no number is known to be white"):
        square(tiff(np.arange(600, dtype=kind).reshape(20, 30)), "a.tiff", 16)


def test_sixteen_bit_tiff_of_both_ends():
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    wanted = square(png(Image.fromarray(values)), "a.png", 16)[0]
    for order in ("<u2", ">u2"):
        assert np.array_equal(square(tiff(values.astype(order)), "a.tiff", 16)[0], wanted)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_strips_give_what_the_whole_gives(name, monkeypatch):
    content = nasty()[name]
    whole = square(content, name, 32)[0]
    monkeypatch.setattr(decode, "STRIP", 150)
    assert np.array_equal(square(content, name, 32)[0], whole)


def test_more_pixels_or_scans_than_the_limit_are_not_decoded(monkeypatch):
    monkeypatch.setattr(decode, "PIXELS", 2_000)
    for content in (png(scene(1)), jpeg(scene(1))):
        with pytest.raises(Unreadable, match="more than 2,000 pixels"):
            square(content, "a", 32)
    monkeypatch.setattr(decode, "PIXELS", 2_400)
    content = jpeg(scene(1), progressive=True)
    assert square(content, "a.jpg", 32)[0].shape == (32, 32, 3)
    scan = content[content.rindex(decode.SCAN) : -2]
    with pytest.raises(Unreadable, match="too many scans"):
        square(content[:-2] + 20 * scan + content[-2:], "a.jpg", 32)


def test_the_first_bytes_tell_an_image():
    for name, content in nasty().items():
        if name in BAD - {"corrupt.JPEG", "cut.JPEG"}:
            with pytest.raises(Unreadable):
                check(content)
        elif name in GOOD:
            check(content)


def test_names_of_images():
    names = ["a.JPEG", "a.jpg", "a.png", "a.PGM", "a.b.webp", "a", "a.txt", "JPEG", "a.xml", "a.jpeg.tar"]
    assert [is_image_name(name) for name in names] == [True] * 5 + [False] * 5


@given(
    st.sampled_from([*sorted(GOOD), "pgm"]),
    st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), max_size=6),
    st.one_of(st.none(), st.integers(0, 5_000)),
)
def test_flipped_bytes_and_cuts(name, flips, end):
    content = pgm(np.full((9, 9), 300)) if name == "pgm" else KINDS[name]
    spoiled = bytearray(content[:end])
    for at, value in flips:
        if spoiled:
            spoiled[at % min(len(spoiled), 600)] = value
    with suppress(Unreadable):
        assert square(bytes(spoiled), name, 16)[0].shape == (16, 16, 3)
