"""The paper beside the source: fields exist, values are the presets', presets follow whom they claim to."""

import pytest

from alexnet_repro.analysis import audit
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.config import RunConfig
from alexnet_repro.networks.config import PAPER, SOURCE, AlexNetConfig
from alexnet_repro.paper import source_code
from alexnet_repro.report import source_code as pages


def exists(model, path):
    head, _, rest = path.partition(".")
    field = model.model_fields.get(head)
    if field is None or not rest:
        return field is not None
    parts = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return any(exists(part, rest) for part in parts if hasattr(part, "model_fields"))


@pytest.mark.parametrize("row", source_code.rows(), ids=lambda row: row.item)
def test_fields_exist(row):
    assert row.field is None or exists(AlexNetConfig, row.field) or exists(RunConfig, row.field)
    assert (row.paper_value is None) == (row.says == "silent")  # silent rows have no value of the paper
    assert not row.of_network or row.source_value is not None


@pytest.mark.parametrize("row", [row for row in source_code.rows() if row.of_network], ids=lambda row: row.item)
def test_each_preset_follows_its_own(row):
    assert source_code.follows(row, "source") in ("both", "source")
    if row.paper_value is not None:
        assert source_code.follows(row, "paper") in ("both", "paper")
        assert (row.paper_value == row.source_value) == (row.says == "same")


def test_every_field_in_which_the_presets_differ_has_a_row():
    tops = {row.field.split(".")[0] for row in source_code.rows() if row.of_network}
    assert {name for name in AlexNetConfig.model_fields if getattr(PAPER, name) != getattr(SOURCE, name)} <= tops


def test_values_of_training_are_those_of_the_authors_notes():
    """By hand: the layer-parameter file of net 145 and its comments."""
    values = {row.item: row.source_value for row in source_code.rows()}
    events, nets = audit.schedule().query("net == '145'"), audit.nets().set_index("net")
    epochs = events.set_index("event")["epoch"].astype(int)
    alone, frozen = epochs["learning rate of conv1 alone divided by 10"], epochs["conv1 frozen"]
    assert values["learning rate of conv1"] == f"divided alone at epoch {alone}, 0 from epoch {frozen}"
    assert (alone, frozen) == (67, 72)
    assert values["divisions of the rate"] == f"{(events['event'] == audit.DROP).sum()}, by 10"
    assert values["learning rate of the biases"].startswith(nets.loc["145", "bias_rate"])
    assert values["crops"] == f"{2 * (256 - 224 + 1) ** 2:,} variants"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source_value": None}, "'batch' same, so it needs paper_value and source_value"),
        ({"source_value": "64"}, "'batch' same, but its values are 128, 64"),
        ({"says": "differs"}, "'batch' differs, but its values are 128, 128"),
    ],
)
def test_a_row_whose_values_belie_it_is_named(changes, said):
    values = source_code.row_of("batch").model_dump() | changes
    with pytest.raises(ValueError, match=said):
        source_code.Row.model_validate(values)


def test_an_unknown_item_lists_the_valid_ones():
    with pytest.raises(
        UserError,
        match=r"unknown item of unsaid\.toml 'batches' \(did you mean 'batch'\?\): choose one of .*batch, border",
    ):
        source_code.row_of("batches")


def test_values_shown_are_the_presets():
    table = pages.presets().set_index("field")
    assert table.loc["conv1_padding", "paper preset"] == "0, 3 (as the source)"
    assert table.loc["within_map_norm", "paper preset"] == "none (as the paper)"
    assert table.loc["weight_init", "CIFAR preset"] == "he-hidden (its own)"
    assert table.loc["cross_map_norm.divide_alpha", "source preset"] == "yes (as the source)"
    assert source_code.value(PAPER, "dropout") == "0.5"


def test_places_are_linked():
    text = pages.places().data
    assert text.count("](https://github.com/computerhistory/") == sum(len(row.places) for row in source_code.rows())
    assert "layers/layers-145.cfg](" in text
