"""Decide what has to be done, before doing any of it.

`make_plan` is a pure function of the manifest, what its files are now, the views that are asked for,
the rows of one generation and the places of the features already there. ``--dry-run`` prints a plan; `stages.extract` carries it
out. Everything is decided column by column: a million utterances cost seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.generation import (
    GONE,
    LIVE,
    QUARANTINED,
    REPLACED,
)
from features_cache.keys import CLEAN
from features_cache.lookup import joined, positions
from stages.decisions import CHANGES, PENDING, TRANSIENT, decided, with_their_utterance
from stages.frontend.views.view import View
from stages.plan_columns import (
    Was,
    as_rows,
    names_of,
    place_rows,
    same_columns,
    with_keys,
)
from stages.view_rows import ViewRows, view_rows

__all__ = ["CHANGES", "PENDING", "TRANSIENT", "Item", "Plan", "make_plan"]

VANISHED = ("missing", "not_a_file", "empty", "permission", "io")
"""Reasons under which a file that was there is out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One utterance whose features have to be made, through one view.

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
    rows : the manifest's rows, once a view, with `PLACE_COLUMNS` and ``change`` (one of `CHANGES`);
        the index ascends. ``status`` is ``pending`` where features have yet to be made.
    before : what the generation says of rows that get other features, or none any more, with the
        index of those; an utterance that is not reached stays as it was
    carried : rows of the generation that stay as they are: other corpora, and tombstones; views that
        nobody can make again, and tombstones of those that their utterance has outgrown
    gone : ids of the utterances that have left the manifest since the generation
    n_known : utterances of these corpora that had features
    n_vanished : those of them that are gone now, or whose file is out of reach and was not before
    pending : what has to be extracted, each key once, `clean` first: the columns of `Item`
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
        """Count the manifest's utterances of one kind of change, whatever their views."""
        return len(self._changed(change))

    def ids(self, change: str, limit: int | None = None) -> list[str]:
        """Ids of the manifest's utterances of one kind of change, the first `limit` of them."""
        return list(self._changed(change).iloc[:limit])

    def _changed(self, change: str) -> pd.Series:
        is_clean = self.rows["view"] == CLEAN
        return self.rows.loc[is_clean & (self.rows["change"] == change), "utterance_id"]

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
    views: Sequence[View] = (View(),),
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
    views : that are asked for, from `stages.frontend.views.table.views`
    retry_quarantined : try again what failed before, whatever the reason
    elsewhere : the manifest's other rows; what is known of them stays as it is

    Returns
    -------
    Plan
        Nothing has been done yet.
    """
    rows, known = same_columns(as_rows(manifest, states), known)
    is_mine = _is_mine(known, rows, elsewhere)
    seen = view_rows(rows, known, is_mine, {view.name: view.text for view in views})
    states, paths = seen.taken(states), seen.taken(paths.to_frame("path"))["path"]
    was = Was(known, is_mine, seen.rows)
    rows, is_frozen = with_keys(seen.rows, was, seen.texts, seen.is_asked)
    rows = place_rows(rows, places)
    leaving, others = was.left_over(), known[~is_mine]
    left_keys = pd.concat([leaving["key"], _keys_of_old_names(others, rows)])
    rows = decided(rows, states, was, left_keys, retry=retry_quarantined)
    rows = with_their_utterance(rows, seen)
    is_bad = _is_newly_bad(rows, was)
    before = was.rows((rows["status"] == PENDING) | is_bad | ~was.equals("key", rows["key"]))
    is_dropped = _is_dropped(rows, seen, is_frozen)
    outgrown, frozen = was.rows(is_dropped & ~is_frozen), was.rows(is_dropped & is_frozen)
    is_news = len(leaving) > 0 or not was.equals_all(rows, is_dropped & is_frozen)
    is_away = is_bad & rows["reason"].isin(VANISHED) & (was.column("status") == LIVE)
    rows = rows[~is_dropped]
    is_clean = rows["view"] == CLEAN
    return Plan(
        rows=rows,
        before=before,
        carried=_carried(others, leaving, outgrown, frozen, rows),
        gone=_gone(leaving, rows, was),
        n_known=_n_utterances(known[is_mine]),
        n_vanished=int((is_away[~is_dropped] & is_clean).sum())
        + _n_utterances(_unused(leaving, rows)),
        pending=_pending(rows, paths, states),
        newly_bad=frozenset(rows.loc[is_bad[~is_dropped] & is_clean, "utterance_id"]),
        is_news=is_news,
    )


def _is_newly_bad(rows: pd.DataFrame, was: Was) -> pd.Series:
    is_known = was.equals("status", rows["status"]) & was.equals("reason", rows["reason"])
    return (rows["status"] == QUARANTINED) & ~is_known


def _is_dropped(
    rows: pd.DataFrame, seen: ViewRows, is_frozen: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Mark rows of views that nobody has asked for and that are not made: new, outgrown, frozen."""
    is_idle = (rows["status"] == PENDING).to_numpy(bool) & ~seen.is_asked
    is_unmade = rows["change"].isin(("new", "changed")).to_numpy(bool)
    return np.asarray(is_idle & (is_unmade | is_frozen), bool)


def _carried(
    others: pd.DataFrame,
    leaving: pd.DataFrame,
    outgrown: pd.DataFrame,
    frozen: pd.DataFrame,
    rows: pd.DataFrame,
) -> pd.DataFrame:
    """Put together what the generation keeps besides the manifest's rows."""
    outgrown = _unused(outgrown[outgrown["shard"] != ""], rows)
    kept = [
        _still_apart(others, rows),
        _unused(leaving, rows).assign(status=GONE, reason="", message=""),
        outgrown.assign(status=GONE, reason=REPLACED, message=""),
        frozen,
    ]
    return pd.concat([each for each in kept if len(each)] or kept[:1], ignore_index=True)


def _unused(before: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Leave of earlier rows those whose features no row has."""
    return before[positions(before["key"], rows["key"]) < 0]


def _gone(leaving: pd.DataFrame, rows: pd.DataFrame, was: Was) -> tuple[str, ...]:
    leaving = leaving[leaving["view"] == CLEAN]
    return tuple(leaving.loc[positions(leaving["key"], _heirs(rows, was)) < 0, "utterance_id"])


def _n_utterances(rows: pd.DataFrame) -> int:
    """Count those that have features of the sound as it is."""
    return int(((rows["status"] == LIVE) & (rows["view"] == CLEAN)).sum())


def _is_mine(
    known: pd.DataFrame, rows: pd.DataFrame, elsewhere: pd.DataFrame | None
) -> NDArray[np.bool_]:
    """Mark the known rows that the manifest speaks for."""
    is_live_name = (known["status"] != GONE) & known["corpus"].isin(rows["corpus"].unique())
    is_mine = np.array(is_live_name, bool)
    if elsewhere is not None and len(known):
        theirs = joined(elsewhere["corpus"], elsewhere["utterance_id"])
        is_mine &= positions(joined(known["corpus"], known["utterance_id"]), theirs) < 0
    return is_mine


def _keys_of_old_names(others: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Keys of tombstones whose name is not in use again."""
    tombs = others[(others["status"] == GONE) & (others["file"] != "")]
    return tombs.loc[positions(names_of(tombs), names_of(rows)) < 0, "key"]


def _heirs(rows: pd.DataFrame, was: "Was") -> pd.Series:
    """Keys of rows whose name is new: what has left may live on there."""
    is_new = ~was.is_known[rows.index.to_numpy()]
    return rows.loc[is_new & (rows["key"] != "").to_numpy(bool), "key"]


def _still_apart(others: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out what the manifest's rows stand for now.

    That is: tombstones whose content is in use again, and rows that a store was rebuilt with, which
    know no file: theirs is the manifest's utterance of that content. One of that name and of other
    content has the place of its earlier bytes.
    """
    is_tomb = others["status"] == GONE
    is_bare = ~is_tomb & (others["file"] == "")
    is_used = positions(others["key"], rows["key"]) >= 0
    names, views = others["utterance_id"], rows["view"].unique()
    is_named = is_bare & (positions(names, rows["utterance_id"]) >= 0) & others["view"].isin(views)
    if is_named.any():
        texts = {"status": GONE, "reason": REPLACED, "message": ""}
        others = others.assign(
            **{name: others[name].mask(is_named, text) for name, text in texts.items()}
        )
    return others[~((is_tomb | is_bare) & is_used)]


def _pending(rows: pd.DataFrame, paths: pd.Series, states: pd.DataFrame) -> pd.DataFrame:
    which = rows.index[rows["status"] == PENDING].to_numpy()
    found = rows.loc[which, ["key", "utterance_id", "view", "start", "end"]].assign(
        path=paths.to_numpy(object)[which],
        size=states["size"].to_numpy()[which],
        mtime_ns=states["mtime_ns"].to_numpy()[which],
    )
    return found[~found["key"].duplicated()].reset_index(drop=True)
