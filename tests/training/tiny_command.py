"""The command with two more studies for tests, "tiny" and "tiny_pair", four steps an epoch, a checkpoint after each.

"tiny_pair" has an arm without two columns.

TINY_PAUSE: seconds that every step takes longer, so that a test can reach into a run.
"""

import os
import sys
import time
from functools import partial

from alexnet_repro import __main__
from alexnet_repro.experiments import config, registry
from alexnet_repro.experiments.study import Study
from alexnet_repro.training import trainer
from alexnet_repro.training.launch import devices
from alexnet_repro.training.parallel import process_group

from ..runs import load_few_test_images
from .test_parallel import TINY


def main():
    arms = {"baseline": {}, "half": {"model.columns": "half"}}
    registry.STUDIES["tiny"] = lambda scale: Study("tiny", "Tiny", TINY, {"baseline": {}}, (0,))
    registry.STUDIES["tiny_pair"] = lambda scale: Study("tiny_pair", "A tiny pair", TINY, arms, (0,))
    devices.COMMAND = [sys.executable, "-m", "tests.training.tiny_command"]
    process_group.DeviceConfig = partial(config.DeviceConfig, checkpoint_seconds=0.0)
    load_few_test_images()
    update, pause = trainer.Run.update, float(os.environ.get("TINY_PAUSE", "0"))

    def slow(run):
        update(run)
        time.sleep(pause)

    trainer.Run.update = slow
    __main__.main()


if __name__ == "__main__":
    main()
