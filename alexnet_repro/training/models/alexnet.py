"""The network of 2012 on one device."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks import layers as architecture
from ...networks.config import PAPER, AlexNetConfig
from ...networks.layers import Layer
from .layers import dropout_mask, gaussian_, max_pool, within_map_norm
from .lrn import cross_map_norm


class AlexNet(nn.Module):
    """The two columns of Fig. 2 as grouped convolutions, and every variant that the config names (section 3).

    Input: (batch, 3, image_size, image_size), output: logits (batch, classes). The learned layers are modules named
    conv1 to conv5 and fc6 to fc8, numbered as in the paper whether or not some are removed; their weights are drawn
    from the streams (seed, "init", number), so nets of one seed start alike wherever shapes agree. Weights are in
    channels_last; inputs are best so too. On the device "meta" nothing is drawn.

    In training, ``forward`` takes the generator that draws the dropout masks, made anew for each step: there is no
    state to save; or the masks themselves, as ``masks`` draws them. Raises ValueError where both are missing, or where
    the input's shape is wrong.
    """

    def __init__(self, config: AlexNetConfig, seed: int, device: str = "cpu") -> None:
        super().__init__()
        self.config = config
        self.layers = architecture.layers(config)
        for layer in self.layers:
            if layer.learned:
                module = _module(layer, device)
                self.add_module(layer.name, module)
                if device != "meta":
                    assert module.bias is not None
                    gaussian_(module.weight, architecture.initial_weight_std(config, layer), seed, layer.number)
                    nn.init.constant_(module.bias, architecture.initial_bias(config, layer))
        self._check()
        self.to(memory_format=torch.channels_last)

    def _check(self) -> None:
        """The module's arithmetic is the config's; the paper's net has the paper's."""
        for layer in self.layers:
            if layer.learned:
                assert tuple(self.learned(layer).weight.shape) == layer.weight_shape, layer
        assert sum(p.numel() for p in self.parameters()) == architecture.parameters(self.config)
        if self.config == PAPER:
            assert architecture.parameters(PAPER) == architecture.PAPER_PARAMETERS
            assert architecture.neurons(PAPER) == architecture.DERIVED_NEURONS

    def learned(self, layer: Layer) -> nn.Conv2d | nn.Linear:
        """The module of a learned layer."""
        module = self.get_submodule(layer.name)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        return module

    def forward(
        self, images: Tensor, generator: torch.Generator | None = None, masks: dict[str, Tensor] | None = None
    ) -> Tensor:
        if self.training and self.config.dropout and generator is None and masks is None:
            raise ValueError("generator=None in training with dropout: pass the step's generator, or call eval()")
        if self.training and generator is not None:
            # Drawn ahead of everything else, so that torch.compile finds the rest in one piece.
            masks = self.masks(len(images), generator)
        return self._run(images, self.layers, masks or {})

    def masks(self, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """What dropout keeps of a batch, (batch, units) of True and False by layer, drawn in the order of layers."""
        return {
            layer.name: dropout_mask(batch, layer.outputs[0], self.config.dropout, generator)
            for layer in self.layers
            if layer.kind == "dropout"
        }

    def features(self, images: Tensor) -> Tensor:
        """Activities of the last hidden layer as at test time, the features of section 6.1: (batch, hidden)."""
        return self._run(images, self.layers[:-1], {})

    def conv1_kernels(self) -> tuple[Tensor, ...]:
        """conv1's kernels of each column, (kernels, 3, height, width) (Fig. 3); one tensor without columns."""
        weight = self.learned(self.layers[0]).weight.detach()
        return weight.chunk(2 if self.config.columns in ("linked", "unlinked") else 1)

    def _run(self, x: Tensor, layers: list[Layer], masks: dict[str, Tensor]) -> Tensor:
        if x.shape[1:] != self.layers[0].inputs:
            raise ValueError(f"input of shape {tuple(x.shape)}: this net takes (batch, {self.layers[0].inputs})")
        for layer in layers:
            x = self._apply_layer(layer, x, masks)
            assert x.shape[1:] == (layer.outputs if x.dim() == 4 else layer.outputs[:1]), layer
        return x

    def _apply_layer(self, layer: Layer, x: Tensor, masks: dict[str, Tensor]) -> Tensor:
        config = self.config
        match layer.kind:
            case "convolution":
                before, after = layer.padding
                # conv1's border of the source is on the right and at the bottom only.
                x = F.pad(x, (before, after) * 2) if before != after else x
                return self.learned(layer)(x)
            case "fully-connected":
                return _fully_connected(x.flatten(1), self.learned(layer), layer.groups)
            case "nonlinearity":
                return F.relu(x, inplace=True) if config.nonlinearity == "relu" else torch.tanh(x)
            case "pooling":
                return max_pool(x, layer.kernel, layer.stride, config.pool_rounding == "ceil")
            case "cross-map norm":
                assert config.cross_map_norm is not None
                norm = config.cross_map_norm
                return cross_map_norm(x, norm.size, norm.alpha, norm.beta, norm.k, norm.divide_alpha, layer.groups)
            case "within-map norm":
                assert config.within_map_norm is not None
                within = config.within_map_norm
                return within_map_norm(x, within.size, within.scale, within.power, within.k)
            case "dropout":
                return x * masks.get(layer.name, 1 - config.dropout)


def _module(layer: Layer, device: str) -> nn.Conv2d | nn.Linear:
    """The layer's module, its parameters not yet filled."""
    if layer.kind == "fully-connected":
        outputs, inputs = layer.weight_shape
        return nn.utils.skip_init(nn.Linear, inputs, outputs, device=device)
    before, after = layer.padding
    return nn.utils.skip_init(
        nn.Conv2d,
        layer.inputs[0],
        layer.outputs[0],
        layer.kernel,
        stride=layer.stride,
        padding=before if before == after else 0,
        groups=layer.groups,
        device=device,
    )


def _fully_connected(x: Tensor, module: nn.Conv2d | nn.Linear, groups: int) -> Tensor:
    """A linear layer; with ``groups``, each part of the units sees its own part of the inputs."""
    assert module.bias is not None
    parts = zip(x.chunk(groups, 1), module.weight.chunk(groups), module.bias.chunk(groups), strict=True)
    return torch.cat([F.linear(part, weight, bias) for part, weight, bias in parts], 1) if groups > 1 else module(x)
