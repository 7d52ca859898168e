"""Model parallelism as in 2012: each of two processes holds one column, and they exchange activations as in Fig. 2."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.config import AlexNetConfig
from ...networks.cost import column_layers, sees_both
from ...networks.layers import layers
from ..models.alexnet import AlexNet
from ..models.layers import GroupedLinear
from ..models.lrn import LocalResponseNorm


class Link:
    """The connection between the two processes that hold the columns of one network.

    column: 0 or 1, which half of every layer this process holds. peer: the global rank of the process that holds the
    other. group: the process group of both. sent: bytes sent so far; as many were received.
    """

    def __init__(self, column: int, peer: int, group: dist.ProcessGroup | None = None) -> None:
        self.column, self.peer, self.group = column, peer, group
        self.sent = 0

    def own(self, whole: Tensor, dim: int = 0) -> Tensor:
        """This column's half of a whole tensor: a view."""
        return whole.chunk(2, dim)[self.column]

    def both(self, own: Tensor, peers: Tensor, dim: int) -> Tensor:
        """Concatenate both halves in the order of the columns."""
        return torch.cat([own, peers] if self.column == 0 else [peers, own], dim)

    def gather(self, own: Tensor, dim: int = 0) -> Tensor:
        """All-gather: the whole tensor from this column's half and the peer's. Both processes must call it."""
        return self.both(own, _Transfer(self).start(own).wait(), dim)


class _Transfer:
    """An asynchronous exchange of two tensors of one shape: ``start`` sends and receives, ``wait`` waits for both."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def start(self, own: Tensor) -> "_Transfer":
        # What is on the wire is in the order of channels_last, which conv layers compute in.
        self.last = own.dim() == 4
        self.own = (own.permute(0, 2, 3, 1) if self.last else own).detach().contiguous()
        self.room = torch.empty_like(self.own)
        sends = dist.P2POp(dist.isend, self.own, self.link.peer, self.link.group)
        receives = dist.P2POp(dist.irecv, self.room, self.link.peer, self.link.group)
        # Batched, because NCCL would otherwise wait for the peer to receive before it receives itself.
        self.works = dist.batch_isend_irecv([sends, receives])
        self.link.sent += self.own.numel() * self.own.element_size()
        return self

    @property
    def peers(self) -> Tensor:
        """The room for what the peer sent; filled once ``wait`` has returned."""
        return self.room.permute(0, 3, 1, 2) if self.last else self.room

    def wait(self) -> Tensor:
        for work in self.works:
            work.wait()
        del self.works, self.own
        return self.peers


class _Post(torch.autograd.Function):
    """Forward: start to exchange activations. Backward: wait for the gradients whose exchange ``_Collect`` started."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, transfer: _Transfer, back: _Transfer) -> Tensor:
        ctx.back = back
        return transfer.start(x).peers

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back.wait(), None, None


class _Collect(torch.autograd.Function):
    """Forward: wait for the peer's activations. Backward: start to exchange their gradients."""

    @staticmethod
    def forward(ctx: Any, room: Tensor, transfer: _Transfer, back: _Transfer) -> Tensor:
        ctx.back = back
        return transfer.wait()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back.start(gradients[0]).peers, None, None


class _Whole(torch.autograd.Function):
    """Forward: gather the outputs of both columns. Backward: this column's half of the gradient, not communicated."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, link: Link) -> Tensor:
        ctx.link = link
        return link.gather(own, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.link.own(gradients[0], 1), None


class Column(AlexNet):
    """One column of an ``AlexNet``; the peer process runs the other column.

    Inputs and outputs are those of ``AlexNet``, the same in both processes. The parameters have the names of the whole
    network's and are halves of them, cut along the first dimension: each neuron is on one device, as in 2012. In a
    layer that reads both columns, this column's part is computed while the peer's activations are transferred; in the
    backward pass, gradients for the peer are transferred while this column's are computed. Dropout masks are drawn for
    both columns, and half of each is used. Raises UserError if the config does not have two columns.
    """

    def __init__(self, config: AlexNetConfig, seed: int, link: Link) -> None:
        halves = column_layers(config)
        super().__init__(config, seed)
        self.link = link
        linked = {layer.name for layer in layers(config) if sees_both(config, layer)}
        for layer in halves:
            if layer.learned:
                module = self.get_submodule(layer.name)
                weight, bias = (self._half(module.get_parameter(name)) for name in ("weight", "bias"))
                assert tuple(weight.shape) == layer.weight_shape
                if layer.name in linked:
                    self.add_module(layer.name, _Linked(weight, bias, link))
                else:
                    module.weight, module.bias = weight, bias
        for module in self.modules():  # what is left of two groups is one
            if isinstance(module, nn.Conv2d | GroupedLinear | LocalResponseNorm):
                module.groups = 1

    def _half(self, parameter: Tensor) -> nn.Parameter:
        return nn.Parameter(self.link.own(parameter.detach()).clone(memory_format=torch.preserve_format))

    def forward(self, *given: Any, **options: Any) -> Tensor:
        whole: Tensor = _Whole.apply(super().forward(*given, **options), self.link)
        return whole

    def masks(self, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """This column's half of the dropout masks, which are drawn for both columns as on one device."""
        return {name: self.link.own(mask, 1) for name, mask in super().masks(batch, generator).items()}

    def conv1_kernels(self) -> tuple[Tensor, ...]:
        """conv1's kernels of both columns, as in ``AlexNet``. Both processes must call it."""
        return self.link.gather(self.conv1.get_parameter("weight").detach()).chunk(2)


class _Linked(nn.Module):
    """This column's half of a layer that reads both columns: a convolution of stride 1, or a fully-connected layer."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter, link: Link) -> None:
        super().__init__()
        self.weight, self.bias, self.link = weight, bias, link

    def forward(self, x: Tensor) -> Tensor:
        transfer, back = _Transfer(self.link), _Transfer(self.link)
        # Autograd goes backward through these lines from the last to the first: that is what overlaps there.
        room = _Post.apply(x, transfer, back)
        parts = self.weight.chunk(2, 1)
        own = _part(x, parts[self.link.column], self.bias)
        peers = _Collect.apply(room, transfer, back)
        return own + _part(peers, parts[1 - self.link.column], None)


def _part(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The contribution of one column's activations to a layer that reads both columns."""
    if weight.dim() == 4:  # a convolution, which keeps the side of its maps
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
    return F.linear(x, weight, bias)


def whole(tensors: Mapping[str, Tensor], link: Link) -> dict[str, Tensor]:
    """Tensors of the whole network, such as a state dict, from this column's halves. Both processes must call it."""
    return {name: link.gather(half) for name, half in tensors.items()}
