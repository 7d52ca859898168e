"""Figures whose lines are looked at seed by seed."""

import re

import matplotlib.pyplot as plt

from alexnet_repro import figures, seeds

from .runs import record, tiny


def drawing() -> str:
    found = {arm: {seed: record(tiny(seed=seed)) for seed in (0, 7)} for arm in ("relu", "tanh")}
    return seeds.one_by_one(figures.training_curves(found, {"relu": "ReLU", "tanh": "tanh"}, 25.0)).data


def test_every_line_names_its_seed() -> None:
    assert sorted(re.findall(r'data-seed="(\d+)"', drawing())) == ["0", "0", "7", "7"]


def test_ids_are_those_that_the_drawing_refers_to() -> None:
    text = drawing()
    for name in re.findall(r' id="([^"]+)"', text):
        assert f"#{name}" in text
    assert 'href="http' not in text


def test_figure_is_not_shown_twice() -> None:
    before = plt.get_fignums()
    text = drawing()
    assert plt.get_fignums() == before
    assert text.count("<svg") == 1
    assert text == drawing()
