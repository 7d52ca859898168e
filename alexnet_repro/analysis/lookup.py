"""Look up the records that claims ask for, by study and arm, and conclude on every claim from them."""

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
    """A function (study, arm) -> records by seed, for the scorecard; a study is read when it is first asked for.

    Records of pilots are the published ones at any scale. The function raises UserError for an unknown study or arm.
    """

    @cache
    def whole(name: str) -> Mapping[str, Records]:
        if name == MEMBERS:
            return ensembles.judged(store, scale)
        plan = study(name, scale)
        return records(study(name) if plan.pilot else plan, store)

    def find(name: str, arm: str) -> Records:
        runs_by_arm = whole(name)
        if arm not in runs_by_arm:
            raise one_of(f"arm of {name}", arm, list(runs_by_arm))
        return runs_by_arm[arm]

    return find


def concluded(store: Store, verdicts: Sequence[Verdict] | None = None) -> list[conclusions.Conclusion]:
    """The conclusion on every claim, with all comparisons of both stages, from the records of the store.

    verdicts: those of stage one, if they are computed already.
    """
    finders: dict[str, Find] = {scale: record_lookup(store, scale) for scale in SCALES}

    def find_at(name: str, arm: str) -> Records:
        setting = SETTINGS[name]
        return finders[setting.scale](setting.study, arm)

    find = finders["cifar10"]
    return conclusions.concluded(verdicts or scorecard(find), conclusions.comparisons(find_at), find)
