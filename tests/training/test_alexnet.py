import inspect
import re
import textwrap

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet_repro.common.rng import torch_stream
from alexnet_repro.networks import layers as architecture
from alexnet_repro.networks.config import CIFAR_ALEXNET, PAPER, SOURCE
from alexnet_repro.training.models import alexnet
from alexnet_repro.training.models.alexnet import AlexNet
from alexnet_repro.training.models.layers import Dropout, GroupedLinear
from alexnet_repro.training.models.lrn import LocalResponseNorm
from alexnet_repro.training.models.within_map import WithinMapNorm
from alexnet_repro.training.optim import AlexNetSGD

SMALL = {"kernels": (8, 16, 24, 24, 16), "hidden": 32, "classes": 10}
TINY_PAPER = PAPER.change(image_size=67, **SMALL)
TINY_SOURCE = SOURCE.change(image_size=67, **SMALL)
TINY_CIFAR = CIFAR_ALEXNET.change(image_size=16, **SMALL)

WITHIN = SOURCE.within_map_norm
# Each ablation of the paper, and the layers (or what follows them) that it may change.
ABLATIONS = {
    "tanh": ({"nonlinearity": "tanh"}, set()),
    "no lrn": ({"cross_map_norm": None}, {"conv1 cross-map norm", "conv2 cross-map norm"}),
    "lrn of the source": ({"cross_map_norm": SOURCE.cross_map_norm}, set()),
    "within-map": ({"within_map_norm": WITHIN}, {"conv2 within-map norm"}),
    "pooling": ({"pool": (2, 2)}, {"conv1 pooling", "conv2 pooling", "conv5 pooling"}),
    "no dropout": ({"dropout": 0.0}, {"fc6 dropout", "fc7 dropout"}),
    "unlinked": ({"columns": "unlinked"}, {"conv3", "fc6", "fc7"}),
    "single": (
        {"columns": "single"},
        {"conv2", "conv4", "conv5", "conv1 cross-map norm", "conv2 cross-map norm"},
    ),
    "bias": ({"bias_init": "zero"}, set()),
    "weights": ({"weight_init": "paper"}, set()),
    "no conv4": ({"removed": ("conv4",)}, {"conv4", "conv4 nonlinearity"}),
}


def images(config, batch=2, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, config.image_size, config.image_size, generator=generator) * scale


KINDS = {
    nn.Conv2d: "convolution",
    nn.ReLU: "nonlinearity",
    nn.Tanh: "nonlinearity",
    LocalResponseNorm: "cross-map norm",
    WithinMapNorm: "within-map norm",
    nn.MaxPool2d: "pooling",
    nn.Linear: "fully-connected",
    GroupedLinear: "fully-connected",
    Dropout: "dropout",
}
# What a config can say beside the ablations: each moves a layer to where the paper's net has none.
REARRANGED = {
    "no conv5": {"removed": ("conv5",)},
    "no conv3, no conv5": {"removed": ("conv3", "conv5"), "nonlinearity": "tanh"},
    "conv1's order": {"conv1_order": "norm-pool-nonlinearity", "within_map_norm": WITHIN},
    "conv1's order alone": {"conv1_order": "norm-pool-nonlinearity", "cross_map_norm": None},
    "norms after others": {
        "cross_map_norm": SOURCE.cross_map_norm.model_copy(update={"layers": (1, 3, 5)}),
        "within_map_norm": WITHIN.model_copy(update={"layers": (3, 4)}),
    },
}
VARIANTS = {name: changes for name, (changes, _) in ABLATIONS.items()} | REARRANGED


def computed(net):
    """The kind of every layer and the shape of its output for one image, in the order in which they compute."""
    found = []
    for module in net.modules():
        if type(module) in KINDS:
            module.register_forward_hook(
                lambda module, _, output: found.append((KINDS[type(module)], tuple(output.shape[1:])))
            )
    net(torch.empty(1, 3, net.config.image_size, net.config.image_size, device="meta"))
    return found


def derived(config):
    """The same by arithmetic; the module for dropout is there at a rate of 0, too."""
    layers = architecture.layers(config.change(dropout=0.5))
    return [(layer.kind, layer.outputs if layer.number < 6 else layer.outputs[:1]) for layer in layers]


@pytest.mark.parametrize("config", [PAPER, SOURCE, CIFAR_ALEXNET], ids=["paper", "source", "cifar"])
@pytest.mark.parametrize("columns", ["linked", "unlinked", "half", "single"])
def test_every_layer_of_the_full_size_has_its_derived_shape(config, columns):
    config = config.change(columns=columns)
    net = AlexNet(config, seed=0, device="meta").eval()
    assert computed(net) == derived(config)
    assert sum(p.numel() for p in net.parameters()) == architecture.parameters(config)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_computes_its_layers_in_their_order(name):
    config = CIFAR_ALEXNET.change(**VARIANTS[name])
    net = AlexNet(config, seed=0, device="meta").eval()
    assert computed(net) == derived(config)
    learned = architecture.learned_layers(config)
    assert [key for key, _ in net.named_parameters()] == [
        f"{layer.name}.{part}" for layer in learned for part in ("weight", "bias")
    ]
    assert [tuple(p.shape) for p in net.parameters()][::2] == [layer.weight_shape for layer in learned]


TEXT = inspect.getsource(AlexNet)
MODULE = re.compile(r"^        self\.(\w+) = .*  # (\w.*)$", re.MULTILINE)
SHAPE = re.compile(r"^( +)(?:x = |return ).*  # (\d+(?: x \d+)*)$", re.MULTILINE)


def test_the_comments_on_the_modules_are_the_papers_net():
    net = AlexNet(PAPER, seed=0, device="meta")
    said = MODULE.findall(TEXT)
    assert [name for name, _ in said] == [name for name, _ in net.named_children()]
    for name, text in said:
        assert repr(eval(text)) == repr(net.get_submodule(name)), name


def test_the_comments_on_the_lines_of_forward_are_the_shapes_of_the_papers_net():
    source = textwrap.dedent(inspect.getsource(AlexNet.forward))
    lines = SHAPE.findall(source)
    assert len(lines) == len(re.findall(r"^    x = |^    return ", source, re.MULTILINE))
    noted = []
    space = dict(vars(alexnet), note=lambda x: noted.append(" x ".join(map(str, x.shape[1:]))) or x)
    exec(re.sub(r"^    (x =|return) (.*)  #", r"    \1 note(\2)  #", source, flags=re.MULTILINE), space)
    space["forward"](AlexNet(PAPER, seed=0, device="meta").eval(), torch.empty(1, 3, 224, 224, device="meta"))
    assert noted == [shape for _, shape in lines]


def test_forward_is_read_on_one_screen():
    assert len(inspect.getsource(AlexNet.forward).splitlines()) <= 45


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_what_it_names_and_nothing_else(name):
    changes, touched = ABLATIONS[name]
    base, changed = AlexNet(TINY_CIFAR, 3), AlexNet(TINY_CIFAR.change(**changes), 3)
    before, after = ({layer.name: layer for layer in architecture.layers(net.config)} for net in (base, changed))
    assert {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)} == touched
    mine, theirs = dict(base.named_parameters()), dict(changed.named_parameters())
    shared = [n for n in mine.keys() & theirs.keys() if mine[n].shape == theirs[n].shape]
    assert len(shared) >= 6
    for parameter in shared:
        same = torch.equal(mine[parameter], theirs[parameter])
        number = int(parameter.split(".")[0].lstrip("convf"))
        if name == "bias" and parameter.endswith("bias"):
            assert same == (number in (1, 3, 8))
        elif name == "weights" and parameter.endswith("weight"):
            assert same == (number == 8)
            torch.testing.assert_close(F.normalize(mine[parameter], dim=None), F.normalize(theirs[parameter], dim=None))
        elif name in ("single", "unlinked") and parameter.endswith("weight") and f"{number}" in "".join(touched):
            continue  # other fan-in, other standard deviation
        else:
            assert same, parameter
    base.eval(), changed.eval()
    x = images(TINY_CIFAR)
    different = not torch.equal(base(x), changed(x))
    assert different or name == "no dropout"


def test_layers_after_a_removed_one_keep_their_draws():
    whole, without = AlexNet(TINY_CIFAR, 0), AlexNet(TINY_CIFAR.change(removed=("conv4",)), 0)
    assert torch.equal(whole.conv5.weight, without.conv5.weight)
    assert torch.equal(whole.fc6.weight, without.fc6.weight)


def two_columns(net, x):
    """The same weights as two separate columns, torch's own layers, meeting where Fig. 2 says."""
    config = net.config
    norm = torch.nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)  # torch divides alpha by the five maps

    def conv(number, inputs, padding, stride=1):
        layer = net.get_submodule(f"conv{number}")
        halves = zip(inputs, layer.weight.chunk(2), layer.bias.chunk(2), strict=True)
        return [F.relu(F.conv2d(x, w, b, stride, padding)) for x, w, b in halves]

    def both(columns):
        return [torch.cat(columns, 1)] * 2

    def pooled(columns):
        return [F.max_pool2d(x, 3, 2, ceil_mode=config.pool_rounding == "ceil") for x in columns]

    def full(number, inputs):
        layer = net.get_submodule(f"fc{number}")
        halves = zip(inputs, layer.weight.chunk(2), layer.bias.chunk(2), strict=True)
        return [F.relu(F.linear(x, w, b)) * 0.5 for x, w, b in halves]

    linked = both if config.columns == "linked" else list
    border = (0, 3, 0, 3)
    columns = pooled([norm(x) for x in conv(1, [F.pad(x, border)] * 2, 0, stride=4)])
    columns = pooled([norm(x) for x in conv(2, columns, 2)])
    columns = conv(3, linked(columns), 1)
    columns = pooled(conv(5, conv(4, columns, 1), 1))
    columns = full(6, linked([x.flatten(1) for x in columns]))
    columns = full(7, linked(columns))
    return net.fc8(torch.cat(columns, 1))


@pytest.mark.parametrize("columns", ["linked", "unlinked"])
def test_groups_are_two_separate_columns(columns):
    # He's weights: with 0.01 the logits of a tiny net hardly depend on its input.
    config = TINY_PAPER.change(columns=columns, weight_init="he")
    net = AlexNet(config, 0).double().eval()
    x = images(config, scale=50).double()
    ours, theirs = net(x), two_columns(net, x)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    ours = torch.autograd.grad(ours.square().sum(), list(net.parameters()))
    theirs = torch.autograd.grad(theirs.square().sum(), list(net.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_unlinked_columns_do_not_see_each_other():
    net = AlexNet(TINY_CIFAR.change(columns="unlinked"), 0).eval()
    x = images(TINY_CIFAR)
    before = net.features(x)
    with torch.no_grad():
        net.conv1.weight[:4] += 1  # column 1
    after = net.features(x)
    assert torch.equal(before[:, 16:], after[:, 16:])
    assert not torch.equal(before[:, :16], after[:, :16])


@pytest.mark.parametrize(
    ("pool", "rounding", "expected"),
    [((3, 2), "ceil", [10, 11, 14, 15]), ((3, 2), "floor", [10]), ((2, 2), "ceil", [5, 7, 13, 15])],
)
def test_pooling_by_hand(pool, rounding, expected):
    net = AlexNet(TINY_CIFAR.change(pool=pool, pool_rounding=rounding), 0, device="meta")
    for layer in (net.pool1, net.pool2, net.pool5):
        assert layer(torch.arange(16.0).view(1, 1, 4, 4)).flatten().tolist() == expected


def test_memory_format_does_not_matter():
    net = AlexNet(TINY_CIFAR, 0).eval()
    x = images(TINY_CIFAR, batch=3)
    torch.testing.assert_close(net(x), net(x.contiguous(memory_format=torch.channels_last)))


@pytest.mark.parametrize("config", [PAPER.change(classes=10), SOURCE.change(classes=10)], ids=["paper", "source"])
def test_initial_statistics(config):
    config = config.change(hidden=64)
    net = AlexNet(config, 0)
    for layer in architecture.learned_layers(config):
        module = net.get_submodule(layer.name)
        expected = architecture.initial_weight_std(config, layer)
        assert module.weight.std().item() == pytest.approx(expected, rel=0.06), layer.name
        assert abs(module.weight.mean().item()) < 5 * expected / module.weight.numel() ** 0.5
        assert (module.bias == architecture.initial_bias(config, layer)).all()


def test_seeds_differ_and_repeat():
    a, b, c = (AlexNet(TINY_CIFAR, seed) for seed in (0, 0, 1))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.conv1.weight, c.conv1.weight)


def test_dropout_depends_on_its_generator_alone():
    net = AlexNet(TINY_CIFAR, 0)
    x = images(TINY_CIFAR)
    first = net(x, torch_stream(0, "dropout", 5))
    torch.manual_seed(99)
    assert torch.equal(first, net(x, torch_stream(0, "dropout", 5)))
    assert not torch.equal(first, net(x, torch_stream(0, "dropout", 6)))
    with pytest.raises(ValueError, match="generator"):
        net(x)
    AlexNet(TINY_CIFAR.change(dropout=0.0), 0)(x)


def test_dropout_keeps_as_is_in_training_and_scales_at_test():
    net = AlexNet(TINY_CIFAR.change(dropout=0.25), 0)
    seen = {}
    net.fc7.register_forward_pre_hook(lambda _, inputs: seen.update(fc7=inputs[0]))
    x = images(TINY_CIFAR)
    net(x, torch_stream(0, "dropout", 0))
    training = seen["fc7"]
    net.eval()(x)
    kept = training != 0
    assert kept.any()
    torch.testing.assert_close(seen["fc7"][kept], 0.75 * training[kept])
    assert (seen["fc7"][~kept] != 0).any()


def test_features_are_those_of_test_time_in_any_mode():
    net = AlexNet(TINY_CIFAR, 0)
    x = images(TINY_CIFAR)
    features = net.features(x)
    assert features.shape == (2, 32)
    assert torch.equal(net.eval().features(x), features)
    torch.testing.assert_close(net.fc8(features), net(x))


def test_conv1_kernels_of_each_column():
    net = AlexNet(TINY_CIFAR, 0)
    assert [kernels.shape for kernels in net.conv1_kernels()] == [(4, 3, 5, 5)] * 2
    assert torch.equal(torch.cat(net.conv1_kernels()), net.conv1.weight)
    assert len(AlexNet(TINY_CIFAR.change(columns="single"), 0).conv1_kernels()) == 1


def test_a_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"\(3, 16, 16\)"):
        AlexNet(TINY_CIFAR, 0).eval()(torch.zeros(2, 3, 32, 32))


@pytest.mark.parametrize("config", [TINY_PAPER, TINY_SOURCE, TINY_CIFAR], ids=["paper", "source", "cifar"])
def test_ten_steps_of_section_5_stay_finite(config):
    net = AlexNet(config, 0)
    parameters = list(net.named_parameters())
    groups = [
        {"params": [p for name, p in parameters if name.endswith("weight")]},
        {"params": [p for name, p in parameters if name.endswith("bias")], "weight_decay": 0.0},
    ]
    optimizer = AlexNetSGD(groups)
    x = images(config, batch=8, scale=1.0 if config is TINY_CIFAR else 60.0)  # raw pixels less their mean
    labels = torch.arange(8)
    before = [p.detach().clone() for p in groups[0]["params"]]
    for step in range(10):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x, torch_stream(0, "dropout", step)), labels)
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss)
    assert all(torch.isfinite(p).all() for _, p in parameters)
    assert all(not torch.equal(p, q) for p, q in zip(groups[0]["params"], before, strict=True))
