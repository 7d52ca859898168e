"""Find the records that the claims ask for, and judge every claim by them."""

from collections.abc import Mapping, Sequence
from functools import cache

from ..common.errors import one_of
from ..experiments.registry import study
from ..experiments.study import SCALES
from ..records.lookup import records
from ..records.outputs import MEMBERS
from ..records.store import Store
from . import conclusions, ensembles
from .rules import SETTINGS
from .verdicts import Find, Records, Verdict, scorecard


def record_lookup(store: Store, scale: str = "cifar10") -> Find:
    """What the scorecard asks for, (study, arm) -> records by seed; a study is read when it is first asked for.

    A pilot is looked at, not rehearsed: at any scale its records are the published ones. Raises UserError for no such
    study or arm.
    """

    @cache
    def whole(name: str) -> Mapping[str, Records]:
        if name == MEMBERS:
            return ensembles.judged(store, scale)
        plan = study(name, scale)
        return records(study(name) if plan.pilot else plan, store)

    def find(name: str, arm: str) -> Records:
        found = whole(name)
        if arm not in found:
            raise one_of(f"arm of {name}", arm, list(found))
        return found[arm]

    return find


def concluded(store: Store, verdicts: Sequence[Verdict] | None = None) -> list[conclusions.Conclusion]:
    """Every claim's conclusion, with all comparisons of both stages, from the records of the store.

    verdicts: those of stage one, where they have been computed already.
    """
    finders: dict[str, Find] = {scale: record_lookup(store, scale) for scale in SCALES}

    def find_at(name: str, arm: str) -> Records:
        setting = SETTINGS[name]
        return finders[setting.scale](setting.study, arm)

    find = finders["cifar10"]
    return conclusions.concluded(verdicts or scorecard(find), conclusions.comparisons(find_at), find)
