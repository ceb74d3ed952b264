"""``store explain``: why an utterance was, or was not, extracted."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from features_cache.audio_hashes import AudioHashes, FileState
from features_cache.generation import GONE, LIVE, QUARANTINED, REPLACED
from features_cache.history import history
from features_cache.keys import CLEAN, content_key
from features_cache.shard import ShardError, read_header
from features_cache.store import Store
from pipeline.workdir import Workdir
from reports.text import moment
from stages.frontend.views.table import known_view
from stages.plan import TRANSIENT


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
        One a row that bears the name, tombstones last; empty if there is none.
    """
    store = Store(folder)
    found = store.generation.find(utterance_id)
    found = found.sort_values("status", key=lambda status: status == GONE, kind="stable")
    return [_explain(workdir, store, row) for _, row in found.iterrows()]


def _explain(workdir: Workdir, store: Store, row: pd.Series) -> dict[str, Any]:
    root = store.generation.audio.get(row["corpus"], "")
    path = Path(root) / row["file"]
    state = _state(workdir, path)
    return {
        **{name: row[name] for name in ("utterance_id", "corpus", "view", "status", "reason")},
        "message": row["message"],
        "path": str(path),
        "start": float(row["start"]),
        "end": float(row["end"]),
        "audio_sha256": row["audio_sha256"],
        "key": row["key"],
        "shard": row["shard"],
        "row_start": int(row["row_start"]),
        "row_end": int(row["row_end"]),
        "recipe_id": store.generation.recipe_id,
        "store": str(store.folder),
        "generation": store.generation.number,
        "made_by": _made_by(store, row["shard"]),
        "history": [asdict(event) for event in history(store, row)],
        "next": _next(row, state),
    }


def _state(workdir: Workdir, path: Path) -> FileState:
    """Look at the file as it is now; nothing is remembered of it."""
    states = AudioHashes(workdir.hashes_file).states(pd.Series([str(path)], dtype="str"))
    return FileState(*states.iloc[0])


def _made_by(store: Store, shard: str) -> dict[str, str]:
    if not shard:
        return {}
    try:
        header = read_header(store.shards_folder / shard)
    except ShardError as error:
        return {"problem": str(error)}
    return {"engine": header.engine, **json.loads(header.versions_json)}


def _next(row: pd.Series, state: FileState) -> str:
    """Say what the next extraction of the same manifest would do, and why."""
    if row["status"] == GONE:
        is_old = row["reason"] == REPLACED
        why = "its utterance has other bytes now" if is_old else "it has left the manifest"
        return f"leave it: {why}; 'emostack store gc' would free its features"
    if state.code:
        return f"quarantine it: {state.code}: {state.message}"
    view = known_view(row["view"])
    if view is None:
        return f"leave it: this version has no view {row['view']!r}"
    is_same = content_key(state.sha256, row["start"], row["end"], view.text) == row["key"]
    asked = "" if view.name == CLEAN else f", if it is asked for view {view.name}"
    return _what_next(row, is_same=is_same) + asked


def _what_next(row: pd.Series, *, is_same: bool) -> str:
    if not is_same:
        return "extract it again: the file's bytes are not those that the features were made from"
    if row["status"] == LIVE:
        return "skip it: its bytes and its range are those that the features were made from"
    if row["status"] == QUARANTINED and row["reason"] in TRANSIENT:
        return f"try it again: the reason {row['reason']!r} may have passed"
    return "leave it: its bytes are those that failed; --retry-quarantined would try them again"


def explanation(facts: dict[str, Any]) -> str:
    """Say in words what `explain` found of one row."""
    span = "to the end" if facts["end"] != facts["end"] else f"to {facts['end']:g} s"
    made_by = ", ".join(f"{name} {value}" for name, value in facts["made_by"].items())
    place = f"rows {facts['row_start']} to {facts['row_end']} of shard {facts['shard']}"
    state = ": ".join(facts[name] for name in ("status", "reason", "message") if facts[name])
    lines = [
        f"{facts['utterance_id']!r} of corpus {facts['corpus']!r}: {state}",
        f"  file     {facts['path']}, {facts['start']:g} s {span}, view {facts['view']}",
        f"  sha256   {facts['audio_sha256'] or '(not known)'}",
        f"  key      {facts['key'] or '(none)'}",
        f"  store    {facts['store']}, generation {facts['generation']}",
        f"  features {place if facts['shard'] else '(none)'}",
        *([f"  made by  {made_by}"] if made_by else []),
        *(
            f"  {moment(e['created'])}  generation {e['generation']}: {e['what']}"
            for e in facts["history"]
        ),
        f"  the next extraction would {facts['next']}",
    ]
    return "\n".join(lines)
