"""Decide what has to be done, before doing any of it.

`make_plan` is a pure function of the manifest, what its files are now, the rows of one generation and
the places of the features already there. ``--dry-run`` prints a plan; `stages.extract` carries it
out. Everything is decided column by column: a million utterances cost seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.generation import (
    GONE,
    LIVE,
    NOT_LABELS,
    QUARANTINED,
    REPLACED,
)
from features_cache.keys import CLEAN
from features_cache.lookup import positions
from stages.plan_columns import (
    Was,
    as_rows,
    names_of,
    place_rows,
    same_columns,
    with_keys,
)

CHANGES = ("new", "changed", "renamed", "relabelled", "skipped", "retried", "quarantined")
"""What a plan says of each row of the manifest, besides the utterances that are gone."""

TRANSIENT = frozenset(
    {
        "io",
        "memory",
        "changed_during_run",
        "missing",
        "permission",
        "not_a_file",
        "empty",
        "damaged",
    }
)
"""Reasons that are not in the bytes and may have passed by the next run: tried again then.

A file that could be hashed and then not be opened was there, whatever the reason says.
"""

PENDING = "pending"

VANISHED = ("missing", "not_a_file", "empty", "permission", "io")
"""Reasons under which a file that was there is out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One utterance whose features have to be made.

    Attributes
    ----------
    key : content key
    utterance_id, view : hints for whoever reads the shard
    path : absolute path of the audio file
    start, end : seconds in the file; `end` is NaN for the end of the file
    size, mtime_ns : the file as it was when it was hashed
    """

    key: str
    utterance_id: str
    view: str
    path: str
    start: float
    end: float
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an extraction is going to do.

    Attributes
    ----------
    rows : the manifest's rows with `PLACE_COLUMNS` and ``change`` (one of `CHANGES`), index 0, 1, ...
        ``status`` is ``pending`` where features have yet to be made.
    before : what the generation says of rows that get other features, or none any more, with the
        index of those; an utterance that is not reached stays as it was
    carried : rows of the generation that stay as they are: other corpora, and tombstones
    gone : ids of the utterances that have left the manifest since the generation
    n_known : utterances of these corpora that had features
    n_vanished : those of them that are gone now, or whose file is out of reach and was not before
    pending : what has to be extracted, each key once: the columns of `Item`
    newly_bad : ids of utterances whose file cannot be read, and could (or was unknown) before
    is_news : whether anything differs from the generation
    """

    rows: pd.DataFrame
    before: pd.DataFrame
    carried: pd.DataFrame
    gone: tuple[str, ...]
    n_known: int
    n_vanished: int
    pending: pd.DataFrame
    newly_bad: frozenset[str]
    is_news: bool

    def count(self, change: str) -> int:
        """Count the manifest's rows of one kind of change."""
        return int((self.rows["change"] == change).sum())

    def ids(self, change: str, limit: int | None = None) -> list[str]:
        """Ids of the manifest's rows of one kind of change, the first `limit` of them."""
        ids = self.rows.loc[self.rows["change"] == change, "utterance_id"].iloc[:limit]
        return list(ids)

    def items(self, first: int = 0, last: int | None = None) -> Iterator[Item]:
        """Go through `pending`, from one row to another, an item at a time."""
        part = self.pending.iloc[first:last]
        for row in zip(*(part[name].tolist() for name in part), strict=True):
            yield Item(**dict(zip(part.columns, row, strict=True)))


def make_plan(
    manifest: pd.DataFrame,
    paths: pd.Series,
    states: pd.DataFrame,
    known: pd.DataFrame,
    places: pd.DataFrame,
    *,
    retry_quarantined: bool = False,
    elsewhere: pd.DataFrame | None = None,
) -> Plan:
    """Compare a manifest with a generation.

    Parameters
    ----------
    manifest : a validated manifest, or the part of one that is to be done here
    paths : absolute path of each row's audio file
    states : what each of those files is now: the columns of `FileState`
    known : rows of the store's newest generation
    places : where features are: ``key, shard, row_start, row_end``
    retry_quarantined : try again what failed before, whatever the reason
    elsewhere : the manifest's other rows; what is known of them stays as it is

    Returns
    -------
    Plan
        Nothing has been done yet.
    """
    rows, known = same_columns(as_rows(manifest, states), known)
    is_mine = _is_mine(known, rows, elsewhere)
    was = Was(known, is_mine, rows)
    rows = place_rows(with_keys(rows, was), places)
    leaving, others = was.left_over(), known[~is_mine]
    left_keys = pd.concat([leaving["key"], _keys_of_old_names(others, rows)])
    rows = _decided(rows, states, was, left_keys, retry=retry_quarantined)
    newly_bad = rows["status"] == QUARANTINED
    newly_bad &= ~(was.equals("status", rows["status"]) & was.equals("reason", rows["reason"]))
    is_away = newly_bad & rows["reason"].isin(VANISHED) & (was.column("status") == LIVE)
    lost = leaving[positions(leaving["key"], rows["key"]) < 0]
    kept = _still_apart(others, rows)
    is_same = leaving.empty and was.equals_all(rows)
    return Plan(
        rows=rows,
        before=was.rows((rows["status"] == PENDING) | newly_bad | ~was.equals("key", rows["key"])),
        carried=pd.concat(
            [kept, lost.assign(status=GONE, reason="", message="")], ignore_index=True
        ),
        gone=tuple(leaving.loc[positions(leaving["key"], _heirs(rows, was)) < 0, "utterance_id"]),
        n_known=int((known.loc[is_mine, "status"] == LIVE).sum()),
        n_vanished=int(is_away.sum()) + int((lost["status"] == LIVE).sum()),
        pending=_pending(rows, paths, states),
        newly_bad=frozenset(rows.loc[newly_bad, "utterance_id"]),
        is_news=not is_same,
    )


def _is_mine(
    known: pd.DataFrame, rows: pd.DataFrame, elsewhere: pd.DataFrame | None
) -> NDArray[np.bool_]:
    """Mark the known rows that the manifest speaks for."""
    is_live_name = (known["status"] != GONE) & known["corpus"].isin(rows["corpus"].unique())
    is_mine = np.array(is_live_name, bool)
    if elsewhere is not None and len(known):
        is_mine &= positions(names_of(known), names_of(elsewhere.assign(view=CLEAN))) < 0
    return is_mine


def _decided(
    rows: pd.DataFrame,
    states: pd.DataFrame,
    was: Was,
    left_keys: pd.Series,
    *,
    retry: bool,
) -> pd.DataFrame:
    """Say of every row what has happened to it, and what is to become of it."""
    failed = (states["code"] != "").to_numpy(bool)
    there = (rows["shard"] != "").to_numpy(bool)
    known, same_key = was.is_known, was.equals("key", rows["key"])
    reason, message = was.column("reason"), was.column("message")
    is_given_up = (was.column("status") == QUARANTINED) & ~reason.isin(TRANSIENT)
    is_given_up = is_given_up.to_numpy(bool) & same_key & (not retry)
    cases = (
        (failed, "quarantined", QUARANTINED),
        (there & ~known & (positions(rows["key"], left_keys) >= 0), "renamed", LIVE),
        (there & ~known, "skipped", LIVE),
        (there & ~same_key, "changed", LIVE),
        (there & ~was.equals("file", rows["file"]), "renamed", LIVE),
        (there & ~_same_labels(rows, was), "relabelled", LIVE),
        (there, "skipped", LIVE),
        (~known, "new", PENDING),
        (~same_key, "changed", PENDING),
        (is_given_up, "quarantined", QUARANTINED),
    )
    conditions, changes, statuses = zip(*cases, strict=True)
    settled = there | ~known | ~same_key
    texts = {
        "change": np.select(conditions, changes, "retried"),
        "status": np.select(conditions, statuses, PENDING),
        "reason": reason.where(~settled, "").where(~failed, states["code"]),
        "message": message.where(~settled, "").where(~failed, states["message"]),
    }
    return rows.assign(**{name: pd.Series(text, dtype="str") for name, text in texts.items()})


def _same_labels(rows: pd.DataFrame, was: Was) -> NDArray[np.bool_]:
    is_same = np.ones(len(rows), bool)
    for name in rows.columns.difference(list(NOT_LABELS)):
        is_same &= was.equals(name, rows[name])
    return is_same


def _keys_of_old_names(others: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Keys of tombstones whose name is not in use again."""
    tombs = others[(others["status"] == GONE) & (others["file"] != "")]
    return tombs.loc[positions(names_of(tombs), names_of(rows)) < 0, "key"]


def _heirs(rows: pd.DataFrame, was: "Was") -> pd.Series:
    """Keys of rows whose name is new: what has left may live on there."""
    return rows.loc[~was.is_known & (rows["key"] != ""), "key"]


def _still_apart(others: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out what the manifest's rows stand for now.

    That is: tombstones whose content is in use again, and rows that a store was rebuilt with, which
    know no file: theirs is the manifest's utterance of that content. One of that name and of other
    content has the place of its earlier bytes.
    """
    is_tomb = others["status"] == GONE
    is_bare = ~is_tomb & (others["file"] == "")
    is_used = positions(others["key"], rows["key"]) >= 0
    is_named = is_bare & (positions(others["utterance_id"], rows["utterance_id"]) >= 0)
    if is_named.any():
        texts = {"status": GONE, "reason": REPLACED, "message": ""}
        others = others.assign(
            **{name: others[name].mask(is_named, text) for name, text in texts.items()}
        )
    return others[~((is_tomb | is_bare) & is_used)]


def _pending(rows: pd.DataFrame, paths: pd.Series, states: pd.DataFrame) -> pd.DataFrame:
    which = rows.index[rows["status"] == PENDING]
    found = rows.loc[which, ["key", "utterance_id", "view", "start", "end"]].assign(
        path=paths.to_numpy(object)[which],
        size=states["size"].to_numpy()[which],
        mtime_ns=states["mtime_ns"].to_numpy()[which],
    )
    return found[~found["key"].duplicated()].reset_index(drop=True)
