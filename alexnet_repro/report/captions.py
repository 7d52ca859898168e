"""The first sentence of each figure's caption: the finding, computed from the same records as the figure.

How to read a figure is written in the notebook, not here.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from IPython.display import Markdown

from ..analysis.exploratory import last_change_of_sign
from ..analysis.verdicts import Find, Verdict, effect_text
from ..common.errors import UserError
from ..common.text import capital, number, with_interval, with_unit
from ..experiments.cifar_alexnet import arm_label
from ..experiments.study import Study
from ..records.lookup import RunsByArm, select_learning_rates
from ..records.metrics import scored_metric
from ..records.record import RunRecord
from ..records.store import Store
from .figures import Panel
from .format import CAPTION


def caption(text: str) -> Markdown:
    """Text that the book puts at the start of the figure's caption; a notebook shows it below the figure."""
    return Markdown(text, metadata={CAPTION: True})


def effects(verdicts: Mapping[str, Verdict]) -> Markdown:
    """The effect and verdict of each comparison; verdicts: name of the comparison in the figure -> verdict."""
    parts = []
    for name, verdict in verdicts.items():
        if verdict.effect is None:
            found = f"{verdict.verdict}{f' ({verdict.pairs_judged} so far)' * bool(verdict.seeds)}"
        else:
            found = f"{with_unit(number(verdict.effect), verdict.unit)}, {verdict.verdict}"
            found += ", provisional" * verdict.provisional
        parts.append(f"{name}: {found}")
    return caption(f"In stage one: {'; '.join(parts)}.")


def curves(runs: RunsByArm, labels: Mapping[str, str]) -> Markdown:
    """The mean training error of each arm at the end of training, over its seeds."""
    ends = []
    for arm, label in labels.items():
        errors = [100 * record.curve[-1].train_error for record in runs[arm].values() if record.curve]
        if errors:
            ends.append(f"{number(fmean(errors))} % for {label} ({_runs(len(errors))})")
    return caption(f"The training error ends, on average, at {', '.join(ends)}." if ends else "No runs yet.")


def by_epoch(panels: Sequence[Panel]) -> Markdown:
    """Each comparison's effect in the last epoch of training, and the epoch in which its sign last changed, if any."""
    same = len({panel.setting for panel in panels}) == 1
    found: dict[str, list[str]] = {}
    for panel in panels:
        first, last = panel.train.iloc[[0, -1]].to_dict("records")
        end = with_interval(last["mean"], (last["low"], last["high"]), panel.unit)
        if first["mean"] * last["mean"] < 0:
            end += f", after a change of sign by epoch {number(last_change_of_sign(panel.train))}"
        found.setdefault(panel.label, []).append(end if same else f"{end} ({panel.setting})")
    if not panels:
        return joined([])
    effects = "; ".join(f"{label} is {', '.join(ends)}" for label, ends in found.items())
    return caption(f"In the last epoch of training{f' ({panels[0].setting})' if same else ''}, {effects}.")


def first_drop(groups: Mapping[str, Iterable[RunRecord]]) -> Markdown:
    """In how many runs of each group the training error rises in the epoch after the first drop of the rate."""
    lines = []
    for label, records in groups.items():
        changes = []
        for record in records:
            errors = {m.epoch: 100 * m.train_error for m in record.curve}
            changes += [errors[d + 1] - errors[d] for d in record.config.optimizer.drops[:1] if d + 1 in errors]
        if changes:
            rising = f"in {sum(change > 0 for change in changes)} of {_runs(len(changes))}"
            lines.append(f"{rising} with {label} (mean change {number(fmean(changes))} points)")
    if not lines:
        return caption("No run drops its rate.")
    return caption(f"In the epoch after the first drop the training error rises {', '.join(lines)}.")


def ratio(verdict: Verdict, what: str) -> Markdown:
    """A ratio with its verdict, put into ``what``, such as "tanh takes {} as many epochs as ReLU"."""
    if verdict.effect is None:
        return caption(f"No number yet: {verdict.verdict}.")
    paper = (
        "" if verdict.paper_value is None else f"; the paper: {with_unit(number(verdict.paper_value), verdict.unit)}"
    )
    return caption(f"{capital(what.format(effect_text(verdict)))}{paper}: {verdict.verdict}.")


def search(plan: Study, trials: RunsByArm, store: Store, threshold: float) -> Markdown:
    """How many trials of a search reached ``threshold`` (percent), and the learning rates that its rule picks."""
    records: Sequence[RunRecord] = [record for by_seed in trials.values() for record in by_seed.values()]
    there = sum(math.isfinite(record.metric("epochs_to_threshold")) for record in records)
    try:
        rates = select_learning_rates(plan, store)
        picks = ", ".join(f"{rate:g} for {arm_label(name)}" for name, rate in rates.items())
    except UserError:
        picks = "none yet"
    return caption(f"{there} of {len(records)} trials reached {threshold:g} %. Rates picked: {picks}.")


def ensembles(errors: Mapping[int, Sequence[float]]) -> Markdown:
    """How far averaging lowers the error; errors: number of networks averaged -> error of each group, a fraction."""
    means = {size: 100 * fmean(group) for size, group in errors.items() if group}
    if not means:
        return caption("No whole group yet.")
    first, last = min(means), max(means)
    groups = len(errors[first])
    return caption(
        f"The test error goes from {number(means[first])} % with {first} network to {number(means[last])} % with the "
        f"average of {last}, over {groups} {'group' if groups == 1 else 'groups'}."
    )


def joined(sentences: Iterable[str]) -> Markdown:
    """Sentences as one caption."""
    return caption(" ".join(sentences) or "No runs yet.")


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def level(find: Find) -> str:
    """The mean test error of the ablations' baseline, compared with the paper's 37.5 % (section 6, table 1)."""
    errors = [scored_metric(record, "test_error") for record in find("ablations", "baseline").values()]
    ours = f"{100 * fmean(errors):.1f} % (mean of {len(errors)} seeds)" if errors else "no number yet"
    return f"The baseline of the ablations has a test error of {ours}; the paper's net, 37.5 % on other images.\n"
