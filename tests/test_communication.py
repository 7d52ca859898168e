"""What two devices send and compute, by hand, and the published times as the page reads them."""

import json

import pytest

from alexnet_repro import communication, timings
from alexnet_repro.architecture import learned_layers
from alexnet_repro.errors import UserError
from alexnet_repro.networks import CIFAR_ALEXNET, PAPER


def test_the_links_of_fig_2() -> None:
    # 128 maps of 13 x 13 after conv2's pooling, 128 of 6 x 6 after conv5's, and 2048 units, per column.
    expected = {"conv3": 128 * 13 * 13, "fc6": 128 * 6 * 6, "fc7": 2048, "fc8": 2048, "softmax": 500}
    assert communication.links(PAPER) == expected
    # Single precision; activations one way, their gradients the other; the last layer's outputs once.
    assert communication.bytes_sent(PAPER, 128) == 128 * 4 * (2 * (21632 + 4608 + 2048 + 2048) + 500)


def test_unlinked_columns_meet_in_the_last_layer() -> None:
    assert communication.links(PAPER.change(columns="unlinked")) == {"fc8": 2048, "softmax": 500}


def test_the_link_moves_to_the_layer_that_is_left() -> None:
    assert list(communication.links(PAPER.change(removed=("conv3",)))) == ["conv4", "fc6", "fc7", "fc8", "softmax"]


@pytest.mark.parametrize("config", [PAPER, CIFAR_ALEXNET, PAPER.change(columns="unlinked")])
def test_a_column_is_half_of_the_net(config) -> None:
    column = [layer for layer in communication.column_layers(config) if layer.learned]
    for half, whole in zip(column, learned_layers(config), strict=True):
        assert (2 * half.parameters, 2 * half.multiply_adds) == (whole.parameters, whole.multiply_adds)
    assert 2 * communication.multiply_adds(config, column) == communication.multiply_adds(config)


def test_data_parallel_sends_gradients() -> None:
    assert communication.data_parallel_bytes(PAPER, 2) == 4 * 60_965_224
    assert communication.data_parallel_bytes(PAPER, 1) == 0


@pytest.mark.parametrize("columns", ["half", "single"])
def test_a_net_without_columns_is_named(columns) -> None:
    with pytest.raises(UserError, match=f"columns='{columns}'"):
        communication.column_layers(PAPER.change(columns=columns))


def test_the_page_counts_what_is_derived() -> None:
    table = timings.volume(PAPER, 128)
    assert table["bytes"].sum() == communication.bytes_sent(PAPER, 128)
    column = communication.column_layers(PAPER)
    assert table["multiply-adds"].sum() == 128 * communication.multiply_adds(PAPER, column)


def times(half: float, columns: float, rounds: int) -> dict:
    cases = {timings.HALF: half, timings.ONE: 2.0, timings.COLUMNS: columns, timings.DATA: 1.1}
    sent = communication.bytes_sent(PAPER, 128)
    rows = [
        {
            "case": case,
            "round": i,
            "step_seconds": seconds * (1 + 0.001 * (i % 2)),
            "cpu_seconds": seconds,
            "bytes_sent": sent if case == timings.COLUMNS else 0,
        }
        for i in range(rounds)
        for case, seconds in cases.items()
    ]
    about = {"device": "GPU", "net": "paper", "batch": 128, "steps": 10, "load_average": 0.1, "torch": "2.9"}
    return {**about, "started": "2025-01-01T00:00:00+00:00", "rows": rows}


@pytest.fixture
def publish(tmp_path, monkeypatch):
    monkeypatch.setattr(timings, "path", lambda kind: tmp_path / kind)
    return lambda found: (tmp_path / "cuda").write_text(json.dumps(found))


def test_what_is_missing_is_said(publish) -> None:
    assert "Not measured yet on two GPUs" in timings.times_words("cuda").data
    assert timings.shown("cuda").data == ""
    assert "**Not run**" in timings.time_verdict().data
    publish(times(1.0, 0.9, rounds=4))  # the claim asks for five
    assert "**Not run**" in timings.time_verdict().data


@pytest.mark.parametrize(("columns", "verdict"), [(0.9, "**reproduced**"), (0.99, "**not reproduced**")])
def test_published_times_are_judged_by_the_claims_rule(publish, columns, verdict) -> None:
    publish(times(1.0, columns, rounds=5))
    assert verdict in timings.time_verdict().data
    assert "are those derived" in timings.times_words("cuda").data
    table = timings.times_table(json.loads(timings.path("cuda").read_text()))
    assert list(table["case"]) == list(timings.CASES)
