"""The network of 2012 as an nn.Module."""

from collections import defaultdict

import torch
from torch import Tensor, nn

from ...networks.config import AlexNetConfig
from ...networks.layers import Layer, initial_bias, initial_weight_std, layers, learned_layers
from .layers import Dropout, GroupedLinear, dropout_mask, gaussian_
from .lrn import LocalResponseNorm
from .within_map import WithinMapNorm


class AlexNet(nn.Module):
    """The network of Fig. 2, its two columns as grouped convolutions, or a variant of it (section 3).

    Input: images (batch, 3, image_size, image_size), best in channels_last memory. Output: logits (batch, classes).
    The comments show the paper's network, ``networks.PAPER``. A variant has another module under the same name, or
    nn.Identity() in the place of a layer that it lacks.

    seed: of the initial weights. conv<n> and fc<n> draw from the stream (seed, "init", n), so two networks of one seed
    start with equal weights in every layer of equal shape and standard deviation. device: on "meta", nothing is drawn.
    """

    def __init__(self, config: AlexNetConfig, seed: int, device: str = "cpu") -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            modules = _modules(config)
        self.pad = modules["pad"]  # nn.ZeroPad2d((0, 3, 0, 3))
        self.conv1 = modules["conv1"]  # nn.Conv2d(3, 96, kernel_size=11, stride=4)
        self.relu1 = modules["relu1"]  # nn.ReLU(inplace=True)
        self.norm1 = modules["norm1"]  # LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, groups=2)
        self.pool1 = modules["pool1"]  # nn.MaxPool2d(kernel_size=3, stride=2)
        self.conv2 = modules["conv2"]  # nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2)
        self.relu2 = modules["relu2"]  # nn.ReLU(inplace=True)
        self.norm2 = modules["norm2"]  # LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, groups=2)
        self.pool2 = modules["pool2"]  # nn.MaxPool2d(kernel_size=3, stride=2)
        self.conv3 = modules["conv3"]  # nn.Conv2d(256, 384, kernel_size=3, padding=1)
        self.relu3 = modules["relu3"]  # nn.ReLU(inplace=True)
        self.conv4 = modules["conv4"]  # nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=2)
        self.relu4 = modules["relu4"]  # nn.ReLU(inplace=True)
        self.conv5 = modules["conv5"]  # nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=2)
        self.relu5 = modules["relu5"]  # nn.ReLU(inplace=True)
        self.pool5 = modules["pool5"]  # nn.MaxPool2d(kernel_size=3, stride=2)
        self.fc6 = modules["fc6"]  # nn.Linear(9216, 4096)
        self.relu6 = modules["relu6"]  # nn.ReLU(inplace=True)
        self.fc7 = modules["fc7"]  # nn.Linear(4096, 4096)
        self.relu7 = modules["relu7"]  # nn.ReLU(inplace=True)
        self.fc8 = modules["fc8"]  # nn.Linear(4096, 1000)
        self.dropout = Dropout(config.dropout)  # Dropout(0.5)
        self.to_empty(device=device)
        if device != "meta":
            self._draw(seed)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]

    def forward(
        self,
        images: Tensor,
        generator: torch.Generator | None = None,
        masks: dict[str, Tensor] | None = None,
        logits: bool = True,
    ) -> Tensor:
        """Logits (batch, classes); with ``logits=False``, fc7's outputs after dropout (batch, hidden).

        generator: in training, draws the dropout masks of this step. masks: the masks themselves, see ``masks``; what
        has no mask is scaled as at test time. Raises ValueError for training with dropout and neither of them, and for
        images of another size.
        """
        side = self.config.image_size
        if images.shape[1:] != (3, side, side):
            raise ValueError(f"input of shape {tuple(images.shape)}: this net takes (batch, {(3, side, side)})")
        if self.training and generator is not None:
            masks = self.masks(len(images), generator)
        elif self.training and self.config.dropout and masks is None:
            raise ValueError("generator=None in training with dropout: pass the step's generator, or call eval()")
        masks = masks or {}

        x = self.pad(images)  # 3 x 227 x 227
        x = self.conv1(x)  # 96 x 55 x 55
        x = self.relu1(x)  # 96 x 55 x 55
        x = self.norm1(x)  # 96 x 55 x 55
        x = self.pool1(x)  # 96 x 27 x 27
        x = self.conv2(x)  # 256 x 27 x 27
        x = self.relu2(x)  # 256 x 27 x 27
        x = self.norm2(x)  # 256 x 27 x 27
        x = self.pool2(x)  # 256 x 13 x 13
        x = self.relu3(self.conv3(x))  # 384 x 13 x 13
        x = self.relu4(self.conv4(x))  # 384 x 13 x 13
        x = self.relu5(self.conv5(x))  # 256 x 13 x 13
        x = self.pool5(x)  # 256 x 6 x 6
        x = x.flatten(1)  # 9216
        x = self.relu6(self.fc6(x))  # 4096
        x = self.dropout(x, masks.get("fc6"))  # 4096
        x = self.relu7(self.fc7(x))  # 4096
        x = self.dropout(x, masks.get("fc7"))  # 4096
        return self.fc8(x) if logits else x  # 1000

    def masks(self, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks by layer, (batch, hidden) of True and False, fc6's drawn before fc7's; none without dropout."""
        names = ("fc6", "fc7") if self.config.dropout else ()
        return {name: dropout_mask(batch, self.config.hidden, self.config.dropout, generator) for name in names}

    def features(self, images: Tensor) -> Tensor:
        """The features of section 6.1, (batch, hidden): fc7's outputs as at test time, in any mode."""
        features: Tensor = self(images, masks={}, logits=False)
        return features

    def conv1_kernels(self) -> tuple[Tensor, ...]:
        """conv1's kernels of each column, (kernels, 3, height, width) (Fig. 3); one tensor without columns."""
        weight = self.conv1.get_parameter("weight").detach()
        return weight.chunk(2 if self.config.columns in ("linked", "unlinked") else 1)

    def _draw(self, seed: int) -> None:
        """Fill in the initial weights and biases (section 5)."""
        for layer in learned_layers(self.config):
            module = self.get_submodule(layer.name)
            std = initial_weight_std(self.config, layer)
            gaussian_(module.get_parameter("weight"), std, seed, layer.number)
            nn.init.constant_(module.get_parameter("bias"), initial_bias(self.config, layer))


def _modules(config: AlexNetConfig) -> dict[str, nn.Module]:
    """The modules of a network by their names in ``AlexNet``; nn.Identity() where the network has none."""
    parts: defaultdict[str, list[nn.Module]] = defaultdict(list)
    for layer in layers(config):
        if layer.kind != "dropout":
            parts[_name(layer)].append(_module(layer, config))
    if config.conv1_order == "norm-pool-nonlinearity":
        parts["pool1"] += parts.pop("relu1")
    before, after = config.conv1_padding
    if before != after:  # nn.Conv2d pads both sides alike
        parts["pad"].append(nn.ZeroPad2d((before, after) * 2))
    modules = {name: part[0] if len(part) == 1 else nn.Sequential(*part) for name, part in parts.items()}
    return defaultdict(nn.Identity, modules)


def _name(layer: Layer) -> str:
    """The name in ``AlexNet`` of a layer. Where it has no place of its own there, that of the module before it."""
    number = layer.number
    match layer.kind:
        case "nonlinearity":
            return f"relu{number}"
        case "cross-map norm" | "within-map norm":
            return f"norm{number}" if number <= 2 else f"relu{number}"
        case "pooling":
            return f"pool{number}" if number <= 2 else "pool5"
    return layer.name


def _module(layer: Layer, config: AlexNetConfig) -> nn.Module:
    """The module of a layer, its parameters not yet filled."""
    match layer.kind:
        case "convolution":
            before, after = layer.padding
            padding, groups = before if before == after else 0, layer.groups
            return nn.Conv2d(layer.inputs[0], layer.outputs[0], layer.kernel, layer.stride, padding, groups=groups)
        case "nonlinearity":
            return nn.ReLU(inplace=True) if config.nonlinearity == "relu" else nn.Tanh()
        case "cross-map norm":
            assert config.cross_map_norm is not None
            return LocalResponseNorm(**config.cross_map_norm.model_dump(exclude={"layers"}), groups=layer.groups)
        case "within-map norm":
            assert config.within_map_norm is not None
            return WithinMapNorm(**config.within_map_norm.model_dump(exclude={"layers"}))
        case "pooling":
            return nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=config.pool_rounding == "ceil")
        case "fully-connected":
            outputs, inputs = layer.weight_shape
            return GroupedLinear(inputs, outputs, layer.groups) if layer.groups > 1 else nn.Linear(inputs, outputs)
    raise AssertionError(f"{layer.kind} has no module of its own")
