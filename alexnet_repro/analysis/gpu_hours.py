"""Estimate the time of training on a GPU, from its data sheet. Needs no torch.

Full-size training is estimated from multiply-accumulates, the small networks from what one card was measured to do.
Measured step times are in ``experiments.step_timing``.
"""

import math

import pandas as pd

from ..common import paths
from ..common.errors import UserError
from ..common.files import read_csv
from ..experiments.registry import study
from ..networks.config import PAPER
from ..networks.cost import multiply_adds
from ..paper.claims import claim

GPUS_OF_2012 = ("GTX 580", 2)
TRAIN_IMAGES = 1_281_167
"""Training images of ILSVRC-2012."""
EPOCHS = 90
SIZES = (256, 128)
PRECISIONS = {"single": "single precision", "tf32": "TF32", "bf16": "bf16"}
TERA, GIGA = 1e12, 1e9
COLUMNS = {"gpu": str, "year": float, **dict.fromkeys(PRECISIONS, float), "bandwidth": float, "source": str}

MEASURED = "H200"
TOGETHER, BUSY = 61_100, 86_000
"""Images per second of the small network on that card, float32, November 2026.

TOGETHER: of four runs that share it, tests left out, before steps were CUDA graphs. BUSY: of one run whose whole step
is one graph, a prototype that keeps the card busy.
"""


def gpus() -> pd.DataFrame:
    """data/gpus.csv: a row per GPU, by name; peak rates in 10^12 operations per second, dense, and bytes of bandwidth.

    Raises UserError if the file is missing or damaged.
    """
    return read_csv(paths.data() / "gpus.csv", COLUMNS, gaps=("tf32", "bf16")).set_index("gpu")


def peak(gpu: str, precision: str) -> float:
    """Peak operations per second of a GPU; NaN for a precision that it lacks. Raises UserError for an unknown GPU."""
    table = gpus()
    if gpu not in table.index:
        raise UserError(f"unknown GPU {gpu!r}: data/gpus.csv has {', '.join(table.index)}; add a row")
    return float(table[precision][gpu]) * TERA


def operations(size: int) -> int:
    """Operations for one image in one training step of the paper's net on images of side ``size``: two per MAC."""
    return 2 * multiply_adds(PAPER.change(image_size=size * 7 // 8))


def share() -> float:
    """Fraction of its GPUs' peak rate that the paper's own run reached, from its six days."""
    name, count = GPUS_OF_2012
    pace = claim("throughput").measured[0].against
    assert isinstance(pace, float)
    return operations(256) * pace / (count * peak(name, "single"))


def images_per_second(gpu: str, precision: str, size: int = 256) -> float:
    """Estimated images per second of one GPU at the same fraction of its peak; NaN for a precision that it lacks."""
    return share() * peak(gpu, precision) / operations(size)


def hours(rate: float) -> float:
    """Hours of 90 epochs of ILSVRC-2012 at ``rate`` images per second."""
    return TRAIN_IMAGES * EPOCHS / rate / 3600


def table() -> pd.DataFrame:
    """A row per GPU: estimated hours by size and precision, and the rate at which pixels must be read at 256 pixels."""
    rows = []
    for gpu in map(str, gpus().index):
        row = {"GPU": gpu}
        for size in SIZES:
            for precision, words in PRECISIONS.items():
                if size == SIZES[0] or precision == "single":
                    row[f"{size} pixels, {words}"] = _hours(images_per_second(gpu, precision, size))
        rates = (images_per_second(gpu, precision) for precision in PRECISIONS)
        fastest = max(rate for rate in rates if not math.isnan(rate))
        row["read at the fastest"] = f"{fastest * SIZES[0] ** 2 * 3 / GIGA:.2f} GB/s"
        rows.append(row)
    return pd.DataFrame(rows)


def small_images_per_second(gpu: str) -> float:
    """Images per second of several runs of the small network on a GPU: measured on the H200, estimated on others.

    On a card of less bandwidth the runs keep it busy, and then as many fewer images pass as its memory is slower.
    """
    bandwidth = gpus()["bandwidth"]
    return min(TOGETHER, BUSY * float(bandwidth[gpu]) / float(bandwidth[MEASURED]))


def small_table() -> pd.DataFrame:
    """A row per GPU: time for comparisons of 24 and 96 epochs of the small network, and for all runs of stage one."""
    figures = {
        "20 pairs, 24 epochs": _images("ablations", 40),
        "5 pairs, 96 epochs": _images("cifar10_long", 10),
        "all of `ablations`": _images("ablations", len(study("ablations").runs())),
    }
    rows = []
    for gpu in map(str, gpus().index):
        rate = small_images_per_second(gpu)
        rounded = float(f"{rate:.2g}")  # an estimate has no more digits
        row = {"GPU": gpu, "images/s": f"{rounded:,.0f}", "": "measured" if gpu == MEASURED else "estimated"}
        rows.append(row | {name: _minutes(images / rate) for name, images in figures.items()})
    return pd.DataFrame(rows)


def _images(name: str, runs: int) -> int:
    """Training images of so many runs of a study's baseline."""
    baseline = study(name).baseline
    return runs * int(baseline.budget.epochs * baseline.data.train_images)


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.0f} min" if minutes >= 10 else f"{minutes:.1f} min"


def words() -> str:
    """What the table assumes, as a paragraph with its numbers."""
    name, count = GPUS_OF_2012
    return (
        f"**Estimates, not measurements.** One image takes {operations(256) / GIGA:.2f} × 10⁹ operations in a step of "
        f"training at 256 pixels ({operations(128) / GIGA:.2f} × 10⁹ at 128), counted on the net of the paper, "
        "a multiplication and an addition as two. "
        f"The paper's own run, at the pace of six days, reached {100 * share():.0f} % of the peak rate of its {count} "
        f"{name}s. The table takes the same share of each GPU's peak rate (data sheets, dense: `data/gpus.csv`) for "
        f"{EPOCHS} epochs of {TRAIN_IMAGES:,} images on one GPU, and leaves out the testing. A small net uses "
        "less of a large GPU, and takes longer; the last column is what the disk and the processor must deliver "
        "meanwhile."
    )


def _hours(rate: float) -> str:
    if math.isnan(rate):
        return "–"
    found = hours(rate)
    return f"{found:,.0f} h" if found >= 10 else f"{found:.1f} h"
