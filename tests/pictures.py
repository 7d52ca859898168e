"""A small tree of class folders with every kind of file that a large collection holds, good and bad."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee", "cat")
GOOD = {"plain.JPEG", "grey.JPEG", "cmyk.JPEG", "sideways.JPEG", "png.JPEG", "deep.png", "glass.png", "palette.gif",
        "dot.png", "strip.png", "large.JPEG"}  # fmt: skip
"""Those that end in a shard; all but the plain and the large ones are remarked on or merely odd in size."""
BAD = {"corrupt.JPEG", "cut.JPEG", "empty.JPEG", "text.jpg", "notes.txt"}


def scene(seed: int, width: int = 60, height: int = 40) -> Image.Image:
    """A smooth picture in colour that its seed decides."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=95, **options)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def nasty() -> dict[str, bytes]:
    """Name -> content of every kind."""
    plain = jpeg(scene(0))
    sideways = Image.Exif()
    sideways[0x0112] = 6
    glass = scene(3).convert("RGBA")
    glass.putalpha(0)
    palette = io.BytesIO()
    scene(4).quantize(16).save(palette, format="GIF")
    deep = Image.fromarray(np.linspace(0, 65535, 60 * 40).astype(np.uint16).reshape(40, 60))
    return {
        "plain.JPEG": plain,
        "grey.JPEG": jpeg(scene(1).convert("L")),
        "cmyk.JPEG": jpeg(scene(2).convert("CMYK")),
        "sideways.JPEG": jpeg(scene(0), exif=sideways.tobytes()),
        "png.JPEG": png(scene(5)),
        "deep.png": png(deep),
        "glass.png": png(glass),
        "palette.gif": palette.getvalue(),
        "dot.png": png(scene(6, 1, 1)),
        "strip.png": png(scene(7, 400, 2)),
        "large.JPEG": jpeg(scene(8, 900, 700)),
        "corrupt.JPEG": plain[:30] + bytes(300) + plain[330:],
        "cut.JPEG": plain[: len(plain) // 2],
        "empty.JPEG": b"",
        "text.jpg": b"no picture at all\n",
        "notes.txt": b"a list of the files\n",
        ".DS_Store": b"hidden",
    }


def tree(root: Path, train: int = 12, val: int = 4) -> Path:
    """train/ and val/ of class folders with so many plain images a class; the nasty ones are in train/bee."""
    for part, count in (("train", train), ("val", val)):
        for label, name in enumerate(CLASSES):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = scene(1_000 * label + i + 100 * len(part), 70 + i, 50)
                (folder / f"{name}_{i}.JPEG").write_bytes(jpeg(image))
    for name, content in nasty().items():
        (root / "train" / "bee" / name).write_bytes(content)
    return root
