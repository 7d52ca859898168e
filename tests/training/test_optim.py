import math

import pytest
import torch

from alexnet_repro.experiments.registry import CUDA_CONVNET_19PCT
from alexnet_repro.training.models.layers import LocallyConnected
from alexnet_repro.training.optim import Dated, Momentum, ParameterGroup, Plateau, section_5

RATE, DECAY, MOMENTUM = 0.01, 0.0005, 0.9


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.double) for shape in ((4, 3), (4,))]


def gradients(step):
    return parameters(seed=100 + step)


def ours(weight, bias, bias_rate=RATE, rate_outside=False):
    groups = [ParameterGroup([weight], RATE, DECAY), ParameterGroup([bias], bias_rate, 0.0)]
    return Momentum(groups, MOMENTUM, rate_outside)


def set_gradients(tensors, step):
    for tensor, gradient in zip(tensors, gradients(step), strict=True):
        tensor.grad = gradient


def test_section_5_as_printed():
    weight, bias = (p.clone() for p in parameters())
    optimizer = ours(weight, bias, bias_rate=2 * RATE)
    w, b = (p.clone() for p in parameters())
    v, u = torch.zeros_like(w), torch.zeros_like(b)
    for step, factor in enumerate([1, 1, 1, 0.1, 0.1, 0.01]):
        optimizer.rate_factor = factor
        set_gradients([weight, bias], step)
        optimizer.step()
        eps, (gw, gb) = RATE * factor, gradients(step)
        v = 0.9 * v - 0.0005 * eps * w - eps * gw
        w = w + v
        u = 0.9 * u - 2 * eps * gb  # biases: twice the rate, no decay
        b = b + u
        torch.testing.assert_close(weight, w, rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(bias, b, rtol=1e-14, atol=1e-14)


def beside_torch(factors, rate_outside=False):
    """The largest distance from torch.optim.SGD over a run with these rate factors."""
    mine, theirs = parameters(), parameters()
    optimizer = ours(*mine, rate_outside=rate_outside)
    sgd = torch.optim.SGD(
        [{"params": theirs[:1], "weight_decay": DECAY}, {"params": theirs[1:], "weight_decay": 0.0}],
        lr=RATE,
        momentum=MOMENTUM,
    )
    for step, factor in enumerate(factors):
        optimizer.rate_factor = factor
        for group in sgd.param_groups:
            group["lr"] = RATE * factor
        set_gradients(mine, step)
        set_gradients(theirs, step)
        optimizer.step()
        sgd.step()
    return max((a - b).abs().max().item() for a, b in zip(mine, theirs, strict=True))


def test_equal_to_torch_at_a_constant_rate():
    assert beside_torch([1.0] * 20) < 1e-14


def test_unlike_torch_once_the_rate_changes():
    # torch keeps gradients in its velocity and scales them all by the new rate; the paper's velocity holds steps.
    assert beside_torch([1.0] * 10 + [0.1] * 10) > 1e-2


def test_equal_to_torch_at_any_rate_with_the_rate_outside_the_velocity():
    assert beside_torch([1.0] * 10 + [0.1] * 10, rate_outside=True) < 1e-14


def test_a_factor_of_zero_freezes_once_the_velocity_has_died_down():
    weight, bias = parameters()
    optimizer = ours(weight, bias)
    optimizer.rate_factor = 0.0
    before = weight.clone()
    set_gradients([weight, bias], 0)
    optimizer.step()
    assert torch.equal(weight, before)


def test_state_resumes_bit_for_bit():
    straight = parameters()
    optimizer = ours(*straight)
    for step in range(6):
        if step == 3:
            resumed = [p.clone() for p in straight]
            state = {name: tensor.clone() for name, tensor in optimizer.state().items()}
        set_gradients(straight, step)
        optimizer.step()
    second = ours(*resumed)
    for name, velocity in second.state().items():
        velocity.copy_(state[name])
    for step in range(3, 6):
        set_gradients(resumed, step)
        second.step()
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))


def test_plateau_divides_when_the_error_stops_improving():
    schedule = Plateau(patience=2, drops=3)
    seen = []
    for error in [0.9, 0.8, 0.8, 0.8, 0.7, 0.71, 0.7, 0.72, math.nan, 0.7, 0.6]:
        schedule.observe(error)
        seen.append(round(-math.log10(schedule.factor)))
    assert seen == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert schedule.factor == 0.001
    assert not schedule.finished
    schedule.observe(0.6)
    schedule.observe(0.65)
    assert schedule.finished
    assert schedule.factor == 0.001


def test_dated():
    schedule = Dated((25, 51, 79))
    assert [schedule.factor(epoch) for epoch in (0, 24.9, 25, 51, 78, 79, 91)] == pytest.approx(
        [1, 1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )
    assert Dated(()).factor(90) == 1


def test_each_layer_has_its_own_decay_and_biases_none():
    # A locally connected layer has as many dimensions of biases as places: names tell biases, not dimensions.
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), LocallyConnected(2, 2, 3, 1), torch.nn.Linear(4, 2))
    config = CUDA_CONVNET_19PCT.optimizer
    weights, biases = [layer.weight for layer in net], [layer.bias for layer in net]

    def found(**changes):
        groups = section_5(net, config.model_copy(update=changes))
        return [([id(p) for p in group.parameters], group.rate, group.weight_decay) for group in groups]

    def ids(tensors):
        return [id(tensor) for tensor in tensors]

    assert found(weight_decay=0.5) == [(ids(weights), 0.001, 0.5), (ids(biases), 0.002, 0.0)]
    apart = [([id(w)], 0.001, decay) for w, decay in zip(weights, (0.0, 0.004, 0.01), strict=True)]
    assert found(layer_decays=(0.0, 0.004, 0.01)) == [*apart, (ids(biases), 0.002, 0.0)]
