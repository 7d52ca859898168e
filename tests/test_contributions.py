"""What others contribute is added whole and kept apart, or named and left out, whatever it is made of."""

import csv
import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest

from alexnet_repro import __main__
from alexnet_repro.analysis import contributed
from alexnet_repro.common.errors import UserError
from alexnet_repro.common.files import LARGEST, sha256
from alexnet_repro.experiments import imagenet
from alexnet_repro.experiments.cifar_alexnet import ABLATIONS, ARMS
from alexnet_repro.experiments.registry import STUDIES, study
from alexnet_repro.experiments.study import FRESH_SEEDS, PILOT_SEEDS, from_seed
from alexnet_repro.paper.claims import claim, load
from alexnet_repro.records import verify
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import SUMS, Store, read_rows, write_table
from alexnet_repro.training.launch.runs import publish

from . import homes
from .command import call
from .runs import record
from .test_verify import ARM, sound

PLAN = study("relu_speed")
IMAGES = imagenet.Images(1_281_167, 1_000, 256, "d" * 64)


def run(arm="relu", seed=100, **source):
    """A sound record of relu_speed: the curve of test_verify, of another config and with losses of its own."""
    config = PLAN.config(arm, seed)
    made = with_losses(sound(), 1 + seed / 1_000)
    provenance = made.provenance.model_copy(update={"device": "GPU 1", "started": "2026-01-02T00:00:00+00:00"} | source)
    return made.model_copy(update={"config": config, "key": config.key, "provenance": provenance})


def with_losses(made, factor):
    """The record with all its losses times ``factor``."""
    curve = tuple(m.model_copy(update={"train_loss": (m.train_loss or 0) * factor}) for m in made.curve)
    return made.model_copy(update={"curve": curve, "metrics": made.metrics | {"train_loss": curve[-1].train_loss}})


@pytest.fixture
def given(tmp_path):
    """A published folder of two pairs."""
    folder = tmp_path / "given" / "relu_speed"
    write_table(folder, [(arm, run(arm, seed)) for arm in ("relu", "tanh") for seed in (100, 101)])
    return folder


def test_sound_runs_are_added_and_verified(store, given):
    target, new, faults = contributed.contribute(given, "jane-doe", store)
    assert faults == []
    assert len(new) == 4
    assert target == store.evidence.parent / "contributed" / "jane-doe" / "relu_speed"
    assert read_rows(target) == read_rows(given)
    assert contributed.faults(store) == []
    # Again: nothing new, nothing changed.
    before = (target / "runs.csv").read_bytes()
    assert contributed.contribute(given, "jane-doe", store)[1:] == ([], [])
    assert (target / "runs.csv").read_bytes() == before


def test_more_runs_join_those_of_the_same_source(store, given, tmp_path):
    contributed.contribute(given, "jane", store)
    more = tmp_path / "more" / "relu_speed"
    write_table(more, [("relu", run(seed=102)), ("relu", run(seed=100))])
    target, new, _ = contributed.contribute(more, "jane", store)
    assert [each.config.seed for each in new] == [102]
    assert len(read_rows(target)) == 5
    write_table(more, [("relu", run(seed=100, wall_seconds=200.0, images_per_second=750.0))])
    assert "before, with other numbers" in contributed.contribute(more, "jane", store)[2][0]
    assert "is that of seed 100" in contributed.contribute(more, "john", store)[2][0]
    write_table(more, [("relu", run(seed=103))])
    assert contributed.contribute(more, "john", store)[2] == []


def test_runs_come_again_beside_others_that_measure_more(store, tmp_path):
    more = run("tanh")
    more = more.model_copy(update={"metrics": more.metrics | {"top5_error": 0.05}})
    for rows in ([("relu", run())], [("relu", run()), ("tanh", more)], [("relu", run())]):
        write_table(tmp_path / "relu_speed", rows)
        target, _, faults = contributed.contribute(tmp_path / "relu_speed", "jane", store)
        assert faults == []
    assert len(read_rows(target)) == 2


def test_they_are_no_evidence_of_this_project(store, given):
    contributed.contribute(given, "jane", store)
    again = Store(store.root, store.evidence)
    assert again.published() == {}
    assert again.find(PLAN.config("relu", 100)) is None


def test_pairs_form_within_one_source_and_device(store, tmp_path):
    for source, seeds in (("jane", (100, 101, 102)), ("john", (103, 104, 105))):
        rows = [("relu", run(seed=seed)) for seed in seeds]
        # The last seed's other arm ran on another device: it pairs with nothing.
        rows += [("tanh", run("tanh", seed, device="GPU 2" if seed == seeds[-1] else "GPU 1")) for seed in seeds]
        write_table(tmp_path / source / "relu_speed", rows)
        contributed.contribute(tmp_path / source / "relu_speed", source, store)
    found = {(group.source, group.device): contributed.judged(group) for group in contributed.groups(store)}
    assert set(found) == {(source, gpu) for source in ("jane", "john") for gpu in ("GPU 1", "GPU 2")}
    assert [(v.claim, v.seeds, v.verdict) for v in found["jane", "GPU 1"]] == [("relu_speed", 2, "not run")]
    assert found["jane", "GPU 2"][0].seeds == 0


def test_three_whole_pairs_are_judged(store, tmp_path):
    rows = [(arm, run(arm, seed)) for arm in ("relu", "tanh") for seed in (100, 101, 102)]
    write_table(tmp_path / "relu_speed", rows)
    contributed.contribute(tmp_path / "relu_speed", "jane", store)
    (verdict,) = contributed.judged(contributed.groups(store)[0])
    assert verdict.seeds == 3
    assert verdict.effect == pytest.approx(1.0)


def changed(folder, change, table="runs.csv"):
    """Change a published table as ``change`` of its text says, with a digest that fits."""
    path = folder / table
    path.write_bytes(change(path.read_bytes()))
    sums = dict(line.split()[::-1] for line in (folder / SUMS).read_text().splitlines())
    sums[table] = sha256(path.read_bytes())
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def cell(column, value, row=0):
    def change(content):
        rows = list(csv.DictReader(StringIO(content.decode())))
        rows[row][column] = value
        text = StringIO()
        table = csv.DictWriter(text, rows[0])
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()

    return change


DEEP = "[" * 100_000
HOSTILE = [
    (cell("key", "0" * 16), "curves.csv", "curves.csv, row 2, column key: '0000000000000000' is no run of runs.csv"),
    (cell("key", "0" * 16), "runs.csv", "is damaged"),
    (cell("key", "../../../etc/passwd"), "runs.csv", "is damaged"),
    (cell("config", DEEP), "runs.csv", "is damaged"),
    (cell("config", "{}"), "runs.csv", "is damaged"),
    (cell("config", json.dumps({"__class__": "os.system"})), "runs.csv", "is damaged"),
    (cell("recipe", "9" * 5_000), "runs.csv", "is damaged"),
    (cell("recipe", "2"), "runs.csv", "recipe 2 is not this version's"),
    (cell("status", "great"), "runs.csv", "is damaged"),
    (cell("metric.test_error", "nan"), "runs.csv", "is damaged"),
    (cell("metric.test_error", "-0.25"), "runs.csv", "no share of 10000 images"),
    (cell("metric.test_error", "1e999"), "runs.csv", "is damaged"),
    (cell("metric.epochs", "2.0"), "runs.csv", "its epochs is 2.0, and its curve gives 3.0"),
    (cell("provenance.device", "<script>alert(1)</script>"), "runs.csv", "is no plain name"),
    (cell("provenance.device", "=HYPERLINK(1)"), "runs.csv", "is no plain name"),
    (cell("provenance.device", "a\nb"), "runs.csv", "is no plain name"),
    (cell("provenance.device", "[x](javascript:y)"), "runs.csv", "is no plain name"),
    (cell("provenance.clean", "False"), "runs.csv", "not a clean commit"),
    (cell("provenance.commit", "$(reboot)"), "runs.csv", "is no commit"),
    (cell("arm", "tanh"), "runs.csv", "curves.csv, row 2, column arm: 'relu' is not the arm 'tanh'"),
    (cell("arm", "x" * 100_000), "runs.csv", "is not the arm 'xxx"),
    (cell("images", "1"), "curves.csv", "not measured where its budget says"),
    (cell("train_error", "-0.1"), "curves.csv", "is no share"),
    (cell("train_error", "1.5"), "curves.csv", "is no share"),
    (lambda content: content[: len(content) // 2], "curves.csv", "is damaged"),
    (lambda content: b"\xff\xfe" + content, "runs.csv", "is damaged"),
    (lambda content: content.replace(b"metric.epochs,", b"metric.<b>,"), "runs.csv", "is no name of a metric"),
    (lambda content: content.splitlines(True)[0], "runs.csv", "it holds no run"),
    (lambda content: content + content.splitlines(True)[1], "runs.csv", "row 6, column key"),
    (lambda content: b"", "runs.csv", "runs.csv is empty"),
    (lambda content: b"\0" * 1_000, "runs.csv", "lacks the column arm"),
    # Numbers out of all bounds, each named with its place.
    (cell("images", "9" * 4_000, 2), "curves.csv", "curves.csv, row 4, column images: '9999"),
    (cell("images", "9" * 19), "curves.csv", "row 2, column images: '9999999999999999999' cannot stand there"),
    (cell("images", "-1"), "curves.csv", "curves.csv, row 2, column images: '-1' cannot stand there"),
    (cell("provenance.threads", "1" + "0" * 400), "runs.csv", "runs.csv, row 2, column provenance.threads: '1000"),
    (cell("provenance.threads", "9007199254740992"), "runs.csv", "threads for 100.0 s is no training (runs.csv, row 2"),
    (cell("provenance.threads", "1e2"), "runs.csv", "column provenance.threads: '1e2' is no whole number"),
    (cell("provenance.wall_seconds", "1e300"), "runs.csv", "column provenance.wall_seconds: '1e300' cannot stand"),
    (cell("provenance.wall_seconds", "1e10"), "runs.csv", "1 threads for 10000000000.0 s is no training"),
    (cell("provenance.images_per_second", "-1"), "runs.csv", "provenance.images_per_second: '-1' cannot stand"),
    (cell("provenance.images_per_second", "1_500"), "runs.csv", "provenance.images_per_second: '1_500' is no number"),
    (cell("train_loss", "5e306", 5), "curves.csv", "curves.csv, row 7, column train_loss: '5e306' cannot stand there"),
    (cell("train_loss", "1e38", 5), "curves.csv", "is above 1e+09, and it went on (curves.csv, row 7, column"),
    (cell("train_loss", "infinity"), "curves.csv", "column train_loss: 'infinity' is no number"),
    (cell("train_loss", "\u0661"), "curves.csv", "column train_loss: '\u0661' is no number"),
    (cell("train_error", ""), "curves.csv", "column train_error: '' is no number"),
    (cell("seed", "9" * 5_000), "runs.csv", "runs.csv, row 2, column seed: '9999"),
    (cell("recipe", "9" * 18), "runs.csv", "runs.csv, row 2, column recipe: '999999999999999999' cannot stand there"),
    (cell("metric.test_error", "1e40"), "runs.csv", "runs.csv, row 2, column metric.test_error: '1e40' cannot stand"),
    # Curves that do not ascend: nothing is computed from them.
    (cell("images", "12544", 2), "curves.csv", "not measured where its budget says (curves.csv, row 4, column images)"),
    (cell("images", "0", 2), "curves.csv", "not measured where its budget says (curves.csv, row 4, column images)"),
    (lambda content: b"".join([*(lines := content.splitlines(True))[:2], lines[3], lines[2], *lines[4:]]), "curves.csv",
     "curves.csv, row 3, column images"),
    # What a spreadsheet or a page would take for its own, and dates.
    *((cell("provenance.device", text), "runs.csv", "is no plain name (runs.csv, row 2, column provenance.device)")
      for text in ("+1", "-1", "@SUM(A1)", "", "  ", "\tGPU", "GPU\u202e", "x" * 200, "{{ x }}", "`x`", "$x$", "a|b")),
    *((cell(f"provenance.{field}", "@x"), "runs.csv", f"column provenance.{field}")
      for field in ("python", "torch", "numpy")),
    *((cell("provenance.started", text), "runs.csv", f"its start {text!r} is no date with a time zone") for text in (
        "2026-01-02_00:00:00+00:00", "2026-01-02 00:00:00+00:00", "2026-01-02\u2028x00:00:00+00:00"[:25],
        "20260102T000000+0000", "2026-02-30T00:00:00+00:00", "2026-01-02T00:00:00", "2026-W01-1T00:00:00+00:00")),
    *((cell("provenance.started", text), "runs.csv", "lies in the future (runs.csv, row 2, column provenance.started)")
      for text in ("9999-12-31T23:59:59-23:59", "9999-01-01T00:00:00Z", "2126-01-01T00:00:00+00:00")),
    # Cells that nothing else derives.
    (cell("arm", "tanh"), "curves.csv", "curves.csv, row 2, column arm: 'tanh' is not the arm 'relu' that"),
    (lambda content: content.replace(b"metric.test_error", b"metric.tset_error"), "runs.csv",
     "no run of this version has a metric 'tset_error' (runs.csv, row 2, column metric.tset_error)"),
    (lambda content: content.replace(b"metric.test_error", b"metric.ten_view_error").replace(b",0.25,", b",0.25001,"),
     "runs.csv", "its ten_view_error 0.25001 is no share of 10000 images"),
    # The forms of a table.
    (lambda content: content.replace(b",", b";"), "curves.csv", "curves.csv has its cells apart by ';'"),
    (lambda content: content.replace(b"arm,seed", b"arm,seed,seed", 1), "curves.csv", "the column 'seed' twice"),
    (lambda content: content.replace(b"images", b"pictures", 1), "curves.csv", "lacks the column images"),
    (lambda content: content.replace(b"arm,seed", b"arm,sown,seed", 1), "curves.csv", "has the column 'sown', which"),
    (lambda content: content.replace(b"\n", b",\n", 3), "curves.csv", "curves.csv has the column '', which"),
    (lambda content: content + b"relu,100\n", "curves.csv", "curves.csv, row 50 has 2 cells, and the header 7"),
    (lambda content: content + b'relu,"', "curves.csv", "curves.csv, line 50: unexpected end of data"),
    (lambda content: content.decode().encode("utf-16"), "runs.csv", "runs.csv is not in UTF-8, at byte 0"),
    (lambda content: content.replace(b"GPU 1", b"GPU \xe9"), "runs.csv", "runs.csv is not in UTF-8, at byte"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "table", "said"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_off_is_named_and_nothing_added(store, given, change, table, said):
    changed(given, change, table)
    try:
        _, _, faults = contributed.contribute(given, "jane", store)
    except UserError as error:
        faults = [str(error)]
    assert faults
    assert said is None or any(said in fault for fault in faults), faults
    assert not any("validation error" in fault for fault in faults)
    assert not contributed.root(store).exists()


def test_a_digest_that_does_not_fit(store, given):
    (given / "runs.csv").write_bytes((given / "runs.csv").read_bytes() + b"\n")
    with pytest.raises(UserError, match=r"runs.csv does not have its SHA-256.: write it anew"):
        contributed.contribute(given, "jane", store)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "huge", "gone"])
def test_only_plain_files_are_read(store, given, kind, monkeypatch):
    path = given / "curves.csv"
    content = path.read_bytes()
    path.unlink()
    if kind == "link":
        (given / "elsewhere").write_bytes(content)
        path.symlink_to("elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(LARGEST + 1)
    with pytest.raises(UserError, match="cannot read" if kind == "gone" else "no plain file"):
        contributed.contribute(given, "jane", store)


@pytest.mark.parametrize("source", ["", "../jane", "Jane", "a b", "-a", "a--b", "x" * 41, "jané", "a/b", "."])
def test_a_bad_source(store, given, source):
    with pytest.raises(UserError, match="bad source"):
        contributed.contribute(given, source, store)


def test_a_folder_of_no_study(store, given, tmp_path):
    for path in (tmp_path / "nowhere", given / "runs.csv"):
        with pytest.raises(UserError, match=f"no folder {path}: name the one that"):
            contributed.contribute(path, "jane", store)
    with pytest.raises(UserError, match="named after no study"):
        contributed.contribute(given.rename(tmp_path / "runs"), "jane", store)


def test_pilots_and_this_projects_own_runs_are_not_taken(store, tmp_path):
    write_table(tmp_path / "relu_rates", [(ARM, sound())])
    assert "is a pilot" in contributed.contribute(tmp_path / "relu_rates", "jane", store)[2][0]
    write_table(store.evidence / "relu_speed", [("relu", run(seed=1))])
    write_table(tmp_path / "relu_speed", [("relu", run(seed=1))])
    store = Store(store.root, store.evidence)
    assert "this project's own run" in contributed.contribute(tmp_path / "relu_speed", "jane", store)[2][0]
    for seed in (PILOT_SEEDS, FRESH_SEEDS - 1):
        write_table(tmp_path / "relu_speed", [("relu", run(seed=seed))])
        assert f"no seed {seed}" in contributed.contribute(tmp_path / "relu_speed", "jane", store)[2][0]


def test_verify_reads_what_was_contributed(store, given):
    target, *_ = contributed.contribute(given, "jane", store)
    changed(target, cell("metric.epochs", "2.0"))
    assert any("contributed/jane/relu_speed: arm 'relu'" in fault for fault in contributed.faults(store))
    (target / "runs.csv").write_bytes(b"")
    assert "is damaged" in contributed.faults(store)[0]


def test_fresh_seeds():
    moved = from_seed(PLAN, 100)
    assert moved.seeds == tuple(range(100, 100 + len(PLAN.seeds)))
    assert from_seed(PLAN, 0) == PLAN
    assert len(PLAN.seeds) == 5
    for first in (995, 2_000, 2**31 - 1):
        assert from_seed(PLAN, first).seeds == tuple(range(first, first + 5))
    for first in (996, 1_000, 1_500, 1_999):
        remedy = "1000 to 1999 are kept for pilots; start at 995 or lower, or 2000 or higher"
        with pytest.raises(UserError, match=f"first seed {first}: .* {first} to {first + 4}, and {remedy}"):
            from_seed(PLAN, first)
    for first in (-1, 2**31, 10**400):
        with pytest.raises(UserError, match=f"first seed {first}: use a number from 0 to 2147483647"):
            from_seed(PLAN, first)
    with pytest.raises(UserError, match="relu_rates is a pilot, which keeps its seeds"):
        from_seed(study("relu_rates"), 1)


def test_pilots_take_seeds_that_are_kept_for_them():
    taken = {seed for name in STUDIES if study(name).pilot for seed in study(name).seeds}
    assert taken
    assert taken <= set(range(PILOT_SEEDS, FRESH_SEEDS))


def test_from_run_to_contribution(store, tmp_path):
    first = 2**31 - 1
    plan = from_seed(PLAN, first)
    store.save(run(seed=first))
    store.save(run("tanh", seed=first, clean=False))
    write_table(store.evidence / "relu_speed", [("relu", run(seed=101))])
    assert publish(plan, store, tmp_path / "mine")[:2] == (1, 1)  # seed 101 is no run of one's own
    _, new, faults = contributed.contribute(tmp_path / "mine" / "relu_speed", "jane", store)
    assert (faults, [each.config.seed for each in new]) == ([], [first])


def full(arm, seed, error, images=IMAGES, precision="float32", **source):
    """A full-size record with a test error, on images that are not here."""
    plan = imagenet.study_on("imagenet_ablations", images).changed(precision=precision)
    config = plan.config(arm, seed)
    point = Measurement(epoch=1.0, images=config.data.train_images, train_loss=1.0, train_error=0.5)
    return record(config, curve=[point], metrics={"test_error": error}, **source)


def test_full_size_runs_are_judged_by_the_papers_own_numbers(store):
    for seed in range(3):
        for arm, error in (("baseline", 0.40), ("no_lrn", 0.408 + seed / 10_000)):
            store.save(full(arm, seed, error))
    store.save(full("no_lrn", 0, 0.9, IMAGES._replace(digest="e" * 64)))  # other images: another group
    groups = contributed.full_size(store)
    assert len(groups) == 2
    whole = next(group for group in groups if len(group.runs) == 6)
    assert "1,281,167 images of 1,000 classes at 256 pixels" in whole.images
    verdicts = {(v.claim, v.label): v for v in contributed.judged(whole)}
    found = verdicts["lrn", "constants as printed"]
    assert found.effect == pytest.approx(0.81)
    assert found.size == claim("lrn").measured[0].paper_value / 2
    assert found.verdict == "reproduced"
    assert (found.seeds, found.declared, found.provisional) == (3, 3, False)
    assert "core-minutes" not in "".join(verdict.note for verdict in verdicts.values())
    assert ("relu_speed", "") not in verdicts


def test_arms_that_make_up_for_the_small_size_are_not_judged_at_full_size(store):
    # Pixels are not divided there: alpha as printed is already as strong as on raw ones.
    for seed in range(3):
        store.save(full("no_lrn", seed, 0.41))
        store.save(record(imagenet.baseline(IMAGES).changed(**ARMS["strong_lrn"], seed=seed)))
    (group,) = contributed.full_size(store)
    assert ("lrn", "as strong as on raw pixels") not in {(v.claim, v.label) for v in contributed.judged(group)}
    arms = imagenet.RECIPES["imagenet_ablations"].arms
    assert not {"strong_lrn", "lrn_scale", "paper_init", "torch_velocity"} & set(arms)
    ablations = [entry for each in load() for entry in each.measured if entry.study in ABLATIONS]
    assert [e.against for e in ablations if not contributed.is_at_full_size(e)] == ["strong_lrn"]


def test_images_that_are_too_small_for_the_study_are_a_fault(store, tmp_path):
    config = full("baseline", 0, 0.4).config
    net = config.model.change(image_size=56, conv1_kernel=5, conv1_stride=2)
    small = config.changed(**{"data.whole": 64, "data.crop": 56}, model=net.model_dump())
    write_table(tmp_path / "imagenet_ablations", [("baseline", record(small))])
    faults = contributed.contribute(tmp_path / "imagenet_ablations", "jane", store)[2]
    assert any("images of 64 pixels are too small" in fault for fault in faults)


def test_each_precision_is_a_group_of_its_own(store):
    for precision, error in (("float32", 0.40), ("bfloat16", 0.50)):
        for seed in range(3):
            store.save(full("baseline", seed, error, precision=precision))
            store.save(full("no_lrn", seed, error + 0.01 + seed / 10_000, precision=precision))
    groups = contributed.full_size(store)
    assert sorted(group.images.rpartition(", ")[2] for group in groups) == ["in bfloat16", "in float32"]
    for group in groups:
        assert {v.label: v.effect for v in contributed.judged(group)}["constants as printed"] == pytest.approx(1.01)
    runs = [full("no_lrn", 0, 0.4, precision=precision) for precision in ("float32", "bfloat16")]
    assert runs[0].key != runs[1].key
    for run in runs:
        assert not [fault for fault in verify.check("imagenet_ablations", "no_lrn", run) if fault.column == "config"]


def test_the_command(store, given, monkeypatch, capsys):
    monkeypatch.setattr(__main__, "Store", lambda: Store(store.root, store.evidence))
    code, out, err = call(monkeypatch, capsys, "contribute", str(given), "--source", "jane")
    assert (code, err) == (0, "")
    assert "4 new runs on GPU 1 in" in out
    changed(given, cell("metric.epochs", "2.0"))
    code, out, err = call(monkeypatch, capsys, "contribute", str(given), "--source", "john")
    assert code == 1
    assert "its epochs is 2.0" in out
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert call(monkeypatch, capsys, "contribute", str(given))[0] == 2


@pytest.mark.parametrize("table", ["runs.csv", "curves.csv"])
def test_tables_as_spreadsheets_write_them(store, given, table):
    before = read_rows(given)
    changed(given, lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n").replace(b"True", b"TRUE"), table)
    (given / SUMS).write_bytes(b"\xef\xbb\xbf" + (given / SUMS).read_bytes().replace(b"  ", b" *"))
    target, new, faults = contributed.contribute(given, "jane", store)
    assert (faults, len(new)) == ([], 4)
    assert read_rows(target) == before
    assert not (target / table).read_bytes().startswith(b"\xef")


def test_sums_that_lack_a_table(store, given):
    (given / SUMS).write_text("nothing\n")
    with pytest.raises(UserError, match=r"SHA256SUMS has no digest of runs.csv.: write it anew"):
        contributed.contribute(given, "jane", store)


def test_a_run_starts_after_its_commit(store, given, monkeypatch):
    made = datetime(2026, 1, 2, 0, 0, 1, tzinfo=UTC)
    monkeypatch.setattr(verify, "commit_dates", lambda: {"0" * 40: made})
    faults = contributed.contribute(given, "jane", store)[2]
    assert len(faults) == 4
    assert "lies before its commit was made, 2026-01-02T00:00:01+00:00 (runs.csv, row 2, column prov" in faults[0]
    monkeypatch.setattr(verify, "commit_dates", lambda: {"0" * 40: made - timedelta(seconds=1)})
    assert contributed.contribute(given, "jane", store)[2] == []


def test_the_dates_of_commits_are_those_of_git():
    head = subprocess.run(["git", "log", "-1", "--format=%H %cI"], capture_output=True, text=True, cwd=homes.ROOT)
    if head.returncode != 0:
        pytest.skip("no git, or no repository")
    commit, date = head.stdout.split()
    assert verify.commit_dates()[commit] == datetime.fromisoformat(date)


OWN = [
    {"started": "2026-01-02T00:00:00Z"},
    {"started": "2026-01-02 01:00:00+01:00"},
    {"started": "2026-01-02T00:00:00.000+00:00"},
]


@pytest.mark.parametrize("source", OWN, ids=range(len(OWN)))
def test_its_own_run_is_known_however_its_start_is_written(store, tmp_path, source):
    write_table(store.evidence / "relu_speed", [("relu", run(seed=1))])
    other = with_losses(run(seed=1, **source), 2.0)
    write_table(tmp_path / "relu_speed", [("relu", other)])
    faults = contributed.contribute(tmp_path / "relu_speed", "jane", store)[2]
    assert any("this project's own run (runs.csv, row 2, column provenance.started)" in fault for fault in faults)


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-12, 1 - 1e-9])
@pytest.mark.parametrize("seed", [1, 7], ids=["the same seed", "another seed"])
def test_a_curve_that_is_nearly_anothers_is_told(store, tmp_path, factor, seed):
    write_table(store.evidence / "relu_speed", [("relu", run(seed=1))])
    copy = with_losses(sound(), (1 + 1 / 1_000) * factor)
    config = PLAN.config("relu", seed)
    source = run(seed=seed, started="2026-02-02T00:00:00+00:00").provenance
    copy = copy.model_copy(update={"config": config, "key": config.key, "provenance": source})
    write_table(tmp_path / "relu_speed", [("relu", copy)])
    faults = contributed.contribute(tmp_path / "relu_speed", "jane", store)[2]
    assert len(faults) == 1
    assert "its curve is that of seed 1, run" in faults[0]
    assert "this project's own run (curves.csv, row 2, column train_loss)" in faults[0]


def test_a_source_copies_no_other_and_no_seed_of_its_own(store, tmp_path):
    write_table(tmp_path / "a" / "relu_speed", [("relu", run(seed=100))])
    assert contributed.contribute(tmp_path / "a" / "relu_speed", "jane", store)[2] == []
    assert "the run of jane" in contributed.contribute(tmp_path / "a" / "relu_speed", "john", store)[2][0]
    config = PLAN.config("relu", 101)
    copy = run(seed=100, started="2026-03-03T00:00:00+00:00").model_copy(update={"config": config, "key": config.key})
    write_table(tmp_path / "b" / "relu_speed", [("relu", copy)])
    assert "its curve is that of seed 100" in contributed.contribute(tmp_path / "b" / "relu_speed", "jane", store)[2][0]
    # Put there by hand, the second by name is told.
    for source in ("jane", "john"):
        write_table(contributed.root(store) / source / "relu_speed", [("relu", run(seed=100))])
    (fault,) = contributed.faults(store)
    assert fault.startswith("contributed/john/relu_speed: arm 'relu', seed 100")


def test_a_damaged_table_of_another_source_is_no_fault_of_these_runs(store, given):
    other = contributed.root(store) / "john" / "relu_speed"
    other.mkdir(parents=True)
    assert contributed.contribute(given, "jane", store)[2] == []
    assert contributed.faults(store)[0].startswith("contributed/john/relu_speed: cannot read")


def test_hidden_folders_are_nobodys_tables(store, given):
    contributed.contribute(given, "jane", store)
    for name in (".git/hooks", "jane/.ipynb_checkpoints", "jane/._relu_speed", "__MACOSX/relu_speed"):
        (contributed.root(store) / name).mkdir(parents=True)
    assert contributed.faults(store) == []
    assert len(contributed.groups(store)) == 1


def test_names_that_would_move_the_cursor_are_spelled_out(store):
    (contributed.root(store) / "j\x1b[2Jane" / "relu_speed").mkdir(parents=True)
    (fault,) = contributed.faults(store)
    assert fault.isprintable()
    assert fault.startswith("contributed/j\\x1b[2Jane/relu_speed: cannot read")


def test_a_wrong_config_is_told_before_anything_is_derived_from_it(store, given, monkeypatch):
    config = PLAN.config("relu", 100).changed(**{"budget.epochs": 10_000, "budget.measurements": 1_000})
    record = run().model_copy(update={"config": config, "key": config.key})
    write_table(given, [("relu", record)])
    monkeypatch.setattr(verify, "_within", lambda config: pytest.fail("a million measurements are counted"))
    (fault,) = contributed.contribute(given, "jane", store)[2]
    assert "its config is not that of its arm (runs.csv, row 2, column config)" in fault
