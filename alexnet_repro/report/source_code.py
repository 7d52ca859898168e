"""The page "Paper against source": tables and sentences on data/unsaid.toml."""

import pandas as pd
from IPython.display import Markdown

from ..paper.source_code import PRESETS, Row, follows, rows, value
from .cards import to_markdown

TREE = "https://github.com/computerhistory/AlexNet-Source-Code/blob/2f8b81f76470bf873c865754ad8f4a5e0dbbeb7b"


def differences() -> pd.DataFrame:
    """A row per item: section, paper, source."""
    return pd.DataFrame(
        {
            "item": row.item,
            "§": row.section,
            "the source": {"same": "agrees", "differs": "differs", "silent": "fills a gap"}[row.says],
            "the paper says": row.paper,
            "net 145 of the source": row.source,
        }
        for row in rows()
    )


def presets() -> pd.DataFrame:
    """Of every item that a field of the network answers: the field, and each preset's value, read from the presets."""
    return pd.DataFrame(
        {
            "item": row.item,
            "field": row.field,
            **{f"{name} preset": _follower(row, name) for name in PRESETS},
        }
        for row in rows()
        if row.of_network
    )


def places() -> Markdown:
    """Where in the source each item was read, with links to the files at that commit."""
    listed = [{"item": row.item, "place in the source": "; ".join(map(_linked, row.places))} for row in rows()]
    return to_markdown(pd.DataFrame(listed))


def words() -> Markdown:
    """How far the paper describes the network that was run."""
    every = rows()
    same, differs, silent = (sum(row.says == word for row in every) for word in ("same", "differs", "silent"))
    fields = [row for row in every if row.of_network]
    paper, source = ([follows(row, name) for row in fields] for name in ("paper", "source"))
    silent_fields = [(row.item, side) for row, side in zip(fields, paper, strict=True) if row.says == "silent"]
    taken = [item for item, side in silent_fields if side == "source"]
    own = [item for item, side in silent_fields if side == "neither"]
    return Markdown(
        f"Of the {len(every)} items below, the source does in {same} what the paper says; in {differs} it does "
        f"otherwise, or more; in {silent} the paper is silent. {len(fields)} are answered by a field of the network. "
        f"There the source preset follows the source {sum(side in ('both', 'source') for side in source)} times, and "
        f"the paper preset follows the paper {sum(side in ('both', 'paper') for side in paper)} times. Where the "
        f"paper is silent, the paper preset takes from the source: {', '.join(taken) or 'nothing'}; it goes its own "
        f"way in: {', '.join(own) or 'nothing'}."
    )


def _follower(row: Row, preset: str) -> str:
    side = follows(row, preset)
    words = {"both": "as both", "paper": "as the paper", "source": "as the source", "neither": "its own"}
    return f"{value(PRESETS[preset], row.field or '')} ({words[side]})"


def _linked(place: str) -> str:
    path, _, rest = place.partition(" ")
    comma = "," if path.endswith(",") else ""
    path = path.rstrip(",")
    return f"[{path}]({TREE}/{path}){comma} {rest}".strip()
