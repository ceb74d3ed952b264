"""What a night adds to extraction: a look at what came in, drift, and what was trained last."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.generation import PLACE_COLUMNS, Generation
from features_cache.keys import CLEAN
from features_cache.lookup import positions
from features_cache.store import Place, Store
from reports.drift import drift
from stages.check import Problem, check_rows
from stages.frontend.logmel import FrontEnd
from stages.plan import PENDING, Plan

N_SAMPLED = 200
"""Utterances, of those that came and of those that were there, that drift is judged by."""


def findings(
    plan: Plan, paths: pd.Series, frontend: FrontEnd, stop: Callable[[], bool]
) -> Iterator[Problem]:
    """Look through what a plan is going to extract: only that is decoded.

    Parameters
    ----------
    plan : not carried out yet
    paths : absolute path of each of its rows' audio file
    frontend : says how short is too short
    stop : tells that there is no time for more

    Yields
    ------
    Problem
        As `stages.check.check` gives them; audio that is in the store already is ``duplicated``.
    """
    is_clean = plan.rows["view"] == CLEAN  # a view of what is there brings no recording
    rows, paths = plan.rows[is_clean], paths[is_clean]
    is_pending = rows["status"] == PENDING
    yield from check_rows(rows[is_pending], paths[is_pending], frontend, stop)
    yield from _twins(rows, is_pending)


def _twins(rows: pd.DataFrame, is_pending: pd.Series) -> Iterator[Problem]:
    first = positions(rows["key"], rows["key"])
    is_twin = is_pending.to_numpy(bool) & (first != np.arange(len(rows)))
    names = rows["utterance_id"]
    for row in np.flatnonzero(is_twin):
        yield Problem(
            utterance_id=str(names.iloc[row]),
            code="duplicated",
            message=f"the same audio as utterance {names.iloc[first[row]]!r}; expected it once; "
            "leave one of them out",
        )


def feature_drift(store: Store, came: pd.Series) -> dict[str, Any] | None:
    """Compare features that came with those that were there, by a sample of either.

    Parameters
    ----------
    store : holds the newest generation
    came : keys of the utterances that were extracted

    Returns
    -------
    dict or None
        See `reports.drift.drift`; None where there is too little to compare.
    """
    live = store.generation.live
    live = live[live["view"] == CLEAN]  # views look different by intention
    is_new = positions(live["key"], came) >= 0
    chance = np.random.default_rng(store.generation.number)
    means = []
    for rows in (live[~is_new], live[is_new]):
        if rows.empty:
            return None
        chosen = chance.choice(len(rows), min(N_SAMPLED, len(rows)), replace=False)
        means.append(_means(store, rows.iloc[np.sort(chosen)]))
    return drift(*means)


def _means(store: Store, rows: pd.DataFrame) -> NDArray[np.float32]:
    columns = (rows[name] for name in ("shard", "row_start", "row_end"))
    return np.stack(
        [
            store.read(Place(shard=shard, row_start=start, row_end=end)).mean(0, dtype=np.float32)
            for shard, start, end in zip(*columns, strict=True)
        ]
    )


def training_content(generation: Generation, corpora: Collection[str]) -> str:
    """Digest of what a training on some corpora of a generation would read.

    Generations that differ in where features are, or in files' names, have the same: compacting a
    store is no reason to train again.
    """
    live = generation.live
    aside = [name for name in (*PLACE_COLUMNS, "file") if name not in ("view", "key")]
    rows = live[live["corpus"].isin(corpora)].drop(columns=aside, errors="ignore")
    hashes = pd.util.hash_pandas_object(rows[sorted(rows.columns)], index=False)
    return hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest()


def last_training(runs: Path, title: str) -> dict[str, Any]:
    """Find the newest whole run of a title.

    Returns
    -------
    dict
        ``uar_pooled`` of its headline, and its provenance: ``generation``, ``recipe_id``, ``asked``,
        ``content``; empty if there is none.
    """
    for path in sorted(runs.glob("*/run.json"), reverse=True):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            if run["title"] == title:
                names = {own["name"]: own["metrics"] for own in run["evaluations"]}
                uar = names[run["headline"]]["uar_pooled"]
                return {**run["provenance"], "uar_pooled": uar}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a run of another version, or none at all
    return {}
