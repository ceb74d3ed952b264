"""What a plan and its results make of a generation's rows."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features_cache.generation import GONE, LIVE, QUARANTINED, REPLACED
from features_cache.lookup import positions
from features_cache.shard import PublishedShard
from features_cache.store import Place, Store
from stages.plan import PENDING, Plan
from stages.plan_columns import place_rows
from stages.view_rows import told_once

if TYPE_CHECKING:  # imports Keras: seconds that a night without work does not have to spend
    from stages.segment_features import Failed
    from stages.shard_work import ShardResult


@dataclass(slots=True, kw_only=True)
class Made:
    """What has come out of an extraction so far, a few bytes an utterance.

    Attributes
    ----------
    shards : published, their entries taken out
    failures : utterances that gave no features
    n_made : utterances that gave some
    n_segments : how many
    audio_s : seconds of audio behind them
    """

    shards: list[PublishedShard] = field(default_factory=list)
    failures: "list[Failed]" = field(default_factory=list)
    n_made: int = 0
    n_segments: int = 0
    audio_s: float = 0.0
    _places: list[pd.DataFrame] = field(default_factory=list)

    def add(self, result: "ShardResult") -> None:
        """Count one task's result."""
        self.failures += result.failures
        self.n_segments += result.n_segments
        self.audio_s += result.audio_s
        if result.shard:
            name, entries = result.shard.name, result.shard.entries
            self.n_made += len(entries)
            self.shards.append(PublishedShard(name=name, sha256=result.shard.sha256))
            rows = [(e.key, name, e.row_start, e.row_end) for e in entries]
            self._places.append(_places(rows))

    def places(self) -> pd.DataFrame:
        """Say where the features are: ``key, shard, row_start, row_end``."""
        return pd.concat([_places([]), *self._places], ignore_index=True)


def next_rows(plan: Plan, made: Made, *, is_cut_short: bool = False) -> pd.DataFrame:
    """Fill in what the results say of the plan's pending rows, which come last.

    A row that was not reached stays as the generation has it; one that is new drops out.

    Parameters
    ----------
    plan, made : what was to be done, and what was
    is_cut_short : nobody has been told which files have failed: such rows count as not reached
    """
    is_open = plan.rows["status"] == PENDING
    if is_cut_short:
        is_open |= plan.rows["utterance_id"].isin(plan.newly_bad)
    if not is_open.any():
        return plan.rows
    pending = plan.rows[is_open]
    placed = place_rows(pending.reset_index(drop=True), made.places()).set_index(pending.index)
    is_live = placed["shard"] != ""
    live = placed[is_live].assign(status=LIVE, reason="", message="")
    failed = placed.head(0) if is_cut_short else _failed(placed[~is_live], made)
    missed = placed.index[~is_live].difference(failed.index)
    kept = plan.before.loc[plan.before.index.intersection(missed)]
    kept = kept.assign(change=plan.rows.loc[kept.index, "change"])
    return pd.concat([plan.rows[~is_open], live, failed, kept])


def spare(store: Store, rows: pd.DataFrame, made: Made) -> pd.DataFrame:
    """Tombstones for the rest of a killed run's shard of which `rows` name a part.

    Without them it would be forgotten: from now on that shard is one that a generation names.
    """
    names = {*store.orphans()} - {shard.name for shard in made.shards}
    if names:
        names &= {*rows["shard"].unique()}
    found = store.orphaned(sorted(names))
    found = found[positions(found["key"], rows["key"]) < 0]
    return found.assign(status=GONE, corpus="", file="", start=0.0)


def replaced(plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    """Tombstones for features whose utterance now has other bytes, and that nobody else uses."""
    before = plan.before.loc[plan.before.index.intersection(rows.index)]
    has_changed = before["key"] != rows.loc[before.index, "key"]
    old = before[has_changed & (before["shard"] != "")]
    old = old[positions(old["key"], rows["key"]) < 0]
    return old.assign(status=GONE, reason=REPLACED, message="")


def newly_quarantined(plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose quarantine is news, each bad file once."""
    bad = rows[rows["status"] == QUARANTINED]
    is_left = bad["key"] != plan.rows.loc[bad.index, "key"]  # not reached: it stays as it was
    reasons_before = plan.rows.loc[bad.index, "reason"]
    is_known = (bad["change"] == "retried") & (bad["reason"] == reasons_before)
    is_known |= (bad["change"] == "quarantined") & ~bad["utterance_id"].isin(plan.newly_bad)
    return told_once(bad, ~is_known & ~is_left).sort_index()


def _failed(rows: pd.DataFrame, made: Made) -> pd.DataFrame:
    found = pd.DataFrame(
        [(f.item.key, f.code, f.message) for f in made.failures], columns=["key", "code", "text"]
    ).astype("str")
    at = positions(rows["key"], found["key"])
    reasons = found.take(at[at >= 0])
    return rows[at >= 0].assign(
        status=QUARANTINED, reason=reasons["code"].array, message=reasons["text"].array
    )


def _places(rows: list[tuple[str, str, int, int]]) -> pd.DataFrame:
    kinds = {"key": "str", "shard": "str", "row_start": np.int64, "row_end": np.int64}
    return pd.DataFrame(rows, columns=list(Place.COLUMNS)).astype(kinds)
