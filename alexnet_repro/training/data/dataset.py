"""Dataset: images and labels in memory, for training and for testing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.uint8]


@dataclass(frozen=True)
class Dataset:
    """Images (n, 3, side, side) uint8 and labels (n,) uint8 for training and testing. digest: SHA-256 of all."""

    train_images: Records
    train_labels: Records
    test_images: Records
    test_labels: Records
    digest: str
