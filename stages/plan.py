"""Decide what has to be done, before doing any of it.

`make_plan` is a pure function of the manifest, what its files are now, one generation and the places
of the features already there. ``--dry-run`` prints a plan; `stages.extract` carries it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from features_cache.audio_hashes import FileState
from features_cache.generation import GONE, LIVE, PLACE_COLUMNS, QUARANTINED, Generation
from features_cache.keys import CLEAN, content_key
from features_cache.store import Place

CHANGES = ("new", "changed", "renamed", "relabelled", "skipped", "retried", "quarantined")
"""What a plan says of each row of the manifest, besides the utterances that are gone."""

TRANSIENT = frozenset(
    {"io", "memory", "changed_during_run", "missing", "permission", "not_a_file", "empty"}
)
"""Reasons that are not in the bytes and may have passed by the next run: tried again then.

A file that could be hashed and then not be opened was there, whatever the reason says.
"""

PENDING = "pending"


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
    rows : the manifest's rows with `PLACE_COLUMNS` and ``change`` (one of `CHANGES`)
        ``status`` is ``pending`` where features have yet to be made.
    carried : rows of the generation that stay as they are: other corpora, and tombstones
    gone : ids of the utterances that have left the manifest since the generation
    n_known : utterances of these corpora that the generation had, gone ones not counted
    items : what has to be extracted, each key once
    newly_bad : ids of utterances whose file cannot be read, and could (or was unknown) before
    """

    rows: pd.DataFrame
    carried: pd.DataFrame
    gone: tuple[str, ...]
    n_known: int
    items: tuple[Item, ...]
    newly_bad: frozenset[str]

    def count(self, change: str) -> int:
        """Count the manifest's rows of one kind of change."""
        return int((self.rows["change"] == change).sum())

    def ids(self, change: str) -> list[str]:
        """Ids of the manifest's rows of one kind of change."""
        ids: list[str] = self.rows.loc[self.rows["change"] == change, "utterance_id"].tolist()
        return ids


class _Known(NamedTuple):
    """One row of the generation, as far as a decision needs it."""

    key: str
    status: str
    reason: str
    message: str
    file: str
    labels: tuple[Any, ...]


class _Decision(NamedTuple):
    change: str
    status: str
    reason: str = ""
    message: str = ""


def make_plan(
    manifest: pd.DataFrame,
    paths: Sequence[Path],
    states: Mapping[Path, FileState],
    generation: Generation,
    places: Mapping[str, Place],
    *,
    retry_quarantined: bool = False,
) -> Plan:
    """Compare a manifest with a generation.

    Parameters
    ----------
    manifest : a validated manifest
    paths : absolute path of each row's audio file
    states : what each of those files is now
    generation : the store's newest generation
    places : key -> place of the features that are already there
    retry_quarantined : try again what failed before, whatever the reason

    Returns
    -------
    Plan
        Nothing has been done yet.
    """
    labels = _label_columns(manifest)
    mine = _rows_of_corpora(generation.rows, manifest)
    before = _known_rows(mine, labels)
    rows = _with_keys(manifest, [states[path] for path in paths])
    present = set(zip(rows["corpus"], rows["utterance_id"], strict=True))
    left_behind = {known.key for name, known in before.items() if name not in present}
    decisions = [
        _decide(
            states[path],
            now,
            before.get((corpus, name)),
            has_features=now.key in places,
            was_named=now.key in left_behind,
            retry=retry_quarantined,
        )
        for path, corpus, name, now in zip(
            paths, rows["corpus"], rows["utterance_id"], _rows_as_known(rows, labels), strict=True
        )
    ]
    rows = rows.assign(
        **{name: [getattr(d, name) for d in decisions] for name in _Decision._fields}
    )
    rows = place_rows(_with_old_keys(rows, before), places)
    gone, tombstones = _tombstones(mine, rows)
    others = generation.rows[~generation.rows.index.isin(mine.index)]
    return Plan(
        rows=rows,
        carried=pd.concat([others, tombstones], ignore_index=True),
        gone=tuple(gone),
        n_known=sum(known.status != GONE for known in before.values()),
        items=_items(rows, paths, states),
        newly_bad=_newly_bad(rows, before),
    )


def place_rows(rows: pd.DataFrame, places: Mapping[str, Place]) -> pd.DataFrame:
    """Fill in where each row's features are, for rows whose key has a place."""
    nowhere = Place(shard="", row_start=0, row_end=0)
    found = [places.get(key, nowhere) for key in rows["key"]]
    return rows.assign(
        shard=pd.array([place.shard for place in found], dtype="str"),
        row_start=np.asarray([place.row_start for place in found], np.int64),
        row_end=np.asarray([place.row_end for place in found], np.int64),
    )


def _with_old_keys(rows: pd.DataFrame, before: Mapping[tuple[str, str], _Known]) -> pd.DataFrame:
    """Keep the key of a file that is out of reach: if it comes back as it was, nothing is done."""
    out_of_reach = rows["key"] == ""
    names = zip(rows["corpus"], rows["utterance_id"], strict=True)
    old = [before[name].key if name in before else "" for name in names]
    return rows.assign(key=rows["key"].where(~out_of_reach, pd.array(old, dtype="str")))


def _decide(
    state: FileState,
    now: _Known,
    was: _Known | None,
    *,
    has_features: bool,
    was_named: bool,
    retry: bool,
) -> _Decision:
    if state.code:
        return _Decision("quarantined", QUARANTINED, state.code, state.message)
    if has_features:
        return _Decision(_change_of_known_content(now, was, was_named=was_named), LIVE)
    if was is None:
        return _Decision("new", PENDING)
    if was.key != now.key:
        return _Decision("changed", PENDING)
    if was.status == QUARANTINED and was.reason not in TRANSIENT and not retry:
        return _Decision("quarantined", QUARANTINED, was.reason, was.message)
    return _Decision("retried", PENDING, was.reason, was.message)


def _change_of_known_content(now: _Known, was: _Known | None, *, was_named: bool) -> str:
    if was is None:
        return "renamed" if was_named else "skipped"
    if was.key != now.key:
        return "changed"
    if was.file != now.file:
        return "renamed"
    return "relabelled" if was.labels != now.labels else "skipped"


def _label_columns(manifest: pd.DataFrame) -> list[str]:
    identity = {"utterance_id", "corpus", "file", "start", "end"}
    return [str(column) for column in manifest.columns if column not in identity]


def _rows_of_corpora(rows: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    if rows.empty:
        return rows
    return rows[rows["corpus"].isin(manifest["corpus"].unique())]


def _known_rows(rows: pd.DataFrame, labels: list[str]) -> dict[tuple[str, str], _Known]:
    if rows.empty:
        return {}
    # A column that the manifest has gained reads as empty in older rows.
    rows = rows.assign(**{name: "" for name in labels if name not in rows})
    names = zip(rows["corpus"], rows["utterance_id"], strict=True)
    return dict(zip(names, _rows_as_known(rows, labels), strict=True))


def _rows_as_known(rows: pd.DataFrame, labels: list[str]) -> list[_Known]:
    columns = (rows[name].tolist() for name in ("key", "status", "reason", "message", "file"))
    marks = zip(*(rows[name].tolist() for name in labels), strict=True)
    return [_Known(*row) for row in zip(*columns, marks, strict=True)]


def _with_keys(manifest: pd.DataFrame, states: list[FileState]) -> pd.DataFrame:
    keys = [
        content_key(state.sha256, start, end) if not state.code else ""
        for state, start, end in zip(states, manifest["start"], manifest["end"], strict=True)
    ]
    empty = {name: "" for name, kind in PLACE_COLUMNS.items() if kind == "str"}
    rows = manifest.reset_index(drop=True).assign(**empty, row_start=0, row_end=0)
    return rows.assign(
        view=CLEAN, key=keys, audio_sha256=[state.sha256 for state in states]
    ).astype(PLACE_COLUMNS)


def _tombstones(mine: pd.DataFrame, rows: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """Rows of the generation that the manifest no longer names, without the renamed ones."""
    if mine.empty:
        return [], mine
    named = pd.MultiIndex.from_frame(rows[["corpus", "utterance_id"]])
    left = mine[~pd.MultiIndex.from_frame(mine[["corpus", "utterance_id"]]).isin(named)]
    moved = left["key"].isin(set(rows["key"]) - {""})
    left = left[~moved]
    gone: list[str] = left.loc[left["status"] != GONE, "utterance_id"].tolist()
    return gone, left.assign(status=GONE)


def _items(
    rows: pd.DataFrame, paths: Sequence[Path], states: Mapping[Path, FileState]
) -> tuple[Item, ...]:
    pending = rows[(rows["status"] == PENDING) & ~rows["key"].duplicated()]
    columns = ("key", "utterance_id", "view", "start", "end")
    fields = zip(pending.index, *(pending[name].tolist() for name in columns), strict=True)
    return tuple(
        Item(
            key=key,
            utterance_id=utterance_id,
            view=view,
            path=str(paths[i]),
            start=start,
            end=end,
            size=states[paths[i]].size,
            mtime_ns=states[paths[i]].mtime_ns,
        )
        for i, key, utterance_id, view, start, end in fields
    )


def _newly_bad(rows: pd.DataFrame, before: Mapping[tuple[str, str], _Known]) -> frozenset[str]:
    bad = rows[rows["status"] == QUARANTINED]
    columns = (bad[name].tolist() for name in ("corpus", "utterance_id", "reason"))
    return frozenset(
        name
        for corpus, name, reason in zip(*columns, strict=True)
        if (was := before.get((corpus, name))) is None
        or (was.status, was.reason) != (QUARANTINED, reason)
    )
