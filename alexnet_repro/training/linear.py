"""A linear classifier of raw pixels (ridge regression), as a baseline for the networks.

``python -m alexnet_repro.training.linear > data/linear_classifier.csv`` writes what the page of the small net shows.
"""

import numpy as np
from numpy.typing import NDArray

from ..experiments.cifar_alexnet import BASELINE
from .data.cifar10 import CLASSES, cifar10
from .data.dataset import Dataset

PENALTIES = tuple(10.0**power for power in range(1, 7))
"""Candidate penalties on squared weights, for pixels from -1 to 1."""
HELD_OUT = 5
"""One in so many training images is used to choose the penalty."""

Floats = NDArray[np.float64]


def classifier(data: Dataset, train_images: int) -> tuple[float, float]:
    """(penalty, test error): ridge regression on the classes, of the first ``train_images``, their mean subtracted.

    The last fifth of them picks the penalty; the weights that are tested are of all.
    """
    images, labels = _pixels(data.train_images[:train_images]), data.train_labels[:train_images]
    own = train_images - train_images // HELD_OUT
    weights = _ridge(images[:own], labels[:own], PENALTIES)
    errors = [_error(each, images[own:], labels[own:]) for each in weights]
    penalty = PENALTIES[int(np.argmin(errors))]
    (chosen,) = _ridge(images, labels, (penalty,))
    return penalty, _error(chosen, _pixels(data.test_images), data.test_labels)


def _pixels(images: NDArray[np.uint8]) -> Floats:
    return images.reshape(len(images), -1) / 127.5 - 1


def _ridge(images: Floats, labels: NDArray[np.uint8], penalties: tuple[float, ...]) -> list[tuple[Floats, Floats]]:
    """(mean image, weights with the bias last) for each penalty; the bias has none."""
    mean = images.mean(axis=0)
    centred, targets = images - mean, np.eye(len(CLASSES))[labels]
    square, right, bias = centred.T @ centred, centred.T @ targets, targets.mean(axis=0)
    eye = np.eye(len(square))
    return [(mean, np.vstack([np.linalg.solve(square + each * eye, right), bias])) for each in penalties]


def _error(fitted: tuple[Floats, Floats], images: Floats, labels: NDArray[np.uint8]) -> float:
    mean, weights = fitted
    return float(np.mean(((images - mean) @ weights[:-1] + weights[-1]).argmax(axis=1) != labels))


if __name__ == "__main__":
    of = BASELINE.data.train_images
    penalty, error = classifier(cifar10(), of)
    print(f"train_images,penalty,test_error\n{of},{penalty:g},{error:.4f}")
