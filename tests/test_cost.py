"""What networks cost, by hand: memory, and what two devices send and compute; and the published times of a step."""

import json

import pytest

from alexnet_repro.analysis.verdicts import Verdict, scorecard
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import step_timing
from alexnet_repro.networks import cost
from alexnet_repro.networks.config import CIFAR_ALEXNET, PAPER, SOURCE
from alexnet_repro.networks.cost import GPU_BYTES, memory_breakdown
from alexnet_repro.networks.layers import learned_layers
from alexnet_repro.paper.claims import claim
from alexnet_repro.report import traffic

# Numbers kept per image by net 145: conv and normalization outputs, poolings, fully-connected layers.
KEPT = 2 * 290_400 + 27 * 27 * 96 + 3 * 186_624 + 13 * 13 * 256 + 2 * 64_896 + 43_264 + 6 * 6 * 256 + 2 * 4096 + 1000


def test_one_gpu_by_hand():
    held = memory_breakdown(SOURCE, batch=128)
    assert held["outputs"] == held["gradients of outputs"] == 4 * 128 * KEPT
    assert held["images"] == 2 * 4 * 128 * 3 * 224 * 224
    assert held["denominators of normalization"] == 4 * 128 * (290_400 + 2 * 186_624)
    assert held["weights and biases"] == held["velocities"] == 4 * 60_965_224
    # conv2: 729 positions, three at a time, for each of 256 x 48 x 25 weights; conv3 one column after the other.
    weights = {1: 96 * 363, 2: 256 * 1200, 3: 384 * 1152, 4: 384 * 1728, 5: 256 * 1728}
    groups = {1: 3025 // 5, 2: 729 // 3, 3: 13, 4: 13, 5: 13}
    assert held["partial sums of these"] == 4 * sum(groups[n] * weights[n] for n in weights)


def test_each_of_two_gpus_holds_a_half_and_the_other_columns_maps():
    one, two = memory_breakdown(PAPER, batch=128), memory_breakdown(PAPER, batch=128, gpus=2)
    copies = 4 * 128 * (13 * 13 * 128 + 6 * 6 * 128 + 2048 + 2048)
    assert two["outputs"] == one["outputs"] // 2 + copies
    assert two["weights and biases"] == one["weights and biases"] // 2
    assert two["images"] == one["images"]
    unlinked = memory_breakdown(PAPER.change(columns="unlinked"), batch=128, gpus=2)
    assert unlinked["outputs"] == one["outputs"] // 2 + 4 * 128 * 2048  # the last layer alone sees both


def test_the_net_of_2012_nearly_fills_one_gpu_and_half_fills_two():
    assert 0.8 < sum(memory_breakdown(SOURCE, batch=128).values()) / GPU_BYTES < 1
    assert sum(memory_breakdown(SOURCE, batch=128, gpus=2).values()) / GPU_BYTES < 0.5
    assert sum(memory_breakdown(SOURCE, batch=256).values()) > GPU_BYTES


@pytest.mark.parametrize("config", [PAPER.change(columns="half"), CIFAR_ALEXNET.change(columns="single")])
def test_a_net_without_columns_has_no_two_gpus(config):
    with pytest.raises(ValueError, match="one GPU, or one for each of two columns"):
        memory_breakdown(config, batch=1, gpus=2)
    with pytest.raises(ValueError, match="gpus=3"):
        memory_breakdown(PAPER, batch=1, gpus=3)


def test_a_batch_without_images_is_one_line():
    with pytest.raises(UserError, match="batch=0 has no images"):
        memory_breakdown(PAPER, batch=0)


def test_the_links_of_fig_2() -> None:
    # 128 maps of 13 x 13 after conv2's pooling, 128 of 6 x 6 after conv5's, and 2048 units, per column.
    expected = {"conv3": 128 * 13 * 13, "fc6": 128 * 6 * 6, "fc7": 2048, "fc8": 2048, "softmax": 500}
    assert cost.links(PAPER) == expected
    # Single precision; activations one way, their gradients the other; the last layer's outputs once.
    assert cost.bytes_sent(PAPER, 128) == 128 * 4 * (2 * (21632 + 4608 + 2048 + 2048) + 500)


def test_unlinked_columns_meet_in_the_last_layer() -> None:
    assert cost.links(PAPER.change(columns="unlinked")) == {"fc8": 2048, "softmax": 500}


def test_the_link_moves_to_the_layer_that_is_left() -> None:
    assert list(cost.links(PAPER.change(removed=("conv3",)))) == ["conv4", "fc6", "fc7", "fc8", "softmax"]


@pytest.mark.parametrize("config", [PAPER, CIFAR_ALEXNET, PAPER.change(columns="unlinked")])
def test_a_column_is_half_of_the_net(config) -> None:
    column = [layer for layer in cost.column_layers(config) if layer.learned]
    for half, whole in zip(column, learned_layers(config), strict=True):
        assert (2 * half.parameters, 2 * half.multiply_adds) == (whole.parameters, whole.multiply_adds)
    assert 2 * cost.multiply_adds(config, column) == cost.multiply_adds(config)


def test_data_parallel_sends_gradients() -> None:
    assert cost.data_parallel_bytes(PAPER, 2) == 4 * 60_965_224
    assert cost.data_parallel_bytes(PAPER, 1) == 0


@pytest.mark.parametrize("columns", ["half", "single"])
def test_a_net_without_columns_is_named(columns) -> None:
    with pytest.raises(UserError, match=f"columns='{columns}'"):
        cost.column_layers(PAPER.change(columns=columns))


def test_the_page_counts_what_is_derived() -> None:
    table = traffic.volume(PAPER, 128)
    assert table["bytes"].sum() == cost.bytes_sent(PAPER, 128)
    column = cost.column_layers(PAPER)
    assert table["multiply-accumulates"].sum() == 128 * cost.multiply_adds(PAPER, column)


def times(half: float, columns: float, rounds: int) -> dict:
    cases = {step_timing.HALF: half, step_timing.ONE: 2.0, step_timing.COLUMNS: columns, step_timing.DATA: 1.1}
    sent = cost.bytes_sent(PAPER, 128)
    rows = [
        {
            "case": case,
            "round": i,
            "step_seconds": seconds * (1 + 0.001 * (i % 2)),
            "cpu_seconds": seconds,
            "bytes_sent": sent if case == step_timing.COLUMNS else 0,
        }
        for i in range(rounds)
        for case, seconds in cases.items()
    ]
    about = {"device": "GPU", "devices": ["GPU", "GPU"], "clean": True, "load_average": 0.1, "torch": "2.9"}
    return {**about, **step_timing.RULE, "started": "2025-01-01T00:00:00+00:00", "rows": rows}


@pytest.fixture
def publish(tmp_path, monkeypatch):
    monkeypatch.setattr(step_timing, "path", lambda gpus=(): tmp_path / f"parallel-{len(gpus)}.json")

    def put(found):
        path = step_timing.path(found["devices"])
        path.write_text(json.dumps(found))
        return path

    return put


def verdict(claim: str = "two_gpu_time") -> Verdict:
    """Of the scorecard, on a claim about time."""
    return next(each for each in scorecard(lambda study, arm: {}) if each.claim == claim)


def test_what_is_missing_is_said(publish) -> None:
    assert "Not measured yet on two GPUs" in traffic.shown("cuda").data
    found = verdict()
    assert found.verdict == "not run"
    assert found.note.startswith("no times on two GPUs are published; 'python benchmarks/parallel.py --device cuda")
    assert verdict("throughput").note.startswith("no times on a GPU are published; 'python benchmarks/parallel.py ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"net": "cifar"}, "have net cifar, where the rule says paper"),
        ({"precision": "tf32"}, "have precision tf32, where the rule says float32"),
        ({"batch": 64}, "have batch 64, where the rule says 128"),
        ({"steps": 10}, "have steps 10, where the rule says 100"),
        ({"warm_up": 3}, "have warm_up 3, where the rule says 10"),
        ({"devices": ["GPU", "slower GPU"]}, "two kinds of device, "),
        ({"rows": times(1.0, 0.9, rounds=4)["rows"]}, "have 4 repetitions, where the rule says 5"),
        ({"clean": False}, "no clean commit"),
    ],
)
def test_times_other_than_the_rules_judge_nothing(publish, change, said) -> None:
    publish(times(1.0, 0.9, rounds=5) | change)
    found = verdict()
    assert found.verdict == "not run"
    assert said in found.note


@pytest.mark.parametrize(
    ("columns", "name"),
    [(0.9, "reproduced"), (0.99, "direction only"), (1.1, "contradicted"), (1.0, "no effect found")],
)
def test_published_times_are_judged_by_the_claims_rule(publish, columns, name) -> None:
    path = publish(times(1.0, columns, rounds=5))
    found = verdict()
    assert (found.verdict, found.seeds) == (name, 5)
    assert found.effect == pytest.approx(1 / columns)
    assert found.note.startswith("on 2 × GPU")
    shown = traffic.shown("cuda").data
    assert "are those derived" in shown
    assert all(case in shown for case in step_timing.CASES)
    table = traffic.times_table(json.loads(path.read_text()))
    assert list(table["case"]) == list(step_timing.CASES)
    assert table["ms per step"][0] == "1,000"


@pytest.mark.parametrize(
    ("pace", "name"),
    [(1.3, "reproduced"), (1.1, "direction only"), (0.9, "contradicted"), (1.0, "no effect found")],
)
def test_the_papers_pace_is_judged_by_the_same_times(publish, pace, name) -> None:
    found = times(1.0, 1.0, rounds=5)
    rows = [row for row in found["rows"] if row["case"] in (step_timing.HALF, step_timing.ONE)]
    for row in rows:
        row["step_seconds"] *= 128 / 208.3 / pace / 2
    publish(found | {"devices": ["GPU"], "rows": rows})
    judged = verdict("throughput")
    assert (judged.verdict, judged.seeds) == (name, 5)
    assert judged.effect == pytest.approx(pace, rel=1e-3)
    hours = 1_281_167 * 90 / 208.3 / pace / 3600
    assert judged.note.startswith(f"on one GPU; 90 epochs of ILSVRC-2012 at that pace: {hours:,.0f} hours")
    assert "have 0 repetitions, where the rule says 5" in verdict().note


def test_each_claim_takes_the_last_times_that_have_its_cases(publish) -> None:
    publish(times(1.0, 0.9, rounds=5))
    one = times(1.0, 1.0, rounds=5) | {
        "devices": ["GPU"],
        "started": "2026-01-01T00:00:00+00:00",
        "device": "later GPU",
    }
    publish(one | {"rows": [row for row in one["rows"] if row["case"] in (step_timing.HALF, step_timing.ONE)]})
    assert verdict().note.startswith("on 2 × GPU")
    assert verdict("throughput").note.startswith("on one later GPU")


def test_times_are_published_under_the_names_of_the_gpus() -> None:
    names = [step_timing.path(gpus).name for gpus in ([], ["NVIDIA H200"], ["NVIDIA H200"] * 2, ["A", "B"])]
    assert names == [
        "parallel-cpu.json",
        "parallel-nvidia-h200.json",
        "parallel-2-nvidia-h200.json",
        "parallel-2-a-b.json",
    ]


def test_one_kind_of_gpu_is_asked_for_two_alone(publish) -> None:
    publish(times(1.0, 0.9, rounds=5) | {"devices": ["GPU", "slower GPU"]})
    assert verdict("throughput").verdict != "not run"


@pytest.mark.parametrize("name", step_timing.STUDIES)
def test_the_claim_names_what_the_benchmark_measures(name) -> None:
    (entry,) = claim(name).measured
    arms = {each for each in (entry.arm, entry.against) if isinstance(each, str)}
    assert (entry.study, arms) == (name, set(step_timing.STUDIES[name]))
    for number in (step_timing.RULE["warm_up"], step_timing.RULE["steps"], entry.seeds):
        assert f"{number} " in entry.rule
    assert f"batches of {step_timing.RULE['batch']} " in entry.setting
