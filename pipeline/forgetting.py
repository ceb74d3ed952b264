"""``store forget``: a consent is withdrawn, and what was kept of the utterances goes."""

import json
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features_cache.atomic import PARTIAL, atomic_write
from features_cache.audio_hashes import AudioHashes
from features_cache.forget import Memory, forget, recordings, remembered
from features_cache.key_columns import hex_of
from pipeline.care import opened
from pipeline.stores import store_folders
from pipeline.workdir import Workdir
from stages.frontend.decoder import WITHDRAWN
from stages.manifest_table import read_table
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
        stores, which nobody can look into; ``stores``: what goes in each; and what stays: ``runs``,
        trainings that learnt from them; ``imports``, manifests of imports that name them; ``scratch``,
        folders that imports left that were killed.
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
    named_in = partial(_rows_of, names=names, ids=ids, corpus=corpus)
    runs = {path.parent: named_in(path) for path in sorted(workdir.runs.glob("*/manifest.csv"))}
    runs = {folder: rows for folder, rows in runs.items() if rows}
    if not is_dry:
        # Stores that know them by name come last: by these the others are found again after a kill.
        order = sorted(found, key=lambda f: any(name in ids for _, name in found[f].names))
        for folder in order:
            with opened(folder, is_dry=False) as store:
                store.adopt(WITHDRAWN)
                memory = remembered(store, ids, corpus, known)
                _forget_beside(workdir, memory)
                if folder == order[-1]:
                    _mark(runs)
                forget(store, memory)
        if not order:
            _mark(runs)
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
        "runs": [_told(run, len(rows)) for run, rows in runs.items()],
        "imports": [str(path) for path in sorted(workdir.imports.glob("*")) if named_in(path)],
        "scratch": sorted(map(str, workdir.scratch.glob("import-*"))),
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


def _told(run: Path, n: int) -> dict[str, Any]:
    bundle = run / "bundle"
    is_there = bundle.exists()
    return {"run": str(run), "n_utterances": n, "bundle": str(bundle) if is_there else ""}


def _rows_of(
    path: Path, names: Collection[tuple[str, str]], ids: Collection[str], corpus: str | None
) -> list[int]:
    """Tell which rows of a manifest, from 0, name who is forgotten, or who was asked for."""
    try:
        table = read_table(path)
        corpora, called = (table[each].to_pandas() for each in ("corpus", "utterance_id"))
    except (OSError, ValueError, KeyError):
        return []
    is_forgotten = pd.MultiIndex.from_arrays([corpora, called]).isin([*names, ("", "")])
    is_asked = called.isin(ids) & (corpora.isin([corpus, ""]) if corpus is not None else True)
    return [int(i) for i in np.flatnonzero(is_forgotten | is_asked)]


def _mark(runs: Mapping[Path, list[int]]) -> None:
    """Let runs say which rows of their manifests have been forgotten since."""
    for folder, rows in runs.items():
        path = folder / "run.json"
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            before = run["provenance"].get("forgotten_since", [])
            run["provenance"]["forgotten_since"] = sorted({*before, *rows})
        except (OSError, ValueError, KeyError, TypeError):
            continue
        with atomic_write(path) as partial_file:
            text = json.dumps(run, indent=2, ensure_ascii=False)
            partial_file.write_text(text, encoding="utf-8")
