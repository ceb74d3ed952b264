"""``store forget``: a consent is withdrawn, and what was kept of the utterances goes."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from features_cache.atomic import atomic_write
from features_cache.audio_hashes import AudioHashes
from features_cache.forget import Memory, forget, remembered
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
        the same audio; ``unknown``: ids that no store knows; ``stores``: what goes in each; ``runs``:
        trainings that learnt from them, whose folders and bundles stay.
    """
    found: list[Memory] = []
    stores: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for folder in store_folders(workdir):
        with opened(folder, is_dry=is_dry) as store:
            store.adopt(WITHDRAWN)
            memory = remembered(store, ids, corpus)
            if memory.is_empty:
                continue
            found.append(memory)
            names = sorted({name for each in found for name in each.names})
            runs = list(_runs(workdir, names))
            if not is_dry:
                _forget_beside(workdir, memory)
                for run in runs:
                    _mark(Path(run["run"]), run["n_utterances"])
                forget(store, memory)
        stores.append(_fields(folder, memory))
    names = sorted({name for memory in found for name in memory.names})
    asked = {(c, name) for c, name in names if name in ids and (corpus in (None, c) or not c)}
    return {
        "n_forgotten": len(names),
        "also": [
            {"corpus": each, "utterance_id": name}
            for each, name in names
            if (each, name) not in asked
        ],
        "unknown": sorted({*ids} - {name for _, name in names}),
        "stores": stores,
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
