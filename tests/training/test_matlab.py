"""The reader of meta.mat: what scipy reads, and nothing that is not there."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from alexnet_repro.training.data import matlab


def saved(rows, compress=False, **others):
    file = io.BytesIO()
    savemat(file, {**others, "synsets": rows}, do_compression=compress)
    return file.getvalue()


def synsets(count=5):
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("children", "O"), ("height", "O")]
    rows = [(i * 300, f"n{i:08d}", "Été, 夏" * i, np.arange(i), i / 4) for i in range(1, count + 1)]
    return np.array(rows, dtype=fields).reshape(-1, 1)


@pytest.mark.parametrize("compress", [False, True])
def test_it_reads_what_scipy_does(compress):
    content = saved(synsets(), compress, a=np.eye(3), b="text", c=np.array([1 + 2j]))
    theirs = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
    ours = matlab.table(content, "synsets")
    assert len(ours) == len(theirs) == 5
    for row, other in zip(ours, theirs, strict=True):
        for name in ("ILSVRC2012_ID", "WNID", "words", "height"):
            assert row[name] == other[name]


def test_no_such_table():
    with pytest.raises(ValueError, match="no struct array 'synsets'"):
        matlab.table(saved(np.eye(2)), "synsets")
    with pytest.raises(ValueError, match="no struct array 'other'"):
        matlab.table(saved(synsets()), "other")


def test_a_claim_of_billions_of_rows_allots_nothing():
    content = bytearray(saved(synsets(2)))
    at = content.index(np.array([2, 1], "<i4").tobytes())
    content[at : at + 8] = np.array([2**31 - 1, 2**31 - 1], "<i4").tobytes()
    assert len(matlab.table(bytes(content), "synsets")) == 2


def test_a_file_that_unpacks_to_more_than_any_is_refused(monkeypatch):
    monkeypatch.setattr(matlab, "MOST", 1_000)
    with pytest.raises(ValueError, match="too large"):
        matlab.table(saved(synsets(60), compress=True), "synsets")


@given(
    st.sampled_from([saved(synsets(3)), saved(synsets(3), compress=True)]),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), max_size=4),
    st.integers(0, 2_000),
)
def test_flipped_bytes_and_cuts_are_told(content, flips, end):
    spoiled = bytearray(content)
    for at, value in flips:
        spoiled[at % len(spoiled)] = value
    try:
        rows = matlab.table(bytes(spoiled[:end] if end < 1_000 else spoiled), "synsets")
    except ValueError:
        rows = []
    assert len(rows) <= len(content)
    assert all(isinstance(value, str | float) for row in rows for value in row.values())
