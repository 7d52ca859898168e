"""AlexNet for small images: the baseline configs on CIFAR-10 and Tiny ImageNet, and every ablation as a change to one.

Only data: ``registry`` makes studies of it, ``training`` runs them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..networks.config import CIFAR_ALEXNET, TINY_ALEXNET
from .config import (
    TINY_IMAGENET_CLASSES,
    TINY_IMAGENET_SIDE,
    TINY_IMAGENET_TRAIN_IMAGES,
    BudgetConfig,
    DataConfig,
    OptimizerConfig,
    RunConfig,
)

BASELINE = RunConfig(
    model=CIFAR_ALEXNET,
    data=DataConfig(
        dataset="cifar10",
        train_images=10_000,
        divisor=8.0,
        crop=24,
        random_crops=True,
        reflect=True,
        color_noise="paper",
    ),
    optimizer=OptimizerConfig(
        learning_rate=0.01, bias_rate_factor=1.0, momentum=0.9, weight_decay=0.0005, batch_size=128, drops=(16, 21)
    ),
    budget=BudgetConfig(epochs=24, measurements=1, stop_at_train_error=None, ten_views=True),
    seed=0,
)
"""Sections 3 to 5 as printed, except for He initialization below the last layer and for what pilots chose before the
first run of a study: number of images and epochs, when the learning rate drops, and the divisor of the pixels, with
which conv1's first outputs are about as large as with the paper's own initial weights at full size."""

TINY_BASELINE = BASELINE.changed(
    **{
        "model": TINY_ALEXNET.model_dump(),
        "data.dataset": "tiny-imagenet",
        "data.train_images": TINY_IMAGENET_TRAIN_IMAGES,
        "data.divisor": 64.0,
        "data.crop": 56,
        "data.whole": TINY_IMAGENET_SIDE,
        "data.classes": TINY_IMAGENET_CLASSES,
        "optimizer.learning_rate": 0.03,
        "optimizer.drops": (14, 18),
        "budget.epochs": 20,
        "precision": "bfloat16",
    }
)
"""The same on Tiny ImageNet, in bfloat16, which is faster on processors with instructions for it."""

LONG_BASELINE = BASELINE.changed(
    **{"data.drawn": True, "optimizer.drops": (64, 84), "budget.epochs": 96, "budget.test_curve": True}
)
"""Four times the epochs, with drops at the same fractions of them, on training images drawn anew for every seed."""

ARMS: Mapping[str, Mapping[str, Any]] = {
    "baseline": {},
    "half": {"model.columns": "half"},
    "unlinked": {"model.columns": "unlinked"},
    "no_lrn": {"model.cross_map_norm": None},
    "strong_lrn": {"model.cross_map_norm.alpha": 64e-4},
    "lrn_scale": {"model.cross_map_norm.alpha": 0.0},
    "pool_2_2": {"model.pool": (2, 2)},
    "no_crops": {"data.random_crops": False, "data.reflect": False},
    "no_color": {"data.color_noise": "none"},
    "color_source": {"data.color_noise": "source"},
    "no_dropout": {"model.dropout": 0.0},
    "no_crops_no_dropout": {"data.random_crops": False, "data.reflect": False, "model.dropout": 0.0},
    "no_weight_decay": {"optimizer.weight_decay": 0.0},
    "bias_zero": {"model.bias_init": "zero"},
    "no_conv3": {"model.removed": ("conv3",)},
    "no_conv4": {"model.removed": ("conv4",)},
    "no_conv5": {"model.removed": ("conv5",)},
    "paper_init": {"model.weight_init": "paper"},
    "torch_velocity": {"optimizer.velocity": "gradients"},
}

LABELS: Mapping[str, str] = {
    "baseline": "the baseline",
    "half": "one column (half the kernels)",
    "unlinked": "columns without links",
    "no_lrn": "no normalization",
    "strong_lrn": "normalization, alpha × 64",
    "lrn_scale": "normalization's scaling alone",
    "pool_2_2": "2×2 pooling",
    "no_crops": "no crops, no flips",
    "no_color": "no colour noise",
    "color_printed": "colour noise as printed",
    "color_source": "colour noise of the source",
    "no_dropout": "no dropout",
    "no_crops_no_dropout": "no crops, no flips, no dropout",
    "no_weight_decay": "no weight decay",
    "bias_zero": "biases from 0",
    "no_conv3": "without conv3",
    "no_conv4": "without conv4",
    "no_conv5": "without conv5",
    "paper_init": "the paper's own initial weights",
    "torch_velocity": "the rate outside the velocity",
    "13pct_lrn": "13pct with normalization",
}
"""Names of the arms on pages."""


def arms(*names: str) -> dict[str, Mapping[str, Any]]:
    """The arms of ``ARMS`` with these names, in this order."""
    return {name: ARMS[name] for name in names}


def arm_label(arm: str) -> str:
    """The name of an arm or a trial on a page."""
    return LABELS.get(arm, arm.replace("_", " ").replace("relu", "ReLU"))


CONVERGENCE_PILOT = {"optimizer.drops": (), "budget.epochs": 120, "budget.test_curve": True, "budget.ten_views": False}
"""A constant learning rate, with the test error after every epoch, to see when it levels off."""
CONVERGENCE = {
    "optimizer.drops": (),
    "budget.epochs": 120,
    "budget.stop_at_train_error": 0.05,
    "budget.ten_views": False,
}
"""The baseline of dropout_convergence: a constant learning rate until the training error is 5 %."""

THRESHOLD = {
    "optimizer.drops": (),
    "budget.epochs": 48,
    "budget.measurements": 4,
    "budget.stop_at_train_error": 0.5,
    "budget.ten_views": False,
}
"""Section 3.1 asked of AlexNet itself: a constant learning rate until half of the training images are right."""
TANH_RATE = 0.03
"""The learning rate that the pilots of the 96-epoch runs found best for tanh; a test reads it from them."""

EARLY = {
    "model.weight_init": "paper-scaled",
    "data.divisor": 1.0,
    "optimizer.learning_rate": 0.03,
    "optimizer.drops": (),
    "budget.epochs": 5,
    "budget.measurements": 10,
    "budget.ten_views": False,
}
"""Section 5's biases in a setting like the paper's: raw pixels, and initial weights as small as there for their layers.
The rate is the one at which both arms' training loss fell fastest in the pilots; a test reads it from them."""
EARLY_RATES: Mapping[str, Mapping[str, Any]] = {
    f"{arm} {rate:g}": {**ARMS[arm], "optimizer.learning_rate": rate}
    for arm in ("baseline", "bias_zero")
    for rate in (0.001, 0.003, 0.01, 0.03, 0.1)
}
"""Trials of learning rates for it. The training loss chooses, so that no test image has a say."""

LONGER = {"optimizer.drops": (32, 42), "budget.epochs": 48}
"""Twice the baseline's epochs, with drops at the same fractions of them. The pilot of convergence raised the question:
its test errors with and without crops cross at about the epoch where the ablations end."""


class Ablation(NamedTuple):
    """What one claim compares: arms, as changes to the baseline, and the number of seeds."""

    title: str
    seeds: int
    arms: Mapping[str, Mapping[str, Any]]


def _against_baseline(title: str, seeds: int, *names: str) -> Ablation:
    return Ablation(title, seeds, arms("baseline", *names))


ABLATIONS: Mapping[str, Ablation] = {
    "ablations": Ablation("Every ablation of AlexNet in CIFAR size", 20, ARMS),
    "two_gpu_error": _against_baseline("Two columns against one of half the kernels", 20, "half"),
    "column_links": _against_baseline("Linked columns against unlinked", 20, "unlinked"),
    "lrn": _against_baseline("Local response normalization", 20, "no_lrn", "strong_lrn"),
    "overlapping_pooling": _against_baseline("Overlapping pooling", 20, "pool_2_2"),
    "overlapping_pooling_overfit": _against_baseline("Overlapping pooling against overfitting", 20, "pool_2_2"),
    "augmentation": _against_baseline("Crops and reflections", 5, "no_crops"),
    "pca_color": Ablation(
        "Colour noise in both readings",
        20,
        {"no_color": ARMS["no_color"], "color_printed": {}, "color_source": ARMS["color_source"]},
    ),
    "ten_crop": _against_baseline("One view against ten", 20),
    "dropout_overfit": _against_baseline(
        "Dropout against overfitting", 5, "no_dropout", "no_crops", "no_crops_no_dropout"
    ),
    "weight_decay": _against_baseline("Weight decay and the training error", 20, "no_weight_decay"),
    "bias_one": _against_baseline("Biases of 1 against biases of 0", 10, "bias_zero"),
    "depth": _against_baseline("One conv layer less", 20, "no_conv3", "no_conv4", "no_conv5"),
    "filters": _against_baseline("Colours of the two columns' kernels", 20),
    "features": _against_baseline("Neighbours in the last hidden layer", 5),
    "initialization": _against_baseline("The paper's own initial weights", 3, "paper_init"),
    "lrn_scaling": _against_baseline("Normalization or its scaling", 20, "no_lrn", "lrn_scale", "strong_lrn"),
    "velocity": _against_baseline("The rate inside the velocity or outside", 3, "torch_velocity"),
}
"""Studies that share the baseline's runs. Names, arms and seeds are those of data/claims.toml, except for the first,
which holds all arms, and the last three, which belong to no claim."""


class Scaled(NamedTuple):
    """The ablations at a larger scale.

    published_in: the study whose table holds all runs of the scale. words: how titles name the scale. arms: in order of
    importance.
    """

    published_in: str
    words: str
    baseline: RunConfig
    arms: Mapping[str, Mapping[str, Any]]
    seeds: int


SCALED: Mapping[str, Scaled] = {
    "cifar10-long": Scaled(
        "cifar10_long",
        "over 96 epochs",
        LONG_BASELINE,
        arms(
            *("baseline", "no_crops", "no_dropout", "no_color", "no_lrn", "lrn_scale", "pool_2_2", "no_conv4"),
            "no_weight_decay",
        ),
        5,
    ),
    "tiny-imagenet": Scaled(
        "tiny_imagenet",
        "on Tiny ImageNet",
        TINY_BASELINE,
        arms("baseline", "no_crops")
        | {"no_dropout": {**ARMS["no_dropout"], "optimizer.learning_rate": 0.01}}  # as its pilots picked
        | arms("half", "no_lrn", "lrn_scale")
        # So that both poolings leave maps of 3 x 3: windows of 2 over the edge would leave 4 x 4.
        | {"pool_2_2": {"model.pool": (2, 2), "model.pool_rounding": "floor"}}
        | arms("no_color", "no_conv4")
        | {"tanh": {"model.nonlinearity": "tanh"}},
        5,
    ),
}
"""The scales of stage two, data/rules_stage_2.toml."""


def arms_at(scale: str, name: str) -> dict[str, Mapping[str, Any]]:
    """The arms of an ablation study at a scale of ``SCALED``.

    None if of several arms only the baseline would be left.
    """
    wanted, there = ABLATIONS[name].arms, SCALED[scale].arms
    if name == "ablations":
        return dict(there)
    left = {arm: there.get(arm, changes) for arm, changes in wanted.items() if arm in there or not changes}
    return left if len(left) > 1 or len(wanted) == 1 else {}


RATE_ARMS: Mapping[str, Mapping[str, Any]] = {
    **arms("baseline", "no_lrn", "no_dropout", "half"),
    "tanh": {"model.nonlinearity": "tanh"},
}
"""Arms that change how large the layers' outputs are, and so may need another learning rate than the baseline."""
RATES: Mapping[str, tuple[float, ...]] = {"cifar10-long": (0.003, 0.01, 0.03), "tiny-imagenet": (0.01, 0.03, 0.1)}
"""Learning rates to try. If the best is the smallest or largest, the grid is extended for that arm."""
MORE_RATES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "cifar10-long": {"tanh": (0.1,)},
    "tiny-imagenet": {"no_dropout": (0.003,)},
}
"""By scale and arm: the rates that were added when the best of ``RATES`` was at an end."""
MORE_TRIALS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "tiny-imagenet": {
        "baseline 0.03, float32": {"precision": "float32"},
        "baseline 0.03, 20 epochs": {"optimizer.drops": (14, 18), "budget.epochs": 20},
        "no_dropout 0.01, 20 epochs": {
            "model.dropout": 0.0, "optimizer.learning_rate": 0.01, "optimizer.drops": (14, 18), "budget.epochs": 20,
        },
    }
}  # fmt: skip
"""By scale: does bfloat16 cost anything, how far does the whole budget go, and is there overfitting without dropout?"""
RATE_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "cifar10-long": {"data.held_out": 10_000, "optimizer.drops": (32, 42), "budget.epochs": 48},
    "tiny-imagenet": {
        "data.held_out": 10_000, "data.train_images": 90_000, "optimizer.drops": (3,), "budget.epochs": 4,
        "budget.test_curve": True,
    },
}  # fmt: skip
"""How trials are trained: for fewer epochs, and tested on training images that are set apart."""


def rate_search(scale: str) -> dict[str, dict[str, Any]]:
    """The trials at a scale of ``SCALED``: every arm of ``RATE_ARMS`` at every learning rate to try, and more."""
    more = MORE_RATES.get(scale, {})
    return {
        f"{arm} {rate:g}": {**changes, "optimizer.learning_rate": rate}
        for arm, changes in RATE_ARMS.items()
        for rate in (*RATES[scale], *more.get(arm, ()))
    } | {name: dict(changes) for name, changes in MORE_TRIALS.get(scale, {}).items()}


_OF_CLAIMS = [ablation for name, ablation in ABLATIONS.items() if name != "ablations"]
_MOST_SEEDS = {
    arm: max(each.seeds for each in _OF_CLAIMS if changes in each.arms.values()) for arm, changes in ARMS.items()
}
SEEDS_PER_ARM = {arm: seeds for arm, seeds in _MOST_SEEDS.items() if seeds < ABLATIONS["ablations"].seeds}
"""The arms of "ablations" whose claims ask for fewer seeds than the study has, and how many."""

SMOKE = {
    "data.dataset": "sample",
    "data.train_images": 1_000,
    "model.kernels": (8, 16, 24, 24, 16),
    "model.hidden": 64,
    "optimizer.drops": (),
    "budget.epochs": 2,
}
"""Changes that make a run take seconds: a small net on few images of the sample."""
SIZES = {"data.train_images", "model.kernels"}
"""Fields that ``SMOKE`` sets itself; arms that change them are left out of a smoke run."""

PROBE = {"model.weight_init": "he", "optimizer.drops": (), "budget.epochs": 5, "budget.ten_views": False}

RATE_PROBES: Mapping[str, Mapping[str, Any]] = {
    f"/{divisor:g} {rate:g}": {"data.divisor": divisor, "optimizer.learning_rate": rate}
    for divisor, rates in (
        (1.0, (0.0003, 0.001, 0.003, 0.01)),
        (2.0, (0.003, 0.01)),
        (4.0, (0.003, 0.01)),
        (8.0, (0.001, 0.003, 0.01, 0.03)),
        (64.0, (0.003, 0.01, 0.03)),
    )
    for rate in rates
}
"""Trials of the pixels' divisor and the learning rate. The divisor decides how strongly normalization acts, and with it
which learning rate is best, so that the pilot chooses both."""

INIT_PROBES: Mapping[str, Mapping[str, Any]] = {
    f"{init} /{divisor:g} {rate:g}{', no dropout' if dropout == 0 else ''}": {
        "model.weight_init": init,
        "model.dropout": dropout,
        "data.divisor": divisor,
        "optimizer.learning_rate": rate,
    }
    for init, divisor, rate in (
        ("he-hidden", 8.0, 0.01),
        ("he-hidden", 8.0, 0.003),
        ("he-hidden", 2.0, 0.003),
        ("he-hidden", 64.0, 0.01),
        ("he-hidden", 64.0, 0.03),
    )
    for dropout in (0.5, 0.0)
}
"""Trials of the initial weights. In the first pilot, with He initialization in the last layer too, the net was worse
without dropout than with it, since its first logits were far from zero. Here the last layer starts as in the paper."""

HE: dict[str, Any] = {"model.weight_init": "he"}
PILOT_LENGTH = {"optimizer.drops": (20, 26), "budget.epochs": 30}
PILOT: Mapping[str, Mapping[str, Any]] = {
    "he": HE,
    "he, no_dropout": {**HE, **ARMS["no_dropout"]},
    "he, no_crops": {**HE, **ARMS["no_crops"]},
    "he, 20k": HE | {"data.train_images": 20_000, "optimizer.drops": (10, 13), "budget.epochs": 15},
    "baseline": {},
    "no_dropout": ARMS["no_dropout"],
    **{
        f"5k{arm}": {**change, "data.train_images": 5_000, "optimizer.drops": (27, 35), "budget.epochs": 40}
        for arm, change in (("", {}), (", no_dropout", ARMS["no_dropout"]))
    },
    "half as wide": {"model.kernels": (12, 32, 48, 48, 32), "model.hidden": 256},
    "half again as wide": {"model.kernels": (36, 96, 144, 144, 96), "model.hidden": 768},
}
"""Trials of the size of the runs. The first four have He initialization in every layer. The others ask whether the net
overfits as much as the paper's did, and whether half of the images show it better. Six epochs were then cut from the
studies to save time. The other widths were tried last, after the studies."""
