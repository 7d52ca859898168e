"""Tables and a paragraph of the page "Paper against source"; paper/source_code.py reads the data, data/unsaid.toml."""

import pandas as pd
from IPython.display import Markdown

from ..paper.source_code import PRESETS, Row, follows, rows, value
from .cards import to_markdown

TREE = "https://github.com/computerhistory/AlexNet-Source-Code/blob/2f8b81f76470bf873c865754ad8f4a5e0dbbeb7b"


def differences() -> pd.DataFrame:
    """A row per item of the network or its training: what the paper says, and what the source of 2012 does."""
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
    """A row per item that is a field of ``AlexNetConfig``, with the value of each preset and whom it follows."""
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
    """A table of the files in the source that show each item, as links to one commit on GitHub."""
    listed = [{"item": row.item, "place in the source": "; ".join(map(_linked, row.places))} for row in rows()]
    return to_markdown(pd.DataFrame(listed))


def words() -> Markdown:
    """How often paper and source agree, and which of the two the presets follow, in a paragraph."""
    every = rows()
    same, differs, silent = (sum(row.says == word for row in every) for word in ("same", "differs", "silent"))
    fields = [row for row in every if row.of_network]
    paper, source = ([follows(row, name) for row in fields] for name in ("paper", "source"))
    silent_fields = [(row.item, side) for row, side in zip(fields, paper, strict=True) if row.says == "silent"]
    taken = [item for item, side in silent_fields if side == "source"]
    own = [item for item, side in silent_fields if side == "neither"]
    return Markdown(
        f"Of the {len(every)} items below, the source does in {same} what the paper says; in {differs} it does "
        f"otherwise, or more; in {silent} the paper is silent. {len(fields)} of the items are settings of the network. "
        f"The source preset follows the source in {sum(side in ('both', 'source') for side in source)} of these, the "
        f"paper preset the paper in {sum(side in ('both', 'paper') for side in paper)}. Where the paper is silent, the "
        f"paper preset takes these from the source: {', '.join(taken) or 'none'}; and has its own setting for these: "
        f"{', '.join(own) or 'none'}."
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
