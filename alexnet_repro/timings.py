"""What two devices send each other beside what they compute, and the published times of a training step on them."""

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Markdown

from . import paths
from .architecture import learned_layers
from .claims import claim
from .communication import SINGLE, bytes_sent, column_layers, data_parallel_bytes, links, multiply_adds
from .networks import CIFAR_ALEXNET, PAPER, AlexNetConfig
from .report import written
from .scorecard import number
from .statistics import paired_ratio

HALF = "half the kernels, one device"
ONE = "two columns, one device"
COLUMNS = "two columns, two devices"
DATA = "data parallel, two devices"
CASES = (HALF, ONE, COLUMNS, DATA)

NETS = {"cifar": CIFAR_ALEXNET, "paper": PAPER}
COMMAND = "python benchmarks/parallel.py --device cuda --publish"
CPU_COMMAND = "python benchmarks/parallel.py --publish"
MB = 1e6


def path(kind: str) -> Path:
    """Where the times measured on "cpu" or "cuda" devices are published."""
    return paths.data() / "benchmarks" / f"parallel-{kind}.json"


def published(kind: str) -> dict[str, Any] | None:
    """The last published measurement; None where there is none."""
    where = path(kind)
    return json.loads(where.read_text()) if where.is_file() else None


def volume(config: AlexNetConfig = PAPER, batch: int = 128) -> pd.DataFrame:
    """Per learned layer, and the softmax: multiply-adds of one column in a step, and bytes that it sends for it."""
    sent = links(config)
    own = {layer.name: multiply_adds(config, [layer]) for layer in column_layers(config) if layer.learned}
    passes = {name: 1 if name == "softmax" else 2 for name in sent}
    return pd.DataFrame(
        {
            "multiply-adds": {name: batch * own.get(name, 0) for name in [*own, "softmax"]},
            "bytes": {name: batch * SINGLE * passes.get(name, 0) * sent.get(name, 0) for name in [*own, "softmax"]},
        }
    )


def volume_table(config: AlexNetConfig = PAPER, batch: int = 128) -> pd.DataFrame:
    """``volume`` in words and rounded, with the ratio."""
    rows = []
    for name, work, sent in volume(config, batch).itertuples():
        rows.append(
            {
                "layer": name,
                "reads": "both columns" if sent else "the image" if name == "conv1" else "its own column",
                "multiply-adds of a column (10⁹)": f"{work / 1e9:,.1f}" if work else "",
                "megabytes each way": f"{sent / MB:,.2f}" if sent else "",
                "multiply-adds per byte": f"{work / sent:,.0f}" if work and sent else "",
            }
        )
    return pd.DataFrame(rows)


def volume_words(config: AlexNetConfig = PAPER, batch: int = 128) -> Markdown:
    """The step's traffic in words, beside that of the two other ways to use two devices."""
    ours, data = bytes_sent(config, batch), data_parallel_bytes(config, 2)
    everywhere = sum(math.prod(layer.inputs) for layer in learned_layers(config)[1:]) // 2
    all_linked = batch * 4 * (2 * everywhere + config.classes // 2)
    work = multiply_adds(config, column_layers(config)) * batch
    conv = 2 * links(config)["conv3"] * batch * 4 if "conv3" in links(config) else 0
    even = math.ceil(batch * data / ours)
    return Markdown(
        f"In one step on {batch} images, each device sends the other {ours / MB:.1f} MB and receives as much, "
        f"{conv / ours:.0%} of it for conv3, and computes {work / 1e9:,.0f} billion multiply-adds: "
        f"{work / ours:,.0f} for each byte sent. Were every layer linked, it would send {all_linked / MB:.0f} MB, "
        f"{all_linked / ours:.1f} times as much. Data parallel, each device holding the whole net and taking half of "
        f"the batch, it would send {data / MB:.0f} MB of gradients, at any batch size: more than columns do for "
        f"batches below {even:,}."
    )


def times_table(found: dict[str, Any]) -> pd.DataFrame:
    """A row per case of a measurement: the median over its rounds, and the range."""
    rows = []
    half = _seconds(found, HALF)
    for case in CASES:
        own = _seconds(found, case)
        if own:
            cpu = [row["cpu_seconds"] for row in found["rows"] if row["case"] == case]
            sent = max(row["bytes_sent"] for row in found["rows"] if row["case"] == case)
            rows.append(
                {
                    "case": case,
                    "seconds per step": number(statistics.median(own)),
                    "range": f"{number(min(own))} to {number(max(own))}",
                    "CPU seconds per step and process": number(statistics.median(cpu)),
                    "images per second": number(found["batch"] / statistics.median(own)),
                    "of the half net's": f"{statistics.median(half) / statistics.median(own):.2f}×",
                    "MB sent per step": f"{sent / MB:.2f}" if sent else "",
                }
            )
    return pd.DataFrame(rows)


def times_words(kind: str) -> Markdown:
    """Where and when the times were measured; or what is missing."""
    found = published(kind)
    if found is None:
        devices, command = ("two GPUs", COMMAND) if kind == "cuda" else ("two CPU processes", CPU_COMMAND)
        return Markdown(f"*Not measured yet on {devices}:* `{command}` does it.")
    derived = bytes_sent(NETS[found["net"]], found["batch"])
    sent = max(row["bytes_sent"] for row in found["rows"])
    rounds = len(_seconds(found, HALF))
    counted = f"The {sent:,} bytes that a column counted per step are " + (
        "those derived." if sent == derived else f"**not** the {derived:,} derived."
    )
    return Markdown(
        f"*Measured:* {found['device']}, {found['started'][:10]}, PyTorch {found['torch']}, net *{found['net']}*, "
        f"batch {found['batch']}, {rounds} rounds of {found['steps']} steps; load average "
        f"{found['load_average']} at the start. {counted if sent else ''}"
    )


def shown(kind: str) -> Markdown:
    """The table of the last measurement; nothing where there is none."""
    found = published(kind)
    if found is None:
        return Markdown("")
    table = times_table(found)
    return written(table, right=list(table.columns[1:]), wide=True)


def time_verdict() -> Markdown:
    """What the published times say of "slightly less time", by the rule of the claim; or that it has not been run."""
    rule = claim("two_gpu_time").measured[0]
    found = published("cuda")
    fast = [] if found is None else _seconds(found, COLUMNS)
    if found is None or found["net"] != "paper" or len(fast) < rule.seeds:
        return Markdown(
            f"**Not run**: the claim speaks of two GPUs of one kind, and no measurement on two is published. On a "
            f"machine that has them, `{COMMAND}` settles it in minutes. {rule.rule}"
        )
    effect = paired_ratio(_seconds(found, HALF), fast)
    held = effect.low >= rule.size
    return Markdown(
        f"On {found['device']}: {effect.estimate:.3f}× ({effect.low:.3f} to {effect.high:.3f}) as many images per "
        f"second on two devices as the half net on one. By the rule: "
        f"**{'reproduced' if held else 'not reproduced'}**. {rule.rule}"
    )


def _seconds(found: dict[str, Any], case: str) -> list[float]:
    return [row["step_seconds"] for row in found["rows"] if row["case"] == case]
