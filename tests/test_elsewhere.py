"""What the book says of runs made elsewhere, or at full size."""

import re

from alexnet_repro.analysis import contributed
from alexnet_repro.analysis.verdicts import scorecard
from alexnet_repro.common.text import NONE
from alexnet_repro.paper.claims import load
from alexnet_repro.records.store import write_table
from alexnet_repro.site import elsewhere
from alexnet_repro.site.pages import HEADER, table

from .test_contributions import full, run


def pairs(store, count, **source):
    for seed in range(count):
        for arm, error in (("baseline", 0.40), ("no_lrn", 0.408 + seed / 10_000)):
            store.save(full(arm, seed, error, **source))


def column(store):
    return elsewhere.column(load(), contributed.full_size(store))


def test_nothing_yet(store):
    assert "alexnet-repro run imagenet_ablations" in elsewhere.full_size([])
    assert elsewhere.by_others([]) == "*None yet.*\n"
    cells = column(store)
    assert ("lrn", "constants as printed") in cells
    assert ("relu_speed", "") not in cells  # a claim about CIFAR-10
    assert set(cells.values()) == {"[not run]{.verdict .not-run}"}


def test_the_column_fills(store):
    pairs(store, 2)
    assert "not run" in column(store)["lrn", "constants as printed"]
    pairs(store, 3)
    cells = column(store)
    assert cells["lrn", "constants as printed"].startswith("0.81 points (")
    assert "reproduced" in cells["lrn", "constants as printed"]
    assert "not run" in cells["weight_decay", ""]
    verdicts = scorecard(lambda study, arm: {})
    text = table(verdicts, {verdict.claim: "page" for verdict in verdicts}, cells)
    lines = text.splitlines()[2:]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == len(HEADER) + 1 for line in lines if line.startswith("| "))
    assert any(line.endswith("[reproduced]{.verdict .reproduced} |") and "0.81 points" in line for line in lines)
    relu = next(line for line in lines if "ReLUs" in line)
    assert relu.endswith(f" {NONE} |")


def test_whose_and_on_what(store, tmp_path):
    pairs(store, 3, device="GPU 7")
    write_table(tmp_path / "relu_speed", [(arm, run(arm, seed)) for arm in ("relu", "tanh") for seed in (1, 2, 3)])
    contributed.contribute(tmp_path / "relu_speed", "jane", store)
    text = elsewhere.full_size(contributed.full_size(store))
    assert "**Runs of this project** on GPU 7: 6, 1,281,167 images of 1,000 classes" in text
    assert "The paper's net, 3 runs: top-1 40.0 %." in text
    assert "jane" not in text
    text = elsewhere.by_others(contributed.groups(store))
    assert "**Runs of jane** on GPU 1: 6." in text
    assert "| 3 of 5 |" in text
