import numpy as np
import pytest
import torch

from alexnet_repro.analysis.statistics import DEALS
from alexnet_repro.networks.config import CIFAR_ALEXNET
from alexnet_repro.training.data.images import Images, pixel_mean
from alexnet_repro.training.features import color_index, color_metrics, nearest, nearest_neighbour_metrics
from alexnet_repro.training.models.alexnet import AlexNet


def test_colour_of_a_grey_a_coloured_and_a_mixed_kernel():
    grey = torch.randn(1, 1, 5, 5).expand(1, 3, 5, 5)
    colour = torch.randn(1, 1, 5, 5) * torch.tensor([1.0, -3.0, 2.0]).view(1, 3, 1, 1)
    mixed = torch.zeros(1, 3, 1, 1)
    mixed[0, 0] = 1.0  # grey part (1/3, 1/3, 1/3): a third of the square
    assert color_index(grey).item() == pytest.approx(0, abs=1e-12)
    assert color_index(colour).item() == pytest.approx(1)
    assert color_index(mixed).item() == pytest.approx(2 / 3)
    assert color_index(torch.randn(4000, 3, 5, 5)).mean().item() == pytest.approx(2 / 3, abs=0.01)


def net(**changes):
    return AlexNet(CIFAR_ALEXNET.change(kernels=(8, 8, 8, 8, 8), hidden=16, **changes), 3)


def test_the_untrained_columns_are_alike_and_painted_ones_differ():
    plain = net()
    assert color_metrics(plain, 1)["color_gap_p"] > 0.01
    with torch.no_grad():
        plain.conv1.weight[:4] = plain.conv1.weight[:4].mean(1, keepdim=True)
    painted = color_metrics(plain, 1)
    first, second = (color_index(kernels).mean().item() for kernels in plain.conv1_kernels())
    assert painted["color_gap"] == pytest.approx(abs(first - second))
    # Of the 70 ways to deal eight kernels, this one and its mirror are as wide.
    assert painted["color_gap_p"] == pytest.approx(2 / 70, abs=4 * np.sqrt(2 / 70 / DEALS))
    assert painted["color_gap"] > 2 * painted["color_gap_shuffled"]
    assert painted == color_metrics(plain, 1)


def test_one_column_has_no_gap():
    assert color_metrics(net(columns="half"), 1) == {}


def test_nearest_by_a_full_sort():
    generator = torch.Generator().manual_seed(1)
    queries, among = torch.randn(7, 5, generator=generator), torch.randn(40, 5, generator=generator)
    distances = (queries[:, None] - among).square().sum(2)
    assert torch.equal(nearest(queries, among, 3), distances.argsort(1)[:, :3])


def images(labels, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 24, 24)).astype(np.uint8)
    return Images.of(pixels, np.array(labels, np.uint8), pixel_mean(pixels), 8.0, "cpu")


def test_neighbours_of_the_training_images_themselves():
    train = images([1] * 30, 1)
    found = nearest_neighbour_metrics(net(), train, images([1] * 5, 2))
    assert found == {"knn_features": 1.0, "knn_pixels": 1.0}
    assert nearest_neighbour_metrics(net(), train, images([2] * 5, 2)) == {"knn_features": 0.0, "knn_pixels": 0.0}


def test_pixels_find_the_same_image():
    train = images(list(range(10)) * 2, 1)
    train.pixels[10:] = train.pixels[:10]  # every image twice: two of its six neighbours are sure
    found = nearest_neighbour_metrics(net(), train, train)
    assert found["knn_pixels"] is not None
    assert found["knn_pixels"] >= 2 / 6
    assert net().training
