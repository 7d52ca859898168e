"""The control of an untrained network: what it computes, and the published table of it."""

import pytest
import torch

from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.registry import study
from alexnet_repro.records.reference import untrained_neighbours
from alexnet_repro.training import trainer
from alexnet_repro.training.data.cifar10 import FILE
from alexnet_repro.training.models.build import build
from alexnet_repro.training.untrained import agreement

from ..runs import few_test_images, tiny


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(trainer, "load", lambda name: few_test_images())


def test_it_is_the_share_of_same_classes_among_six_neighbours_of_the_initial_net():
    plan = study("features", "smoke").changed(**{"data.train_images": 300})
    config = plan.config("baseline", 0)
    data, side = few_test_images(), config.data.side
    images = [torch.from_numpy(each).float() for each in (data.train_images[:300], data.test_images)]
    mean, edge = images[0].mean(0), (32 - side) // 2
    place = slice(edge, edge + side)
    net = build(config.model, 0).eval()
    with torch.no_grad():
        train, test = (net.features(((each - mean) / config.data.divisor)[:, :, place, place]) for each in images)
    nearest = torch.cdist(test, train).topk(6, largest=False).indices
    same = torch.from_numpy(data.train_labels)[nearest] == torch.from_numpy(data.test_labels)[:, None]
    assert agreement([config]) == {0: pytest.approx(same.double().mean().item(), abs=0.005)}  # a tie or two


def test_other_nets_are_refused_in_one_line():
    with pytest.raises(UserError, match="is no AlexNet with its images in memory: give runs of a small AlexNet"):
        agreement([tiny()])


def test_the_table_has_the_seeds_of_the_study_and_lies_between_chance_and_the_trained_nets():
    table = untrained_neighbours()
    assert tuple(table.index) == study("features").seeds
    assert table.between(0.1, 0.5).all()


@pytest.mark.slow
def test_the_table_is_met(monkeypatch):
    monkeypatch.undo()
    if not (paths.downloads() / FILE).is_file():
        pytest.skip("CIFAR-10 is not here")
    found = agreement([study("features").config("baseline", 3)])
    assert found == {3: pytest.approx(untrained_neighbours()[3], abs=0.002)}  # of 12,000 neighbours, some are ties
