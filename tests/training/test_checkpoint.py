"""Checkpoints: whole or absent, every bit checked, and never code."""

import errno
import os
import pickle
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_repro.common.errors import UserError
from alexnet_repro.training import checkpoint

from ..damage import bent, failing, flipped, one_line

TENSORS = {
    "weights": torch.arange(6, dtype=torch.float32).reshape(1, 2, 3),
    "channels_last": torch.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
    "count": torch.tensor(7, dtype=torch.int64),
    "odd": torch.tensor([float("nan"), -0.0, float("inf"), 5e-324], dtype=torch.float64),
}
VALUES = {"step": 3, "curve": [{"train_loss": None, "train_error": 0.1}], "seconds": 0.1 + 0.2}


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    checkpoint.save(tmp_path / "run", TENSORS, VALUES)
    tensors, values = checkpoint.load(tmp_path / "run")
    assert values == VALUES
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in tensors.items():
        assert (tensor.dtype, tensor.shape) == (TENSORS[name].dtype, TENSORS[name].shape)
        assert bits(tensor) == bits(TENSORS[name])


def test_one_file_takes_the_place_of_the_one_before(tmp_path):
    for step in range(3):
        checkpoint.save(tmp_path / "run", TENSORS, VALUES | {"step": step})
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert checkpoint.load(tmp_path / "run")[1]["step"] == 2
    # Tensors, values and a kilobyte or two of names: no copy of anything.
    held = sum(t.numel() * t.element_size() for t in TENSORS.values())
    assert (tmp_path / "run").stat().st_size < held + 2_000


REWRITE = """
import itertools, sys, torch
from pathlib import Path
from alexnet_repro.training import checkpoint
for step in itertools.count():
    checkpoint.save(Path(sys.argv[1]), {"weights": torch.full((1000,), float(step))}, {"step": step})
"""


def test_a_reader_beside_a_writer_sees_one_file(tmp_path):
    # Not a thread: it would write only where loading lets go of the interpreter.
    path = tmp_path / "run"
    seen = set()
    writer = subprocess.Popen([sys.executable, "-c", REWRITE, str(path)])
    try:
        while not path.is_file():
            assert writer.poll() is None
        while len(seen) < 100:
            assert writer.poll() is None
            tensors, values = checkpoint.load(path)
            assert tensors["weights"].unique() == values["step"]
            seen.add(values["step"])
    finally:
        writer.kill()
        writer.wait()


def refused(path):
    with pytest.raises(UserError, match="is no whole checkpoint: delete it, and the run starts afresh") as error:
        checkpoint.load(path)
    assert str(path) in str(error.value)


def test_a_flipped_bit_is_seen(tmp_path):
    path = tmp_path / "run"
    checkpoint.save(path, TENSORS, VALUES)
    whole = path.read_bytes()
    seen = 0
    for place in range(0, len(whole), 3):
        path.write_bytes(flipped(whole, place))
        try:
            tensors, values = checkpoint.load(path)
        except UserError:
            seen += 1
        else:  # a space of the header's padding: nothing that a run reads
            assert values == VALUES
            assert all(bits(tensors[name]) == bits(tensor) for name, tensor in TENSORS.items())
    assert seen >= len(whole) // 3 - 3


def test_a_truncation_is_seen(tmp_path):
    path = tmp_path / "run"
    checkpoint.save(path, TENSORS, VALUES)
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        refused(path)
    path.write_bytes(whole + b"\0")
    refused(path)


@pytest.mark.parametrize(
    "metadata", [None, {}, {"values": "{", "sha256": ""}, {"values": "{}"}, {"value": "{}"}, {"values": "nonsense"}]
)
def test_another_safetensors_file_is_refused(tmp_path, metadata):
    (tmp_path / "run").write_bytes(safetensors.torch.save({"count": TENSORS["count"]}, metadata=metadata))
    refused(tmp_path / "run")


class Hostile:
    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("write", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_a_pickle_is_refused_and_not_executed(tmp_path, write):
    proof = tmp_path / "executed"
    with (tmp_path / "run").open("wb") as file:
        write(Hostile(proof), file)
    refused(tmp_path / "run")
    assert not proof.exists()
    pickle.loads(pickle.dumps(Hostile(proof)))  # it would have been
    assert proof.exists()


def test_who_reads_it_says_what_mends_it(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(UserError, match=r"run is no whole checkpoint: ask for another$"):
        checkpoint.load(tmp_path / "run", "ask for another")


def test_a_folder_or_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder, and a file belongs there: move it away"):
        checkpoint.load(tmp_path)
    refused(tmp_path / "nothing")


@given(data=st.data())
@settings(max_examples=60)
def test_bent_bytes_are_refused_or_the_same(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bent") / "run"
    checkpoint.save(path, TENSORS, VALUES)
    path.write_bytes(bent(data.draw, path.read_bytes()))
    try:
        assert checkpoint.load(path)[1] == VALUES
    except UserError as error:
        one_line(error)


@pytest.mark.parametrize("values", ["[]", "null", "[" * 10_000, '"text"', "1"])
def test_values_that_are_none(tmp_path, values):
    path = tmp_path / "run"
    path.write_bytes(safetensors.torch.save({"count": TENSORS["count"]}, {"values": values}))
    refused(path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch, call):
    checkpoint.save(tmp_path / "run", TENSORS, VALUES)
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    with pytest.raises(UserError, match="the disk is full"):
        checkpoint.save(tmp_path / "run", TENSORS, VALUES | {"step": 4})
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert checkpoint.load(tmp_path / "run")[1] == VALUES


def test_a_kill_between_write_and_rename_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    # What a killed process leaves: the file beside it, and no rename.
    checkpoint.save(tmp_path / "run", TENSORS, VALUES)
    monkeypatch.setattr(os, "replace", lambda *paths: None)
    monkeypatch.setattr("alexnet_repro.common.files.Path.unlink", lambda *args, **kwargs: None)
    checkpoint.save(tmp_path / "run", TENSORS, VALUES | {"step": 4})
    assert len(list(tmp_path.iterdir())) == 2
    assert checkpoint.load(tmp_path / "run")[1] == VALUES
