"""Other ways to multiply: recorded in the config, close in numbers, and as exact in resuming."""

from functools import partial

import pytest
import torch

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.experiments.registry import study
from alexnet_repro.training.trainer import Run, Stopped, train

from ..runs import QUICK, after, tiny
from . import exact

NETS = {
    "19pct": tiny(**QUICK),
    "11pct": study("lrn_cifar", "smoke").config("11pct", 0).changed(**{"data.train_images": 256}),
    "alexnet": study("ablations", "smoke").config("baseline", 0).changed(**{"data.train_images": 256}),
}


def trained(config, kind=Run):
    """The run after three steps."""
    run = kind(config, DeviceConfig())
    for _ in range(3):
        run.update()
    return run


@pytest.mark.parametrize("net", NETS)
def test_bfloat16_is_near_float32_and_not_the_same(net):
    single, half = (trained(NETS[net].changed(precision=each)) for each in ("float32", "bfloat16"))
    assert half.loss != single.loss
    low, high = exact.around(NETS[net].changed(precision="bfloat16"), 3)
    assert low <= single.loss <= high
    assert high - low < 0.5 * single.loss  # or it would hold nothing
    assert {tensor.dtype for tensor in half.net.parameters()} == {torch.float32}
    moved = [torch.dist(a, b) for a, b in zip(half.net.parameters(), single.net.parameters(), strict=True)]
    assert max(moved) > 0


@pytest.mark.parametrize("net", NETS)
def test_products_are_made_in_bfloat16(net):
    made = []
    run = Run(NETS[net].changed(precision="bfloat16"), DeviceConfig())
    for module in run.net.modules():
        if list(module.parameters(recurse=False)):
            module.register_forward_hook(lambda *given: made.append(given[-1].dtype))
    run.update()
    assert made
    assert set(made) == {torch.bfloat16}


def test_a_bfloat16_run_in_pieces_gives_the_same_record(tmp_path):
    config, path = tiny(precision="bfloat16", **QUICK), tmp_path / "run"
    with pytest.raises(Stopped):
        train(config, DeviceConfig(), path, stop=after(2))
    resumed, whole = train(config, DeviceConfig(), path), train(config, DeviceConfig())
    assert (resumed.curve, resumed.metrics) == (whole.curve, whole.metrics)
    assert resumed.provenance.weights == whole.provenance.weights


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_tf32_is_used_where_the_config_says_so_alone(precision, allowed):
    try:
        Run(tiny(precision=precision), DeviceConfig())
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed
    finally:
        Run(tiny(), DeviceConfig())


@pytest.mark.parametrize("net", NETS)
def test_a_compiled_net_computes_the_same(net, monkeypatch, capfd):
    # All of torch.compile but its code generator, which takes minutes and a C++ compiler.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    # In double precision: sums in another order leave 3e-4 of a loss in single, after three updates on some machines.
    few = {"optimizer.batch_size": 16}
    compiled, plain = (trained(NETS[net].changed(compiled=each, **few), exact.Double) for each in (True, False))
    assert compiled.trained is not compiled.net
    said = "torch.compile: the first step compiles the network, which can take minutes\n"
    assert capfd.readouterr().err == said
    torch.testing.assert_close(compiled.loss, plain.loss, rtol=exact.SEEN, atol=0)
    for ours, theirs in zip(compiled.net.parameters(), plain.net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=exact.SEEN * theirs.abs().max().item())


def test_a_machine_that_cannot_compile_says_so(monkeypatch):
    def nothing(*_):
        raise OSError("no compiler")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=nothing))
    with pytest.raises(UserError, match=r"^torch.compile fails on run \w{16} .*no compiler.* without") as error:
        train(tiny(compiled=True), DeviceConfig())
    assert error.value.code == 1
    assert "\n" not in str(error.value)
