"""What has happened to one utterance, snapshot by snapshot."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from features_cache.numbered import TableError
from features_cache.snapshot import LIVE, OWN_COLUMNS, PENDING, Snapshot
from features_cache.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of one utterance.

    Attributes
    ----------
    snapshot, created : the one that was the first to say so, and when it was published
    what : in words
    """

    snapshot: int
    created: str
    what: str


def last_rows(store: Store, utterance_id: str) -> Iterator[tuple[Snapshot, pd.DataFrame]]:
    """Yield the rows of a name, each corpus' from the newest snapshot on disk that has it there."""
    told: set[str] = set()
    for snapshot, rows in _rows_of(store, reversed(store.snapshots), utterance_id):
        rows = rows[~rows["corpus"].isin(told)]
        told.update(rows["corpus"])
        yield snapshot, rows


def history(store: Store, row: pd.Series) -> Iterator[Event]:
    """Go through everything that the snapshots on disk say of an utterance, oldest first.

    Parameters
    ----------
    store : any snapshot of it
    row : one row of it, whose corpus, utterance_id and view say who is meant
    """
    before = None
    for snapshot, rows in _rows_of(store, store.snapshots, row["utterance_id"], row["view"]):
        rows = rows[rows["corpus"] == row["corpus"]]
        now = None if rows.empty else rows.iloc[0]
        what = _change(before, now)
        if what:
            yield Event(snapshot=snapshot.number, created=snapshot.created, what=what)
        before = now


def _rows_of(
    store: Store, numbers: Iterable[int], utterance_id: str, view: str | None = None
) -> Iterator[tuple[Snapshot, pd.DataFrame]]:
    """Read the rows of one name from those of some snapshots that are whole."""
    for number in numbers:
        try:
            snapshot = store.read_snapshot(number)
            rows = snapshot.rows(utterance_id=utterance_id, view=view)
        except TableError:  # `verify` tells of it
            continue
        yield snapshot, rows


def _change(before: pd.Series | None, now: pd.Series | None) -> str:
    """Say what has happened between two snapshots; empty if nothing has."""
    if now is None:
        return "" if before is None else "left the manifest"
    if before is not None and before["status"] == now["status"] and before["key"] == now["key"]:
        return _small_change(before, now)
    if now["status"] == PENDING:
        return "wanted, not extracted yet"
    if now["status"] != LIVE:
        return f"quarantined: {now['status']}: {now['message']}"
    if before is None:
        return "new: extracted"
    if before["key"] != now["key"]:
        return "other bytes: extracted again"
    return "extracted" if before["status"] == PENDING else "back: its features are there"


def _small_change(before: pd.Series, now: pd.Series) -> str:
    if before["file"] != now["file"]:
        return f"its file was {before['file']!r}"
    labels = [name for name in now.index if name not in OWN_COLUMNS]
    is_same = all(str(before.get(name, "")) == str(now[name]) for name in labels)
    return "" if is_same else "other labels"
