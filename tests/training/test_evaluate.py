import numpy as np
import pytest
import torch
from torch import nn

from alexnet_repro.records.curves import epochs_to_converge, mean_until
from alexnet_repro.training.data.images import Images, pixel_mean
from alexnet_repro.training.evaluate import error, errors, ten_views


def tiny(n=3):
    pixels = np.random.default_rng(1).integers(0, 256, (n, 3, 5, 5)).astype(np.uint8)
    return Images.of(pixels, np.arange(n, dtype=np.uint8), pixel_mean(pixels), 2.0, "cpu")


class Corner(nn.Module):
    """Logits from the upper left pixel of the input; remembers its mode and its inputs."""

    def __init__(self):
        super().__init__()
        self.modes, self.inputs = [], []

    def forward(self, x):
        self.modes.append(self.training)
        self.inputs.append(x)
        return x[:, :, 0, 0]


def view(images, i, top, left, mirrored):
    image = (images.pixels[i].float() - images.mean)[top : top + 3, left : left + 3] / 2
    return (image.flip(1) if mirrored else image).permute(2, 0, 1)


def test_ten_views_by_hand():
    images, net = tiny(), Corner()
    found = errors(net, [images], 3, ten=True)[1].top1
    places = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    expected = [view(images, i, *place, mirrored) for place in places for mirrored in (False, True) for i in range(3)]
    centre, *views = net.inputs
    assert torch.equal(centre, torch.stack([view(images, i, 1, 1, False) for i in range(3)]))
    assert torch.equal(torch.cat(views), torch.stack(expected))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in net.inputs)
    outputs = torch.stack(expected)[:, :, 0, 0].softmax(1).view(10, 3, 3).mean(0)
    assert found == (outputs.argmax(1) != torch.arange(3)).float().mean().item()


def test_ten_views_can_differ_from_the_majority():
    # After the centre alone, two views are sure of class 1, eight lean to class 0: the mean output is class 1's.
    class Fixed(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return torch.tensor([[0.0, 9.0, -9.0] if self.calls in (2, 3) else [0.1, 0.0, -9.0]]).expand(len(x), 3)

    images = tiny(1)
    images.labels[:] = 1
    assert errors(Fixed(), [images], 3, ten=True)[1].top1 == 0


class Ramp(nn.Module):
    """Logits of seven classes, each below the one before."""

    def forward(self, x):
        return -torch.arange(7.0).expand(len(x), 7)


def test_top5_is_among_the_five_on_top():
    images = tiny(7)  # image i has class i, and class i is on place i
    assert errors(Ramp(), images.split(2), 3, ten=True) == [(6 / 7, 2 / 7)] * 2


def test_of_five_classes_or_fewer_all_are_on_top():
    assert errors(Corner(), [tiny(3)], 3)[0].top5 == 0


def test_the_last_of_the_five_views_is_the_centre():
    images = tiny()
    assert torch.equal(ten_views(images, 3)[-1].pixels, images.centre(3).pixels)
    assert images.centre(5).pixels.shape == images.pixels.shape


@pytest.mark.parametrize("mode", [True, False])
def test_testing_leaves_the_mode_as_it_was(mode):
    net = Corner().train(mode)
    error(net, tiny(), 3)
    assert net.modes == [False]
    assert net.training == mode


def test_error_counts_over_batches():
    n = 1_203  # more than two batches, the last uneven
    labels = np.arange(n) % 3
    pixels = np.zeros((n, 3, 1, 1), np.uint8)
    pixels[np.arange(n), labels] = 200
    pixels[:100] = 0  # a tie goes to class 0
    images = Images.of(pixels, labels.astype(np.uint8), torch.zeros(1, 1, 3), 1.0, "cpu")
    assert error(Corner(), images, 1) == (labels[:100] != 0).sum() / n


def test_mean_until_weighs_by_length():
    assert mean_until([0.5, 1.0, 2.0, 3.0], [4.0, 2.0, 1.0, 9.0], 2) == pytest.approx((0.5 * 4 + 0.5 * 2 + 1) / 2)
    assert mean_until([1.0, 2.0], [1.0, None], 2) is None
    assert mean_until([1.0, 2.0], [1.0, None], 1) == 1.0
    assert mean_until([2.0], [1.0], 1) is None


def test_epochs_to_converge():
    errors = [0.9, 0.6, 0.3, 0.33, 0.3, 0.28, 0.35]  # averages at epochs 2 to 6: .6 .41 .31 .3033 .31
    epochs = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert epochs_to_converge(epochs, errors) == 4.0
    assert epochs_to_converge(epochs, errors, margin=0.005) == 5.0
    assert epochs_to_converge(epochs, errors, margin=0.2) == 3.0
    assert epochs_to_converge([1.0, 2.0], [0.5, 0.4]) is None
