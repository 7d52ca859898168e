"""Reproduce claims on this machine: plan what fits a budget of time, train it, and set it beside the published runs."""

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ...analysis.reproduction import FRESH, Beside, Goal, side
from ...analysis.verdicts import MIN_PAIRS
from ...common import paths
from ...common.errors import UserError
from ...common.text import slug
from ...experiments.config import DeviceConfig, RunConfig
from ...records.lookup import records
from ...records.store import Store
from ..cost import Duration, duration
from ..provenance import device_name
from .sharing import Sharing

ROUNDS = (3, 5, 10)
"""Every claim gets so many pairs before any gets more: an interval needs three."""
SECONDS = 2.0
"""How long each network is measured."""
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class Share:
    """What the plan gives a comparison: its pairs in all, and the number of runs that none before it needs, too.

    seconds: of one worker. kilowatt_hours: of the GPU; None if its power is unknown.
    """

    goal: Goal
    pairs: int
    runs: int
    seconds: float
    kilowatt_hours: float | None


def stores(device: str) -> tuple[Store, Store]:
    """A reader's own runs on one kind of device, so that no pair mixes two, and the published runs; apart.

    GPUs of one name are of one kind.
    """
    kind = slug(device_name(device)) if device == "cuda" else device
    own, published = paths.store() / "reproduced" / kind, paths.data() / "evidence"
    return Store(own, evidence=own / "evidence"), Store(published, published)


def seconds_of(text: str) -> float:
    """A time such as "8h", "90m" or "1h30m", in seconds. Raises UserError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text, re.ASCII)
    seconds = sum(float(count) * UNITS[unit] for count, unit in parts)
    if "".join(count + unit for count, unit in parts) != text or not seconds:
        raise UserError(f"--budget {text}: write a time such as 8h, 90m or 1h30m")
    return seconds


class Durations:
    """Seconds and watts of a run on this machine: each network is measured for some seconds when it is first asked for.

    A run that stops at a training error is given the epochs that the published runs of its arm took (the median).
    Where runs share a GPU, each takes longer, and has its share of the power.
    """

    def __init__(self, goals: Sequence[Goal], published: Store, device: str, sharing: Sharing) -> None:
        self.placement, self.sharing = DeviceConfig(device=device, threads=1), sharing
        self.measured: dict[str, Duration] = {}
        self.shares: dict[str, float] = {}
        for goal in goals:
            runs = records(goal.published, published)
            for config in goal.pair(goal.seeds[0]):
                arm = next(name for name in goal.plan.arms if goal.plan.config(name, config.seed).key == config.key)
                whole = config.budget.epochs * config.data.train_images
                seen = [record.curve[-1].images / whole for record in runs[arm].values() if record.curve]
                self.shares[_kind(config)] = median(seen) if seen else 1.0

    def of(self, config: RunConfig) -> Duration:
        """How long a run takes; its training for as many epochs as the published runs of its arm."""
        kind = _kind(config)
        if kind not in self.measured:
            found = duration(config, self.placement, SECONDS)
            runs, slower = self.sharing.runs, self.sharing.runs / self.sharing.gain
            self.measured[kind] = Duration(
                training=slower * found.training * self.shares[kind],
                testing=slower * found.testing,
                watts=None if found.watts is None else found.watts / runs,
            )
        return self.measured[kind]

    def seconds(self, config: RunConfig) -> float:
        """Training and testing."""
        found = self.of(config)
        return found.training + found.testing


def _kind(config: RunConfig) -> str:
    return config.changed(seed=0).key


def spoken(seconds: float) -> str:
    """A time in the unit that suits it: "40 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def allot(
    goals: Sequence[Goal], store: Store, durations: Durations, budget: float
) -> tuple[list[Share], list[RunConfig]]:
    """Which pairs to train, and all their runs in order: in rounds, so that each gets three pairs before one gets more.

    budget: seconds of all workers together; pairs that would exceed it are left out. A run that
    several comparisons need counts once, with the first. Pairs that the store has cost nothing.
    """
    pairs = dict.fromkeys(range(len(goals)), 0)
    chosen: dict[str, RunConfig] = {}
    runs: dict[int, list[RunConfig]] = {place: [] for place in pairs}
    spent = 0.0
    for most in (*ROUNDS, max((len(goal.seeds) for goal in goals), default=0)):
        for place, goal in enumerate(goals):
            wanted = goal.seeds[pairs[place] : most]
            configs = [config for seed in wanted for config in goal.pair(seed)]
            new = {c.key: c for c in store.missing(configs) if c.key not in chosen}
            cost = sum(map(durations.seconds, new.values()))
            if spent + cost > budget:
                continue
            spent += cost
            pairs[place] += len(wanted)
            chosen |= new
            runs[place] += new.values()
    shares = [_share(goal, pairs[place], runs[place], durations) for place, goal in enumerate(goals)]
    return shares, list(chosen.values())


def least(goals: Sequence[Goal], store: Store, durations: Durations) -> float:
    """Seconds of a worker that the comparison takes whose first ``MIN_PAIRS`` pairs are the quickest to train."""
    pairs = ([config for seed in goal.seeds[:MIN_PAIRS] for config in goal.pair(seed)] for goal in goals)
    return min(sum(map(durations.seconds, store.missing(configs))) for configs in pairs)


def _share(goal: Goal, pairs: int, runs: Sequence[RunConfig], durations: Durations) -> Share:
    parts = [durations.of(config) for config in runs]
    seconds = [each.training + each.testing for each in parts]
    energy = [sec * each.watts / 3.6e6 for sec, each in zip(seconds, parts, strict=True) if each.watts is not None]
    return Share(goal, pairs, len(runs), sum(seconds), sum(energy) if len(energy) == len(runs) > 0 else None)


def table(shares: Sequence[Share], published: Store) -> dict[str, list[str]]:
    """The plan as columns of text: a row per comparison."""
    rows = []
    for each in shares:
        known = side(each.goal, published, own=False)
        half = known.half_width(each.pairs) if each.pairs >= MIN_PAIRS else math.nan
        width = "unknown" if math.isnan(half) else f"× or / {math.exp(half):.2f}" if known.unit == "×" else (
            f"± {half:.2f} {known.unit}"
        )  # fmt: skip
        rows.append(
            {
                "comparison": each.goal.name,
                "published": f"{known}, {known.pairs} pairs",
                "pairs": f"{each.pairs} of {len(each.goal.seeds)}",
                "interval": width,
                "new runs": str(each.runs),
                "time of a worker": spoken(each.seconds),
            }
        )
    return {name: [row[name] for row in rows] for name in rows[0]}


def results(found: Sequence[Beside]) -> dict[str, list[str]]:
    """The reader's effects beside the published ones, as columns of text: a row per comparison."""
    return {
        "comparison": [each.goal.name for each in found],
        "yours (95 % interval)": [str(each.yours) for each in found],
        "pairs": [str(each.yours.pairs) for each in found],
        "published": [str(each.published) for each in found],
        "of": [str(each.published.pairs) for each in found],
        "agreement": [each.agreement for each in found],
    }


def next_steps(own: Store, goals: Sequence[Goal], fresh: bool) -> str:
    """What to type to look at the runs in the book or to contribute them."""
    where = f"ALEXNET_REPRO_STORE={shlex.quote(str(own.root))}"
    said = ["Two effects differ (p < 0.05) by chance once in twenty times, even where nothing is wrong."]
    if goals[0].plan.scale == "smoke":
        said.append("This was a rehearsal, which is no evidence: leave --scale smoke out to train what was published.")
    elif fresh:
        names = dict.fromkeys(goal.plan.name for goal in goals)
        said.append(f"To contribute them, for each of {', '.join(names)}:")
        scale = f" --scale {goals[0].plan.scale}" * (goals[0].plan.scale != "cifar10")
        said.append(f"  {where} alexnet-repro publish STUDY{scale} --first-seed {FRESH} --to FOLDER")
        said.append("  alexnet-repro contribute FOLDER/STUDY --source YOUR-NAME")
    else:
        said.append(f"The book with your runs in place of the published ones: {where} make book")
        said.append("With --fresh-seeds the runs are new evidence, which you can contribute.")
    return "\n".join(["", *said])
