"""Full-size studies on whatever images are prepared: the paper's run, the 2012 source's, and the ablations.

The images themselves are prepared by ``training.data.prepare`` and described by ``manifest``.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..common.errors import UserError, one_of
from ..networks.config import PAPER, SOURCE
from . import manifest
from .cifar_alexnet import ARMS
from .config import BudgetConfig, DataConfig, OptimizerConfig, RunConfig
from .manifest import Manifest
from .study import Study

SMALL = "_128"
"""Names of studies on images of 128 pixels end with this."""

PATIENCE = 5
"""Epochs without a new best test error before the learning rate drops. The paper dropped it by hand.

This number is ours."""


class Recipe(NamedTuple):
    """A study at full size.

    Title, number of seeds, and arms as changes to ``baseline``, or to net 145 for imagenet_source.
    """

    title: str
    seeds: int
    arms: Mapping[str, Mapping[str, Any]]


SOURCE_ARM: Mapping[str, Any] = {
    "data.color_noise": "source",
    "data.color_noise_epochs": 67,
    "data.shared_crops": 32,
    "optimizer.bias_rate_factor": 2.0,
    "optimizer.plateau": None,
    "optimizer.drops": (25, 51, 79),
    "optimizer.conv1_drops": (67,),
    "optimizer.conv1_frozen": 72,
    "budget.epochs": 91,
}
"""Net 145 as trained in 2012, by its author's notes in data/author_schedule.csv.

The layers are ``networks.config.SOURCE``."""

CIFAR_ARMS = ("strong_lrn", "lrn_scale", "paper_init", "torch_velocity")
"""Arms left out at full size: on undivided pixels the printed alpha is already as strong as strong_lrn, and the initial
weights are already the paper's; lrn_scale and torch_velocity answer questions about the small net."""

RECIPES: Mapping[str, Recipe] = {
    "imagenet": Recipe("Sections 2 to 5 as printed, full size", 1, {"paper": {}}),
    "imagenet_source": Recipe("Net 145 of the 2012 source", 1, {"source": SOURCE_ARM}),
    "imagenet_batch_256": Recipe(
        "Twice the batch at twice the rate",
        1,
        {"batch_256": {"optimizer.batch_size": 256, "optimizer.learning_rate": 0.02}},
    ),
    "imagenet_ablations": Recipe(
        "Every ablation, full size", 3, {arm: changes for arm, changes in ARMS.items() if arm not in CIFAR_ARMS}
    ),
}


class Images(NamedTuple):
    """What a full-size run depends on of its images: number of training images and classes, side in pixels, SHA-256."""

    train: int
    classes: int
    size: int
    digest: str

    @classmethod
    def of(cls, prepared: Manifest) -> "Images":
        """Of these prepared images."""
        return cls(prepared.parts["train"].images, len(prepared.classes), prepared.size, prepared.digest)

    @classmethod
    def behind(cls, config: RunConfig) -> "Images":
        """Of the images that a full-size run was trained on, wherever that was."""
        assert config.data.digest is not None
        return cls(config.data.train_images, config.data.classes, config.data.whole, config.data.digest)

    @property
    def words(self) -> str:
        """The images in words: "1,281,167 images of 1,000 classes at 256 pixels"."""
        return f"{self.train:,} images of {self.classes:,} classes at {self.size} pixels"


def baseline(images: Images) -> RunConfig:
    """The paper's run on these images: crops of 7/8 of their side, 90 epochs, batches of 128.

    With fewer images than a batch, the batch is all of them. Raises UserError if the images are too small.
    """
    side = images.size * 7 // 8
    try:
        model = PAPER.change(image_size=side, classes=images.classes)
    except ValueError as error:
        raise UserError(f"images of {images.size} pixels are too small for the paper's net: use larger ones") from error
    return RunConfig(
        model=model,
        data=DataConfig(
            dataset="imagenet",
            train_images=images.train,
            divisor=1.0,
            crop=side,
            random_crops=True,
            reflect=True,
            color_noise="paper",
            digest=images.digest,
            whole=images.size,
            classes=images.classes,
        ),
        optimizer=OptimizerConfig(
            learning_rate=0.01,
            bias_rate_factor=1.0,
            momentum=0.9,
            weight_decay=0.0005,
            batch_size=min(128, images.train),
            plateau=PATIENCE,
        ),
        budget=BudgetConfig(epochs=90, measurements=10, stop_at_train_error=None, test_curve=True, ten_views=True),
        seed=0,
    )


def computing(config: RunConfig) -> dict[str, Any]:
    """The fields that say how a run computes; they may vary within a full-size study, since no claim is about them."""
    return {"precision": config.precision, "compiled": config.compiled}


def behind(config: RunConfig) -> RunConfig:
    """The paper's run on the same images, and computed in the same way, as the given full-size run."""
    return baseline(Images.behind(config)).changed(**computing(config))


def names() -> list[str]:
    """Names of all full-size studies, at 256 and at 128 pixels."""
    return [name + ending for name in RECIPES for ending in ("", SMALL)]


def study(name: str) -> Study:
    """A full-size study on the images prepared at 256 pixels, or at 128 for a name that ends in _128.

    Raises UserError for an unknown name, and if no images are prepared.
    """
    if name not in names():
        raise one_of("study", name, names())
    size = 128 if name.endswith(SMALL) else 256
    return study_on(name, Images.of(manifest.read(manifest.folder(size))))


def study_on(name: str, images: Images) -> Study:
    """The full-size study of this name on these images.

    Raises UserError if there are too few images or they are too small.
    """
    plain = name.removesuffix(SMALL)
    recipe, base = RECIPES[plain], baseline(images)
    if plain == "imagenet_source":
        base = base.changed(model=_source(base))
    batches = [changes.get("optimizer.batch_size", 0) for changes in recipe.arms.values()]
    if max(batches) > base.data.train_images:
        raise UserError(
            f"{name} takes batches of {max(batches)} and there are {base.data.train_images} images: use imagenet"
        )
    return Study(name, recipe.title, base, recipe.arms, tuple(range(recipe.seeds)))


def _source(base: RunConfig) -> dict[str, Any]:
    """The network of 2012 for the same images."""
    return SOURCE.change(image_size=base.model.image_size, classes=base.model.classes).model_dump()  # type: ignore[union-attr]
