"""``store explain``: why an utterance was, or was not, extracted."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from features_cache.audio_hashes import AudioHashes, FileState
from features_cache.history import history, last_rows
from features_cache.key_columns import hex_of, keys_of
from features_cache.keys import CLEAN, content_key
from features_cache.places import Place
from features_cache.shard import ShardError, read_header
from features_cache.snapshot import LIVE, PENDING, TRANSIENT, Snapshot
from features_cache.store import Store
from pipeline.stores import named_snapshot
from pipeline.workdir import Workdir
from reports.text import moment
from stages.frontend.views.table import known_view

GONE = "gone"
"""What is said of an utterance that the newest snapshot does not have, and an older one has."""


def explain(workdir: Workdir, folder: Path, utterance_id: str) -> list[dict[str, Any]]:
    """Say everything about the utterances of one name in one store.

    Parameters
    ----------
    workdir : knows what the files were when they were last hashed
    folder : of the store
    utterance_id : as in the manifest

    Returns
    -------
    list of dict
        One per row that bears the name; empty if no snapshot on disk has one.
    """
    store = Store(folder)
    return [
        _explain(workdir, store, snapshot, row)
        for snapshot, rows in last_rows(store, utterance_id)
        for _, row in rows.iterrows()
    ]


def _explain(workdir: Workdir, store: Store, snapshot: Snapshot, row: pd.Series) -> dict[str, Any]:
    root = snapshot.audio.get(row["corpus"], "")
    path = Path(root) / row["file"]
    place = store.places([row["key"]])[0]
    is_gone = snapshot.number != store.snapshot.number
    return {
        **{name: row[name] for name in ("utterance_id", "corpus", "view", "message")},
        "status": GONE if is_gone else row["status"],
        "path": str(path),
        "start": float(row["start"]),
        "end": float(row["end"]),
        "audio_sha256": row["audio_sha256"],
        "key": row["key"],
        "shard": place.shard,
        "row_start": place.row_start,
        "row_end": place.row_end,
        "recipe_id": store.recipe_id,
        "store": str(store.folder),
        **named_snapshot(store.snapshot.number),
        "made_by": _made_by(store, place.shard),
        "history": [asdict(event) for event in history(store, row)],
        "next": "leave it: it has left the manifest; 'emostack store gc' would free its features"
        if is_gone
        else _next(row, place, _state(workdir, path)),
    }


def _state(workdir: Workdir, path: Path) -> FileState:
    """Look at the file as it is now; nothing is remembered of it."""
    states = AudioHashes(workdir.hashes_file).states(pd.Series([str(path)], dtype="str"))
    return FileState(*states.assign(sha256=hex_of(keys_of(states["sha256"]))).iloc[0])


def _made_by(store: Store, shard: str) -> dict[str, str]:
    if not shard:
        return {}
    try:
        header = read_header(store.shards_folder / shard)
    except ShardError as error:
        return {"problem": str(error)}
    return {"engine": header.engine, **json.loads(header.versions_json)}


def _next(row: pd.Series, place: Place, state: FileState) -> str:
    """Say what the next extraction of the same manifest would do, and why."""
    if state.code:
        return f"quarantine it: {state.code}: {state.message}"
    view = known_view(row["view"])
    if view is None:
        return f"leave it: this version has no view {row['view']!r}"
    is_same = content_key(state.sha256, row["start"], row["end"], view.text) == row["key"]
    asked = "" if view.name == CLEAN else f", if it is asked for view {view.name}"
    return _what_next(row, place, is_same=is_same) + asked


def _what_next(row: pd.Series, place: Place, *, is_same: bool) -> str:
    status = row["status"]
    if not is_same:
        return "extract it again: the file's bytes are not those that the features were made from"
    if place.shard:
        return "skip it: its bytes and its range are those that the features were made from"
    if status == PENDING:
        return "extract it: it was wanted, and not reached"
    if status == LIVE:
        return "extract it again: its features are there no more"
    if status in TRANSIENT:
        return f"try it again: the reason {status!r} may have passed"
    return "leave it: its bytes are those that failed; --retry-quarantined would try them again"


def explanation(facts: dict[str, Any]) -> str:
    """Say in words what `explain` found of one row."""
    span = "to the end" if facts["end"] != facts["end"] else f"to {facts['end']:g} s"
    made_by = ", ".join(f"{name} {value}" for name, value in facts["made_by"].items())
    place = f"rows {facts['row_start']} to {facts['row_end']} of shard {facts['shard']}"
    status = ": ".join(facts[name] for name in ("status", "message") if facts[name])
    lines = [
        f"{facts['utterance_id']!r} of corpus {facts['corpus']!r}: {status}",
        f"  file     {facts['path']}, {facts['start']:g} s {span}, view {facts['view']}",
        f"  sha256   {facts['audio_sha256'] or '(not known)'}",
        f"  key      {facts['key'] or '(none)'}",
        f"  store    {facts['store']}, snapshot {facts['snapshot']}",
        f"  features {place if facts['shard'] else '(none)'}",
        *([f"  made by  {made_by}"] if made_by else []),
        *(
            f"  {moment(e['created'])}  snapshot {e['snapshot']}: {e['what']}"
            for e in facts["history"]
        ),
        f"  the next extraction would {facts['next']}",
    ]
    return "\n".join(lines)
