"""From a network's config to the network."""

from torch import nn

from ...networks.config import AlexNetConfig, CudaConvnetConfig
from .alexnet import AlexNet
from .cuda_convnet import CudaConvnet


def build(config: CudaConvnetConfig | AlexNetConfig, seed: int) -> nn.Module:
    """The network that ``config`` describes, its weights drawn from ``seed``, on the CPU."""
    return AlexNet(config, seed) if isinstance(config, AlexNetConfig) else CudaConvnet(config, seed)
