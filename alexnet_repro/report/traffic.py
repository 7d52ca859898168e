"""Tables and a paragraph on model parallelism: bytes sent, multiply-accumulates, published times of a training step.

Bytes and work are counted in networks/cost.py; times are measured by benchmarks/step.py.
"""

import math
import statistics

import pandas as pd
from IPython.display import Markdown

from ..common.markup import escaped
from ..common.text import number
from ..experiments.step_timing import CASES, COMMAND, CPU_COMMAND, HALF, NETS, StepTimes, published, seconds
from ..networks.config import PAPER, AlexNetConfig
from ..networks.cost import SINGLE, bytes_sent, column_layers, data_parallel_bytes, links, multiply_adds
from ..networks.layers import learned_layers
from .format import markdown

MB = 1e6


def volume(config: AlexNetConfig = PAPER, batch: int = 128) -> pd.DataFrame:
    """Multiply-adds of one column in a training step, and bytes that it sends: a row per learned layer and softmax."""
    sent = links(config)
    own = {layer.name: multiply_adds(config, [layer]) for layer in column_layers(config) if layer.learned}
    names = [*own, "softmax"]
    return pd.DataFrame(
        {
            "multiply-accumulates": {name: batch * own.get(name, 0) for name in names},
            "bytes": {name: batch * SINGLE * (1 if name == "softmax" else 2) * sent.get(name, 0) for name in names},
        }
    )


def volume_table(config: AlexNetConfig = PAPER, batch: int = 128) -> pd.DataFrame:
    """``volume`` as rounded text, with the multiply-accumulates per byte."""
    rows = []
    for name, work, sent in volume(config, batch).itertuples():
        rows.append(
            {
                "layer": name,
                "reads": "both columns" if sent else "the image" if name == "conv1" else "its own column",
                "multiply-accumulates of a column (10⁹)": f"{work / 1e9:,.1f}" if work else "",
                "megabytes each way": f"{sent / MB:,.2f}" if sent else "",
                "multiply-accumulates per byte": f"{work / sent:,.0f}" if work and sent else "",
            }
        )
    return pd.DataFrame(rows)


def volume_words(config: AlexNetConfig = PAPER, batch: int = 128) -> Markdown:
    """The bytes of one training step in a paragraph, compared with all layers linked and with data parallelism."""
    ours, data = bytes_sent(config, batch), data_parallel_bytes(config, 2)
    everywhere = sum(math.prod(layer.inputs) for layer in learned_layers(config)[1:]) // 2
    all_linked = batch * SINGLE * (2 * everywhere + config.classes // 2)
    work = multiply_adds(config, column_layers(config)) * batch
    conv = 2 * links(config)["conv3"] * batch * SINGLE
    even = math.ceil(batch * data / ours)
    return Markdown(
        f"In one step on {batch} images, each device sends the other {ours / MB:.1f} MB and receives as much, "
        f"{100 * conv / ours:.0f} % of it for conv3, and computes {work / 1e9:,.0f} billion multiply-accumulates: "
        f"{work / ours:,.0f} for each byte sent. Were every layer linked, it would send {all_linked / MB:.0f} MB, "
        f"{all_linked / ours:.1f} times as much. Data parallel, each device holding the whole net and taking half of "
        f"the batch, it would send {data / MB:.0f} MB of gradients, at any batch size: more than columns do for "
        f"batches below {even:,}."
    )


def times_table(found: StepTimes) -> pd.DataFrame:
    """A row per case of a measurement: median and range of the step's time over the rounds, and images per second."""
    rows = []
    half = seconds(found, HALF)
    for case in CASES:
        own = seconds(found, case)
        if own:
            cpu = [row["cpu_seconds"] for row in found["rows"] if row["case"] == case]
            sent = max(row["bytes_sent"] for row in found["rows"] if row["case"] == case)
            rows.append(
                {
                    "case": case,
                    "ms per step": number(1000 * statistics.median(own)),
                    "range": f"{number(1000 * min(own))} to {number(1000 * max(own))}",
                    "CPU ms per step and process": number(1000 * statistics.median(cpu)),
                    "images per second": number(round(found["batch"] / statistics.median(own))),
                    "of the half net's": f"{statistics.median(half) / statistics.median(own):.2f}×" if half else "",
                    "MB sent per step": f"{sent / MB:.2f}" if sent else "",
                }
            )
    return pd.DataFrame(rows)


def shown(kind: str) -> Markdown:
    """The last published measurement as a table, with machine and date; or the command that measures it."""
    found = published(kind, "two_gpu_time")
    if found is None:
        devices, command = ("two GPUs", COMMAND) if kind == "cuda" else ("two CPU processes", CPU_COMMAND)
        return Markdown(f"*Not measured yet on {devices}:* `{command}` does it.")
    table = times_table(found)
    return Markdown(f"{_words(found)}\n\n{markdown(table, right=list(table.columns[1:]), wide=True)}")


def _words(found: StepTimes) -> str:
    """Machine, date and versions of a measurement, and whether the bytes counted are those derived."""
    derived = bytes_sent(NETS[found["net"]], found["batch"])
    sent = max(row["bytes_sent"] for row in found["rows"])
    rounds = len(seconds(found, HALF))
    counted = f"The {sent:,} bytes that a column counted per step are " + (
        "those derived." if sent == derived else f"**not** the {derived:,} derived."
    )
    return (
        f"*Measured:* {escaped(found['device'])}, {escaped(found['started'][:10])}, PyTorch {escaped(found['torch'])}, "
        f"net *{found['net']}*, "
        f"batch {found['batch']}, {rounds} rounds of {found['steps']} steps; load average "
        f"{found['load_average']} at the start. {counted if sent else ''}"
    )
