"""Runs whose rounding is too small to see, and how far rounding moves a run: what tests of training compare with.

Training in single precision is no arithmetic: sums are added up in an order that depends on processor, library, threads
and device, and what differs in the last bit grows from step to step. In ten steps of the nets here by a factor of some
thousands: 1.5e-4 of a loss was seen, of 6e-8. In double precision the same factor makes less than 1e-12 of 1.1e-16.
What jumps, where two numbers that rounding can't tell apart change places, is as much rarer.
"""

import math

import torch

from alexnet_repro.analysis.statistics import prediction_interval
from alexnet_repro.common.rng import torch_stream
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.training.trainer import Run

SEEN = 1e-9
"""Relative, of a number after some steps in double precision: ten million times its rounding unit, where a factor of a
few thousand was seen. A change of the recipe moves more, and no order of sums does; single's own unit is 6e-8."""
SINGLE = 2.0**-24
"""Half the distance of 1 to its neighbour: what rounding to single precision changes at most, relative."""
HALF = 2.0**-9
"""The same of bfloat16."""


class InDouble:
    """Makes of a kind of run one that computes in double precision: ``class Double(InDouble, Run)``."""

    def build(self):
        return super().build().double()

    def batch(self, part):
        inputs, labels = super().batch(part)
        return inputs.double(), labels


class Double(InDouble, Run):
    """A run on one device in double precision."""


def losses(run, steps):
    """The loss of each of so many steps, summed over its batch."""
    found = []
    for _ in range(steps):
        before = run.loss.item()
        run.update()
        found.append(run.loss.item() - before)
    return found


def moved(config, steps, unit, number, kind=Run):
    """The losses of a run whose weights are multiplied by 1 + unit or 1 - unit at random before each step, a draw."""
    run, found = kind(config, DeviceConfig()), []
    for step in range(steps):
        chance = torch_stream(config.seed, "moved", number, step)
        with torch.no_grad():
            for weights in run.net.parameters():
                signs = 2.0 * torch.randint(2, weights.shape, generator=chance) - 1.0
                weights.mul_(1 + unit * signs)
        found += losses(run, 1)
    return found


def around(config, steps, draws=6):
    """Where the sum of the losses of a run in bfloat16 lies, however its sums are rounded: a 99.9 % interval.

    What rounding makes of them is measured: by draws of runs whose weights are moved by a unit of bfloat16 before each
    step, which is about what rounding a layer's outputs does.
    """
    sums = [sum(moved(config, steps, HALF, number)) for number in range(draws)]
    return prediction_interval(sums, 0.999)


def longest_sum(config):
    """The most terms that a number of a step is the sum of: of a bias of conv1, images times places."""
    return config.optimizer.batch_size * config.data.side**2


def single_tolerance(config, expected, steps, draws=4):
    """How far a run in single precision may lie from ``expected``, the losses of the run in double, step by step.

    Rounding errors of a sum of n terms add up like a random walk: to about sqrt(n) units of the sum of their sizes. So
    each step leaves the weights with errors of at most about sqrt(n) units; most sums are shorter, and the weights'
    steps are small beside the weights. What the losses make of it, also where an activation close to 0 changes its sign
    or two in a pooling window change places, is measured in double precision: weights moved by sqrt(n) units before
    every step, the largest of some draws, and of the steps so far. The sum of a loss itself adds sqrt(n) units.
    """
    unit = SINGLE * math.sqrt(longest_sum(config))
    worst, tolerance = 0.0, []
    found = [moved(config, steps, unit, number, Double) for number in range(draws)]
    for step, loss in enumerate(expected):
        worst = max([worst, *(abs(each[step] - loss) / loss for each in found)])
        tolerance.append((worst + unit) * loss)
    return tolerance
