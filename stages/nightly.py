"""What a night adds to extraction: a look at what came in, drift, and what was trained last."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.key_columns import find_keys, keys_of
from features_cache.keys import CLEAN
from features_cache.places import Places
from features_cache.snapshot import LIVE, OWN_COLUMNS, PENDING, Snapshot
from features_cache.store import Store
from reports.drift import drift
from reports.run_folder import snapshot_of
from stages.check import Problem, check_rows
from stages.frontend.logmel import FrontEnd
from stages.plan import Plan

N_SAMPLED = 200
"""Utterances, of those that came and of those that were there, that drift is judged by."""


def findings(
    plan: Plan, paths: pd.Series, frontend: FrontEnd, stop: Callable[[], bool]
) -> Iterator[Problem]:
    """Look through what a plan is going to extract: only that is decoded.

    Parameters
    ----------
    plan : not carried out yet
    paths : absolute path of each utterance's audio file
    frontend : says how short is too short
    stop : tells that there is no time for more

    Yields
    ------
    Problem
        As `stages.check.check` gives them; audio that is in the store already is ``duplicated``.
    """
    manifest = plan.wanted.manifest
    n = len(manifest)  # a view of what is there brings no recording
    is_pending = plan.settled.status[:n] == PENDING
    yield from check_rows(manifest[is_pending], paths[is_pending], frontend, stop)
    names = manifest["utterance_id"]
    _, first, where = np.unique(plan.wanted.key[:n], return_index=True, return_inverse=True)
    first = first[where]
    for row in np.flatnonzero(is_pending & (first != np.arange(n))):
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
    store : holds the newest snapshot
    came : keys of the utterances that were extracted

    Returns
    -------
    dict or None
        See `reports.drift.drift`; None where there is too little to compare.
    """
    places = store.live_places(CLEAN)  # views look different by intention
    is_new = find_keys(places.keys, np.unique(keys_of(came))) >= 0
    chance = np.random.default_rng(store.snapshot.number)
    means = []
    for rows in (np.flatnonzero(~is_new), np.flatnonzero(is_new)):
        if not len(rows):
            return None
        chosen = chance.choice(len(rows), min(N_SAMPLED, len(rows)), replace=False)
        means.append(_means(store, places.take(rows[np.sort(chosen)])))
    return drift(*means)


def _means(store: Store, places: Places) -> NDArray[np.float32]:
    return np.stack([store.read(place).mean(0, dtype=np.float32) for place in places])


def training_content(snapshot: Snapshot, corpora: Collection[str]) -> str:
    """Digest of what a training on some corpora of a snapshot would read.

    Snapshots that differ in files' names alone have the same.
    """
    rows = snapshot.rows()
    rows = rows[(rows["status"] == LIVE) & rows["corpus"].isin(corpora)]
    aside = [name for name in (*OWN_COLUMNS, "file") if name not in ("view", "key")]
    rows = rows.drop(columns=aside)
    hashes = pd.util.hash_pandas_object(rows[sorted(rows.columns)], index=False)
    return hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest()


def last_training(runs: Path, title: str) -> dict[str, Any]:
    """Find the newest whole run of a title.

    Returns
    -------
    dict
        ``uar_pooled`` of its headline, and its provenance: ``snapshot``, ``recipe_id``, ``asked``,
        ``content``; empty if there is none.
    """
    for path in sorted(runs.glob("*/run.json"), reverse=True):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            if run["title"] == title:
                names = {own["name"]: own["metrics"] for own in run["evaluations"]}
                uar = names[run["headline"]]["uar_pooled"]
                about = {**run["provenance"], "snapshot": snapshot_of(run["provenance"])}
                return {**about, "uar_pooled": uar}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a run of another version, or none at all
    return {}
