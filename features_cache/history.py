"""What has happened to one utterance, generation by generation."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from features_cache.generation import (
    GONE,
    LIVE,
    PLACE_COLUMNS,
    QUARANTINED,
    REPLACED,
    Generation,
    GenerationError,
    numbers,
    read_generation,
)
from features_cache.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of one utterance.

    Attributes
    ----------
    generation, created : the one that was the first to say so, and when it was published
    what : in words
    """

    generation: int
    created: str
    what: str


def history(store: Store, row: pd.Series) -> Iterator[Event]:
    """Go through everything that the generations on disk say of an utterance, oldest first.

    Parameters
    ----------
    store : any generation of it
    row : one row of it, whose corpus, utterance_id and view say who is meant
    """
    before = None
    for number in numbers(store.generations_folder):
        try:
            generation = read_generation(store.generations_folder, number)
            now = _row_of(generation, row)
        except GenerationError:  # `verify` tells of it
            continue
        what = _change(before, now)
        if what:
            yield Event(generation=number, created=generation.created, what=what)
        before = now


def _row_of(generation: Generation, row: pd.Series) -> pd.Series | None:
    rows = generation.find(row["utterance_id"])
    rows = rows[(rows["view"] == row["view"]) & (rows["reason"] != REPLACED)]
    rows = rows[rows["corpus"] == row["corpus"]]
    return None if rows.empty else rows.iloc[0]


def _change(before: pd.Series | None, now: pd.Series | None) -> str:
    """Say what has happened between two generations; empty if nothing has."""
    if now is None:
        return "" if before is None else "its row was dropped"
    if now["status"] == GONE:
        return "" if before is not None and before["status"] == GONE else "left the manifest"
    if now["status"] == QUARANTINED:
        is_same = before is not None and before["reason"] == now["reason"]
        return "" if is_same else f"quarantined: {now['reason']}: {now['message']}"
    if before is None:
        return "new: extracted"
    if before["key"] != now["key"]:
        return "other bytes: extracted again"
    if before["status"] != LIVE:
        return "back, its features were there" if before["shard"] else "extracted"
    return _small_change(before, now)


def _small_change(before: pd.Series, now: pd.Series) -> str:
    if before["file"] != now["file"]:
        return f"its file was {before['file']!r}"
    if before["shard"] != now["shard"]:
        return f"its features were moved from shard {before['shard']}"
    labels = [name for name in now.index if name not in PLACE_COLUMNS]
    is_same = all(str(before.get(name, "")) == str(now[name]) for name in labels)
    return "" if is_same else "other labels"
