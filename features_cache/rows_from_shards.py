"""Rows of a generation, made again from what shards, an older generation and a manifest know."""

import numpy as np
import pandas as pd

from features_cache.generation import GONE, LIVE, PLACE_COLUMNS, REPLACED
from features_cache.lookup import joined, positions
from features_cache.repair import without_features
from features_cache.rewrite import PLACE
from features_cache.union import NAME

MANIFEST = {
    "file": "",
    "start": 0.0,
    "end": float("nan"),
    "speaker": "",
    "session": "",
    "gender": "",
    "emotion": "",
    "corpus": "",
}
"""What a manifest says of an utterance, and what stands for not knowing it."""


def rows_from_shards(
    entries: pd.DataFrame, before: pd.DataFrame, labels: pd.DataFrame | None
) -> pd.DataFrame:
    """Make the rows of a generation.

    Parameters
    ----------
    entries : columns ``key, utterance_id, view, shard, row_start, row_end``: whole features, the
        youngest last; of a key that stands twice the last counts
    before : rows of the newest generation that can be read; what it says of a key stays so, but
        for the place, and what it says of features that are lost becomes quarantined
    labels : a manifest, whose rows are taken over by name; None if there is none
    """
    entries = entries.drop_duplicates("key", keep="last").reset_index(drop=True)
    news = entries[positions(entries["key"], before["key"]) < 0].reset_index(drop=True)
    news = news.assign(**MANIFEST, audio_sha256="", status=LIVE, reason="", message="").astype(
        PLACE_COLUMNS
    )
    news = _named_by(before[before["status"] != GONE], news)
    rows = pd.concat([_with_places(before, entries), news], ignore_index=True)
    if labels is not None:
        is_gone = rows["status"] == GONE
        named = _named_by(labels, rows[~is_gone].reset_index(drop=True))
        rows = pd.concat([named, rows[is_gone]], ignore_index=True)
    return _one_a_name(rows)


def _with_places(before: pd.DataFrame, entries: pd.DataFrame) -> pd.DataFrame:
    """Give rows the places that their keys have now."""
    at = positions(before["key"], entries["key"])
    found = at >= 0
    rows = before.reset_index(drop=True)
    if found.any():
        rows.loc[found, PLACE] = entries.iloc[at[found]][PLACE].set_axis(np.flatnonzero(found))
    return without_features(rows, pd.Series(~found) & (rows["shard"] != ""))


def _named_by(source: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Take over what `source` says of the rows' names: by corpus and name, or a unique name."""
    if not len(source):
        return rows
    source = source.drop_duplicates(["corpus", "utterance_id"]).reset_index(drop=True)
    names = source["utterance_id"]
    unique = names[~names.duplicated(keep=False)]
    by_name = positions(rows["utterance_id"], unique)
    by_name[by_name >= 0] = unique.index.to_numpy()[by_name[by_name >= 0]]
    by_both = positions(
        joined(rows["corpus"], rows["utterance_id"]), joined(source["corpus"], names)
    )
    at = np.where(rows["corpus"] == "", by_name, by_both)
    columns = [c for c in source.columns if c not in {*PLACE_COLUMNS, "utterance_id"}]
    told = source[columns].iloc[at].reset_index(drop=True)
    for column in columns:
        old = rows[column] if column in rows else pd.Series("", index=rows.index, dtype="str")
        rows = rows.assign(**{column: told[column].where(pd.Series(at >= 0), old)})
    return rows


def _one_a_name(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave one row of a name that is not a tombstone: a live one, from the youngest shard."""
    alive = rows[rows["status"] != GONE]
    order = alive.assign(is_live=alive["status"] == LIVE).sort_values(
        ["is_live", "shard", "row_start"]
    )
    loses = rows.index.isin(order.index[order.duplicated(list(NAME), keep="last")])
    lost = {"status": GONE, "reason": REPLACED, "message": ""}
    losers = rows[loses & (rows["shard"] != "")].assign(**lost)
    return pd.concat([rows[~loses], losers], ignore_index=True)
