import pytest
import torch

from alexnet_repro.common.rng import torch_stream
from alexnet_repro.networks.config import CIFAR_ALEXNET, SOURCE
from alexnet_repro.training.models.alexnet import AlexNet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.mark.parametrize("config", [CIFAR_ALEXNET, SOURCE], ids=["cifar", "source"])
def test_the_gpu_computes_what_the_cpu_does(config):
    net = AlexNet(config, 0).double().eval()
    x = torch.randn(2, 3, config.image_size, config.image_size, dtype=torch.double)
    expected = net(x)
    torch.testing.assert_close(net.cuda()(x.cuda()).cpu(), expected, rtol=1e-9, atol=1e-9)


def test_dropout_on_the_gpu_depends_on_its_generator_alone():
    net = AlexNet(CIFAR_ALEXNET, 0).cuda()
    x = torch.randn(4, 3, 24, 24, device="cuda")
    one, two = (net(x, torch_stream(0, "dropout", 5, device="cuda")) for _ in range(2))
    torch.testing.assert_close(one, two)
