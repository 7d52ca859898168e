"""RunConfig, everything that changes a run's numbers, and DeviceConfig, where it runs.

A run's key is a hash of its RunConfig. Most fields have no default, so that a changed default can never change what a
recorded run means. A field added later has a default that means "as before", and is left out of the key at that value.
"""

import hashlib
import json
import math
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, FailFast, Field, ValidationError, model_validator

from ..common.errors import UserError
from ..common.fields import Size, Strict
from ..networks.config import AlexNetConfig, CudaConvnetConfig, ascending

NUMERICS_VERSION = 1
"""Version of the code that turns a RunConfig into numbers; increase it with every change that changes numbers."""

CIFAR10_TRAIN_IMAGES = 50_000
SAMPLE_TRAIN_IMAGES = 2_000
TINY_IMAGENET_TRAIN_IMAGES = 100_000
TRAIN_IMAGES = {
    "cifar10": CIFAR10_TRAIN_IMAGES,
    "sample": SAMPLE_TRAIN_IMAGES,
    "tiny-imagenet": TINY_IMAGENET_TRAIN_IMAGES,
}
"""Number of training images of each data set; for imagenet, the manifest of the prepared images says it."""
DIGESTS = {
    "cifar10": "013ba16d14ecc4829da62bf2af648ca30f600491ecb3e7f329c827db0dd17522",
    "sample": "b43af32431d8b39c72cfe888843ede41bdd9b906299816ccddc70f04331a0957",
    "tiny-imagenet": "1192b04b22269dfe3df479fe6fa06badb37d04e071d113301ba9b3d53680b926",
}
"""SHA-256 of all images and labels of a data set, training before test, in the official binary form; for tiny-imagenet,
of the pixels as decoded here: see ``training.data.tiny_imagenet``."""
CIFAR10_SIDE = 32
CIFAR10_CLASSES = 10
TINY_IMAGENET_SIDE = 64
TINY_IMAGENET_CLASSES = 200


# Plus zero: -0.0 is the same run as 0.0 and gets the same key.
NonNegative = Annotated[float, Field(ge=0), AfterValidator(lambda value: value + 0.0)]


LONGEST = 10_000
"""Most epochs of a run."""
Epoch = Annotated[int, Field(ge=1, le=LONGEST)]
Epochs = Annotated[tuple[Epoch, ...], FailFast(), Field(max_length=100), AfterValidator(ascending)]
Layers = Annotated[tuple[NonNegative, ...], FailFast(), Field(max_length=100)]
MOST_TEXT = 100_000
"""Most characters of a config in JSON; the configs of this package have about a thousand."""

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


class DataConfig(Strict):
    """The training images and how they become inputs: (pixel - per-pixel training mean) / ``divisor``, with pixels 0 to
    255.

    dataset, train_images: the first so many training images of a data set; "sample" is a part of CIFAR-10 that comes
        with the package. In tiny-imagenet the classes take turns, so that the first images are balanced.
    crop: side of the square cut out of an image and of its mean, at the centre in tests; None for the whole image.
    random_crops, reflect: in training, crop at a random position; flip half of the images (section 4.1).
    color_noise: in training, add multiples of the principal components of the RGB pixels, as in section 4.1 ("paper")
        or as in the 2012 source: see ``training.data.augment``. color_noise_epochs: only in the first so many epochs.
    shared_crops: number of consecutive images that share one crop offset and one flip (32 in the 2012 source).
    digest: for imagenet, the SHA-256 in the manifest of the prepared images; the mean is over all their training
        images.
    whole, classes: side of the images before cropping, and number of classes.
    drawn: train on ``train_images`` random training images, different for each seed, instead of the first ones.
    held_out: set aside so many random training images, the same for every seed, and test on them instead of the test
        images, to choose settings by.
    """

    dataset: Literal[
        "cifar10",
        "sample",
        "imagenet",
        "tiny-imagenet",
    ]
    train_images: Size
    divisor: Annotated[float, Field(gt=0)]
    crop: Size | None = None
    random_crops: bool = False
    reflect: bool = False
    color_noise: Literal["none", "paper", "source"] = "none"
    shared_crops: Size = 1
    color_noise_epochs: Epoch | None = None
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    whole: Annotated[int, Field(ge=1, le=4096)] = CIFAR10_SIDE
    classes: Annotated[int, Field(ge=2, lt=2**31)] = CIFAR10_CLASSES
    drawn: bool = False
    held_out: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_dataset()
        self._check_counts()
        if self.crop is not None and self.crop >= self.whole:
            raise ValueError(f"crop={self.crop} cuts nothing off images of side {self.whole}: use less, or None")
        if self.random_crops and self.crop is None:
            raise ValueError("random_crops=True without a crop: give its side")
        if self.color_noise_epochs is not None and self.color_noise == "none":
            raise ValueError(f"color_noise_epochs={self.color_noise_epochs} without a color_noise: leave it out")
        if self.shared_crops > 1 and not (self.random_crops or self.reflect):
            raise ValueError(f"shared_crops={self.shared_crops} with nothing to share: use 1")
        return self

    def _check_dataset(self) -> None:
        """``digest``, ``whole`` and ``classes`` are those of the data set."""
        given = (self.digest, self.whole, self.classes)
        if self.dataset == "imagenet":
            if self.digest is None:
                raise ValueError("digest=None: imagenet needs the digest of its prepared images")
        elif self.dataset == "tiny-imagenet":
            if given != (None, TINY_IMAGENET_SIDE, TINY_IMAGENET_CLASSES):
                raise ValueError(
                    f"tiny-imagenet has whole={TINY_IMAGENET_SIDE} and classes={TINY_IMAGENET_CLASSES}, and no digest: "
                    f"not whole={self.whole}, classes={self.classes}, digest={self.digest}"
                )
        elif given != (None, CIFAR10_SIDE, CIFAR10_CLASSES):
            raise ValueError(f"digest, whole and classes are for imagenet: leave them out for {self.dataset}")

    def _check_counts(self) -> None:
        """The data set has as many training images as are asked for."""
        if self.dataset not in TRAIN_IMAGES:
            if self.drawn or self.held_out:
                raise ValueError(f"drawn and held_out are not for {self.dataset}: leave them out")
            return
        has, name = TRAIN_IMAGES[self.dataset], "the sample" if self.dataset == "sample" else self.dataset
        if self.train_images > has:
            raise ValueError(f"train_images={self.train_images}: {name} has {has}; ask for fewer")
        left = has - self.held_out
        if self.train_images > left:
            raise ValueError(
                f"train_images={self.train_images} and held_out={self.held_out} are more than the {has} of {name}: "
                "ask for fewer"
            )
        if self.drawn and self.train_images == left:
            raise ValueError(f"drawn=True with train_images={left}, which are all there are: leave drawn out")

    @property
    def side(self) -> int:
        """Side of the network's input in pixels."""
        return self.whole if self.crop is None else self.crop


class OptimizerConfig(Strict):
    """SGD as in section 5: learning rate, its multiple for biases, momentum, weight decay and batch size.

    drops: divide the learning rates by 10 after each of these epochs (the paper did so by hand, three times).
    plateau: instead, divide them by 10 whenever the test error has had no new best for so many epochs, three times; the
        fourth time ends the run.
    layer_decays: instead of ``weight_decay``, which is then 0, one for each layer with weights, in order.
    conv1_drops: divide the rates of the first layer with weights by 10 after each of these epochs, too; conv1_frozen:
        set them to 0 after so many epochs. Both as in the 2012 source.
    velocity: "steps": v = mu v - lr (g + wd w), w += v; "gradients": torch.optim.SGD. The two differ once the learning
        rate changes.
    """

    learning_rate: Annotated[float, Field(gt=0)]
    bias_rate_factor: NonNegative
    momentum: Annotated[NonNegative, Field(lt=1)]
    weight_decay: NonNegative
    batch_size: Size
    drops: Epochs = ()
    plateau: Epoch | None = None
    layer_decays: Layers = ()
    conv1_drops: Epochs = ()
    conv1_frozen: Epoch | None = None
    velocity: Literal["steps", "gradients"] = "steps"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.layer_decays and self.weight_decay:
            raise ValueError(f"weight_decay={self.weight_decay} beside layer_decays={self.layer_decays}: make it 0")
        if self.drops and self.plateau is not None:
            raise ValueError(f"drops={self.drops} and plateau={self.plateau}: the rate follows one of them")
        return self


class BudgetConfig(Strict):
    """How long to train and how often to measure.

    epochs: at most so many. measurements: how often per epoch the training error and loss are recorded.
    stop_at_train_error: stop at the first measurement at which the training error over the latest epoch's worth of
        images is at or below this.
    test_curve: record the test error after every epoch. ten_views: record the ten-crop test error at the end.
    """

    epochs: Epoch
    measurements: Annotated[int, Field(ge=1, le=1_000)]
    stop_at_train_error: Annotated[NonNegative, Field(le=1)] | None
    test_curve: bool = False
    ten_views: bool = False


class RunConfig(Strict):
    """Everything that changes a run's numbers: network, images, optimizer, budget, seed and precision.

    precision: of matrix products and convolutions. "tf32" rounds their inputs to ten bits on a GPU, in tests too;
        "bfloat16" uses autocast, in training only. Weights, updates and losses stay in float32.
    compiled: use torch.compile.
    """

    model: Annotated[CudaConvnetConfig | AlexNetConfig, Field(discriminator="net")]
    data: DataConfig
    optimizer: OptimizerConfig
    budget: BudgetConfig
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    precision: Precision = "float32"
    compiled: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.optimizer.batch_size > self.data.train_images:
            raise ValueError(
                f"optimizer.batch_size={self.optimizer.batch_size} is more than data.train_images="
                f"{self.data.train_images}: ask for a smaller batch"
            )
        if self.optimizer.drops and self.optimizer.drops[-1] >= self.budget.epochs:
            raise ValueError(
                f"optimizer.drops={self.optimizer.drops} reach the end of budget.epochs={self.budget.epochs}: "
                "drop the rate earlier"
            )
        if self.optimizer.plateau is not None and not self.budget.test_curve:
            raise ValueError(
                f"optimizer.plateau={self.optimizer.plateau} watches the test curve: set budget.test_curve"
            )
        if self.data.dataset in ("imagenet", "tiny-imagenet") and not isinstance(self.model, AlexNetConfig):
            raise ValueError(f"model.net={self.model.net!r} is for CIFAR-10: {self.data.dataset} takes alexnet")
        if self.model.image_size != self.data.side:
            raise ValueError(
                f"the net takes images of side {self.model.image_size}, and data.crop gives {self.data.side}: "
                "make them one"
            )
        decays = self.optimizer.layer_decays
        if decays and len(decays) != self.model.learned:
            raise ValueError(
                f"optimizer.layer_decays={decays} are {len(decays)}: "
                f"the net has {self.model.learned} layers with weights"
            )
        if isinstance(self.model, AlexNetConfig) and self.model.classes < self.data.classes:
            raise ValueError(f"model.classes={self.model.classes} is fewer than the {self.data.classes} of the data")
        return self

    @property
    def epoch_steps(self) -> int:
        """Steps per epoch; the last batch of an epoch may be smaller."""
        return math.ceil(self.data.train_images / self.optimizer.batch_size)

    @property
    def measured_steps(self) -> list[int]:
        """The steps of an epoch, counted from 1, after which its measurements are made."""
        count = self.budget.measurements
        return sorted({math.ceil(k * self.epoch_steps / count) for k in range(1, count + 1)})

    @property
    def key(self) -> str:
        """The run's name: 16 hexadecimal digits, a hash of this config and NUMERICS_VERSION."""
        identity = {"recipe": NUMERICS_VERSION, "config": self.model_dump(mode="json", exclude_defaults=True)}
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def changed(self, **changes: Any) -> "RunConfig":
        """This config with dotted fields changed: ``changed(**{"model.nonlinearity": "tanh"})``.

        Raises UserError for an unknown field or a value that does not fit.
        """
        values = self.model_dump()
        for path, value in changes.items():
            *parents, field = path.split(".")
            part = values
            owner = "a run"
            for name in [*parents, field]:
                if not isinstance(part, dict) or name not in part:
                    has = f"{owner} has {', '.join(sorted(part))}" if isinstance(part, dict) else f"{owner} is a value"
                    raise UserError(f"unknown field {path!r}: {has}")
                owner, parent, part = name, part, part[name]
            parent[field] = value
        return parse(values)


class DeviceConfig(Strict):
    """Which device a run uses, how many CPU threads, and how often it saves a checkpoint: never part of its key."""

    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?|mps)$")] = "cpu"
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60.0


def parse(values: object) -> RunConfig:
    """A RunConfig from nested plain values, as JSON has them. Raises UserError that names the first field at fault."""
    try:
        # JSON mode: what strict types accept from a file and from Python is then the same.
        text = json.dumps(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"a run config must be plain JSON values: {error}") from None
    if len(text) > MOST_TEXT:
        raise UserError(f"a run config has at most {MOST_TEXT:,} characters of JSON, and this one {len(text):,}")
    try:
        return RunConfig.model_validate_json(text)
    except ValidationError as error:
        where, said, given = _fault(error)
        shown = f" (given: {json.dumps(given)[:80]})" if not isinstance(given, dict) else ""
        raise UserError(f"bad run config at {where}: {said}{shown}") from None


def _fault(error: ValidationError) -> tuple[str, str, Any]:
    """Where the first fault is, what it is, and what was given; of a network, the field without the network's name."""
    first = error.errors()[0]
    place, given = list(first["loc"]), first["input"]
    if first["type"] == "union_tag_not_found":
        return f"{place[0]}.net", "Field required", {}
    if first["type"] == "union_tag_invalid":
        return f"{place[0]}.net", f"Input should be one of {first['ctx']['expected_tags']}", given["net"]
    if place[:1] == ["model"]:
        del place[1:2]
    where = ".".join(str(part) for part in place)[:80] or "the config"
    return where, first["msg"].removeprefix("Value error, "), given
