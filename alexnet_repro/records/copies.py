"""Find copied training curves: losses of two independent runs never agree to eight digits."""

from collections import Counter
from typing import NamedTuple

from .record import RunRecord

DIGITS = 8
SHARE = 0.5
"""Fraction of a curve's losses that agree with another's if one is a copy."""
KEPT = 8
"""Runs remembered for each loss, at most, so that the work grows only in proportion to the number of runs."""


class Known(NamedTuple):
    """A run seen before, and whose it is."""

    owner: str
    key: str
    seed: int


class Curves:
    """The training losses of all runs that were added, for finding copies."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], list[Known]] = {}

    def add(self, owner: str, record: RunRecord) -> None:
        """Remember a run."""
        known = Known(owner, record.key, record.config.seed)
        for place in _places(record):
            runs = self._seen.setdefault(place, [])
            if len(runs) < KEPT:
                runs.append(known)

    def twin(self, owner: str, record: RunRecord) -> Known | None:
        """A run with the same curve that should differ: of another seed, or the same run from somebody else. None if
        there is none.

        Arms of one seed may start with the same losses, or differ in nothing that training sees; they are no copies.
        """
        places = _places(record)
        counts = Counter(
            known
            for place in places
            for known in self._seen.get(place, [])
            if known.seed != record.config.seed or (known.key == record.key and known.owner != owner)
        )
        return next((known for known, count in counts.most_common(1) if count >= SHARE * len(places)), None)


def _places(record: RunRecord) -> list[tuple[int, str]]:
    """Where a curve has which loss, to ``DIGITS`` digits."""
    return [(m.images, f"{m.train_loss:.{DIGITS}g}") for m in record.curve if m.train_loss is not None]
