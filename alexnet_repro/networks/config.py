"""AlexNet and cuda-convnet's CIFAR-10 nets as configs: what is built, not how it is trained. Needs no torch.

No field of AlexNetConfig has a default, so that a changed default can never change what a recorded run means; a field
added later gets a default that means "as before". ``training.models`` builds the modules.
"""

import math
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, FailFast, Field, model_validator

from ..common.fields import Size, Strict

Positive = Annotated[float, Field(gt=0)]
ConvLayer = Literal[1, 2, 3, 4, 5]


def side_after(side: int, kernel: int, stride: int, border: int = 0, rounding: str = "floor") -> int:
    """Side of a square feature map after a convolution or pooling with a window of side ``kernel``.

    border: zero pixels on both sides together. rounding: "ceil" as in cuda-convnet, where the last window may reach
    over the edge; "floor" drops that window. A result below 1 means that the window does not fit.
    """
    room = (side + border - kernel) / stride
    return 1 + (math.ceil(room) if rounding == "ceil" else math.floor(room))


def ascending(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same values. Raises ValueError for others than ascending ones."""
    if list(values) != sorted(set(values)):
        raise ValueError(f"{values} must be ascending without repeats")
    return values


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"{size} has no centre: use an odd number")
    return size


OddSize = Annotated[Size, AfterValidator(_odd)]
ConvLayers = Annotated[tuple[ConvLayer, ...], FailFast(), Field(min_length=1, max_length=5), AfterValidator(ascending)]


class CrossMapNorm(Strict):
    """Local response normalization over neighbouring maps (section 3.3): b = a / (k + alpha * sum a^2)^beta.

    size: n, the number of maps summed over; odd. divide_alpha: use alpha / n, as the 2012 source and torch do; without
    it, the formula is as printed in the paper. layers: the conv layers that it follows. With alpha = 0 only the scaling
    by k^-beta is left.
    """

    size: OddSize
    alpha: Annotated[float, Field(ge=0)]
    beta: Positive
    k: Positive
    divide_alpha: bool
    layers: ConvLayers


class WithinMapNorm(Strict):
    """Normalization over a ``size`` x ``size`` neighbourhood of the same map: in net 145 of the 2012 source, not in the
    paper.

    b = a / (k + scale / size^2 * sum a^2)^power. layers: the conv layers that it follows, after cross-map
    normalization.
    """

    size: OddSize
    scale: Positive
    power: Positive
    k: Positive
    layers: ConvLayers


class AlexNetConfig(Strict):
    """The network of 2012 at any size: five conv and three fully-connected layers (section 3.5).

    image_size: side of the square RGB input, after cropping. classes: width of the softmax.
    kernels: kernels of conv1 to conv5 in the net with two columns, both columns together.
    conv1_kernel, conv1_stride: pixels. conv1_padding: zero pixels (left and top, right and bottom).
        conv2 is 5x5 and conv3 to conv5 are 3x3, stride 1, and keep the side of their maps.
    hidden: width of each hidden fully-connected layer, both columns together.
    nonlinearity: after every layer but the last.
    conv1_order: order of the nonlinearity, normalization and pooling after conv1; after conv2 it is the
        paper's in either case.
    cross_map_norm, within_map_norm: None for a net without. Cross-map sums stay within a column.
    pool: window and stride of the max pooling after conv1, conv2 and the last conv layer; (3, 2) overlaps,
        (2, 2) does not. pool_rounding: see `side_after`.
    dropout: share of the hidden fully-connected outputs that are zero in training; at test all are kept and
        scaled by 1 - dropout (section 4.2).
    columns: "linked" as in Fig. 2 (the first conv layer after the second pooling and the fully-connected
        layers see both columns); "unlinked": the columns meet in the last layer only; "half": one column with
        half the kernels, whose conv5 and fully-connected layers keep their width (footnote of section 3.2);
        "single": all kernels, no columns.
    bias_init: "one" puts 1 into conv2, conv4, conv5 and the hidden fully-connected layers (section 5).
    weight_init: Gaussian, standard deviation "paper" 0.01 everywhere; "source" the same but 0.03 in conv3 to
        conv5; "he" sqrt(2 / fan-in), the departure that lets small nets train; "he-hidden" the same, but 0.01 in the
        last layer as in the paper, so that training does not begin with logits far from zero; "paper-scaled" 0.01
        times sqrt(fan-in of the layer in the paper / fan-in here): the spread of outputs is then the paper's.
    removed: conv layers left out (section 7), at most two. The link of the columns moves to the first conv layer
        that is left after the second pooling, so that removing conv3 takes away depth and not the link; without
        conv5, the third pooling follows the last conv layer that is left.
    """

    net: Literal["alexnet"]
    image_size: Size
    classes: Size
    kernels: tuple[Size, Size, Size, Size, Size]
    conv1_kernel: Size
    conv1_stride: Size
    conv1_padding: tuple[Annotated[int, Field(ge=0, lt=2**31)], Annotated[int, Field(ge=0, lt=2**31)]]
    hidden: Size
    nonlinearity: Literal["relu", "tanh"]
    conv1_order: Literal["nonlinearity-norm-pool", "norm-pool-nonlinearity"]
    cross_map_norm: CrossMapNorm | None
    within_map_norm: WithinMapNorm | None
    pool: tuple[Size, Size]
    pool_rounding: Literal["floor", "ceil"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    columns: Literal["linked", "unlinked", "half", "single"]
    bias_init: Literal["one", "zero"]
    weight_init: Literal["paper", "source", "he", "he-hidden", "paper-scaled"]
    removed: Annotated[tuple[Literal["conv3", "conv4", "conv5"], ...], Field(max_length=2), AfterValidator(ascending)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        odd = [n for n in (*self.kernels, self.hidden) if n % 2]
        if odd:
            raise ValueError(f"{odd[0]} kernels or units do not split into two columns: use an even number")
        window, stride = self.pool
        if stride > window:
            raise ValueError(f"pool={self.pool} would skip pixels: use a stride of at most {window}")
        if max(self.conv1_padding) >= self.conv1_kernel:
            raise ValueError(
                f"conv1_padding={self.conv1_padding} holds whole windows: keep it below {self.conv1_kernel}"
            )
        for norm in (self.cross_map_norm, self.within_map_norm):
            gone = [n for n in (norm.layers if norm else ()) if f"conv{n}" in self.removed]
            if gone:
                raise ValueError(f"conv{gone[0]} is removed and normalized: take {gone[0]} out of layers")
        side = side_after(self.image_size, self.conv1_kernel, self.conv1_stride, sum(self.conv1_padding))
        for _ in range(3):
            side = side_after(side, window, stride, 0, self.pool_rounding) if side > 0 else side
        if side < 1:
            raise ValueError(f"image_size={self.image_size} leaves no pixel to the third pooling: enlarge it")
        return self

    @property
    def learned(self) -> int:
        """Number of layers with weights."""
        return 8 - len(self.removed)

    def change(self, **changes: object) -> "AlexNetConfig":
        """This config with the named fields changed, validated again."""
        return AlexNetConfig.model_validate(dict(self) | changes)


# Where the paper is silent (conv1's border), its preset follows the 2012 source.
PAPER = AlexNetConfig(
    net="alexnet",
    image_size=224,
    classes=1000,
    kernels=(96, 256, 384, 384, 256),
    conv1_kernel=11,
    conv1_stride=4,
    conv1_padding=(0, 3),
    hidden=4096,
    nonlinearity="relu",
    conv1_order="nonlinearity-norm-pool",
    cross_map_norm=CrossMapNorm(size=5, alpha=1e-4, beta=0.75, k=2.0, divide_alpha=False, layers=(1, 2)),
    within_map_norm=None,
    pool=(3, 2),
    pool_rounding="floor",
    dropout=0.5,
    columns="linked",
    bias_init="one",
    weight_init="paper",
    removed=(),
)

# Net 145 of the 2012 source. Its k of the within-map normalization is cuda-convnet's constant 1.
SOURCE = PAPER.change(
    conv1_order="norm-pool-nonlinearity",
    cross_map_norm=CrossMapNorm(size=5, alpha=1e-4, beta=0.75, k=2.0, divide_alpha=True, layers=(1, 2)),
    within_map_norm=WithinMapNorm(size=5, scale=1e-3, power=0.75, k=1.0, layers=(2,)),
    pool_rounding="ceil",
    weight_init="source",
)

# The paper's net in CIFAR size, the baseline of the ablations. With std 0.01 throughout it stays at chance.
CIFAR_ALEXNET = PAPER.change(
    image_size=24,
    classes=10,
    kernels=(24, 64, 96, 96, 64),
    conv1_kernel=5,
    conv1_stride=1,
    conv1_padding=(2, 2),
    hidden=512,
    pool_rounding="ceil",
    weight_init="he-hidden",
)

# The same for Tiny ImageNet: crops of 56 out of 64 pixels, and 200 classes.
TINY_ALEXNET = CIFAR_ALEXNET.change(
    image_size=56,
    classes=200,
    kernels=(32, 96, 128, 128, 96),
    conv1_kernel=7,
    conv1_stride=2,
    conv1_padding=(3, 2),
    hidden=1024,
)


class Step(NamedTuple):
    """A layer of one of cuda-convnet's nets.

    kind: "f" is the nonlinearity, "full" a fully-connected layer, "local" a locally connected one.
    outputs, std: of layers with weights, the number of kernels or units, and the standard deviation of the initial
        weights; of "norm", ``outputs`` is the number of maps summed over.
    """

    kind: Literal["conv", "local", "full", "f", "max", "average", "norm"]
    outputs: int = 0
    std: float = 0.0


F, MAX, AVERAGE = Step("f"), Step("max"), Step("average")
CONV1, CONV2, LOCAL, FULL = (
    Step("conv", 64, 1e-4),
    Step("conv", 64, 0.01),
    Step("local", 32, 0.04),
    Step("full", 10, 0.01),
)
EARLY, LATE = Step("norm", 5), Step("norm", 9)

CUDA_CONVNET: dict[str, tuple[Step, ...]] = {
    "19pct": (
        *(Step("conv", 32, 1e-4), MAX, F),
        *(Step("conv", 32, 0.01), F, AVERAGE),
        *(Step("conv", 64, 0.01), F, AVERAGE),
        FULL,
    ),
    "13pct": (CONV1, F, MAX, CONV2, F, MAX, LOCAL, F, LOCAL, F, FULL),
    "11pct": (CONV1, F, MAX, LATE, CONV2, F, LATE, MAX, LOCAL._replace(outputs=64), F, LOCAL, F, FULL),
}
"""The layers of each net. conv is 5x5 and local 3x3, both with padding that keeps the size of the maps; pooling is 3x3
with stride 2, in ceil mode.

Source: cuda-convnet, example-layers/layers-19pct.cfg, layers-conv-local-13pct.cfg and layers-conv-local-11pct.cfg."""


class CudaConvnetConfig(Strict):
    """One of cuda-convnet's CIFAR-10 example networks, with a choice of nonlinearity, initialization and normalization.

    layers: which layer file, see ``CUDA_CONVNET``.
    nonlinearity: after every conv and locally connected layer.
    initialization: "cuda-convnet", Gaussian as in the layer file; "he", standard deviation sqrt(gain / fan-in) with
        gain 2 for ReLU (He et al. 2015) and 1 for tanh. Biases start at 0.
    normalization: "file", as in the layer file: cross-map, of size 9, in 11pct only. "none" removes it from 11pct.
        "added" puts two layers of size 5 into 13pct, after the nonlinearities of its conv layers: the first version of
        11pct (commit 3878e8f), which differs from 13pct in nothing else.
    """

    net: Literal["cuda-convnet"]
    layers: Literal["19pct", "13pct", "11pct"]
    nonlinearity: Literal["relu", "tanh"]
    initialization: Literal["cuda-convnet", "he"]
    normalization: Literal["file", "none", "added"] = "file"

    @model_validator(mode="after")
    def _check(self) -> Self:
        fits = {"none": "11pct", "added": "13pct"}.get(self.normalization, self.layers)
        if self.layers != fits:
            raise ValueError(f"normalization={self.normalization!r} is for {fits}: use 'file' with {self.layers}")
        return self

    @property
    def image_size(self) -> int:
        """Side of the square RGB input in pixels: 13pct and 11pct train on crops."""
        return 32 if self.layers == "19pct" else 24

    @property
    def steps(self) -> tuple[Step, ...]:
        """The layers, in order."""
        steps = CUDA_CONVNET[self.layers]
        if self.normalization == "added":
            steps = tuple(each for step in steps for each in ((EARLY, step) if step == MAX else (step,)))
        return tuple(step for step in steps if self.normalization != "none" or step.kind != "norm")

    @property
    def learned(self) -> int:
        """Number of layers with weights."""
        return sum(step.std > 0 for step in self.steps)
