"""The manifest of a folder of prepared images: files, counts and digests. Needs no torch.

``training.data.prepare`` writes it; ``training.from_disk`` reads the images.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from ..common import paths
from ..common.errors import UserError
from ..common.fields import Strict
from ..common.files import regular_file

FILE = "manifest.json"
Number = Annotated[int, Field(ge=0, lt=2**53)]
"""A count, or a sum over all pixels, that double precision holds exactly: ImageNet's largest are below 10^16."""
SIZES = (128, 256)
"""Sides in pixels of the images that studies use."""


class Shard(Strict):
    """A file of images, uint8 of shape (images, size, size, 3) after a header, and the SHA-256 of its pixels."""

    file: str
    images: Number
    sha256: str


class Part(Strict):
    """The images of one split: their shards in order, and the file of their labels, int32, with its SHA-256."""

    shards: tuple[Shard, ...]
    labels: str
    labels_sha256: str

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(shard.images for shard in self.shards)


class Manifest(Strict):
    """What ``alexnet-repro data imagenet`` prepared: square images of side ``size`` by split, and sums over the
    training images.

    pixel_sums: file with the sum of every pixel of the training images, int64 of shape (size, size, 3), and its
        SHA-256.
    color_sums, color_products: sums over the same pixels of each channel, and of the products of each two channels.
    left_out: number of images of the source that could not be read. made_by: what decoded them.
    """

    format: Annotated[int, Field(ge=1, le=1)]
    size: Annotated[int, Field(ge=1, le=2**14)]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    parts: dict[str, Part]
    pixel_sums: str
    pixel_sums_sha256: str
    color_sums: tuple[Number, Number, Number]
    color_products: tuple[tuple[Number, Number, Number], tuple[Number, Number, Number], tuple[Number, Number, Number]]
    left_out: Number
    made_by: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not {"train"} < set(self.parts) <= {"train", "val", "test"} or not all(
            p.images for p in self.parts.values()
        ):
            raise ValueError(f"parts {', '.join(self.parts)}: it needs images to train on, and to validate or test")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of what training reads: the pixels, the labels and the names of the classes."""
        read = [self.size, self.classes, {name: _contents(part) for name, part in self.parts.items()}]
        return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()

    @property
    def validation(self) -> str:
        """The split that decides when the learning rate drops: val, or test if there is no val."""
        return "val" if "val" in self.parts else "test"

    @property
    def testing(self) -> str:
        """The split that results are reported on: test, as for ILSVRC-2010, or val if there is no test."""
        return "test" if "test" in self.parts else "val"


def _contents(part: Part) -> list[object]:
    return [[(shard.images, shard.sha256) for shard in part.shards], part.labels_sha256]


def folder(size: int) -> Path:
    """The folder of prepared images of this size."""
    return paths.downloads() / f"imagenet-{size}"


def read(place: Path) -> Manifest:
    """The manifest of a folder of prepared images. Raises UserError if there is none, or it is damaged."""
    path = place / FILE
    regular_file(path)
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"no prepared images in {place}: run 'alexnet-repro data imagenet --from DIR'", 1) from error
    except ValueError as error:
        raise UserError(
            f"{path} is damaged: delete it and run 'alexnet-repro data imagenet --from DIR' again", 1
        ) from error


def find(digest: str) -> tuple[Path, Manifest]:
    """The folder of prepared images with this digest, anywhere in the data folder, and its manifest.

    Raises UserError if there is none.
    """
    for path in sorted(paths.downloads().glob(f"*/{FILE}")):
        with suppress(UserError):  # other images, or no manifest of ours
            if (manifest := read(path.parent)).digest == digest:
                return path.parent, manifest
    raise UserError(
        f"no prepared images of digest {digest[:16]} in {paths.downloads()}: run 'alexnet-repro data imagenet "
        "--from DIR' with the images that the run was made for, or put their folder there",
        1,
    )
