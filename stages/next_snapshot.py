"""What comes of a plan: what exists now, and the next snapshot."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features_cache.catalogue import Catalogue, catalogue_rows
from features_cache.key_columns import find_keys, from_arrow, keys_of, to_arrow
from features_cache.lookup import plain
from features_cache.numbered import ROW_GROUP
from features_cache.snapshot import LIVE, ORDER, OWN_COLUMNS, PENDING, TRANSIENT, is_live, kind_of
from features_cache.store import rows_of_shards
from stages.plan import Failures, Plan, Settled, newly_bad, settle, texts_before
from stages.wanted import Mask, Rows

if TYPE_CHECKING:  # imports Keras: seconds that a night without work does not have to spend
    from stages.segment_features import Failed
    from stages.shard_work import ShardResult


@dataclass(slots=True, kw_only=True)
class Made:
    """What has come out of an extraction so far, a few bytes per utterance.

    Attributes
    ----------
    made_by : decoder, and its revision
    shards : name -> SHA-256 of those that were published
    failures : utterances that gave no features
    n_made : utterances that gave some
    n_segments : how many
    audio_s : seconds of audio behind them
    """

    made_by: str
    shards: dict[str, str] = field(default_factory=dict)
    failures: "list[Failed]" = field(default_factory=list)
    n_made: int = 0
    n_segments: int = 0
    audio_s: float = 0.0
    _places: list[pa.Table] = field(default_factory=list)

    def add(self, result: "ShardResult") -> None:
        """Count one task's result."""
        self.failures += result.failures
        self.n_segments += result.n_segments
        self.audio_s += result.audio_s
        if result.shard:
            self.n_made += len(result.shard.entries)
            self.shards[result.shard.name] = result.shard.sha256
            self._places.append(rows_of_shards([result.shard], self.made_by))

    def added_to(self, catalogue: Catalogue) -> Catalogue:
        """Add places, and the reasons that are in the bytes, to what exists."""
        lasting = self.lasting()
        reasons = catalogue_rows(
            lasting.keys,
            reason=lasting.code.tolist(),
            message=lasting.message.tolist(),
            made_by=self.made_by,
        )
        return catalogue.plus(pa.concat_tables([reasons, *self._places]), self.shards)

    def lasting(self) -> Failures:
        """Failures whose reason is in the bytes."""
        return self._failures(lambda code: code not in TRANSIENT)

    def passing(self) -> Failures:
        """Failures whose reason is not in the bytes."""
        return self._failures(lambda code: code in TRANSIENT)

    def _failures(self, is_it: Callable[[str], bool]) -> Failures:
        found = {f.utterance.key: f for f in self.failures if is_it(f.code)}
        texts = sorted(found)
        return Failures(
            keys=keys_of(texts),
            code=np.array([found[key].code for key in texts], object),
            message=np.array([found[key].message for key in texts], object),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a plan has come to.

    Attributes
    ----------
    plan : what was to be done
    settled : what each wanted row has come to
    own : wanted rows that the next snapshot has
    kept : rows of the snapshot before that it has, too
    is_news : bool (n,), wanted rows that are newly without features
    failures : what has failed for a reason that is in the bytes; also rows that are kept may be of it,
        whose features a decoder had made that has been mended since
    """

    plan: Plan
    settled: Settled
    own: Rows
    kept: Rows
    is_news: Mask
    failures: Failures


def outcome(plan: Plan, made: Made, *, is_cut_short: bool = False) -> Outcome:
    """Say what each row has come to.

    A row that was not reached stays as the snapshot before has it, and so do the views that would
    have gone because of it; one that is new is pending.

    Parameters
    ----------
    plan, made : what was to be done, and what was
    is_cut_short : nobody has been told which files have failed: such rows count as not reached
    """
    rows = plan.wanted
    settled = settle(rows, plan.files, made.added_to(plan.exists), made.passing())
    is_news = newly_bad(rows, settled, plan.before)
    if is_cut_short:
        settled.status[is_news], settled.message[is_news] = PENDING, ""
    stays = np.flatnonzero((settled.status == PENDING) & (rows.was >= 0) & ~settled.has_left)
    stays = stays[texts_before(plan.before, "status", rows.was[stays]) != PENDING]
    is_own = ~settled.has_left
    is_own[stays] = False
    is_unreached = np.zeros(len(rows.manifest), bool)
    is_unreached[stays[stays < len(rows.manifest)]] = True
    old_views = rows.old_views[is_unreached[rows.old_views_at]]
    return Outcome(
        plan=plan,
        settled=settled,
        own=np.flatnonzero(is_own),
        kept=np.concatenate([rows.kept, rows.was[stays], old_views]),
        is_news=is_news & is_own & (not is_cut_short),
        failures=made.lasting(),
    )


def differs(found: Outcome) -> bool:
    """Tell whether the next snapshot would say anything else than the one before."""
    rows, before, own = found.plan.wanted, found.plan.before, found.own
    was = rows.was[own]
    if len(own) + len(found.kept) != before.n_rows or (was < 0).any():
        return True
    if found.plan.is_other[own].any() or not rows.is_same_key[own].all():
        return True
    texts = {"status": found.settled.status, "message": found.settled.message}
    return any((texts_before(before, n, was) != text[own]).any() for n, text in texts.items())


def snapshot_parts(found: Outcome) -> Iterator[pa.Table]:
    """Make the rows of the next snapshot, sorted, a row group at a time: all at once take much room."""
    rows, own = found.plan.wanted, found.own
    before, kept = found.plan.before, pa.array(found.kept)
    every = dict.fromkeys((*rows.manifest.columns, *before.columns))  # others may have had more
    names = [name for name in every if name not in OWN_COLUMNS]
    mine = {n: pa.array(rows.manifest[n], kind_of(n)) for n in names if n in rows.manifest}
    # One column after the other: all at once take much room, even if few rows are kept.
    columns = {n: before.table([n])[n].take(kept) for n in (*names, *OWN_COLUMNS)}
    theirs = _with_reasons(pa.table(columns), found.failures)
    views = pa.array(rows.views, pa.large_string())
    sorted_by = {
        "utterance_id": mine["utterance_id"].take(rows.at[own]),
        "corpus": mine["corpus"].take(rows.at[own]),
        "view": pa.chunked_array([views.take(pa.array(rows.view[own]))]),
    }
    order = pc.sort_indices(
        pa.concat_tables([pa.table(sorted_by), plain(theirs.select(ORDER))]),
        sort_keys=[(name, "ascending") for name in ORDER],
    ).to_numpy()
    del sorted_by
    for first in range(0, max(1, len(order)), ROW_GROUP):
        group = order[first : first + ROW_GROUP]
        is_own = group < len(own)
        which = own[group[is_own]]
        at = pa.array(rows.at[which])
        columns = {n: mine[n].take(at) if n in mine else _blank(which) for n in names}
        columns |= {
            "view": views.take(pa.array(rows.view[which])),
            "key": to_arrow(rows.key[which]),
            "audio_sha256": to_arrow(rows.audio_sha256[rows.at[which]]),
            "status": pa.array(found.settled.status[which], pa.large_string()),
            "message": pa.array(found.settled.message[which], pa.large_string()),
        }
        others = plain(theirs.take(pa.array(group[~is_own] - len(own))))
        both = pa.concat_tables([pa.table(columns), others.select(list(columns))])
        place = np.concatenate([np.flatnonzero(is_own), np.flatnonzero(~is_own)])
        yield both.take(pa.array(np.argsort(place))).combine_chunks()


def counted_once(found: Outcome, mask: Mask) -> Rows:
    """Of wanted rows without features pick each bad file once, not once per view.

    A view that fails is told of where the utterance itself does not: its other views may fail too.

    Parameters
    ----------
    found : what a plan has come to
    mask : bool (n,), rows that may be told
    """
    rows, status = found.plan.wanted, found.settled.status
    is_bad = np.zeros(len(status), bool)
    is_bad[found.own] = (status[found.own] != LIVE) & (status[found.own] != PENDING)
    n = len(rows.manifest)
    told = np.flatnonzero(is_bad & mask)
    told = told[(told < n) | ~is_bad[:n][rows.at[told]]]
    _, first = np.unique(rows.at[told], return_index=True)
    return told[np.sort(first)]


def told(found: Outcome, which: Rows) -> pd.DataFrame:
    """Name some rows: ``utterance_id, file, view, reason, message``."""
    rows = found.plan.wanted
    at = rows.at[which]
    names = rows.manifest[["utterance_id", "file"]].take(at).reset_index(drop=True)
    return names.assign(
        view=pd.Series(rows.views, dtype="str").take(rows.view[which]).array,
        reason=pd.Series(found.settled.status[which], dtype="str"),
        message=pd.Series(found.settled.message[which], dtype="str"),
    )


def _with_reasons(rows: pa.Table, failures: Failures) -> pa.Table:
    """Give live rows the reason for which their features are there no more."""
    at = find_keys(from_arrow(rows["key"]), failures.keys)
    hit = np.flatnonzero((at >= 0) & is_live(rows))
    if not len(hit):
        return rows
    for name, texts in (("status", failures.code), ("message", failures.message)):
        column = rows[name].cast(pa.large_string()).to_numpy().astype(object)
        column[hit] = texts[at[hit]]
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.array(column, pa.large_string()))
    return rows


def _blank(which: Rows) -> pa.Array:
    return pa.repeat(pa.scalar("", pa.large_string()), len(which))
