import pytest
import torch

from ..lab import team
from ..lab.test_parallel import TINY, one_device, same, share

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")


@pytest.mark.parametrize("how", ["columns", "data"])
def test_two_gpus_are_one(tmp_path, how):
    results = team.run(2, tmp_path, share, how, {"alexnet": TINY}, tmp_path, "cuda")
    expected = one_device(TINY, device="cuda")
    for each in results:
        same(each["alexnet"], expected)
        same(each["resumed"], expected)
