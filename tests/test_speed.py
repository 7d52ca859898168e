"""Published benchmarks as the book shows them."""

import json
from pathlib import Path

import pytest

from alexnet_repro.common.errors import UserError
from alexnet_repro.records import benchmarks
from alexnet_repro.records.benchmarks import row
from alexnet_repro.report import benchmarks as report_benchmarks

from . import homes

ABOUT = {
    "device": "a processor",
    "cores": 2,
    "load_average": 0.1,
    "commit": "0123456789abcdef",
    "clean": True,
    "started": "2026-01-02T03:04:05+00:00",
    "python": "3.12.1",
    "torch": "2.9.0",
}


@pytest.mark.parametrize(
    ("unit", "times"), [("images/s", 2.0), ("GFLOP/s", 2.0), ("ms", 0.5), ("s", 0.5), ("MiB", 0.5)]
)
def test_less_time_and_memory_is_better_and_a_higher_rate(unit: str, times: float) -> None:
    assert benchmarks.times_as_good(row("a case", "another", unit, ours=20.0, peer=10.0)) == times


def test_what_is_published_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes.make(tmp_path / "home", monkeypatch)
    assert "Not measured yet" in report_benchmarks.shown("step").data
    assert "python benchmarks/step.py --publish" in report_benchmarks.shown("step").data
    benchmarks.write(
        benchmarks.path("step"), ABOUT, [row("batch 128", "the other", "images/s", 1234.5, 411.5, bar=2.0)]
    )
    shown = report_benchmarks.shown("step").data
    assert "| batch 128 | 1,234 | 412 | images/s | the other | 3.00× | 2× |" in shown
    assert "a processor, 2 cores, 2026-01-02" in shown
    assert "commit 0123456789;" in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"x"', "Invalid JSON"),
        ("[]", "Input should be an object"),
        ('{"device": "a processor"}', "cores: Field required"),
        (json.dumps({**ABOUT, "rows": [{"case": "batch 128"}]}), "rows.0.peer_is: Field required"),
    ],
)
def test_a_damaged_benchmark_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    homes.make(tmp_path, monkeypatch)
    path = benchmarks.path("step")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError) as error:
        report_benchmarks.shown("step")
    assert str(error.value).startswith(f"cannot read {path} ({said}")
    assert str(error.value).endswith(f": restore it with 'git checkout -- {path}'")


def test_every_published_benchmark_has_a_title_and_a_script() -> None:
    published = {path.stem for path in (homes.ROOT / "data" / "benchmarks").glob("*.json")}
    names = {*benchmarks.TITLES, "graphs", "full_size", "parallel"}
    assert {name.split("-")[0] for name in published} <= names  # what follows is the name of a GPU
    assert all((homes.ROOT / "benchmarks" / f"{name}.py").is_file() for name in names)
