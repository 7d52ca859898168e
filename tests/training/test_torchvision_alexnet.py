"""The table of torchvision's AlexNet that the book reads is what torchvision builds."""

import csv

from alexnet_repro.training import torchvision_alexnet


def test_the_table_is_up_to_date():
    with torchvision_alexnet.path().open(encoding="utf-8", newline="") as file:
        stored = list(csv.DictReader(file))
    assert stored == [{key: str(value) for key, value in row.items()} for row in torchvision_alexnet.rows()]


def test_it_is_not_the_net_of_2012():
    rows = torchvision_alexnet.rows()
    assert sum(row["parameters"] for row in rows) == 61_100_840
    assert [row["maps"] for row in rows if row["kind"] == "Conv2d"] == [64, 192, 384, 256, 256]
