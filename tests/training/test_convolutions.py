"""Grouped convolutions group by group: the same numbers, chosen on a GPU alone, by what a timer says."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.networks.config import CIFAR_ALEXNET, PAPER
from alexnet_repro.networks.layers import learned_layers
from alexnet_repro.training import convolutions
from alexnet_repro.training.graphs import WARM_UP
from alexnet_repro.training.models.alexnet import AlexNet
from alexnet_repro.training.models.layers import SplitConv2d
from alexnet_repro.training.parallel.vmap_seeds import Member
from alexnet_repro.training.trainer import Run

from ..runs import load_few_test_images
from .pretend_gpu import PretendTensor, pretend_gpu, pretending
from .recorded import Recorder
from .test_parallel import CUDA_CONVNET, TINY, advance, found

GPU = DeviceConfig(device="cuda")
GROUPED = ["conv2", "conv4", "conv5"]
FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def _few_test_images_and_nothing_timed_before(monkeypatch):
    load_few_test_images(monkeypatch.setattr)
    convolutions.split_is_faster.cache_clear()
    yield
    convolutions.split_is_faster.cache_clear()


def split(net):
    """The names of the layers that are computed group by group."""
    return [name for name, module in net.named_modules() if isinstance(module, SplitConv2d)]


class Timer:
    """Runs what it is to time, and says for each layer how long both ways take, in the order of the layers."""

    def __init__(self, *times):
        self.times, self.calls = times, 0

    def __call__(self, works, device):
        for work in works:
            work()
        self.calls += 1
        return list(self.times[(self.calls - 1) % len(self.times)])


@contextmanager
def gpu(timer, recorder=None, kind="cuda"):
    """A pretended GPU with this timer."""
    with pretend_gpu(recorder, kind), pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolutions, "milliseconds", timer)
        yield timer


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    "layer", [each for each in learned_layers(PAPER) if each.name in GROUPED], ids=lambda x: x.name
)
def test_both_ways_give_the_same_outputs_and_gradients(layer, memory_format):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        values = torch.randn(shape, generator=generator, dtype=torch.double)
        return values.contiguous(memory_format=memory_format) if len(shape) == 4 else values

    side = 9  # of maps smaller than the paper's, to be quick
    grouped = nn.Conv2d(
        layer.inputs[0], layer.outputs[0], layer.kernel, padding=layer.padding[0], groups=layer.groups, device="meta"
    )
    grouped.weight, grouped.bias = nn.Parameter(draw(*layer.weight_shape)), nn.Parameter(draw(layer.outputs[0]))
    x, upper = draw(2, layer.inputs[0], side, side).requires_grad_(), draw(2, layer.outputs[0], side, side)
    results = []
    for conv in (grouped, SplitConv2d.of(grouped)):
        result = conv(x)
        assert result.is_contiguous(memory_format=memory_format)
        results.append((result, *torch.autograd.grad(result, (x, conv.weight, conv.bias), upper)))
    for ours, theirs in zip(*reversed(results), strict=True):
        # Sums of some thousands of terms, each rounded once.
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13 * theirs.abs().max().item())


def test_a_layer_that_is_split_keeps_its_settings_and_its_parameters():
    conv = nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 0), groups=2)
    ours, x = SplitConv2d.of(conv), torch.randn(2, 4, 9, 8)
    assert ours.weight is conv.weight
    assert ours.bias is conv.bias
    torch.testing.assert_close(ours(x), conv(x))


@pretending
def test_the_net_has_its_names_and_parameters_whichever_way_is_chosen():
    with gpu(Timer((2.0, 1.0))):
        net = AlexNet(TINY.model, 0).to("cuda")
        before, names = dict(net.named_parameters()), list(net.state_dict())
        order = [name for name, _ in net.named_modules()]
        convolutions.split_where_faster(net, 8, "float32", "cuda")
        assert split(net) == GROUPED
        assert list(net.state_dict()) == names
        assert [name for name, _ in net.named_modules()] == order
        assert all(parameter is before[name] for name, parameter in net.named_parameters())


@pretending
@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ([(2.0, 1.0)], GROUPED),
        ([(1.0, 2.0)], []),
        ([(1.0, 1.0)], []),
        ([(1.0, 0.96)], []),  # so little is noise
        ([(1.0, 0.94)], GROUPED),
        ([(1.0, 2.0), (2.0, 1.0), (1.0, 2.0)], ["conv4"]),
    ],
)
def test_a_layer_is_split_where_the_timer_says_so(times, chosen):
    with gpu(Timer(*times)) as timer:
        run = Run(TINY, GPU)
        run.update()
        assert split(run.net) == chosen
        assert all(type(parameter.data) is PretendTensor for parameter in run.net.parameters())
    assert timer.calls == 3


@pretending
def test_each_shape_is_timed_once_a_process():
    with gpu(Timer((2.0, 1.0))) as timer:
        for config, calls in (
            (TINY, 3),
            (TINY.changed(seed=TINY.seed + 1), 3),
            (TINY.changed(**{"model.pool": (2, 2), "optimizer.learning_rate": 0.1}), 3),
            (TINY.changed(**{"optimizer.batch_size": 16}), 6),
            (TINY.changed(precision="tf32"), 9),
            (TINY.changed(**{"model.columns": "single"}), 9),
            (CUDA_CONVNET, 9),
        ):
            Run(config, GPU)
            assert timer.calls == calls
        Run(TINY, DeviceConfig())  # without TF32


@pretending
def test_tf32_is_allowed_or_not_before_anything_is_timed():
    allowed = []

    def timer(works, device):
        allowed.append(torch.backends.cudnn.allow_tf32)
        return [1.0, 1.0]

    with gpu(timer):
        Run(TINY.changed(precision="tf32"), GPU)
        Run(TINY, GPU)
    assert allowed == [True] * 3 + [False] * 3


class Clock:
    """A stand-in for a GPU: each operation advances its clock by a given time; some cannot be captured as a graph."""

    def __init__(self, monkeypatch, refused=()):
        self.now, self.refused, self.log = 0.0, refused, []
        monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: SimpleNamespace(**self.event()))
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
        monkeypatch.setattr(convolutions, "CudaRecorder", lambda device: self)

    def event(self):
        at = []
        return {
            "at": at,
            "record": lambda: at.append(self.now),
            "synchronize": lambda: None,
            "elapsed_time": lambda end: end.at[0] - at[0],
        }

    def work(self, name, eager, replayed):
        def work(time=eager):
            self.now += time
            self.log.append((name, time))

        work.named, work.replayed = name, replayed
        return work

    def warm_up(self, work):
        work()

    def capture(self, work):
        if work.named in self.refused:
            raise RuntimeError("operation not permitted when stream is capturing")
        return lambda: work(work.replayed)


def test_replays_are_timed_in_turns_after_a_warm_up(monkeypatch):
    clock = Clock(monkeypatch)
    works = [clock.work("grouped", 50.0, 2.0), clock.work("split", 90.0, 1.0)]
    assert convolutions.milliseconds(works, "cuda") == [2.0, 1.0]
    eager = [name for name, time in clock.log if time >= 50]
    assert eager == ["grouped"] * WARM_UP + ["split"] * WARM_UP
    turns = [name for name, _ in clock.log[len(eager) :: convolutions.REPEATS]]
    assert turns == ["grouped", "split"] * (convolutions.ROUNDS + 1)


def test_what_cannot_be_captured_is_timed_as_it_is(monkeypatch):
    clock = Clock(monkeypatch, refused=["split"])
    works = [clock.work("grouped", 50.0, 2.0), clock.work("split", 1.5, 1.0)]
    assert convolutions.milliseconds(works, "cuda") == [2.0, 1.5]


def never(*given):
    raise AssertionError("timed, or split")


def test_on_a_cpu_nothing_is_timed_and_the_layers_are_torchs(monkeypatch):
    monkeypatch.setattr(SplitConv2d, "of", never)
    monkeypatch.setattr(convolutions, "milliseconds", never)
    net = Run(TINY, DeviceConfig()).net
    assert {type(net.get_submodule(f"conv{number}")) for number in range(1, 6)} == {nn.Conv2d}


@pretending
def test_on_apples_gpus_nothing_is_timed():
    with gpu(never, kind="mps"):
        assert split(Run(TINY, DeviceConfig(device="mps")).net) == []


@pretending
def test_stacked_seeds_stay_grouped():
    with gpu(never):
        assert split(Member(TINY, GPU).net) == []


@pretending
def test_a_split_run_trains_as_a_grouped_one_and_its_choice_is_made_before_a_capture():
    def trained(times, recorder=None):
        convolutions.split_is_faster.cache_clear()
        with gpu(Timer(times), recorder) as timer:
            run = Run(TINY, GPU)
            assert timer.calls == 3
            assert recorder is None or recorder.captures == 0
            advance(run, 6)
            assert timer.calls == 3
            return found(run)

    recorder = Recorder()
    grouped, eager, graphed = trained((1.0, 2.0)), trained((2.0, 1.0)), trained((2.0, 1.0), recorder)
    assert recorder.captures == 1
    for name, tensor in eager["tensors"].items():
        assert torch.equal(tensor, graphed["tensors"][name]), name
        torch.testing.assert_close(tensor, grouped["tensors"][name], rtol=1e-3, atol=1e-5)


def test_a_split_net_compiles_in_one_piece_and_computes_the_same():
    net = AlexNet(CIFAR_ALEXNET.change(kernels=(8, 16, 24, 24, 16), hidden=32), 0).double().eval()
    for name in GROUPED:
        setattr(net, name, SplitConv2d.of(net.get_submodule(name)))
    x = torch.randn(2, 3, 24, 24, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    whole = torch.compile(net, dynamic=False, backend="eager", fullgraph=True)
    assert torch.equal(whole(x), net(x))


def test_a_grouped_convolution_is_one_call_per_group(monkeypatch):
    calls, conv2d = [], F.conv2d
    monkeypatch.setattr(F, "conv2d", lambda *given, **options: calls.append(1) or conv2d(*given, **options))
    SplitConv2d.of(nn.Conv2d(6, 6, 3, padding=1, groups=3))(torch.zeros(1, 6, 4, 4))
    assert len(calls) == 3


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_what_is_timed_is_a_training_pass_of_the_layer(precision, dtype):
    (layer,) = [each for each in learned_layers(TINY.model) if each.name == "conv2"]
    given = []
    hook = nn.modules.module.register_module_forward_hook(lambda module, x, y: given.append((type(module), x[0], y)))
    try:
        for work in convolutions.passes(layer, 4, precision, "cpu"):
            work()
    finally:
        hook.remove()
    assert [kind for kind, _, _ in given] == [nn.Conv2d, SplitConv2d]
    for _, x, result in given:
        assert (tuple(x.shape), tuple(result.shape)) == ((4, *layer.inputs), (4, *layer.outputs))
        assert x.dtype == result.dtype == dtype
        assert all(each.is_contiguous(memory_format=torch.channels_last) for each in (x, result))
