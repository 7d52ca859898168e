import copy
import math

import pytest
import torch

from alexnet_repro.experiments.registry import CUDA_CONVNET_19PCT
from alexnet_repro.training.models.layers import LocallyConnected
from alexnet_repro.training.optim import AlexNetSGD, Plateau, first_factor, multi_step_factor, param_groups

RATE, DECAY, MOMENTUM = 0.01, 0.0005, 0.9


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.double) for shape in ((4, 3), (4,))]


def gradients(step):
    return parameters(seed=100 + step)


def ours(weight, bias, bias_rate=RATE, rate_outside=False):
    groups = [{"params": [weight]}, {"params": [bias], "lr": bias_rate, "weight_decay": 0.0}]
    return AlexNetSGD(groups, RATE, MOMENTUM, DECAY, rate_outside)


def set_gradients(tensors, step):
    for tensor, gradient in zip(tensors, gradients(step), strict=True):
        tensor.grad = gradient


def steps(optimizer, tensors, numbers):
    for number in numbers:
        set_gradients(tensors, number)
        optimizer.step()


def test_section_5_as_printed():
    weight, bias = (p.clone() for p in parameters())
    optimizer = ours(weight, bias, bias_rate=2 * RATE)
    w, b = (p.clone() for p in parameters())
    v, u = torch.zeros_like(w), torch.zeros_like(b)
    for step, factor in enumerate([1, 1, 1, 0.1, 0.1, 0.01]):
        optimizer.scale_rates(factor)
        steps(optimizer, [weight, bias], [step])
        eps, (gw, gb) = RATE * factor, gradients(step)
        v = 0.9 * v - 0.0005 * eps * w - eps * gw
        w = w + v
        u = 0.9 * u - 2 * eps * gb  # biases: twice the rate, no decay
        b = b + u
        torch.testing.assert_close(weight, w, rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(bias, b, rtol=1e-14, atol=1e-14)


def test_two_steps_by_hand():
    for outside, after in ((False, 3.2 + 0.5 * -0.8 - 0.1 * (2 + 0.5 * 3.2)), (True, 3.2 + 0.1 * (0.5 * -4 - 3.6))):
        w = torch.tensor([4.0], dtype=torch.double)
        optimizer = AlexNetSGD([w], lr=0.2, momentum=0.5, weight_decay=0.5, rate_outside=outside)
        w.grad = torch.tensor([2.0], dtype=torch.double)
        optimizer.step()
        assert w.item() == pytest.approx(4 - 0.2 * (2 + 0.5 * 4), rel=1e-15)
        optimizer.param_groups[0]["lr"] = 0.1
        optimizer.step()
        assert w.item() == pytest.approx(after, rel=1e-15)


def beside_torch(milestones, rate_outside=False):
    """The largest distance from torch.optim.SGD over 20 steps, both under torch's scheduler."""
    mine, theirs = parameters(), parameters()
    sgd = torch.optim.SGD(
        [{"params": theirs[:1], "weight_decay": DECAY}, {"params": theirs[1:], "weight_decay": 0.0}],
        lr=RATE,
        momentum=MOMENTUM,
    )
    pairs = [(ours(*mine, rate_outside=rate_outside), mine), (sgd, theirs)]
    for optimizer, tensors in pairs:
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones)
        for step in range(20):
            steps(optimizer, tensors, [step])
            schedule.step()
        assert schedule.get_last_lr() == pytest.approx([RATE * 0.1 ** len(milestones)] * 2)
    return max((a - b).abs().max().item() for a, b in zip(mine, theirs, strict=True))


def test_equal_to_torch_at_a_constant_rate():
    assert beside_torch([]) < 1e-14


def test_unlike_torch_once_the_rate_changes():
    # torch keeps gradients in its velocity and scales them all by the new rate; the paper's velocity holds steps.
    assert beside_torch([10]) > 1e-2


def test_equal_to_torch_at_any_rate_with_the_rate_outside_the_velocity():
    assert beside_torch([10], rate_outside=True) < 1e-14


def test_torchs_scheduler_gives_the_printed_update_with_the_new_rate():
    scheduled, printed = parameters(), parameters()
    optimizer, by_hand = ours(*scheduled), ours(*printed)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    for step in range(6):
        steps(optimizer, scheduled, [step])
        schedule.step()
        by_hand.scale_rates(multi_step_factor([2, 4], step))
        steps(by_hand, printed, [step])
    for a, b in zip(scheduled, printed, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)


def test_a_factor_of_zero_freezes_once_the_velocity_has_died_down():
    weight, bias = parameters()
    optimizer = ours(weight, bias)
    optimizer.scale_rates(0.0)
    before = weight.clone()
    steps(optimizer, [weight, bias], [0])
    assert torch.equal(weight, before)


def test_checkpointed_velocities_resume_bit_for_bit():
    straight = parameters()
    optimizer = ours(*straight)
    steps(optimizer, straight, range(3))
    resumed = [p.clone() for p in straight]
    state = {name: tensor.clone() for name, tensor in optimizer.velocities().items()}
    assert list(state) == ["velocity.0.0", "velocity.1.0"]
    steps(optimizer, straight, range(3, 6))
    second = ours(*resumed)
    for name, velocity in second.velocities().items():
        velocity.copy_(state[name])
    steps(second, resumed, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))


def test_state_dict_resumes_bit_for_bit():
    straight = parameters()
    optimizer = ours(*straight, rate_outside=True)
    optimizer.scale_rates(0.1)
    steps(optimizer, straight, range(3))
    resumed, state = [p.clone() for p in straight], copy.deepcopy(optimizer.state_dict())
    steps(optimizer, straight, range(3, 6))
    second = ours(*resumed)
    second.load_state_dict(state)
    steps(second, resumed, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))


def test_parameters_without_a_gradient_stay():
    weight, bias = parameters()
    before = weight.clone()
    optimizer = ours(weight, bias)
    bias.grad = torch.ones_like(bias)
    optimizer.step()
    assert torch.equal(weight, before)
    optimizer.zero_grad()
    assert bias.grad is None


def test_a_closure_gives_the_loss_and_the_gradients():
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = AlexNetSGD([weight], lr=0.5, momentum=0.0, weight_decay=0.0)

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 9.0
    assert weight.item() == 0.0


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
def test_a_negative_setting_is_named(name):
    with pytest.raises(ValueError, match=rf"{name}=-1.0 is negative"):
        AlexNetSGD(parameters(), **{name: -1.0})
    with pytest.raises(ValueError, match=rf"{name}=-1.0 is negative"):
        AlexNetSGD([{"params": parameters(), name: -1.0}])


def test_the_first_layers_groups_have_a_factor_of_their_own():
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
    config = CUDA_CONVNET_19PCT.optimizer.model_copy(update={"conv1_drops": (2,), "conv1_frozen": 3})
    optimizer = AlexNetSGD(param_groups(net, config))
    firsts = [[id(p) for p in group["params"]] for group in optimizer.param_groups if group["first_layer"]]
    assert firsts == [[id(net[0].weight)], [id(net[0].bias)]]
    rates = []
    for epoch in range(4):
        optimizer.scale_rates(0.5, first_factor(config, epoch))
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert rates == [pytest.approx([0.0005 * first, 0.001 * first, 0.0005, 0.001]) for first in (1.0, 1.0, 0.1, 0.0)]


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


def test_the_rate_drops_after_each_milestone():
    factors = [multi_step_factor((25, 51, 79), epoch) for epoch in (0, 24.9, 25, 51, 78, 79, 91)]
    assert factors == pytest.approx([1, 1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert multi_step_factor((), 90) == 1


def test_each_layer_has_its_own_decay_and_biases_none():
    # A locally connected layer has as many dimensions of biases as places: names tell biases, not dimensions.
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), LocallyConnected(2, 2, 3, 1), torch.nn.Linear(4, 2))
    config = CUDA_CONVNET_19PCT.optimizer
    weights, biases = [layer.weight for layer in net], [layer.bias for layer in net]

    def found(**changes):
        groups = param_groups(net, config.model_copy(update=changes))
        return [([id(p) for p in group["params"]], group["lr"], group["weight_decay"]) for group in groups]

    def ids(tensors):
        return [id(tensor) for tensor in tensors]

    assert found(weight_decay=0.5) == [(ids(weights), 0.001, 0.5), (ids(biases), 0.002, 0.0)]
    apart = [([id(w)], 0.001, decay) for w, decay in zip(weights, (0.0, 0.004, 0.01), strict=True)]
    assert found(layer_decays=(0.0, 0.004, 0.01)) == [*apart, (ids(biases), 0.002, 0.0)]
