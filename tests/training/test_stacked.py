"""Seeds stacked in one computation: the numbers of each alone, and its checkpoints."""

import pytest
import torch

from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.experiments.registry import study
from alexnet_repro.records.store import Store
from alexnet_repro.training import trainer
from alexnet_repro.training.launch import local
from alexnet_repro.training.parallel import vmap_seeds
from alexnet_repro.training.parallel.vmap_seeds import Member, Stack
from alexnet_repro.training.trainer import Stopped

from ..runs import QUICK, after, load_few_test_images, tiny
from .exact import Double, InDouble
from .test_precision import NETS

SEEDS = (3, 5, 8)
SHORT = tiny(**QUICK, **{"budget.epochs": 2})
RELATIVE = 1e-12
"""Of a tensor's largest number, after a step in double precision, which has 1e-16; sums of thousands cancel. In single
precision two inputs of a ReLU or of a pooling window can be so near a tie that another order of summation changes
places, and then the gradients of whole kernels differ in their third digit."""


class DoubleMember(InDouble, Member):
    """A member of a stack in double precision."""


def seeds(config):
    return [config.changed(seed=seed) for seed in SEEDS]


@pytest.fixture(scope="module", autouse=True)
def _few_test_images():
    with pytest.MonkeyPatch.context() as patch:
        load_few_test_images(patch.setattr)
        yield


@pytest.fixture(scope="module")
def together(_few_test_images):
    """The records of a stack that nothing disturbed, by key."""
    return {record.key: record for record in vmap_seeds.train(seeds(SHORT), DeviceConfig())}


@pytest.mark.parametrize("net", [*NETS, "augmented"])
def test_each_of_ten_steps_is_that_of_separate_runs(net):
    config = NETS["alexnet"].changed(**{"data.color_noise": "paper"}) if net == "augmented" else NETS[net]
    config = config.changed(**{"data.train_images": 150, "optimizer.batch_size": 40})  # an uneven last batch
    alone, members = ([kind(each, DeviceConfig()) for each in seeds(config)] for kind in (Double, DoubleMember))
    stack = Stack(members)
    for step in range(10):
        stack.update()
        for ours, theirs in zip(members, alone, strict=True):
            theirs.update()
            assert ours.step == theirs.step == step + 1
            mine, its = ours.tensors(), theirs.tensors()
            assert mine.keys() == its.keys()
            for name, tensor in its.items():
                most = RELATIVE * tensor.abs().max().item()
                torch.testing.assert_close(mine[name], tensor, rtol=0, atol=most, msg=f"{name}, step {step}")
                assert mine[name].stride() == tensor.stride()
            ours.restore(its)  # or what differs in the last bits would grow from step to step
    assert len({run.loss.item() for run in alone}) == len(SEEDS)


def test_members_are_recorded_as_runs_alone(together):
    for config in seeds(SHORT):
        ours, alone = together[config.key], trainer.train(config, DeviceConfig())
        assert ours.key == alone.key == config.key
        assert [m.images for m in ours.curve] == [m.images for m in alone.curve]
        for mine, its in zip(ours.curve, alone.curve, strict=True):
            assert mine.train_loss == pytest.approx(its.train_loss, rel=1e-4)
        assert ours.metrics.keys() == alone.metrics.keys()
        assert ours.metric("test_error") == pytest.approx(alone.metric("test_error"), abs=0.02)
        assert ours.provenance.device.endswith("seeds stacked")


def test_a_member_that_ends_leaves_the_others_training(together):
    losses = [record.curve[-1].train_error for record in together.values()]
    # The best seed is there at about the end of two epochs, and the others later.
    config = SHORT.changed(**{"budget.stop_at_train_error": min(losses) + 0.02, "budget.epochs": 6})
    ended = [(each.config.seed, each.curve[-1].epoch) for each in vmap_seeds.train(seeds(config), DeviceConfig())]
    assert sorted(seed for seed, _ in ended) == list(SEEDS)
    assert len({epoch for _, epoch in ended}) > 1
    assert [epoch for _, epoch in ended] == sorted(epoch for _, epoch in ended)
    for seed, epoch in ended:
        assert trainer.train(config.changed(seed=seed), DeviceConfig()).curve[-1].epoch == epoch


def test_a_stopped_stack_resumes_bit_for_bit(tmp_path, together):
    def path(config):
        return tmp_path / config.key

    with pytest.raises(Stopped):
        list(vmap_seeds.train(seeds(SHORT), DeviceConfig(), path, stop=after(2)))
    resumed = {record.key: record for record in vmap_seeds.train(seeds(SHORT), DeviceConfig(), path)}
    for key, record in together.items():
        assert resumed[key].curve == record.curve
        assert resumed[key].provenance.weights == record.provenance.weights


def test_a_checkpoint_of_a_stack_is_one_of_a_run_alone(tmp_path):
    config = SHORT.changed(seed=SEEDS[1])
    with pytest.raises(Stopped):
        list(vmap_seeds.train(seeds(SHORT), DeviceConfig(), lambda each: tmp_path / each.key, stop=after(2)))
    ours = trainer.train(config, DeviceConfig(), tmp_path / config.key)
    train_loss = trainer.train(config, DeviceConfig()).curve[-1].train_loss
    assert ours.curve[-1].train_loss == pytest.approx(train_loss, rel=1e-4)
    # And back: one further than the others goes on by itself.
    with pytest.raises(Stopped):
        trainer.train(config, DeviceConfig(), tmp_path / "again", stop=after(4))
    (tmp_path / "again").rename(tmp_path / config.key)
    every = list(vmap_seeds.train(seeds(SHORT), DeviceConfig(), lambda each: tmp_path / each.key))
    assert [record.config.seed for record in every] == [SEEDS[0], SEEDS[2], SEEDS[1]]


def test_stacks_hold_what_differs_in_seeds_alone():
    plan = study("relu_speed")
    configs = [config for _, config in plan.runs()]
    found = local.stacks(configs, 3)
    assert sorted(config.key for stack in found for config in stack) == sorted(config.key for config in configs)
    assert [len(stack) for stack in found] == [3, 3, 2, 2]
    for stack in found:
        assert len({config.changed(seed=0).key for config in stack}) == 1
    assert local.stacks(configs, 1) == [[config] for config in configs]
    by_hand = configs[0].changed(**{"optimizer.plateau": 5, "budget.test_curve": True})
    assert not local.stackable(by_hand)
    assert not local.stackable(configs[0].changed(precision="bfloat16"))
    assert local.stacks([by_hand, by_hand.changed(seed=1)], 3) == [[by_hand], [by_hand.changed(seed=1)]]


@pytest.mark.slow
def test_a_launch_stacks_seeds_past_a_killed_worker(tmp_path, monkeypatch):
    store = Store(tmp_path / "store", tmp_path / "none")
    configs = [*seeds(SHORT), SHORT.changed(**{"seed": 1, "optimizer.learning_rate": 0.003})]
    workers = []

    class Killed(local.Worker):
        """The first dies in the middle, with checkpoints that need not be of one step."""

        def __init__(self, *given):
            super().__init__(*given)
            workers.append(self)

        def run(self, configs, tell):
            def watched(event):
                tell(event)
                if event[1].get("step", 0) > 3 and len(workers) == 1:
                    self.process.kill()

            return super().run(configs, watched)

    placement = DeviceConfig(checkpoint_seconds=0.0)
    monkeypatch.setattr(local, "Worker", Killed)
    monkeypatch.setattr(local, "places", lambda device, workers: [(placement, None)])
    local.launch(configs, store, progress=False, stack=3)
    assert len(workers) == 2
    records = [store.find(config) for config in configs]
    assert [record.status for record in records] == ["finished"] * 4
    assert ["stacked" in record.provenance.device for record in records] == [True, True, True, False]
    assert not list((store.root / "checkpoints").glob("*.safetensors"))
