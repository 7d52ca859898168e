"""Study: a baseline run, variants of it as named changes (arms), and seeds.

What a run is stands in ``config``; all studies are in ``registry``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from ..common.errors import UserError, one_of
from .config import RunConfig

Scale = Literal["smoke", "cifar10", "cifar10-long", "tiny-imagenet"]
SCALES: tuple[Scale, ...] = get_args(Scale)
PILOT_SEEDS = 1_000
"""Pilots use seeds from here up to FRESH_SEEDS and studies all others, so that no study sees a seed that chose its
settings."""
FRESH_SEEDS = 2_000
"""From here up: seeds that no run of stage one used, for studies that repeat one of its comparisons."""


@dataclass(frozen=True)
class Study:
    """Arms of one baseline, each run at the same seeds.

    arms: by name, the dotted fields that the arm changes. pilot: it chooses settings and is no evidence for a claim.
    seeds_per_arm: arms that use only their first so many seeds.
    published_in: the study whose table in data/evidence/ holds the runs; empty for its own. moved: the seeds are not
    the study's own, but others given by ``from_seed``, for runs to contribute.
    """

    name: str
    title: str
    baseline: RunConfig
    arms: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    pilot: bool = False
    seeds_per_arm: Mapping[str, int] = field(default_factory=dict)
    published_in: str = ""
    moved: bool = False

    def config(self, arm: str, seed: int) -> RunConfig:
        """The RunConfig of ``arm`` at ``seed``. Raises UserError for an unknown arm."""
        if arm not in self.arms:
            raise one_of(f"arm of {self.name}", arm, list(self.arms))
        return self.baseline.changed(**self.arms[arm], seed=seed)

    def changed(self, **changes: Any) -> "Study":
        """This study with dotted fields of its baseline changed."""
        return replace(self, baseline=self.baseline.changed(**changes))

    @property
    def scale(self) -> Scale:
        """The scale of its runs. Full-size studies, which have no scale, count as "cifar10", the default."""
        data = self.baseline.data
        scales: dict[str, Scale] = {"sample": "smoke", "tiny-imagenet": "tiny-imagenet"}
        return scales.get(data.dataset, "cifar10-long" if data.drawn else "cifar10")

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """The seeds of one arm."""
        return self.seeds[: self.seeds_per_arm.get(arm)]

    def runs(self) -> list[tuple[str, RunConfig]]:
        """Every (arm, config), seed by seed, so that a study stopped early has complete pairs."""
        return [(arm, self.config(arm, seed)) for seed in self.seeds for arm in self.arms if seed in self.seeds_of(arm)]


SEEDS_END = 2**31
"""The first seed of runs to contribute must be below."""


def from_seed(study: Study, first: int) -> Study:
    """The study with the same number of seeds, counted up from ``first``, for runs to contribute; 0 returns it
    unchanged.

    Raises UserError for a pilot, for a negative seed or one of 2^31 and more, and for seeds that are kept for pilots.
    """
    if first == 0:
        return study
    if study.pilot:
        raise UserError(f"{study.name} is a pilot, which keeps its seeds: leave --first-seed {first} out")
    if not 0 <= first < SEEDS_END:
        raise UserError(f"first seed {first}: use a number from 0 to {SEEDS_END - 1}")
    count = len(study.seeds)
    if PILOT_SEEDS - count < first < FRESH_SEEDS:
        raise UserError(
            f"first seed {first}: the study's seeds would be {first} to {first + count - 1}, and "
            f"{PILOT_SEEDS} to {FRESH_SEEDS - 1} are kept for pilots; "
            f"start at {PILOT_SEEDS - count} or lower, or {FRESH_SEEDS} or higher"
        )
    return replace(study, seeds=tuple(range(first, first + count)), moved=True)
