"""How alike in class neighbours are in the last hidden layer of a network that was never trained: a control for Fig. 4.

``python -m alexnet_repro.training.untrained > data/untrained_neighbours.csv`` writes what the page on features shows.
"""

from collections.abc import Sequence

from ..common.errors import UserError
from ..experiments.config import DeviceConfig, RunConfig
from ..experiments.registry import study
from .features import nearest_neighbour_metrics
from .in_memory import InMemoryData
from .models.alexnet import AlexNet
from .trainer import Run


def agreement(configs: Sequence[RunConfig]) -> dict[int, float]:
    """Seed -> ``knn_features`` of the network with its initial weights, on the images that a run of it has.

    See ``nearest_neighbour_metrics``. Raises UserError for other networks than AlexNet, and for images on disk.
    """
    found = {}
    for config in configs:
        run = Run(config, DeviceConfig())
        if not isinstance(run.net, AlexNet) or not isinstance(run.data, InMemoryData):
            raise UserError(f"run {config.key} is no AlexNet with its images in memory: give runs of a small AlexNet")
        side = config.data.side
        metrics = nearest_neighbour_metrics(run.net, run.data.train.centre(side), run.data.test.centre(side))
        found[config.seed] = float(metrics["knn_features"] or 0.0)
    return found


if __name__ == "__main__":
    plan = study("features")
    print("seed,knn_features")
    for seed, share in agreement([plan.config("baseline", seed) for seed in plan.seeds]).items():
        print(f"{seed},{share:.6f}")
