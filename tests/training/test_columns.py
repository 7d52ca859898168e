"""Two processes, a column each, beside the grouped net on one device."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from alexnet_repro.common.errors import UserError
from alexnet_repro.common.rng import torch_stream
from alexnet_repro.networks import cost
from alexnet_repro.networks.config import CIFAR_ALEXNET, SOURCE
from alexnet_repro.training.models.alexnet import AlexNet
from alexnet_repro.training.optim import AlexNetSGD
from alexnet_repro.training.parallel import model_parallel
from alexnet_repro.training.parallel.model_parallel import Column, Link

from . import team

SMALL = {"kernels": (8, 16, 24, 24, 16), "hidden": 32, "classes": 10}
TINY = CIFAR_ALEXNET.change(image_size=16, **SMALL)
NETS = {
    "linked": TINY,
    "unlinked": TINY.change(columns="unlinked"),
    "link at conv4": TINY.change(removed=("conv3",)),
    "no dropout": TINY.change(dropout=0.0, nonlinearity="tanh"),
    "source": SOURCE.change(image_size=67, weight_init="he", **SMALL),
}
BATCH, STEPS, FEW = 6, 10, 2


def batches(config, dtype):
    generator = torch.Generator().manual_seed(1)
    side = config.image_size
    images = torch.randn(STEPS, BATCH, 3, side, side, generator=generator, dtype=torch.double).to(dtype)
    return images, torch.randint(10, (STEPS, BATCH), generator=generator)


def train(net, config, dtype, steps=range(STEPS), velocities=None):
    """Ten updates of section 5: every step's loss and logits, the first step's gradients, and what is left."""
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1]},
        {"params": [p for p in net.parameters() if p.ndim == 1], "lr": 0.02, "weight_decay": 0.0},
    ]
    optimizer = AlexNetSGD(groups)
    if velocities:
        for name, velocity in optimizer.velocities().items():
            velocity.copy_(velocities[name])
    images, labels = batches(config, dtype)
    found = {"loss": [], "logits": []}
    for step in steps:
        logits = net(images[step], torch_stream(3, "dropout", step))
        loss = F.cross_entropy(logits, labels[step])
        optimizer.zero_grad()
        loss.backward()
        if step == steps[0]:
            found["gradients"] = {name: p.grad.clone() for name, p in net.named_parameters()}
        optimizer.step()
        found["loss"].append(loss.detach())
        found["logits"].append(logits.detach())
    with torch.no_grad():
        found["features"] = net.features(images[0])
        found["tested"] = net.eval()(images[0])
    net.train()
    found["weights"] = {name: p.detach().clone() for name, p in net.state_dict().items()}
    found["velocities"] = optimizer.velocities()
    return found


def column(rank, config, dtype, state=None):
    link = Link(rank, 1 - rank)
    net = Column(config, 0, link).to(dtype)
    if state is not None:
        net.load_state_dict(halves(state, link))
    return net, link


def halves(tensors, link):
    return {name: link.own(tensor) for name, tensor in tensors.items()}


def whole(found, link):
    return {
        **found,
        **{part: model_parallel.whole(found[part], link) for part in ("gradients", "weights", "velocities")},
    }


def steps(name):
    """Ten updates for the net of Fig. 2, a few for the others: where other work fills the machine, each costs time."""
    return range(STEPS if name == "linked" else FEW)


def everything(rank, one_device):
    """What a process of two finds, the same experiments one after another: to start processes takes the most time."""
    dist.init_process_group("gloo")
    results = {}
    for name, config in NETS.items():
        net, link = column(rank, config, torch.double)
        results[name] = whole(train(net, config, torch.double, steps(name)), link)
    net, link = column(rank, TINY, torch.float)
    results["single precision"] = whole(train(net, TINY, torch.float), link)

    images, labels = batches(TINY, torch.float)
    before = link.sent
    F.cross_entropy(net(images[0], torch_stream(3, "dropout", 0)), labels[0]).backward()
    results["bytes"] = link.sent - before
    results["kernels"] = torch.cat(net.conv1_kernels())
    results["conv1"] = model_parallel.whole({"conv1": net.conv1.weight.detach()}, link)["conv1"]

    # Five updates on one device, then five on two; and five on two, for one to go on from.
    net, link = column(rank, TINY, torch.double, one_device["weights"])
    velocities = halves(one_device["velocities"], link)
    results["continued"] = whole(train(net, TINY, torch.double, range(5, STEPS), velocities), link)
    net, link = column(rank, TINY, torch.double)
    results["begun"] = whole(train(net, TINY, torch.double, range(5)), link)
    dist.barrier()
    dist.destroy_process_group()
    return results


@pytest.fixture(scope="module")
def half_way():
    return train(AlexNet(TINY, 0).double(), TINY, torch.double, range(5))


@pytest.fixture(scope="module")
def found(tmp_path_factory, half_way):
    return team.run(2, tmp_path_factory.mktemp("columns"), everything, half_way)


def equal(ours, expected, tolerance):
    """Within ``tolerance``, relative to the largest value of each tensor: small ones are differences of large ones."""
    if isinstance(expected, dict):
        assert ours.keys() == expected.keys()
        for name in expected:
            equal(ours[name], expected[name], tolerance)
    elif isinstance(expected, list):
        for a, b in zip(ours, expected, strict=True):
            equal(a, b, tolerance)
    else:
        torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance * max(expected.abs().max().item(), 1e-3))


@pytest.mark.parametrize("name", NETS)
def test_two_columns_are_the_grouped_net(found, name):
    # Where a layer reads both columns, its sums are added up in two parts instead of one, and so are the gradients
    # of what it reads: nothing else differs. In double precision (unit roundoff 1e-16) that leaves less than 1e-13
    # after one update; ten updates may amplify it, and 1e-10 still tells it from any wrong term.
    expected = train(AlexNet(NETS[name], 0).double(), NETS[name], torch.double, steps(name))
    for rank in range(2):
        equal(found[rank][name], expected, 1e-10)
    for part in ("loss", "logits", "tested", "features"):
        equal(found[0][name][part], found[1][name][part], 0.0)


def test_single_precision_is_as_near_as_its_rounding(found):
    # Unit roundoff 6e-8, sums of up to a thousand terms, ten updates.
    expected = train(AlexNet(TINY, 0), TINY, torch.float)
    equal(found[0]["single precision"], expected, 1e-4)


def test_the_bytes_sent_are_those_derived(found):
    assert found[0]["bytes"] == found[1]["bytes"] == cost.bytes_sent(TINY, BATCH)


def test_columns_show_their_own_kernels(found):
    for rank in range(2):
        assert torch.equal(found[rank]["kernels"], found[rank]["conv1"])


def test_two_devices_continue_what_one_began(found, half_way):
    expected = train(AlexNet(TINY, 0).double(), TINY, torch.double)
    for part in ("weights", "velocities", "tested"):
        equal(found[0]["continued"][part], expected[part], 1e-10)


def test_one_device_continues_what_two_began(found, half_way):
    begun = found[1]["begun"]
    equal(begun["weights"], half_way["weights"], 1e-10)
    net = AlexNet(TINY, 0).double()
    net.load_state_dict(begun["weights"])
    ours = train(net, TINY, torch.double, range(5, STEPS), begun["velocities"])
    expected = train(AlexNet(TINY, 0).double(), TINY, torch.double)
    for part in ("weights", "velocities", "tested"):
        equal(ours[part], expected[part], 1e-10)


@pytest.mark.parametrize(
    ("changes", "said"), [({"columns": "half"}, "columns='half'"), ({"classes": 11}, "classes=11")]
)
def test_what_does_not_split_is_named(changes, said):
    with pytest.raises(UserError, match=said):
        Column(TINY.change(**changes), 0, Link(0, 1))


def test_transfers_travel_while_the_own_part_is_computed(monkeypatch):
    seen = []

    class Echo(model_parallel._Transfer):
        """A peer that has the same activations and gradients."""

        def start(self, own):
            seen.append("start")
            self.last, self.room = False, own.detach().clone()
            return self

        def wait(self):
            seen.append("wait")
            return self.room

    def part(x, weight, bias):
        name = "peer's part" if bias is None else "own part"
        seen.append(name)
        x = x.clone()
        x.register_hook(lambda gradient: seen.append(f"gradient of {name}"))
        return compute(x, weight, bias)

    compute = model_parallel._part
    monkeypatch.setattr(model_parallel, "_Transfer", Echo)
    monkeypatch.setattr(model_parallel, "_part", part)
    net = Column(TINY, 0, Link(0, 1))
    images, labels = batches(TINY, torch.float)
    loss = F.cross_entropy(net(images[0], torch_stream(3, "dropout", 0)), labels[0])
    layers = sum(isinstance(module, model_parallel._Linked) for module in net.modules())
    assert layers == 4  # conv3, fc6, fc7, fc8
    assert seen == ["start", "own part", "wait", "peer's part"] * layers + ["start", "wait"]  # the last: all outputs
    seen.clear()
    loss.backward()
    assert seen == ["gradient of peer's part", "start", "gradient of own part", "wait"] * layers
