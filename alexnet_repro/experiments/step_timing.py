"""Published times of a training step on one and two devices, and whether they fit the rules of the claims about time.

benchmarks/parallel.py measures them; this module only reads.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ..common import paths
from ..common.fields import Count, Plain
from ..common.files import read_json
from ..common.text import slug
from ..networks.config import CIFAR_ALEXNET, PAPER

StepTimes = dict[str, Any]
"""A published measurement: machine, settings, and rows by case and round."""

NETS = {"cifar": CIFAR_ALEXNET, "paper": PAPER}

HALF = "half the kernels, one device"
ONE = "two columns, one device"
COLUMNS = "two columns, two devices"
DATA = "data parallel, two devices"
CASES = (HALF, ONE, COLUMNS, DATA)

STUDIES = {"two_gpu_time": {"one_device": HALF, "two_devices": COLUMNS}, "throughput": {"alexnet": ONE}}
"""The studies that are this benchmark, by claim: each arm and the case that it is."""

RULE: StepTimes = {"net": "paper", "precision": "float32", "batch": 128, "warm_up": 10, "steps": 100}
"""The settings of the measurement that the rules of these claims describe."""

COMMAND = "python benchmarks/parallel.py --device cuda --publish"
CPU_COMMAND = "python benchmarks/parallel.py --publish"


class _Row(BaseModel, extra="allow", allow_inf_nan=False):
    case: str
    step_seconds: Annotated[float, Field(ge=1e-9, le=1e6)]
    cpu_seconds: Annotated[float, Field(ge=0, le=1e6)]
    bytes_sent: Count


class _Times(BaseModel, extra="allow", allow_inf_nan=False):
    """What verdicts and pages read of a measurement."""

    device: Plain
    devices: list[Plain] = []  # the times on CPUs are older than it
    clean: bool
    started: Plain
    torch: Plain
    load_average: Annotated[float, Field(ge=0, le=1e6)]
    net: Literal["cifar", "paper"]
    batch: Annotated[int, Field(ge=1, lt=2**31)]
    steps: Count
    rows: list[_Row] = Field(min_length=1)


def path(gpus: Sequence[str] = ()) -> Path:
    """The file of times published for these GPUs, given by their names; without any, for CPUs."""
    several = f"{len(gpus)}-" if len(gpus) > 1 else ""
    kind = several + "-".join(map(slug, dict.fromkeys(gpus))) if gpus else "cpu"
    return paths.data() / "benchmarks" / f"parallel-{kind}.json"


def read(where: Path) -> StepTimes:
    """A published measurement. Raises UserError for a file that is missing or damaged."""
    return read_json(where, _Times).model_dump()


def published(kind: str, study: str | None = None) -> StepTimes | None:
    """The last measurement published for "cpu" or "cuda" devices; None if there is none.

    study: prefer one that has the cases of this study. Raises UserError for a damaged file.
    """
    cpu = path()
    files = [cpu] if kind == "cpu" else sorted({*cpu.parent.glob("parallel-*.json")} - {cpu})
    found = [read(each) for each in files if each.is_file()]
    asked_for = STUDIES[study].values() if study else ()
    return max(found, key=lambda t: (all(seconds(t, case) for case in asked_for), t["started"]), default=None)


def seconds(times: StepTimes, case: str) -> list[float]:
    """Seconds per step of a case, one value per round."""
    return [row["step_seconds"] for row in times["rows"] if row["case"] == case]


def images_per_second(times: StepTimes, study: str, arm: str) -> list[float]:
    """Images per second of an arm, one value per round."""
    return [times["batch"] / each for each in seconds(times, STUDIES[study][arm])]


def unfit(times: StepTimes | None, study: str, rounds: int) -> str:
    """Why a claim cannot be judged by a measurement of at least ``rounds`` rounds; empty if it can."""
    asked_for = STUDIES[study].values()
    if times is None:
        return f"no times on {'two GPUs' if COLUMNS in asked_for else 'a GPU'} are published"
    for name, asked in RULE.items():
        if times.get(name) != asked:
            return f"the published times have {name} {times.get(name)}, where the rule says {asked}"
    if COLUMNS in asked_for and len(set(times["devices"])) > 1:
        return f"the published times are of two kinds of device, {' and '.join(times['devices'])}"
    counts = sorted({len(seconds(times, case)) for case in asked_for})
    if counts[0] < rounds:
        return f"the published times have {counts[0]} repetitions, where the rule says {rounds}"
    if len(counts) > 1:
        return f"the published times have {' and '.join(map(str, counts))} repetitions of the cases compared"
    return "" if times["clean"] else "the published times are of code that was no clean commit"
