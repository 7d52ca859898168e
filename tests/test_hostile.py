"""Whatever a file that others wrote holds: it is read, or refused in one line; never a traceback, and no page of it."""

import copy
import csv
import json
import math
import shutil
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_repro.analysis import contributed as contributions
from alexnet_repro.analysis import published, verdicts
from alexnet_repro.common.errors import UserError
from alexnet_repro.common.files import sha256
from alexnet_repro.experiments import step_timing
from alexnet_repro.records import outputs as ensembles
from alexnet_repro.records.store import SUMS, Store, write_table
from alexnet_repro.report import benchmarks as report_benchmarks
from alexnet_repro.report import traffic
from alexnet_repro.site import elsewhere, notebooks

from . import homes
from .damage import bent, one_line
from .runs import record, tiny
from .test_contributions import run

SPECIAL = [
    *("", " ", "0", "-0.0", "-1", "1e400", "5e306", "5e-324", "nan", "-inf", "1_0", "٣", "+1", "@x", "True", "None"),
    *("9" * 18, "9" * 4_000, "1" + "0" * 400, "2026-01-02T00:00:00+00:00", "9999-12-31T23:59:59-23:59"),
    *(
        "<script>alert(1)</script>",
        "[x](javascript:y)",
        "{raw}`html`",
        "a\nb",
        "a,b",
        '"',
        "\0",
        "../..",
        "relu",
        "=1+1",
    ),
    *("{}", "[" * 5_000, '{"model": {}}', "finished", "diverged"),
]
cells = st.one_of(st.sampled_from(SPECIAL), st.text(max_size=30), st.integers().map(str), st.floats().map(repr))
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=20),
        st.sampled_from(SPECIAL),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@contextmanager
def environment(**variables):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, str(value))
        yield


def changed(draw, value):
    """A JSON value with one part of it exchanged, or gone."""
    value = copy.deepcopy(value)
    part, keys = value, []
    while isinstance(part, dict | list) and part and (not keys or draw(st.booleans())):
        keys.append(draw(st.sampled_from(list(part) if isinstance(part, dict) else list(range(len(part))))))
        part = part[keys[-1]]
    if not keys:
        return draw(values)
    whole = value
    for key in keys[:-1]:
        whole = whole[key]
    if draw(st.booleans()) and draw(st.booleans()):
        del whole[keys[-1]]
    else:
        whole[keys[-1]] = draw(values)
    return value


@pytest.fixture(scope="module")
def given_table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given") / "relu_speed"
    write_table(folder, [(arm, run(arm, seed)) for arm in ("relu", "tanh") for seed in (100, 101, 102)])
    return folder


def contributed(folder, tmp):
    """Contribute a changed folder; put it in by hand, too; and write its page where nothing was found at fault."""
    store = Store(tmp / "store", tmp / "data" / "evidence")
    try:
        _, _, faults = contributions.contribute(folder, "jane", store)
    except UserError as error:
        one_line(error)
        faults = [str(error)]
    target = contributions.root(store) / "jane" / "relu_speed"
    if not faults:
        assert "Runs of jane" in elsewhere.by_others(contributions.groups(store))
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    again = contributions.faults(store)
    assert bool(again) == bool(faults)
    assert all(fault.isprintable() for fault in again)
    shutil.rmtree(contributions.root(store))


def copied(folder, tmp):
    other = tmp / "copy" / folder.name
    shutil.copytree(folder, other)
    return other


def sealed(folder):
    names = ("curves.csv", "runs.csv")
    (folder / SUMS).write_text("".join(f"{sha256((folder / name).read_bytes())}  {name}\n" for name in names))


@given(data=st.data())
@settings(max_examples=120)
def test_changed_cells_of_contributed_tables(given_table, tmp_path_factory, data):
    tmp = tmp_path_factory.mktemp("cells")
    folder = copied(given_table, tmp)
    for _ in range(data.draw(st.integers(1, 2))):
        path = folder / data.draw(st.sampled_from(["runs.csv", "curves.csv"]))
        rows = list(csv.reader(StringIO(path.read_text(), newline="")))
        row = data.draw(st.sampled_from([0, 1, 1, len(rows) - 1, data.draw(st.integers(1, len(rows) - 1))]))
        rows[row][data.draw(st.integers(0, len(rows[row]) - 1))] = data.draw(cells)
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        path.write_text(text.getvalue(), errors="replace")
    sealed(folder)
    contributed(folder, tmp)


@given(data=st.data())
@settings(max_examples=60)
def test_bent_bytes_of_contributed_tables(given_table, tmp_path_factory, data):
    tmp = tmp_path_factory.mktemp("bytes")
    folder = copied(given_table, tmp)
    path = folder / data.draw(st.sampled_from(["runs.csv", "curves.csv", SUMS]))
    path.write_bytes(bent(data.draw, path.read_bytes()))
    if path.name != SUMS:
        sealed(folder)
    contributed(folder, tmp)


@given(data=st.data())
@settings(max_examples=100)
def test_changed_records_of_the_store(tmp_path_factory, data):
    store = Store(tmp_path_factory.mktemp("store"), Path("none"))
    made = json.loads(record().model_dump_json())
    path = store.path(tiny().key)
    path.parent.mkdir(parents=True)
    text = json.dumps(changed(data.draw, made)).encode()
    path.write_bytes(bent(data.draw, text) if data.draw(st.booleans()) else text)
    try:
        found = store.find(tiny())
        assert found is not None
        assert found.key == tiny().key
        assert all(abs(m.images) <= 2**53 and abs(m.train_error) <= 1e39 for m in found.curve)
    except UserError as error:
        one_line(error)


@given(data=st.data())
@settings(max_examples=60)
def test_changed_measurements_of_speed(tmp_path_factory, data):
    home = tmp_path_factory.mktemp("home")
    (home / "data" / "benchmarks").mkdir(parents=True)
    (home / "data" / "claims.toml").touch()
    source = homes.ROOT / "data" / "benchmarks"
    name = data.draw(st.sampled_from(["book", "parallel-cuda"]))
    text = (source / f"{name.replace('cuda', 'cpu')}.json").read_text()
    bad = json.dumps(changed(data.draw, json.loads(text)))
    (home / "data" / "benchmarks" / f"{name}.json").write_text(bad)
    with environment(ALEXNET_REPRO_HOME=home):
        try:
            shown = report_benchmarks.shown(name) if name == "book" else traffic.shown("cuda")
            assert "<script" not in shown.data
            found = step_timing.published("cuda")
            for study in step_timing.STUDIES:
                assert isinstance(step_timing.unfit(found, study, 5), str)
        except UserError as error:
            one_line(error)


@pytest.mark.parametrize("seconds", [[0.1] * 5, [0.1] * 6])
def test_times_of_unequal_rounds_are_judged_not(monkeypatch, seconds):
    rows = [{"case": step_timing.ONE, "step_seconds": 0.1, "cpu_seconds": 0.1, "bytes_sent": 0}] * 5
    rows += [
        {"case": case, "step_seconds": s, "cpu_seconds": 0.1, "bytes_sent": 0}
        for case, times in ((step_timing.HALF, seconds), (step_timing.COLUMNS, [0.1] * 5))
        for s in times
    ]
    found = {**step_timing.RULE, "device": "GPU", "devices": ["GPU", "GPU"], "clean": True, "rows": rows}
    why = step_timing.unfit(found, "two_gpu_time", 5)
    assert why == ("" if len(seconds) == 5 else "the published times have 5 and 6 repetitions of the cases compared")
    monkeypatch.setattr(verdicts.step_timing, "published", lambda kind, study: found)
    scored = verdicts.scorecard(lambda name, arm: {})
    (timed,) = [each for each in scored if (each.claim, each.evidence) == ("two_gpu_time", "measured")]
    assert (timed.verdict == "not run") == (len(seconds) > 5)


@given(data=st.data())
@settings(max_examples=100)
def test_parameters_of_a_notebook(data):
    known = {"scale": "str", "count": "int", "rate": "float", "loud": "bool", "odd": "None"}
    name = data.draw(st.sampled_from([*known, "other"]))
    text = data.draw(st.one_of(cells, st.text(st.characters(codec=None), max_size=5), st.just("\udcff")))
    table = {key: notebooks.Parameter(key, kind, "1", "") for key, kind in known.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, "parameters", lambda name: table)
        try:
            (value,) = notebooks.parse("toy", {name: text}).values()
            json.dumps(value, ensure_ascii=False).encode()
            assert isinstance(value, str) or math.isfinite(value)
        except UserError as error:
            one_line(error)


FILES = ["claims.toml", "unsaid.toml", "author_log.csv", "author_schedule.csv", "author_nets.csv", "gpus.csv"]
FILES += ["others.csv", "linear_classifier.csv", "torchvision_alexnet.csv", "untrained_neighbours.csv"]
FILES += ["tiny_imagenet_results.csv"]


@given(data=st.data(), name=st.sampled_from(FILES))
@settings(max_examples=90)
def test_bent_bytes_of_published_files(tmp_path_factory, data, name):
    home = tmp_path_factory.mktemp("home")
    (home / "data").mkdir()
    (home / "data" / "claims.toml").touch()
    (home / "data" / name).write_bytes(bent(data.draw, (homes.ROOT / "data" / name).read_bytes()))
    with environment(ALEXNET_REPRO_HOME=home):
        try:
            published.READERS[name]()
        except UserError as error:
            one_line(error)


@pytest.mark.parametrize("name", ["claims.toml", "unsaid.toml"])
@pytest.mark.parametrize(
    "text", ["x = " + "[" * 100_000, "x = " + "{a=" * 5_000, "\ufeffx = 1", "row = 1", "claim = 1", "\0"]
)
def test_toml_of_other_forms(tmp_path, monkeypatch, name, text):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "claims.toml").touch()
    (tmp_path / "data" / name).write_text(text)
    monkeypatch.setenv("ALEXNET_REPRO_HOME", str(tmp_path))
    with pytest.raises(UserError) as caught:
        published.READERS[name]()
    one_line(caught.value)
    assert "validation error" not in str(caught.value)
    assert name in str(caught.value)


@given(data=st.data())
@settings(max_examples=60)
def test_bent_bytes_of_predictions(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("predictions") / "x.npz"
    ensembles.write(path, np.zeros((4, 2), np.float16), np.zeros(4, np.uint8))
    whole = path.read_bytes()
    path.write_bytes(bent(data.draw, whole))
    try:
        outputs, labels = ensembles.read(path)
        assert outputs.shape == (4, 2)
        assert labels.shape == (4,)
    except UserError as error:
        one_line(error)


ODD = {
    "a number": lambda path: np.save(path.open("wb"), np.zeros(3)),
    "one dimension": lambda path: ensembles.write(path, np.zeros(4, np.float16), np.zeros(4, np.uint8)),
    "fewer labels": lambda path: ensembles.write(path, np.zeros((4, 2), np.float16), np.zeros(3, np.uint8)),
    "no classes": lambda path: ensembles.write(path, np.zeros((4, 0), np.float16), np.zeros(4, np.uint8)),
    "doubles": lambda path: ensembles.write(path, np.zeros((4, 2)), np.zeros(4, np.uint8)),
    "a bomb": lambda path: np.savez_compressed(path, outputs=np.zeros(2**25, np.float16)),
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", ODD)
def test_predictions_of_another_form(tmp_path, kind):
    path = tmp_path / "x.npz"
    ODD[kind](path)
    with pytest.raises(UserError) as caught:
        ensembles.read(path)
    one_line(caught.value)
