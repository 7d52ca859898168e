import signal

import pytest
import torch

from ..training import team
from ..training.test_parallel import TINY, end, one_device, resumed, same, share

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")
FOUR = pytest.mark.skipif(torch.cuda.device_count() < 4, reason="needs four CUDA GPUs")


@pytest.mark.parametrize(("how", "size"), [("columns", 2), ("data", 2), pytest.param("columns", 4, marks=FOUR)])
def test_several_gpus_are_one(tmp_path, how, size):
    results = team.run(size, tmp_path, share, how, {"alexnet": TINY}, tmp_path, "cuda")
    expected = one_device(TINY, device="cuda")
    for each in results:
        same(each["alexnet"], expected)
        same(each["resumed"], expected)


@pytest.mark.parametrize("how", ["columns", "data"])
def test_a_dead_process_ends_the_other_with_a_checkpoint(tmp_path, how):
    codes, errors = end(2, tmp_path, how, tmp_path, signal.SIGKILL, 0.0, "cuda", watched=[0])
    assert (codes, len(errors)) == ([1], 1)
    assert resumed(tmp_path).step in (2, 3)  # the last may die before the other has all that it saves
