"""The command with two more studies for tests, "tiny" and "tiny_pair", four steps an epoch, a checkpoint after each.

"tiny_pair" has an arm without two columns.

TINY_PAUSE: seconds that every step takes longer, so that a test can reach into a run.
"""

import os
import sys
import time
from functools import partial

from alexnet_repro import cli, config, studies
from alexnet_repro.lab import datasets, group, processes, training

from .test_parallel import TINY, few


def main():
    arms = {"baseline": {}, "half": {"model.columns": "half"}}
    studies.STUDIES["tiny"] = lambda scale: studies.Study("tiny", "Tiny", TINY, {"baseline": {}}, (0,))
    studies.STUDIES["tiny_pair"] = lambda scale: studies.Study("tiny_pair", "A tiny pair", TINY, arms, (0,))
    processes.COMMAND = [sys.executable, "-m", "tests.lab.tiny_command"]
    group.Placement = partial(config.Placement, checkpoint_seconds=0.0)
    data = few(datasets.sample())
    datasets.load = lambda name: data
    update, pause = training.Run.update, float(os.environ.get("TINY_PAUSE", "0"))

    def slow(run):
        update(run)
        time.sleep(pause)

    training.Run.update = slow
    cli.main()


if __name__ == "__main__":
    main()
