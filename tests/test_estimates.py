"""Hours per GPU, from multiply-accumulates that are counted here again by hand."""

import math

import pytest

from alexnet_repro.analysis import gpu_hours
from alexnet_repro.common.errors import UserError

from . import homes

# Per image, forward: outputs x inputs that each sees.
CONV1 = 55 * 55 * 96 * 11 * 11 * 3
REST = (
    27 * 27 * 256 * 5 * 5 * 48 + 13 * 13 * (384 * 9 * 256 + 384 * 9 * 192 + 256 * 9 * 192)
    + 6 * 6 * 256 * 4096 + 4096 * 4096 + 4096 * 1000
)  # fmt: skip


def test_operations_of_a_step():
    # Backward, every layer but the first has two more: for its inputs and for its weights.
    assert gpu_hours.operations(256) == 2 * (2 * CONV1 + 3 * REST)
    assert gpu_hours.operations(128) < gpu_hours.operations(256) / 4


def test_the_share_of_the_papers_run():
    assert gpu_hours.share() == pytest.approx(2 * (2 * CONV1 + 3 * REST) * 208.3 / (2 * 1.58e12))


def test_the_paper_s_gpus_take_the_papers_time():
    rate = 2 * gpu_hours.images_per_second("GTX 580", "single")
    assert gpu_hours.hours(rate) == pytest.approx(6 * 24, rel=0.08)  # 1.2 million images are 1,281,167


def test_a_rate_grows_with_the_data_sheet():
    rates = [gpu_hours.images_per_second(gpu, "single") for gpu in ("T4", "A100")]
    assert rates[1] / rates[0] == pytest.approx(19.5 / 8.1)
    assert math.isnan(gpu_hours.images_per_second("T4", "bf16"))
    with pytest.raises(UserError, match=r"unknown GPU 'TPU': data/gpus.csv has GTX 580"):
        gpu_hours.images_per_second("TPU", "single")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1.58", "fast", "has 'fast' in row 2, column single"),
        ("gpu,year", "gpu,age", "must have the columns gpu, year"),
    ],
)
def test_a_damaged_table_of_gpus_is_one_line(tmp_path, monkeypatch, old, new, said):
    path = homes.make(tmp_path, monkeypatch) / "data" / "gpus.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=said) as error:
        gpu_hours.table()
    assert str(error.value).startswith(f"{path} ")
    assert "git checkout -- " in str(error.value)


def test_the_table_covers_every_gpu_and_says_that_it_estimates():
    table = gpu_hours.table()
    assert list(table["GPU"]) == list(gpu_hours.gpus().index)
    assert table.notna().all(axis=None)
    assert all(source for source in gpu_hours.gpus()["source"])
    assert gpu_hours.words().startswith("**Estimates, not measurements.**")


def test_small_networks_are_measured_on_one_card_and_estimated_on_others():
    table = gpu_hours.small_table().set_index("GPU")
    assert dict(table[""]) == {gpu: "measured" if gpu == "H200" else "estimated" for gpu in gpu_hours.gpus().index}
    assert gpu_hours.small_images_per_second("T4") == pytest.approx(86_000 * 0.32 / 4.8)
    assert gpu_hours.small_images_per_second("H200") == 61_100
    # 40 runs of 24 epochs of 10,000 images
    assert table.loc["H200", "20 pairs, 24 epochs"] == f"{40 * 24 * 10_000 / 61_100 / 60:.1f} min"
