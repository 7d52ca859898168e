"""Look up a study by name and scale: a baseline, arms as named changes to it, and seeds.

Nothing is trained or read from disk here, except the manifest of a full-size study's images.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..common.errors import NoRuns, UserError, one_of
from ..networks.config import CudaConvnetConfig
from . import cifar_alexnet, imagenet, step_timing
from .cifar_alexnet import arms
from .config import BudgetConfig, DataConfig, OptimizerConfig, RunConfig
from .study import FRESH_SEEDS, PILOT_SEEDS, SCALES, Scale, Study

SCALE_STUDIES: dict[str, Scale] = {each.published_in: scale for scale, each in cifar_alexnet.SCALED.items()}  # type: ignore[misc]
"""The studies that hold all runs of a larger scale, each in its own table of data/evidence/, and that scale."""
RATE_SEARCHES: dict[str, Scale] = {f"{home}_rates": scale for home, scale in SCALE_STUDIES.items()}
"""The pilots that choose the learning rates of a larger scale, and that scale."""


CUDA_CONVNET_19PCT = RunConfig(
    model=CudaConvnetConfig(net="cuda-convnet", layers="19pct", nonlinearity="relu", initialization="cuda-convnet"),
    data=DataConfig(dataset="cifar10", train_images=50_000, divisor=1.0),
    optimizer=OptimizerConfig(
        learning_rate=0.001, bias_rate_factor=2.0, momentum=0.9, weight_decay=0.0, batch_size=128
    ),
    budget=BudgetConfig(epochs=60, measurements=4, stop_at_train_error=0.25),
    seed=0,
)
"""The setting of section 3.1, without any regularization. Learning rate .001 and twice that for biases, as in
layer-params-19pct.cfg."""

NONLINEARITIES = ("relu", "tanh")
RATES: tuple[float, ...] = (0.000316, 0.001, 0.00316, 0.01, 0.0316)
"""Learning rates to try, two per decade. If the best is the smallest or largest, the grid is extended for both arms."""
RATES_MODERN: tuple[float, ...] = (0.00316, 0.01, 0.0316, 0.1)
"""The same grid, shifted since the gradients are smaller."""

SMOKE = {"data.dataset": "sample", "data.train_images": 1_000}

SMOKE_SEEDS = 3
"""As many seeds as a verdict needs."""

MODERN = {"model.initialization": "he", "data.divisor": 64.0}
"""What a modern reader would assume where the paper says nothing: He initialization, inputs of about unit scale."""


def _relu_rates(
    name: str, title: str, setting: Mapping[str, Any], rates: tuple[float, ...], epochs: int, scale: Scale
) -> Study:
    """A search: for each nonlinearity, the rate of the grid that `select_learning_rates` picks."""
    baseline = CUDA_CONVNET_19PCT.changed(**setting, **{"budget.epochs": epochs})
    if scale == "smoke":
        baseline, rates = baseline.changed(**SMOKE, **{"budget.epochs": 2}), rates[1:3]
    arms = {
        f"{f} {rate:g}": {"model.nonlinearity": f, "optimizer.learning_rate": rate}
        for f in NONLINEARITIES
        for rate in rates
    }
    return Study(name, title, baseline, arms, (PILOT_SEEDS,), pilot=True)


PICKED = {"relu": 0.00316, "tanh": 0.01}
PICKED_MODERN = {"relu": 0.01, "tanh": 0.0316}
"""What `select_learning_rates` picks from the published searches; a test compares."""


def _relu_speed(
    name: str, title: str, setting: Mapping[str, Any], picked: Mapping[str, float], seeds: int, scale: Scale
) -> Study:
    """Section 3.1: ReLU and tanh, each at the rate that its search picked, until 25 % training error."""
    baseline = CUDA_CONVNET_19PCT.changed(**setting)
    if scale == "smoke":  # a thousand images are too few to get to 25 % in seconds
        smoke = {"budget.epochs": 10, "budget.stop_at_train_error": 0.75}
        baseline, seeds = baseline.changed(**SMOKE, **smoke), min(seeds, SMOKE_SEEDS)
    arms = {f: {"model.nonlinearity": f, "optimizer.learning_rate": picked[f]} for f in NONLINEARITIES}
    return Study(name, title, baseline, arms, tuple(range(seeds)))


LRN_CIFAR = {
    "data.crop": 24,
    "data.random_crops": True,
    "data.reflect": True,
    "optimizer.drops": (8, 9),
    "budget.epochs": 10,
    "budget.measurements": 1,
    "budget.stop_at_train_error": None,
}
"""The published schedule, about 500 epochs and then 10 at a tenth and 10 at a hundredth of the rate, cut to what two
CPU cores do in two hours."""
LRN_CIFAR_ARMS: dict[str, dict[str, Any]] = {
    "13pct": {"model.layers": "13pct", "optimizer.layer_decays": (0.0, 0.0, 0.004, 0.004, 0.004)},
    "13pct_lrn": {
        "model.layers": "13pct",
        "model.normalization": "added",
        "optimizer.layer_decays": (0.0, 0.0, 0.004, 0.004, 0.004),
    },
    "11pct": {"model.layers": "11pct", "optimizer.layer_decays": (0.0, 0.0, 0.004, 0.004, 0.01)},
}
"""Learning rates are those of 19pct. Weight decays are those of layer-params-conv-local-13pct.cfg and of the last
version of -11pct.cfg; 13pct_lrn, its first version, has the weight decays of 13pct."""


def _lrn_cifar(scale: Scale) -> Study:
    """Section 3.3: cuda-convnet's nets for CIFAR-10 without and with normalization."""
    arm, *_ = LRN_CIFAR_ARMS.values()
    baseline, seeds = CUDA_CONVNET_19PCT.changed(**LRN_CIFAR, **arm), 5
    if scale == "smoke":
        baseline, seeds = baseline.changed(**SMOKE, **{"optimizer.drops": (), "budget.epochs": 1}), SMOKE_SEEDS
    title = "Local response normalization on CIFAR-10"
    return Study("lrn_cifar", title, baseline, LRN_CIFAR_ARMS, tuple(range(seeds)))


def _ablation(
    name: str,
    title: str,
    setting: Mapping[str, Any],
    arms: Mapping[str, Mapping[str, Any]],
    scale: Scale,
    seeds: int,
    pilot: bool = False,
    seeds_per_arm: Mapping[str, int] | None = None,
    smoke_seeds: int = SMOKE_SEEDS,
    published_in: str = "",
    first: int = 0,
) -> Study:
    """AlexNet in CIFAR size, and arms that change it, at so many seeds from ``first`` up."""
    baseline = cifar_alexnet.BASELINE.changed(**setting)
    if scale == "smoke":
        baseline, seeds = baseline.changed(**cifar_alexnet.SMOKE), min(seeds, smoke_seeds)
        if pilot:  # many arms, and nothing to pair
            baseline = baseline.changed(**{"data.train_images": 500, "budget.epochs": 1})
        arms = {arm: changes for arm, changes in arms.items() if not cifar_alexnet.SIZES & changes.keys()}
    return Study(
        name, title, baseline, arms, tuple(range(first, first + seeds)), pilot, seeds_per_arm or {}, published_in
    )


def _scaled(name: str, scale: str) -> Study:
    """An ablation study at a scale of stage two, or the one that holds the runs of them all."""
    there, whole = cifar_alexnet.SCALED[scale], name in SCALE_STUDIES
    ablation = cifar_alexnet.ABLATIONS["ablations" if whole else name]
    arms = cifar_alexnet.arms_at(scale, "ablations" if whole else name)
    seeds = tuple(range(min(ablation.seeds, there.seeds)))
    title = f"{'Every ablation of AlexNet for small images' if whole else ablation.title}, {there.words}"
    return Study(name, title, there.baseline, arms, seeds, published_in="" if whole else there.published_in)


def _rate_search(name: str, scale: Scale) -> Study:
    """Trials of learning rates for a scale of stage two."""
    there = cifar_alexnet.SCALED[scale]
    baseline = there.baseline.changed(**cifar_alexnet.RATE_SETTINGS[scale])
    title = f"Search for learning rates, for the runs {there.words}"
    return Study(name, title, baseline, cifar_alexnet.rate_search(scale), (PILOT_SEEDS,), pilot=True)


def scales(name: str) -> tuple[Scale, ...]:
    """The scales at which a study of ``STUDIES`` has runs."""
    if name in SCALE_STUDIES:
        return (SCALE_STUDIES[name],)
    if name in RATE_SEARCHES:
        return (RATE_SEARCHES[name],)
    larger = cifar_alexnet.SCALED
    known = name in cifar_alexnet.ABLATIONS
    return tuple(s for s in SCALES if s not in larger or (known and cifar_alexnet.arms_at(s, name)))


PILOT: dict[str, Any] = {"seeds": 1, "pilot": True, "first": PILOT_SEEDS}
Arms = Mapping[str, Mapping[str, Any]]
SMALL_ALEXNET: dict[str, tuple[str, Mapping[str, Any], Arms, dict[str, Any]]] = {
    "alexnet_rates": (
        "Search for the rate and the pixel scale of AlexNet in CIFAR size",
        cifar_alexnet.PROBE, cifar_alexnet.RATE_PROBES, PILOT,
    ),
    "alexnet_init": (
        "Search for the initial weights of AlexNet in CIFAR size",
        cifar_alexnet.PROBE, cifar_alexnet.INIT_PROBES, PILOT,
    ),
    "alexnet_pilot": ("Search for the size of AlexNet's runs", cifar_alexnet.PILOT_LENGTH, cifar_alexnet.PILOT, PILOT),
    "alexnet_convergence": (
        "Search for the length of the runs on convergence",
        cifar_alexnet.CONVERGENCE_PILOT, arms("baseline", "no_dropout", "no_crops", "no_crops_no_dropout"), PILOT,
    ),
    **{
        name: (each.title, {}, each.arms, {"seeds": each.seeds} | (
            {"seeds_per_arm": cifar_alexnet.SEEDS_PER_ARM} if name == "ablations" else {"published_in": "ablations"}
        ))
        for name, each in cifar_alexnet.ABLATIONS.items()
    },
    "ensemble": (
        "Networks to average", {}, arms("baseline"), {"seeds": 20, "smoke_seeds": 15, "published_in": "ablations"},
    ),
    "lrn_fresh": (
        "Normalization or its scaling, on fresh seeds",
        {}, arms("baseline", "no_lrn", "lrn_scale"), {"seeds": 10, "first": FRESH_SEEDS},
    ),
    "dropout_convergence": (
        "Dropout and the epochs to converge",
        cifar_alexnet.CONVERGENCE, arms("no_crops", "no_crops_no_dropout"), {"seeds": 5},
    ),
    "bias_early_rates": (
        "Search for the learning rates of the runs on early learning",
        cifar_alexnet.EARLY, cifar_alexnet.EARLY_RATES, PILOT,
    ),
    "bias_early": (
        "Biases of 1 against biases of 0, from initial weights like the paper's",
        cifar_alexnet.EARLY, arms("baseline", "bias_zero"), {"seeds": 10},
    ),
    "relu_speed_alexnet": (
        "ReLU against tanh in AlexNet in CIFAR size",
        cifar_alexnet.THRESHOLD,
        {"baseline": {}, "tanh": {"model.nonlinearity": "tanh", "optimizer.learning_rate": cifar_alexnet.TANH_RATE}},
        {"seeds": 5},
    ),
    "longer": (
        "Crops and dropout over twice the epochs",
        cifar_alexnet.LONGER, arms("baseline", "no_crops", "no_dropout"), {"seeds": 5},
    ),
}  # fmt: skip
"""The studies of AlexNet in CIFAR size: title, changes to the baseline, arms, and what else ``_ablation`` takes."""

STUDIES: dict[str, Callable[[Scale], Study]] = {
    "relu_rates": partial(_relu_rates, "relu_rates", "Search for the learning rates", {}, RATES, 16),
    "relu_speed": partial(_relu_speed, "relu_speed", "ReLU against tanh in cuda-convnet's network", {}, PICKED, 5),
    "relu_rates_modern": partial(
        _relu_rates, "relu_rates_modern", "Search for the learning rates, modern setting", MODERN, RATES_MODERN, 12
    ),
    "relu_speed_modern": partial(
        _relu_speed, "relu_speed_modern", "ReLU against tanh, modern setting", MODERN, PICKED_MODERN, 3
    ),
    "lrn_cifar": _lrn_cifar,
    **{
        name: partial(_ablation, name, title, setting, of_study, **options)
        for name, (title, setting, of_study, options) in SMALL_ALEXNET.items()
    },
    **{name: partial(_scaled, name) for name in SCALE_STUDIES},
    **{name: partial(_rate_search, name) for name in RATE_SEARCHES},
}


def study(name: str, scale: str = "cifar10") -> Study:
    """A study: its baseline, its arms as named changes to the baseline, and its seeds. Trains and reads no run.

    name: as in ``alexnet-repro plan``. scale: "cifar10", "smoke" (a rehearsal of minutes), "cifar10-long" or
    "tiny-imagenet"; a study that has a single scale needs none given. Raises UserError that lists the valid names; for
    a study of step times, it gives the command that measures them.

    >>> study("lrn").arms["no_lrn"]
    {'model.cross_map_norm': None}
    """
    if name.startswith("imagenet"):
        if scale != "cifar10":
            raise UserError(f"scale {scale!r} is not for {name}, which has one scale, its own: leave --scale out")
        return imagenet.study(name)
    if name in step_timing.STUDIES:
        raise UserError(f"study {name!r} has no runs to train: it is timed by '{step_timing.COMMAND}'")
    if name not in STUDIES:
        raise one_of("study", name, list(STUDIES))
    if scale not in SCALES:
        raise one_of("scale", scale, list(SCALES))
    has = scales(name)
    if scale == "cifar10" and len(has) == 1:
        scale = has[0]
    if scale not in has:
        raise NoRuns(f"study {name!r} has no runs at the scale {scale}: it has {' and '.join(has)}")
    return STUDIES[name](scale) if scale not in cifar_alexnet.SCALED or len(has) == 1 else _scaled(name, scale)
