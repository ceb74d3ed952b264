"""Decide what has to be done, before doing any of it: what is wanted minus what exists.

`make_plan` is a pure function. ``--dry-run`` prints a plan; `stages.extract` carries it out. Everything
is decided column by column: a million utterances cost seconds.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features_cache.catalogue import Catalogue
from features_cache.key_columns import BLOCK, NO_KEY, Keys, find_keys, from_arrow, hex_of
from features_cache.keys import CLEAN
from features_cache.lookup import coded
from features_cache.snapshot import LIVE, NOT_LABELS, PENDING, Snapshot
from stages.frontend.decoder import WITHDRAWN
from stages.frontend.views.view import View
from stages.utterance import Utterance
from stages.wanted import Mask, Rows, Wanted, wanted

CHANGES = ("new", "changed", "renamed", "relabelled", "skipped", "retried", "quarantined")
"""What a plan says of each utterance, besides those that are gone."""

RETRIED = CHANGES.index("retried")

VANISHED = ("missing", "not_a_file", "empty", "permission", "io")
"""Reasons under which a file that was there is out of reach."""

Texts = NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Keys that gave no features.

    Attributes
    ----------
    keys : sorted
    code, message : text (n,), why
    """

    keys: Keys
    code: Texts
    message: Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What each wanted row comes to: `LIVE`, `PENDING`, or a reason with a message in words.

    Attributes
    ----------
    status, message : text (n,)
    is_away : bool (n,), rows whose file cannot be read
    has_left : bool (n,), rows that are wanted no more: views that nobody asked for, that an earlier
        revision made, and whose features are there no more
    """

    status: Texts
    message: Texts
    is_away: Mask
    has_left: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an extraction is going to do.

    Attributes
    ----------
    wanted : what the next snapshot is to say
    before : the newest snapshot
    exists : of the catalogue, what counts
    files : ``code`` and ``message`` of each of the manifest's files that is out of reach
    settled : what each wanted row comes to, before anything is done
    is_other : bool (n,), wanted rows whose file's name, times or labels the snapshot before has not, or
        not the same
    change : text (n_utterances,), one of `CHANGES`
    pending : what has to be extracted, each key once, `clean` first: columns as `Utterance`
    gone : ids of the utterances that have left the manifest since the snapshot before
    newly_bad : ids of utterances that have no features, and had some (or were unknown) before
    n_known : utterances of these corpora that had features
    n_vanished : those of them that are gone now, or whose file is out of reach and was not before
    n_withdrawn : rows whose features or reasons do not count any more, since their decoder was mended
    """

    wanted: Wanted
    before: Snapshot
    exists: Catalogue
    files: pd.DataFrame
    settled: Settled
    is_other: Mask
    change: Texts
    pending: pd.DataFrame
    gone: tuple[str, ...]
    newly_bad: frozenset[str]
    n_known: int
    n_vanished: int
    n_withdrawn: int

    def count(self, change: str) -> int:
        """Count the manifest's utterances of one kind of change, whatever their views."""
        return int((self.change == change).sum())

    def ids(self, change: str, limit: int | None = None) -> list[str]:
        """Ids of the manifest's utterances of one kind of change, the first `limit` of them."""
        ids = self.wanted.manifest["utterance_id"]
        return list(ids[self.change == change].iloc[:limit])

    def n_by_view(self) -> dict[str, tuple[int, int]]:
        """Count for every view but `clean` what has to be extracted, and what is there."""
        to_extract = self.pending["view"].value_counts()
        is_there = (self.settled.status == LIVE) & ~self.settled.has_left
        stays = np.bincount(
            self.wanted.view[~self.settled.has_left], minlength=len(self.wanted.views)
        )
        return {
            name: (int(to_extract.get(name, 0)), int((is_there & (self.wanted.view == code)).sum()))
            for code, name in enumerate(self.wanted.views)
            if name != CLEAN and stays[code]
        }

    def utterances(self, first: int = 0, last: int | None = None) -> Iterator[Utterance]:
        """Go through `pending`, from one row to another, an utterance at a time."""
        part = self.pending.iloc[first:last]
        for row in zip(*(part[name].tolist() for name in part), strict=True):
            about = dict(zip(part.columns, row, strict=True))
            yield Utterance(**{**about, "path": Path(about["path"])})


def make_plan(
    manifest: pd.DataFrame,
    paths: pd.Series,
    states: pd.DataFrame,
    before: Snapshot,
    exists: Catalogue,
    *,
    views: Sequence[View] = (View(),),
    retry_quarantined: bool = False,
    elsewhere: pd.DataFrame | None = None,
    withdrawn: Collection[str] = WITHDRAWN,
) -> Plan:
    """Compare what is wanted from now on with what exists.

    Parameters
    ----------
    manifest : a validated manifest, or the part of one that is to be done here
    paths : absolute path of each row's audio file
    states : what each of those files is now: the columns of `FileState`
    before : the store's newest snapshot
    exists : its catalogue, without places that are not on the disk
    views : that are asked for, from `stages.frontend.views.table.views`
    retry_quarantined : try again what failed before, whatever the reason
    elsewhere : the manifest's other rows; what is known of them stays as it is
    withdrawn : revisions of decoders whose features and reasons count as lacking

    Returns
    -------
    Plan
        Nothing has been done yet.
    """
    rows = wanted(manifest, states, before, views, elsewhere)
    is_withdrawn = exists.made_by(withdrawn)
    at = exists.find(rows.key)
    n_withdrawn = int(is_withdrawn[at[at >= 0]].sum())
    counts = ~is_withdrawn
    if retry_quarantined:
        counts &= exists.is_place
    exists = exists.only(counts)
    settled = settle(rows, states, exists)
    then = _Then(rows, before)
    is_moved, is_relabelled = _compared(rows, before)
    is_bad = newly_bad(rows, settled, before)[: len(rows.manifest)]
    return Plan(
        wanted=rows,
        before=before,
        exists=exists,
        files=states[["code", "message"]],
        settled=settled,
        is_other=is_moved | is_relabelled | ~rows.is_same_file,
        change=_changes(rows, settled, then, is_moved, is_relabelled),
        pending=_pending(rows, settled, paths, states),
        gone=then.gone(),
        newly_bad=frozenset(rows.manifest.loc[is_bad, "utterance_id"]),
        n_known=then.n_known(),
        n_vanished=then.n_vanished(settled, is_bad),
        n_withdrawn=n_withdrawn,
    )


def settle(
    rows: Wanted, states: pd.DataFrame, exists: Catalogue, failures: Failures | None = None
) -> Settled:
    """Say what each wanted row comes to, by its file and by what exists of its key.

    Parameters
    ----------
    rows : what is wanted
    states : what each file is: the columns of `FileState`
    exists : of the catalogue, what counts
    failures : keys that failed for a reason that is not in the bytes
    """
    n = len(rows.manifest)
    at = exists.find(rows.key)
    is_known = at >= 0
    is_place = np.zeros(len(at), bool)
    is_place[is_known] = exists.is_place[at[is_known]]
    status = np.array([PENDING, LIVE], object)[is_place.astype(np.int8)]
    message = np.full(len(at), "", object)
    is_reason = is_known & ~is_place
    if is_reason.any():
        status[is_reason] = exists.texts("reason")[at[is_reason]]
        message[is_reason] = exists.texts("message")[at[is_reason]]
    if failures is not None:
        failed = find_keys(rows.key, failures.keys)
        hit = (failed >= 0) & (status == PENDING)
        status[hit], message[hit] = failures.code[failed[hit]], failures.message[failed[hit]]
    code = states["code"].to_numpy(object)
    is_away = (code != "")[rows.at]
    if is_away.any():
        status[is_away] = code[rows.at[is_away]]
        message[is_away] = states["message"].to_numpy(object)[rows.at[is_away]]
    # The bytes that failed as they are would fail once more per view.
    is_hopeless = _is_bad(status[:n])[rows.at] & (status == PENDING)
    status[is_hopeless], message[is_hopeless] = (
        texts[rows.at[is_hopeless]] for texts in (status, message)
    )
    has_left = np.zeros(len(at), bool)
    lost = np.flatnonzero(~rows.is_asked & ~is_place)
    has_left[lost] = rows.keys_now(lost) != rows.key[lost]
    return Settled(status=status, message=message, is_away=is_away, has_left=has_left)


def texts_before(before: Snapshot, name: str, rows: Rows) -> Texts:
    """One column of few different texts, of some rows of a snapshot; empty where the row is -1."""
    found = np.full(len(rows), "", object)
    known = np.flatnonzero(rows >= 0)
    if len(known):
        codes, texts = coded(before.table([name])[name].take(pa.array(rows[known])))
        found[known] = np.array(texts, object)[codes]
    return found


def _is_bad(status: Texts) -> Mask:
    return np.asarray((status != LIVE) & (status != PENDING), bool)


def newly_bad(rows: Wanted, settled: Settled, before: Snapshot) -> Mask:
    """Mark rows without features that had some before, or another reason, or other bytes."""
    is_bad = np.flatnonzero(_is_bad(settled.status))
    is_here = ~settled.is_away[is_bad]
    is_other = texts_before(before, "status", rows.was[is_bad]) != settled.status[is_bad]
    is_other |= is_here & ~rows.is_same_key[is_bad]
    found = np.zeros(len(rows.at), bool)
    found[is_bad] = is_other
    return found


class _Then:
    """What the snapshot before says of these corpora's utterances, each as `clean`."""

    def __init__(self, rows: Wanted, before: Snapshot) -> None:
        n = len(rows.manifest)
        self._rows = rows
        self.was = rows.was[:n]
        self.status = texts_before(before, "status", self.was)
        left = rows.left[texts_before(before, "view", rows.left) == CLEAN]
        self._left_ids = texts_before(before, "utterance_id", left)
        self._is_left_live = texts_before(before, "status", left) == LIVE
        self.left_keys = from_arrow(before.table(["key"])["key"])[left]

    @property
    def is_known(self) -> Mask:
        """Marks utterances that have been tried; one that is pending is as good as new."""
        return np.asarray((self.was >= 0) & (self.status != PENDING), bool)

    def gone(self) -> tuple[str, ...]:
        """Who has left, and does not live on under a new name."""
        renamed = np.unique(self._rows.key[: len(self.was)][self.was < 0])
        return tuple(self._left_ids[find_keys(self.left_keys, renamed) < 0])

    def n_known(self) -> int:
        """Count those that had features."""
        return int((self.status == LIVE).sum() + self._is_left_live.sum())

    def n_vanished(self, settled: Settled, is_bad: Mask) -> int:
        """Count those that had features and are gone, or whose file is out of reach."""
        now = settled.status[: len(self.was)]
        is_away = is_bad & np.isin(now.astype(str), VANISHED) & (self.status == LIVE)
        if not self._is_left_live.any():
            return int(is_away.sum())
        is_unused = find_keys(self.left_keys, np.unique(self._rows.key)) < 0
        return int(is_away.sum() + (self._is_left_live & is_unused).sum())


def _changes(
    rows: Wanted, settled: Settled, then: _Then, is_moved: Mask, is_relabelled: Mask
) -> Texts:
    """Say of every utterance what has happened to it."""
    n = len(rows.manifest)
    status, is_known = settled.status[:n], then.is_known
    is_there, has_reason, is_same_key = status == LIVE, _is_bad(status), rows.is_same_key[:n]
    is_heir = find_keys(rows.key[:n], np.unique(then.left_keys)) >= 0
    cases = (
        (has_reason & settled.is_away[:n], "quarantined"),
        (is_there & ~is_known & is_heir, "renamed"),
        (is_there & ~is_known, "skipped"),
        (is_there & ~is_same_key, "changed"),
        (is_there & is_moved[:n], "renamed"),
        (is_there & is_relabelled[:n], "relabelled"),
        (is_there, "skipped"),
        (has_reason, "quarantined"),
        (~is_known, "new"),
        (~is_same_key, "changed"),
    )
    conditions, changes = zip(*cases, strict=True)
    codes = np.select(conditions, [CHANGES.index(change) for change in changes], RETRIED)
    return np.asarray(np.array(CHANGES, object)[codes])


def _compared(rows: Wanted, before: Snapshot) -> tuple[Mask, Mask]:
    """Mark rows whose file, and whose labels, the snapshot before has not, or not the same."""
    is_relabelled = np.zeros(len(rows.at), bool)
    for name in sorted({*rows.manifest.columns, *before.columns} - NOT_LABELS):
        is_relabelled |= _differs(rows, before, name)
    moves = [_differs(rows, before, name) for name in ("file", "start", "end")]
    return np.logical_or.reduce(moves), is_relabelled


def _differs(rows: Wanted, before: Snapshot, name: str) -> Mask:
    """Mark rows of which one column is not as it was; rows that are new differ in any."""
    found = np.ones(len(rows.at), bool)
    known = np.flatnonzero(rows.was >= 0)
    if not len(known):
        return found
    then = before.table([name])[name].combine_chunks()
    now = pa.array(rows.manifest[name]) if name in rows.manifest else None
    for first in range(0, len(known), BLOCK):  # all at once would be there twice more
        part = known[first : first + BLOCK]
        old = then.take(pa.array(rows.was[part]))
        new = pa.repeat("", len(part)) if now is None else now.take(pa.array(rows.at[part]))
        found[part] = _unequal(old, new)
    return found


def _unequal(old: pa.Array, new: pa.Array) -> Mask:
    """Mark where two columns differ; numbers that are none are equal."""
    if pa.types.is_floating(old.type) and pa.types.is_floating(new.type):
        pair = np.asarray(old), np.asarray(new)
        return np.asarray((pair[0] != pair[1]) & ~(np.isnan(pair[0]) & np.isnan(pair[1])))
    return np.asarray(pc.not_equal(old.cast(pa.large_string()), new.cast(pa.large_string())))


def _pending(
    rows: Wanted, settled: Settled, paths: pd.Series, states: pd.DataFrame
) -> pd.DataFrame:
    which = np.flatnonzero((settled.status == PENDING) & ~settled.has_left & (rows.key != NO_KEY))
    _, first = np.unique(rows.key[which], return_index=True)
    which = which[np.sort(first)]
    at = rows.at[which]
    manifest = rows.manifest
    return pd.DataFrame(
        {
            "key": hex_of(rows.key[which]),
            "utterance_id": manifest["utterance_id"].take(at).array,
            "view": pd.Series(rows.views, dtype="str").take(rows.view[which]).array,
            "path": paths.take(at).array,
            "start": manifest["start"].to_numpy()[at],
            "end": manifest["end"].to_numpy()[at],
            "audio_sha256": hex_of(rows.audio_sha256[at]),
            "size": states["size"].to_numpy()[at],
            "mtime_ns": states["mtime_ns"].to_numpy()[at],
        }
    )
