"""From a network's config to the network."""

from torch import nn

from ...networks.config import AlexNetConfig, CudaConvnetConfig
from .alexnet import AlexNet
from .cuda_convnet import CudaConvnet


def build(config: CudaConvnetConfig | AlexNetConfig, seed: int, device: str = "cpu") -> nn.Module:
    """The network that ``config`` describes, its weights drawn from ``seed``."""
    return AlexNet(config, seed, device) if isinstance(config, AlexNetConfig) else CudaConvnet(config, seed).to(device)
