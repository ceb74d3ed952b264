"""What becomes of each row of a plan: the features are there, have to be made, or are given up."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.generation import LIVE, NOT_LABELS, QUARANTINED
from features_cache.lookup import positions
from stages.plan_columns import Was
from stages.view_rows import ViewRows

CHANGES = ("new", "changed", "renamed", "relabelled", "skipped", "retried", "quarantined")
"""What a plan says of each row, besides the utterances that are gone."""

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


def decided(
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


def with_their_utterance(rows: pd.DataFrame, seen: ViewRows) -> pd.DataFrame:
    """Give up views of utterances that are given up: their bytes would fail once more a view."""
    clean = rows.iloc[seen.at]  # the manifest's rows come first
    is_hopeless = (rows["status"] == PENDING).to_numpy(bool) & seen.is_asked
    is_hopeless &= (clean["status"] == QUARANTINED).to_numpy(bool)
    if not is_hopeless.any():
        return rows
    names = ("change", "status", "reason", "message")
    return rows.assign(
        **{name: rows[name].mask(is_hopeless, clean[name].set_axis(rows.index)) for name in names}
    )
