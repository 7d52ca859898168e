"""The store: exact to the last bit, whole or absent, and plain about what is wrong."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_repro.common.errors import UserError
from alexnet_repro.common.files import atomic, lock, sweep, write_atomic
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import Store, read_rows, write_table

from .damage import failing, flipped
from .runs import record, tiny

finite = st.floats(-1e39, 1e39)
amounts = st.floats(0, 2.0**53)
measurements = st.lists(
    st.builds(
        Measurement,
        epoch=amounts,
        images=st.integers(0, 2**53),
        train_loss=st.none() | finite,
        train_error=finite,
    ),
    min_size=1,
    max_size=4,
)
metrics = st.fixed_dictionaries({"test_error": st.none() | finite, "epochs_to_threshold": st.none() | finite})
# Texts that pandas would take for a number, for nothing, or for the end of a row.
texts = st.sampled_from(["NA", "nan", "None", "3.12", "1e5", "0123", "true", 'a "b", c', "x\ny", "é", " s "])


def same(a, b):
    # Equality of JSON text is equality to the last bit, the sign of zero included.
    return a == b and json.dumps(a.model_dump(), sort_keys=True) == json.dumps(b.model_dump(), sort_keys=True)


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@given(curve=measurements, metrics=metrics, wall=amounts, status=st.sampled_from(["finished", "stopped", "diverged"]))
@settings(max_examples=50)
def test_json_is_exact(tmp_path_factory, curve, metrics, wall, status):
    place = Store(tmp_path_factory.mktemp("store"), Path("none"))
    kept = record(curve=curve, metrics=metrics, status=status, wall_seconds=wall)
    place.save(kept)
    assert same(place.find(kept.config), kept)


@given(
    runs=st.lists(st.tuples(measurements, metrics, amounts, texts, texts), min_size=1, max_size=3),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=3, max_size=3, unique=True),
    arm=texts,
)
@settings(max_examples=50)
def test_tables_are_exact(tmp_path_factory, runs, seeds, arm):
    folder = tmp_path_factory.mktemp("table")
    rows = [
        (arm, record(tiny(seed=seed), curve=curve, metrics=metrics, wall_seconds=wall, device=device, torch=version))
        for seed, (curve, metrics, wall, device, version) in zip(seeds, runs, strict=False)
    ]
    write_table(folder, rows)
    rows.sort(key=lambda row: row[1].config.seed)
    again = read_rows(folder)
    assert [name for name, _ in again] == [arm] * len(rows)
    assert all(same(found, kept) for (_, found), (_, kept) in zip(again, rows, strict=True))


def test_a_diverged_run_comes_back_from_the_tables(tmp_path):
    lost = Measurement(epoch=1.0, images=300, train_loss=None, train_error=0.9)
    kept = record(status="diverged", curve=[lost], metrics={"test_error": None, "train_loss": None})
    write_table(tmp_path, [("relu", kept)])
    assert same(read_rows(tmp_path)[0][1], kept)


def test_the_digests_are_those_of_sha256sum(tmp_path):
    write_table(tmp_path, [("relu", record())])
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True)


def test_find_and_missing(store):
    here, published, nowhere = (tiny(seed=seed) for seed in range(3))
    store.save(record(here))
    write_table(store.evidence / "study", [("relu", record(published))])
    assert store.find(here).config == here
    assert store.find(published).config == published
    assert store.find(nowhere) is None
    assert store.missing([nowhere, here, nowhere, published]) == [nowhere]
    assert [found.key for found in store.records()] == [here.key]
    assert store.published_in() == {published.key: "study"}


WRITER = """
import sys
from pathlib import Path
from alexnet_repro.records.store import Store
from tests.runs import record
store = Store(Path(sys.argv[1]), Path("none"))
print("ready", flush=True)
sys.stdin.readline()
for i in range(50):
    store.save(record(wall_seconds=float(sys.argv[2]), metrics={f"m{n}": 0.1 for n in range(200)}))
    assert store.find(record().config) is not None
"""


def test_two_writers_at_once(store):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.root), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2)
    ]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        _, said = writer.communicate()
        assert writer.returncode == 0, said
    assert store.find(tiny()).provenance.wall_seconds in (1.0, 2.0)
    assert files(store.root) == [f"runs/{tiny().key}.json"]


KILLED = """
import os, signal, sys
from pathlib import Path
from alexnet_repro.records.store import Store
from tests.runs import record
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
Store(Path(sys.argv[1]), Path("none")).save(record())
"""


def test_a_kill_between_write_and_rename_leaves_nothing_visible(store):
    done = subprocess.run([sys.executable, "-c", KILLED, str(store.root)], check=False)
    assert done.returncode == -9
    path = store.path(tiny().key)
    assert list(store.records()) == []
    assert store.find(tiny()) is None
    assert len(list(path.parent.iterdir())) == 1  # hidden, until who holds the lock on the run sweeps
    sweep(path)
    assert list(path.parent.iterdir()) == []
    store.save(record())
    assert store.find(tiny()) is not None


def test_sweep_leaves_what_belongs_to_others(tmp_path):
    for name in (".a.json.x.part", ".ab.json.x.part", "a.json", "a.json.part"):
        (tmp_path / name).touch()
    sweep(tmp_path / "a.json")
    assert files(tmp_path) == [".ab.json.x.part", "a.json", "a.json.part"]


def refuses(store, *, says):
    for look in (lambda: store.find(tiny()), lambda: store.missing([tiny()])):
        with pytest.raises(UserError) as error:
            look()
        assert all(word in str(error.value) for word in says), str(error.value)
        assert error.value.code == 1


def test_a_flipped_bit_of_a_record_is_seen(store):
    store.save(record())
    path = store.path(tiny().key)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(flipped(whole, place))
        with pytest.raises(UserError, match=r"is damaged: delete it|newer than this version"):
            store.find(tiny())


def test_a_truncation_of_a_record_is_seen(store):
    store.save(record())
    path = store.path(tiny().key)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refuses(store, says=[str(path), "is damaged: delete it"])


def test_a_record_without_a_seal_is_read(store):
    # As written by hand, or by an earlier version.
    path = store.path(tiny().key)
    write_atomic(path, record().model_dump_json(indent=1))
    assert same(store.find(tiny()), record())


def test_a_record_under_another_key_or_of_an_edited_config_is_refused(store):
    edited = json.loads(record().model_dump_json())
    edited["config"]["seed"] = 1
    for values in (record(tiny(seed=1)).model_dump_json(), json.dumps(edited)):
        write_atomic(store.path(tiny().key), values)
        refuses(store, says=["holds another run"])


@pytest.mark.parametrize("extra", [{}, {"unheard_of": 1}])
def test_a_record_of_a_newer_recipe_says_so(store, extra):
    values = json.loads(record().model_dump_json()) | {"recipe": 2} | extra
    write_atomic(store.path(tiny().key), json.dumps(values))
    refuses(store, says=["written by recipe 2", "newer", "update"])


def test_an_unreadable_record_says_so(store):
    store.path(tiny().key).mkdir(parents=True)  # root reads any file, but nobody reads a folder
    refuses(store, says=["is a folder, and a file belongs there", "move it away"])
    store.path(tiny().key).rmdir()
    os.mkfifo(store.path(tiny().key))
    refuses(store, says=["is a FIFO", "move it away"])


def test_hidden_files_and_folders_are_no_records(store):
    store.save(record())
    write_table(store.evidence / "study", [("relu", record())])
    for name in (f"._{tiny().key}.json", ".DS_Store.json"):
        (store.root / "runs" / name).write_bytes(b"\x00\x05\x16\x07")
    for name in (".ipynb_checkpoints", "._study", "__MACOSX"):
        (store.evidence / name).mkdir()
    assert list(store.records()) == [record()]
    assert [folder.name for folder in store.folders()] == ["study"]


@pytest.mark.parametrize("name", ["runs.csv", "curves.csv"])
def test_a_flipped_bit_of_a_table_is_seen(store, name):
    folder = store.evidence / "study"
    write_table(folder, [("relu", record())])
    whole = (folder / name).read_bytes()
    for place in range(0, len(whole), 11):
        (folder / name).write_bytes(flipped(whole, place))
        with pytest.raises(UserError, match=f"study is damaged .{name} does not have its SHA-256.: restore it with"):
            read_rows(folder)


@pytest.mark.parametrize("name", ["runs.csv", "curves.csv", "SHA256SUMS"])
@pytest.mark.parametrize("keep", [None, 0, 20, -5])
def test_a_truncated_or_missing_table_is_seen(store, name, keep):
    path = store.evidence / "study" / name
    write_table(path.parent, [("relu", record())])
    whole = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(whole[:keep])
    refuses(store, says=["study is damaged", "git checkout"])


@pytest.mark.parametrize("name", ["runs.csv", "curves.csv"])
def test_a_row_of_another_seed_than_its_config_is_seen(tmp_path, monkeypatch, name):
    write_table(tmp_path, [("relu", record())])
    text = (tmp_path / name).read_text()
    assert "\nrelu,0," in text
    (tmp_path / name).write_text(text.replace("\nrelu,0,", "\nrelu,1,"))
    monkeypatch.setattr("alexnet_repro.records.store.sha256", lambda content: "0")
    (tmp_path / "SHA256SUMS").write_text("0  runs.csv\n0  curves.csv\n")
    with pytest.raises(UserError, match=f"{name}, row 2, column seed: .1. is not the seed 0 of the config of run 2d27"):
        read_rows(tmp_path)


def test_a_table_that_is_none_is_seen_even_with_its_digest(store, monkeypatch):
    folder = store.evidence / "study"
    write_table(folder, [("relu", record())])
    monkeypatch.setattr("alexnet_repro.records.store.sha256", lambda content: "0")
    (folder / "SHA256SUMS").write_text("0  runs.csv\n0  curves.csv\n")
    header, row = (folder / "runs.csv").read_text().splitlines()
    curve = (folder / "curves.csv").read_text()
    for text in (f"{header}\n{row[: len(row) // 2]}", f"{header}\n{row}".replace("finished", "won")):
        for other in ("", curve.splitlines()[0], curve):
            (folder / "runs.csv").write_text(text)
            (folder / "curves.csv").write_text(other)
            with pytest.raises(UserError, match="study is damaged"):
                read_rows(folder)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace", "chmod", "mkdir"])
def test_a_write_that_fails_is_one_line_and_leaves_nothing(store, monkeypatch, number, said, call):
    store.save(record(wall_seconds=1.0))
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(number))
        if call == "mkdir":
            shutil.rmtree(store.root)
        with pytest.raises(UserError, match=said) as error:
            store.save(record(wall_seconds=2.0))
    assert str(store.path(tiny().key)) in str(error.value)
    if call == "mkdir":
        assert not store.root.exists()
    else:
        assert files(store.root) == [f"runs/{tiny().key}.json"]
        assert store.find(tiny()).provenance.wall_seconds == 1.0
    store.save(record(wall_seconds=3.0))
    assert store.find(tiny()).provenance.wall_seconds == 3.0


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 64 KiB; skips where this user may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True)
    if not done or done.returncode:
        pytest.skip("this user may not mount a disk")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_really_full(small_disk):
    store = Store(small_disk, Path("none"))
    store.save(record(wall_seconds=1.0))
    with pytest.raises(UserError, match="the disk is full"):
        store.save(record(metrics={f"metric{n}": 0.1 for n in range(5_000)}))
    assert files(small_disk) == [f"runs/{tiny().key}.json"]
    assert store.find(tiny()).provenance.wall_seconds == 1.0


def test_a_disk_that_is_really_read_only(small_disk):
    store = Store(small_disk, Path("none"))
    store.save(record())
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(UserError, match="read-only"):
        store.save(record())
    with pytest.raises(UserError, match="read-only"), lock(small_disk / "lock"):
        pass
    assert store.find(tiny()) is not None


def test_an_exception_while_writing_leaves_nothing(tmp_path):
    def write():
        with atomic(tmp_path / "file") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert files(tmp_path) == []


def test_a_disk_without_locks_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", failing(errno.ENOLCK))
    with pytest.raises(UserError, match="cannot lock"), lock(tmp_path / "lock"):
        pass


HOLDER = """
import sys
from pathlib import Path
from alexnet_repro.common.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_excludes_and_dies_with_its_holder(tmp_path):
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    holder.stdout.readline()
    waited = []

    def waiting():
        waited.append(True)
        holder.kill()  # the system frees the lock

    with lock(path, waiting):
        assert waited == [True]
    holder.communicate()


PLACE = {"instructions": "AVX512", "processor": "AuthenticAMD family 26 model 2 stepping 1", "onednn": True}


def test_records_that_say_what_computed_them_stand_beside_older_ones(tmp_path):
    old, new = record(tiny(seed=1)), record(tiny(seed=0), **PLACE)
    gpu = record(tiny(seed=2), **PLACE | {"onednn": False, "capability": "9.0", "driver": "580.65.06"})
    write_table(tmp_path / "old", [("a", old)])
    before = (tmp_path / "old" / "runs.csv").read_text().splitlines()
    assert before[0].endswith("provenance.images_per_second,config")
    write_table(tmp_path / "mixed", [("a", each) for each in (old, new, gpu)])
    lines = (tmp_path / "mixed" / "runs.csv").read_text().splitlines()
    more = [f"provenance.{name}" for name in (*PLACE, "capability", "driver")]
    assert lines[0].split(",") == [*before[0].split(","), *more]
    assert [record for _, record in read_rows(tmp_path / "mixed")] == [new, old, gpu]
    store = Store(tmp_path / "store", tmp_path / "none")
    for each in (old, new, gpu):
        store.save(each)
        assert store.find(each.config) == each
    assert "instructions" not in store.path(old.key).read_text()


def test_the_published_tables_are_written_as_they_stand(tmp_path):
    for folder in Store().folders():
        write_table(tmp_path / folder.name, read_rows(folder))
        assert (tmp_path / folder.name / "SHA256SUMS").read_text() == (folder / "SHA256SUMS").read_text()
