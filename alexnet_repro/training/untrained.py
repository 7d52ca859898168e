"""How alike in class neighbours are in the last hidden layer of a network that was never trained: a control for Fig. 4.

``python -m alexnet_repro.training.untrained > data/untrained_neighbours.csv`` writes what the page on features shows.
"""

from collections.abc import Sequence

from ..common.errors import UserError
from ..experiments.config import DeviceConfig, RunConfig
from ..experiments.registry import study
from .features import nearest_neighbour_metrics
from .models.alexnet import AlexNet
from .trainer import Run


def agreement(configs: Sequence[RunConfig]) -> dict[int, float]:
    """Seed -> ``knn_features`` of the network with its initial weights, on the images that a run of it has.

    See ``nearest_neighbour_metrics``. Raises UserError for a network that has no last hidden layer.
    """
    found = {}
    for config in configs:
        run = Run(config, DeviceConfig())
        if not isinstance(run.net, AlexNet):
            raise UserError(f"a net {config.model.net!r} has no last hidden layer: give runs of AlexNet")
        side = config.data.side
        metrics = nearest_neighbour_metrics(run.net, run.train.centre(side), run.test.centre(side))
        found[config.seed] = float(metrics["knn_features"] or 0.0)
    return found


if __name__ == "__main__":
    plan = study("features")
    print("seed,knn_features")
    for seed, share in agreement([plan.config("baseline", seed) for seed in plan.seeds]).items():
        print(f"{seed},{share:.6f}")
