"""``store forget``: a consent is withdrawn, and what was kept of the utterances goes."""

import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from features_cache.atomic import PARTIAL, atomic_write
from features_cache.audio_hashes import AudioHashes
from features_cache.forget import Memory, forget, recordings, remembered
from features_cache.key_columns import hex_of
from pipeline.care import opened
from pipeline.stores import store_folders
from pipeline.workdir import Workdir
from stages.frontend.decoder import WITHDRAWN
from stages.vector_cache import forget_vectors


def forget_utterances(
    workdir: Workdir, ids: Collection[str], corpus: str | None, *, is_dry: bool
) -> dict[str, Any]:
    """Forget utterances in every store below a workdir, and what else was computed of their audio.

    Parameters
    ----------
    workdir : stores, hashes of files and vectors of baselines are below it
    ids : utterance ids
    corpus : only of this corpus; by default of any
    is_dry : only say what would go

    Returns
    -------
    dict
        ``n_forgotten``: utterances that go; ``also``: those of them that were not asked for, and have
        the same audio; ``unknown``: ids that no store knows; ``n_damaged``: files put aside in other
        stores, which nobody can look into; ``stores``: what goes in each; ``runs``: trainings that
        learnt from them, whose folders and bundles stay.
    """
    folders = store_folders(workdir)
    with ExitStack() as stack:
        stores = [stack.enter_context(opened(folder, is_dry=True)) for folder in folders]
        known = recordings(stores, ids, corpus)
        for store in stores:
            store.adopt(WITHDRAWN)
        found = {store.folder: remembered(store, ids, corpus, known) for store in stores}
    n_damaged = sum(len(memory.damaged) for memory in found.values() if memory.is_empty)
    found = {folder: memory for folder, memory in found.items() if not memory.is_empty}
    names = sorted({name for memory in found.values() for name in memory.names})
    runs = list(_runs(workdir, names))
    if not is_dry:
        for run in runs:
            _mark(Path(run["run"]), run["n_utterances"])
        # Stores that know them by name come last: by these the others are found again after a kill.
        for folder in sorted(found, key=lambda f: any(name in ids for _, name in found[f].names)):
            with opened(folder, is_dry=False) as store:
                store.adopt(WITHDRAWN)
                memory = remembered(store, ids, corpus, known)
                _forget_beside(workdir, memory)
                forget(store, memory)
    asked = {(c, name) for c, name in names if name in ids and (corpus in (None, c) or not c)}
    return {
        "n_forgotten": len(names),
        "also": [
            {"corpus": each, "utterance_id": name}
            for each, name in names
            if (each, name) not in asked
        ],
        "unknown": sorted({*ids} - {name for _, name in names}),
        "n_damaged": n_damaged,
        "stores": [_fields(folder, memory) for folder, memory in found.items()],
        "runs": runs,
    }


def _fields(folder: Path, memory: Memory) -> dict[str, Any]:
    return {
        "store": str(folder),
        "n_utterances": len(memory.names),
        "n_features": len(memory.keys),
        "n_shards": len(memory.shards),
        "snapshots": sorted(memory.snapshots),
        "n_damaged": len(memory.damaged),
    }


def _forget_beside(workdir: Workdir, memory: Memory) -> None:
    """Take out of the workdir what was remembered of the audio beside the stores."""
    for folder in (workdir.features, workdir.baselines):  # of runs that were killed
        for path in folder.glob(f".*{PARTIAL}"):
            path.unlink(missing_ok=True)
    files = {*hex_of(memory.audio_sha256)}
    AudioHashes(workdir.hashes_file).forget(files, memory.paths, memory.keys)
    forget_vectors(workdir.baselines, {*hex_of(memory.keys)})


def _runs(workdir: Workdir, names: Collection[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Name the trainings that have some utterances in their manifests."""
    sought = pd.MultiIndex.from_tuples(names, names=["corpus", "utterance_id"]) if names else None
    for path in sorted(workdir.runs.glob("*/manifest.csv")):
        try:
            manifest = pd.read_csv(path, dtype=str, keep_default_na=False)
            pairs = pd.MultiIndex.from_frame(manifest[["corpus", "utterance_id"]])
        except (OSError, ValueError, KeyError):
            continue
        n = int(pairs.isin(sought).sum()) if sought is not None else 0
        if n:
            bundle = path.parent / "bundle"
            yield {
                "run": str(path.parent),
                "n_utterances": n,
                "bundle": str(bundle) if bundle.exists() else "",
            }


def _mark(folder: Path, n: int) -> None:
    """Let a run say that utterances which it learnt from have been forgotten since."""
    path = folder / "run.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        before = int(run["provenance"].get("forgotten_since", 0))
        run["provenance"]["forgotten_since"] = before + n
    except (OSError, ValueError, KeyError, TypeError):
        return
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(run, indent=2, ensure_ascii=False), encoding="utf-8")
