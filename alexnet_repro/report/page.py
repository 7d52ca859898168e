"""``Page``: the figures, tables and paragraphs of a notebook, one method call per cell.

It loads records, training missing runs where asked, and calls cards.py, figures.py, captions.py and tables.py with
them; nothing is computed or drawn here.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Literal, ParamSpec, TypeVar

import pandas as pd
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure

from ..analysis import exploratory, meta
from ..analysis.conclusions import Conclusion
from ..analysis.contrasts import ALL_ARMS, Contrast, Pair, contrasts
from ..analysis.ensembles import sizes
from ..analysis.lookup import concluded, record_lookup
from ..analysis.verdicts import Find, Records, Verdict, paired, scorecard
from ..common.errors import NoRuns, UserError, one_of
from ..common.machine import check_device
from ..common.text import capital, number
from ..experiments.cifar_alexnet import SCALED, arm_label
from ..experiments.registry import study
from ..experiments.study import SCALES, Study
from ..networks import layers
from ..networks.config import AlexNetConfig
from ..paper.claims import Measured, claim
from ..records import outputs
from ..records.lookup import RunsByArm, records
from ..records.reference import linear_classifier
from ..records.store import Store
from ..training.launch.runs import load_or_train
from . import captions, cards, downloads, features, figures, scales, tables
from .captions import level
from .format import TITLE, markdown

P = ParamSpec("P")
T = TypeVar("T")


def _or_one_line(method: Callable[P, T]) -> Callable[P, T]:
    """Decorator: if a method raises NoRuns, return its message as a line of Markdown."""

    @wraps(method)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except NoRuns as error:
            return Markdown(f"*{capital(str(error))}.*")  # type: ignore[return-value]

    return called


class Page:
    """Figures, tables and paragraphs on the claims of one notebook at one scale, from the working store's records.

    At the scale smoke, or with train=True, missing runs are trained when a method first needs them. If a study does
    not exist at the scale, a method returns a line that says so.
    """

    def __init__(self, scale: str, train: bool, device: str, workers: int) -> None:
        """The notebook's parameters; workers: 0 for one per core or GPU. Raises UserError for a bad value."""
        if scale not in SCALES:
            raise one_of("scale", scale, list(SCALES))
        if not isinstance(train, bool):
            raise UserError(f"train={train!r} is neither true nor false: papermill takes -p train True or False")
        check_device(device)
        if not isinstance(workers, int) or workers < 0:
            raise UserError(f"workers={workers!r}: give a whole number, 0 for one per core or GPU")
        self.scale, self.device, self.workers = scale, device, workers or None
        self.smoke = scale == "smoke"
        self.train = train or self.smoke
        self.store = Store()
        self._judged: list[Verdict] | None = None
        self._concluded: dict[str, Conclusion] | None = None
        self._finders: dict[str, Find] = {}
        self._models: dict[tuple[str, str], exploratory.Pooled | None] = {}

    def runs(self, name: str) -> tuple[Study, RunsByArm]:
        """A study and its records, by arm and seed."""
        plan = study(name, self.scale)
        if self.train:
            self._judged = self._concluded = None
            self._finders.clear()
            self._models.clear()
        return plan, load_or_train(plan, self.store, train=self.train, device=self.device, workers=self.workers)

    def prepare(self, *names: str) -> None:
        """Train the missing runs of these studies, if this page trains at all."""
        for name in names:
            with suppress(NoRuns):
                self.runs(name)

    def title(self, name: str) -> Markdown:
        """A claim's finding in a few words, for the page's title; its conclusion if no finding holds."""
        if self.smoke:
            return Markdown("")
        found = self._conclusions()[name]
        return Markdown(found.heading or found.conclusion, metadata={TITLE: True})

    def box(self, *names: str) -> Markdown:
        """A box with each of these claims: the paper's statement, our answer, the verdict, and the scales run."""
        every = {} if self.smoke else self._conclusions()
        parts = [cards.answer(claim(name), every.get(name)) for name in names]
        return Markdown("\n".join([":::{admonition} The claim, and the answer", ":class: answer", *parts, ":::"]))

    def rules(self, *names: str) -> Markdown:
        """A folded section with the verdicts and rules of these claims, and the numbers that others published."""
        parts = []
        for name in names:
            parts += [str(self.verdict(name).data), str(cards.rules_card(name).data)]
        parts.append(str(self.log(*names).data))
        head = "::::{dropdown} Rules, verdicts and others' numbers in full"
        return Markdown("\n\n".join([head, *filter(None, parts), "::::"]))

    def study_summary(self, *names: str) -> Markdown:
        """How many runs of these studies are recorded, and their core-hours; trains missing runs if the page does."""
        self.prepare(*names)
        return self.spent(*names)

    def spent(self, *names: str) -> Markdown:
        """``study_summary`` of the runs that are recorded now; trains nothing."""
        return Markdown("\n\n".join(str(self._spent(name).data) for name in names))

    @_or_one_line
    def _spent(self, name: str) -> Markdown:
        return cards.study_summary(study(name, self.scale), self.store)

    def baseline(self) -> Markdown:
        """How the baseline of the ablations is trained, read from its config."""
        config = study("ablations", self.scale).baseline
        data, optimizer = config.data, config.optimizer
        drops = " and ".join(map(str, optimizer.drops))
        count = f"{data.train_images:,} training images of"
        which = f"{count} Tiny ImageNet" if data.dataset == "tiny-imagenet" else f"{count} CIFAR-10"
        drawn = f"{which}, drawn anew for every seed" if data.drawn else f"the first {which}"
        lines = [
            f"Images: {drawn}, minus the mean of each pixel, "
            f"divided by {data.divisor:g}; random crops of {data.crop} x {data.crop} pixels, horizontal flips, "
            "colour noise as printed.",
            f"Updates: batches of {optimizer.batch_size}, momentum {optimizer.momentum:g}, weight decay "
            f"{optimizer.weight_decay:g}, rate {optimizer.learning_rate:g}"
            f"{f', divided by ten after epochs {drops}' if drops else ''}; {config.budget.epochs} epochs.",
            "Initial weights: Gaussian, with standard deviation √(2 / inputs of a unit) in the hidden layers and 0.01, "
            "the paper's, in the last; biases of 1 where the paper has them.",
        ]
        return Markdown("\n".join(f"* {line}" for line in lines))

    @_or_one_line
    def beside_linear(self) -> Markdown:
        """The test error of the baseline, and of a linear classifier trained on the same images."""
        if self.scale in SCALED:
            raise NoRuns("the linear classifier was trained on the first images of CIFAR-10 alone")
        images, error = linear_classifier()
        return Markdown(
            f"{level(self._find(self.scale))}A linear classifier of the pixels of the same {images:,} "
            f"training images has a test error of {100 * error:.1f} % (ridge regression, its penalty picked on a fifth "
            f"of them: `python -m alexnet_repro.training.linear`; {downloads.link('linear_classifier.csv')})."
        )

    def verdict(self, name: str) -> Markdown:
        """The conclusion on a claim and the verdicts of both stages; at the scale smoke, those of stage one alone."""
        parts = [f"**{claim(name).title}**"]
        if not self.smoke:
            parts += [str(cards.conclusion_card(self._conclusions()[name]).data), "Stage one:"]
        parts.append(str(self._stage_one(name).data))
        return Markdown("\n\n".join(parts))

    @_or_one_line
    def _stage_one(self, name: str) -> Markdown:
        return cards.verdicts_card([each for each in self._verdicts() if each.claim == name])

    def _measured(self, names: Sequence[str]) -> list[Verdict]:
        return [each for each in self._verdicts() if each.claim in names and each.evidence == "measured"]

    def _verdicts(self) -> list[Verdict]:
        """All verdicts of stage one, cached until this page trains a run."""
        if self.scale in SCALED:
            raise NoRuns(f"stage one's rules are for 24 epochs of CIFAR-10: no verdict at the scale {self.scale}")
        if self._judged is None:
            self._judged = scorecard(self._find(self.scale))
        return self._judged

    def _conclusions(self) -> dict[str, Conclusion]:
        """The conclusion on each claim by its name, cached until this page trains a run."""
        if self._concluded is None:
            every = concluded(self.store, None if self.scale in SCALED else self._verdicts())
            self._concluded = {each.claim: each for each in every}
        return self._concluded

    @_or_one_line
    def effects(self, *names: str, dots: str = "one seed") -> Figure:
        """Figure: a row per comparison of these claims, with its effects as dots, the mean and its interval.

        dots: what a dot is, for the legend.
        """
        effects, find, verdicts = {}, self._find(self.scale), self._compared(names)
        for comparison, each in verdicts.items():
            entry = _entry(each.claim, each.label)
            other = None if isinstance(entry.against, float) else find(entry.study, entry.against)
            effects[comparison] = list(paired(entry, find(entry.study, entry.arm), other).values())
        return figures.paired_effects(effects, verdicts, self.smoke, dots)

    def scales(self, *names: str) -> Figure | Markdown:
        """Figure: these claims' effects in points in the paper, in the log, by others, and here at every scale."""
        drawn = {} if self.smoke else scales.with_controls([self._conclusions()[name] for name in names])
        return scales.figure(drawn) if drawn else Markdown("*A rehearsal is compared with no other scale.*")

    def scales_found(self, *names: str) -> Markdown:
        """The caption of ``scales``."""
        if self.smoke:
            return Markdown("")
        return captions.caption(scales.verdicts([self._conclusions()[name] for name in names]))

    @_or_one_line
    def effects_found(self, *names: str) -> Markdown:
        """The caption of ``effects``."""
        return captions.effects(self._compared(names))

    def _compared(self, names: Sequence[str]) -> dict[str, Verdict]:
        """Name of a comparison in a figure of these claims -> its verdict."""
        titles = len(names) > 1
        return {
            (f"{each.title}, {each.label}" if titles and each.label else each.label or each.title): each
            for each in self._measured(names)
        }

    @_or_one_line
    def arms(self, name: str, metrics: Sequence[str]) -> Markdown:
        """A table of a study's arms: mean ± standard deviation of ``metrics`` over the seeds that all arms have."""
        return tables.arms(*self.runs(name), metrics)

    @_or_one_line
    def differences(self, name: str, *pairs: tuple[str, str], metric: str = "test_error") -> Markdown:
        """A list of paired differences, first arm minus second, with 95 % intervals; no rule judges them.

        metric: one of ``tables.PERCENT``. Raises UserError for any other.
        """
        if metric not in tables.PERCENT:
            raise one_of("metric in points", metric, tables.PERCENT)
        return tables.differences(*self.runs(name), pairs, metric)

    def by_epoch(self, *what: str | Pair) -> Figure:
        """Figure: paired differences of training curves; what: claims, or (study, arm, against). Trains nothing."""
        return figures.effects_by_epoch(self._panels(what), self.smoke)

    def by_epoch_found(self, *what: str | Pair) -> Markdown:
        """The caption of ``by_epoch``."""
        return captions.by_epoch(self._panels(what))

    def _panels(self, what: Sequence[str | Pair]) -> list[figures.Panel]:
        """A panel for each comparison with at least three pairs of runs."""
        panels = []
        for each in contrasts(what, self.scale):
            arm, against = self._two(each)
            loss = each.quantity == "train_loss"
            train = exploratory.by_epoch(arm, against, each.quantity)
            test = exploratory.by_epoch(arm, against, "test_error")
            ends = exploratory.parts(arm, against)
            final = None
            if len(train) and len(ends) and not loss and not each.stops:
                mean, low, high = (float(ends[name].iloc[-1]) for name in ("mean", "low", "high"))
                final = (float(train["epoch"].iloc[-1]), mean, low, high)
            if len(train):
                unit: Literal["points", "nats"] = "nats" if loss else "points"
                panels.append(
                    figures.Panel(each.label, each.setting, unit, train, test.iloc[:0] if loss else test, final)
                )
        return panels

    def parts(self, *what: str | Pair) -> Markdown:
        """A table that divides each effect on the test error into training error and gap, paired and pooled.

        what: as for ``by_epoch``, without studies whose runs stop at a training error. Trains nothing.
        """
        found = []
        for each in contrasts(what, self.scale):
            table = exploratory.parts(*self._two(each))
            if len(table) and not each.stops:
                found.append((each, table, [self._estimate(each, metric) for metric in table["metric"]]))
        return tables.parts(found)

    def pooled(self) -> Markdown:
        """A table of every arm minus the baseline: by one linear model of all runs, and from the arm's own pairs."""
        return tables.pooled(self._pooled(self.scale, "test_error"))

    def colours_by_chance(self, subject: features.Subject | None) -> Markdown:
        """Whether the columns differ in colour more than by chance; subject: a net whose kernels are then dealt."""
        null = exploratory.colour_null(self._find(self.scale)("filters", "baseline"))
        dealt = None
        if subject is not None:
            dealt = exploratory.dealt_ratio(*subject.pictures.by_column(subject.pictures.colour))
        return tables.colours(null, dealt)

    @_or_one_line
    def side_by_side(self, *names: str) -> Markdown:
        """A table per claim of its effect in the paper, in the author's log, by others, and here at each scale."""
        verdicts = self._verdicts()
        found = [] if self.smoke else [c for each in self._conclusions().values() for c in each.comparisons]
        parts = []
        for name in names:
            parts += [f"**{claim(name).title}**"] if len(names) > 1 else []
            parts.append(str(tables.side_by_side(meta.rows(claim(name), verdicts, found)).data))
        return Markdown("\n\n".join(parts))

    def _two(self, each: Contrast) -> tuple[Records, Records]:
        find = self._find(each.scale)
        return find(each.study, each.arm), find(each.study, each.against)

    def _find(self, scale: str) -> Find:
        """The lookup of records at a scale; it caches each study until this page trains a run."""
        if scale not in self._finders:
            self._finders[scale] = record_lookup(self.store, scale)
        return self._finders[scale]

    def _pooled(self, scale: str, metric: str) -> exploratory.Pooled | None:
        if (scale, metric) not in self._models:
            find = self._find(scale)
            runs = {arm: find(ALL_ARMS, arm) for arm in study(ALL_ARMS, scale).arms}
            self._models[scale, metric] = exploratory.pooled(exploratory.values(runs, metric))
        return self._models[scale, metric]

    def _estimate(self, each: Contrast, metric: str) -> tables.Estimate | None:
        """The pooled model's estimate of a contrast; None if the model lacks its runs or arms.

        An arm without a change is the baseline, whatever its study calls it.
        """
        model = self._pooled(each.scale, metric) if each.shared else None
        changes = study(each.study, each.scale).arms
        names = [arm if changes[arm] else "baseline" for arm in (each.arm, each.against)]
        return model.contrast(*names) if model is not None and set(names) <= set(model.arms) else None

    def reached_in_pilot(self, name: str, percent: float, *arms: str) -> Markdown:
        """The epoch at which each of these arms of a pilot study first reached a training error (percent)."""
        plan = study(name)  # at any scale: a pilot is looked at, not rehearsed
        runs, seed = records(plan, self.store), plan.seeds[0]
        epochs = {arm_label(arm): runs[arm][seed].epochs_to(percent / 100) for arm in arms if seed in runs[arm]}
        words = ", ".join(
            f"{'never' if math.isnan(when) else f'after {number(when)} epochs'} ({label})"
            for label, when in epochs.items()
        )
        return Markdown(
            f"In the pilot (seed {seed}), the training error came down to {percent:g} % {words or 'in no run yet'}."
        )

    @_or_one_line
    def parameters(self, name: str) -> Markdown:
        """The number of parameters of each arm of a study."""
        plan = study(name, self.scale)
        nets = {arm_label(arm): plan.config(arm, plan.seeds[0]).model for arm in plan.arms}
        counts = {label: layers.parameters(net) for label, net in nets.items() if isinstance(net, AlexNetConfig)}
        whole = counts[arm_label("baseline")]
        parts = [
            f"{count:,}{'' if count == whole else f', or {100 * count / whole:.0f} %'} ({label})"
            for label, count in counts.items()
        ]
        return Markdown(f"Parameters: {'; '.join(parts)}.")

    @_or_one_line
    def curves(self, name: str) -> Figure:
        """Figure: training error (in training mode) against epochs, a line per seed."""
        plan, runs = self.runs(name)
        return figures.training_curves(runs, _labels(plan), _threshold(plan), self.smoke)

    @_or_one_line
    def curves_found(self, name: str) -> Markdown:
        """The caption of ``curves``."""
        plan, runs = self.runs(name)
        threshold = _threshold(plan)
        if threshold is not None:
            return captions.joined(cards.epochs_to_threshold_summary(runs, _labels(plan), threshold))
        return captions.curves(runs, _labels(plan))

    @_or_one_line
    def first_drop_found(self, name: str) -> Markdown:
        """The caption of ``curves`` for runs that drop the rate; compares all seeds of the ablations' baseline."""
        plan, runs = self.runs(name)
        groups = {label: runs[arm].values() for arm, label in _labels(plan).items()}
        every = records(study("ablations", self.scale), self.store)["baseline"]
        return captions.first_drop(groups | {f"{arm_label('baseline')} over all its seeds": every.values()})

    def explore(self, *names: str) -> HTML:
        """Links to the page "Explore the runs", opened at each of these studies."""
        return cards.explore_link(*names)

    @_or_one_line
    def ensembles(self) -> Figure:
        """Figure: test error against the number of networks averaged; predictions are made if the page trains."""
        plan, _ = self.runs(outputs.MEMBERS)
        if self.train:
            from ..training.predict import make  # torch is imported only to compute

            for seed in plan.seeds:
                config = plan.config("baseline", seed)
                if outputs.predictions(config, self.store) is None:
                    make(config, self.store)
        return figures.ensemble_sizes(sizes(self.store, self.scale), self.smoke)

    @_or_one_line
    def ensembles_found(self) -> Markdown:
        """The caption of ``ensembles``."""
        return captions.ensembles(sizes(self.store, self.scale))

    def log(self, *names: str) -> Markdown:
        """Tables of these claims' numbers in the author's log and of what others measured."""
        parts = []
        audited = cards.numbers_table(names, "audited")
        if len(audited):
            log = downloads.link("author_log.csv")
            parts += [f"**The first author's log** ({log}):", markdown(audited, wide=True)]
        others = pd.concat([cards.others(name) for name in names])
        if len(others):
            parts += [f"**Others** ({downloads.link('others.csv')}):", markdown(others, wide=True)]
        return Markdown(
            "\n\n".join(parts) or "Neither the author's log nor the sources of this book have this comparison."
        )


def _entry(name: str, label: str) -> Measured:
    return next(entry for entry in claim(name).measured if entry.label == label)


def _threshold(plan: Study) -> float | None:
    """The training error, in percent, at which the study's runs stop; None if they do not."""
    stop = plan.baseline.budget.stop_at_train_error
    return None if stop is None else 100 * stop


def _labels(plan: Study) -> dict[str, str]:
    return {arm: arm_label(arm) for arm in plan.arms}
