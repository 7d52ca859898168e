"""Curves that are copies of others: the training losses of two runs agree to eight digits by no chance."""

from collections import Counter
from typing import NamedTuple

from .record import RunRecord

DIGITS = 8
SHARE = 0.5
"""Of the measurements of a curve, so many agree with those of its twin."""
KEPT = 8
"""Of runs that share one loss, so many are remembered: what is compared stays in proportion to what is read."""


class Known(NamedTuple):
    """A run that has been seen, and whose it is."""

    owner: str
    key: str
    seed: int


class Curves:
    """The training losses of all runs that were added."""

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
        """A run that has this one's curve and should not: of another seed, or the same run by somebody else.

        Arms of one seed may begin alike, or differ in nothing that training sees: they are no twins.
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
