"""What the page of an ablation shows: one call a cell, every number from claims and records."""

import math
from collections.abc import Sequence

import pandas as pd
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure

from . import architecture, captions, downloads, ensembles, figures, paths, report
from .ablations import arm_label
from .claims import Measured, claim
from .errors import UserError, one_of
from .files import read_csv
from .machine import check_device
from .networks import AlexNetConfig
from .records import RunRecord
from .runs import Found, concluded, finder, obtain
from .scorecard import capital, level, number
from .scorecard import found as shown
from .statistics import paired_difference
from .store import Store
from .studies import SCALES, Study, records, study
from .verdicts import MIN_PAIRS, Verdict, counted, paired, scorecard

METRICS = {
    "test_error": "test error (%)",
    "ten_view_error": "test error, ten views (%)",
    "clean_train_error": "error on the training images (%)",
    "gap": "gap (points)",
    "early_train_loss": "loss, first five epochs (nats)",
    "epochs_to_converge": "epochs to within a point of its lowest test error",
    "lowest_epoch": "epoch of its lowest test error",
    "epochs_to_threshold": "epochs to the threshold",
    "train_error": "training error, as trained (%)",
    "color_gap": "difference of the columns' colour indices",
    "color_gap_shuffled": "the same, kernels dealt at random",
    "color_gap_p": "share of deals as wide",
    "knn_features": "neighbours of the same class, features (%)",
    "knn_pixels": "neighbours of the same class, pixels (%)",
}
"""Metrics of a run of AlexNet, as a table's column calls them."""
PERCENT = ("test_error", "train_error", "ten_view_error", "clean_train_error", "gap", "knn_features", "knn_pixels")


class Page:
    """The claims of one page at a scale, from the records of ``store``.

    At smoke scale, and with ``train``, runs that have no record are trained when they are first asked for.
    """

    def __init__(self, scale: str, train: bool, device: str, workers: int) -> None:
        """The parameters as papermill gives them. Raises UserError for a bad one, needed or not."""
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

    def runs(self, name: str) -> tuple[Study, Found]:
        """A study and its records."""
        plan = study(name, self.scale)
        if self.train:
            self._judged = None
        return plan, obtain(plan, self.store, train=self.train, device=self.device, workers=self.workers)

    def cost(self, *names: str) -> Markdown:
        """How much there is of these studies, and what it cost."""
        for name in names:
            self.runs(name)
        return self.spent(*names)

    def spent(self, *names: str) -> Markdown:
        """What these studies have cost so far; trains nothing."""
        lines = [
            str(report.whole(plan, records(plan, self.store)).data) for plan in (study(n, self.scale) for n in names)
        ]
        return Markdown("\n\n".join(lines))

    def baseline(self) -> Markdown:
        """How the net of the ablations is trained, read from its config."""
        config = study("ablations", self.scale).baseline
        data, optimizer = config.data, config.optimizer
        drops = " and ".join(map(str, optimizer.drops))
        lines = [
            f"Images: the first {data.train_images:,} training images of CIFAR-10, minus the mean of each pixel, "
            f"divided by {data.divisor:g}; crops of {data.crop} pixels a side, reflections, colour noise as printed.",
            f"Updates: batches of {optimizer.batch_size}, momentum {optimizer.momentum:g}, weight decay "
            f"{optimizer.weight_decay:g}, rate {optimizer.learning_rate:g}"
            f"{f', divided by ten after epochs {drops}' if drops else ''}; {config.budget.epochs} epochs.",
            "Initial weights: Gaussian, with standard deviation √(2 / inputs of a unit) in the hidden layers and 0.01, "
            "the paper's, in the last; biases of 1 where the paper has them.",
        ]
        return Markdown("\n".join(f"* {line}" for line in lines))

    def beside_linear(self) -> Markdown:
        """How often the net errs, and a linear classifier of the same training images."""
        name = "linear_classifier.csv"
        table = read_csv(paths.data() / name, {"train_images": float, "penalty": float, "test_error": float})
        images, error = int(table["train_images"].item()), float(table["test_error"].item())
        return Markdown(
            f"{level(finder(self.store, self.scale))}A linear classifier of the pixels of the same {images:,} training "
            f"images errs on {100 * error:.1f} % (ridge regression, its penalty picked on a fifth of them: "
            f"`python -m alexnet_repro.lab.linear`; {downloads.link(name)})."
        )

    def verdict(self, name: str) -> Markdown:
        """Every verdict on a claim, under its title; what both stages conclude, except from a rehearsal."""
        card = report.verdicts_card([each for each in self._verdicts() if each.claim == name])
        parts = [f"**{claim(name).title}**", str(card.data)]
        if not self.smoke:
            (conclusion,) = [each for each in concluded(self.store, self._verdicts()) if each.claim == name]
            parts[1:1] = [str(report.conclusion_card(conclusion).data), "Stage one:"]
        return Markdown("\n\n".join(parts))

    def findings(self, *names: str) -> Markdown:
        """What was measured for each of these claims, a sentence per comparison."""
        lines = []
        for each in self._measured(names):
            entry = _entry(each.claim, each.label)
            pair = f"{arm_label(entry.arm)} against {arm_label(str(entry.against))}"
            what = f"{pair}, {METRICS.get(entry.metric, entry.metric)}"
            if entry.arm == entry.against:
                what = f"{METRICS[entry.metric]} against {METRICS[str(entry.against_metric)]}"
            label = f" ({each.label})" if each.label else ""
            effect = shown(each) if each.effect is not None else "no bound"
            came = "no number yet" if each.verdict == "not run" else f"{effect} from {each.counted} pairs"
            lines.append(f"* {each.title}{label}: {what}: {came}: **{each.verdict}**.")
        return Markdown("\n".join(lines))

    def _measured(self, names: Sequence[str]) -> list[Verdict]:
        return [each for each in self._verdicts() if each.claim in names and each.evidence == "measured"]

    def _verdicts(self) -> list[Verdict]:
        """The whole scorecard, judged anew once this page has trained anything."""
        if self._judged is None:
            self._judged = scorecard(finder(self.store, self.scale))
        return self._judged

    def effects(self, *names: str) -> Figure:
        """The effect at every seed, its mean with the interval, the paper's value: a row per comparison."""
        rows, find, verdicts = [], finder(self.store, self.scale), self._compared(names)
        for comparison, each in verdicts.items():
            entry = _entry(each.claim, each.label)
            other = None if isinstance(entry.against, float) else find(entry.study, entry.against)
            rows += [
                {"comparison": comparison, "seed": seed, "effect": value}
                for seed, value in paired(entry, find(entry.study, entry.arm), other).items()
            ]
        table = pd.DataFrame(rows, columns=["comparison", "seed", "effect"])
        return figures.paired_effects(table, verdicts, self.smoke)

    def effects_found(self, *names: str) -> Markdown:
        """The finding of that figure."""
        return captions.effects(self._compared(names))

    def _compared(self, names: Sequence[str]) -> dict[str, Verdict]:
        """Every comparison by the name that a figure of these claims gives it."""
        titles = len(names) > 1
        return {
            (f"{each.title}, {each.label}" if titles and each.label else each.label or each.title): each
            for each in self._measured(names)
        }

    def arms(self, name: str, metrics: Sequence[str]) -> Markdown:
        """Mean and standard deviation of ``metrics`` over the seeds that every arm with runs has."""
        plan, runs = self.runs(name)
        rows, seen = [], [set(by_seed) for by_seed in runs.values() if by_seed]
        shared = sorted(set.intersection(*seen)) if seen else []
        for arm in plan.arms:
            records = [runs[arm][seed] for seed in shared if seed in runs[arm]]
            row: dict[str, object] = {"arm": arm_label(arm), "seeds": len(records)}
            for metric in metrics:
                values = pd.Series([_value(record, metric) for record in records], dtype=float)
                row[METRICS[metric]] = _spread(values * (100 if metric in PERCENT else 1))
            row["diverged"] = sum(record.status == "diverged" for record in records)
            rows.append(row)
        table = pd.DataFrame(rows)
        if not table["diverged"].any():
            table = table.drop(columns="diverged")
        written = report.written(table, right=list(table.columns[1:]), wide=True)
        if len(shared) < 2:
            return written
        chance = " A diverged run's errors count at chance." if "diverged" in table else ""
        return Markdown(
            f"{written.data}\n\nMean ± standard deviation over the seeds that all of these arms have.{chance}"
        )

    def differences(self, name: str, *pairs: tuple[str, str], metric: str = "test_error") -> Markdown:
        """An error of each first arm minus that of its second, paired by seed: a question without a rule.

        metric: one in percent or points.
        """
        if metric not in PERCENT:
            raise one_of("metric in points", metric, list(PERCENT))
        _, runs = self.runs(name)
        lines = []
        for arm, against in pairs:
            seeds = sorted(runs[arm].keys() & runs[against].keys())
            what = f"{arm_label(arm)} minus {arm_label(against)}"
            if len(seeds) < MIN_PAIRS:
                lines.append(f"* {what}: no number yet.")
                continue
            first, second = ([100 * counted(runs[each][s], metric) for s in seeds] for each in (arm, against))
            effect = paired_difference(first, second)
            interval = f"{number(effect.low)} to {number(effect.high)}"
            singly = ", ".join(f"{a - b:.2f}".replace("-", "−") for a, b in zip(first, second, strict=True))
            lines.append(f"* {what}: {number(effect.estimate)} points ({interval}) from {len(seeds)} pairs: {singly}.")
        name = capital(METRICS[metric].partition(" (")[0])
        return Markdown("\n".join([f"{name}, paired by seed, with 95 % intervals:", "", *lines]))

    def reached_in_pilot(self, name: str, percent: float, *arms: str) -> Markdown:
        """When these arms of a pilot came down to a training error, whether or not its runs ended there."""
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

    def parameters(self, name: str) -> Markdown:
        """How many parameters each arm of a study has."""
        plan = study(name, self.scale)
        nets = {arm_label(arm): plan.config(arm, plan.seeds[0]).model for arm in plan.arms}
        counts = {label: architecture.parameters(net) for label, net in nets.items() if isinstance(net, AlexNetConfig)}
        whole = counts[arm_label("baseline")]
        parts = [
            f"{count:,}{'' if count == whole else f', or {100 * count / whole:.0f} %'} ({label})"
            for label, count in counts.items()
        ]
        return Markdown(f"Parameters: {'; '.join(parts)}.")

    def curves(self, name: str) -> Figure:
        """Training error against epochs, as trained: a line per seed."""
        plan, runs = self.runs(name)
        return figures.training_curves(runs, _labels(plan), _threshold(plan), self.smoke)

    def curves_found(self, name: str) -> Markdown:
        """The finding of that figure."""
        plan, runs = self.runs(name)
        threshold = _threshold(plan)
        if threshold is not None:
            return captions.joined(report.when_reached(runs, _labels(plan), threshold))
        return captions.curves(runs, _labels(plan))

    def first_drop_found(self, name: str) -> Markdown:
        """The finding of that figure where the rate drops, and in all seeds of the baseline that there are."""
        plan, runs = self.runs(name)
        groups = {label: runs[arm].values() for arm, label in _labels(plan).items()}
        every = records(study("ablations", self.scale), self.store)["baseline"]
        return captions.first_drop(groups | {f"{arm_label('baseline')} over all its seeds": every.values()})

    def explore(self, *names: str) -> HTML:
        """Links to the page that shows any run, opened at each of these studies."""
        return report.explore_link(*names)

    def ensembles(self) -> Figure:
        """Test error against the number of networks averaged, a line per group; at smoke scale made now."""
        plan, _ = self.runs(ensembles.MEMBERS)
        if self.train:
            from .lab.predictions import make  # the lab is opened only to compute

            for seed in plan.seeds:
                config = plan.config("baseline", seed)
                if ensembles.predictions(config, self.store) is None:
                    make(config, self.store)
        return figures.ensemble_sizes(ensembles.sizes(self.store, self.scale), self.smoke)

    def ensembles_found(self) -> Markdown:
        """The finding of that figure."""
        return captions.ensembles(ensembles.sizes(self.store, self.scale))

    def log(self, *names: str) -> Markdown:
        """The paper's numbers beside the author's log, and what others measured."""
        parts = []
        audited = report.numbers_table(names, "audited")
        if len(audited):
            log = downloads.link("author_log.csv")
            parts += [f"**The first author's log** ({log}):", str(report.written(audited, wide=True).data)]
        others = pd.concat([report.others(name) for name in names])
        if len(others):
            parts += [f"**Others** ({downloads.link('others.csv')}):", str(report.written(others, wide=True).data)]
        return Markdown(
            "\n\n".join(parts) or "Neither the author's log nor the sources of this book have this comparison."
        )


def _entry(name: str, label: str) -> Measured:
    return next(entry for entry in claim(name).measured if entry.label == label)


def _threshold(plan: Study) -> float | None:
    """In percent, where the study's runs stop at one."""
    stop = plan.baseline.budget.stop_at_train_error
    return None if stop is None else 100 * stop


def _labels(plan: Study) -> dict[str, str]:
    return {arm: arm_label(arm) for arm in plan.arms}


def _value(record: RunRecord, metric: str) -> float:
    return record.lowest_epoch if metric == "lowest_epoch" else counted(record, metric)


def _spread(values: "pd.Series[float]") -> str:
    values = values.dropna()
    if values.empty:
        return "–"
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    digits = 3 if sd is not None and 1e-9 < sd < 0.005 else 2
    spread = "" if sd is None else f" ± {sd:.{digits}f}"
    return f"{values.mean():.{digits}f}{spread}".replace("-", "−")
