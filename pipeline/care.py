"""Looking after a store: repair, gc, compact, rebuild, merge and forget, each under the store's lock."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from features_cache.compact import compact
from features_cache.gc import collect, waste
from features_cache.lock import writer_lock
from features_cache.merge import merge
from features_cache.rebuild import rebuild
from features_cache.repair import damage, salvage
from features_cache.snapshot import DAMAGED, LIVE, OWN_COLUMNS
from features_cache.store import Store, StoreError, read_recipe
from features_cache.verify import open_whole, verify
from pipeline.extraction import ExtractOptions, Job, extract_features
from pipeline.session import Session
from pipeline.stores import named_snapshot, store_folders
from pipeline.workdir import Workdir
from reports.run_folder import snapshot_of
from stages.frontend.decoder import WITHDRAWN
from stages.fusing import JOINT
from stages.recipe import recipe_from_json


@contextmanager
def held(folder: Path, *, snapshot: int | None = None) -> Iterator[Store]:
    """Hold a store that is there for writing, by its newest snapshot or the one asked for."""
    with writer_lock(folder), closing(Store.for_writing(folder, snapshot=snapshot)) as store:
        store.remove_stale_partials()
        yield store


def opened(folder: Path, *, is_dry: bool) -> AbstractContextManager[Store]:
    """Hold a store for writing, or, where nothing is to be written, only read it."""
    return closing(Store(folder)) if is_dry else held(folder)


def repair_store(
    session: Session, workdir: Workdir, folder: Path, options: ExtractOptions
) -> dict[str, Any]:
    """Verify a store fully, save what is healthy, and extract again exactly what is not.

    Parameters
    ----------
    session, workdir : as everywhere
    folder : of the store
    options : how to extract

    Returns
    -------
    dict
        ``n_problems, n_saved, n_lost, n_extracted, moved``, and ``left``: utterances that could not
        be extracted again.
    """
    with held(folder, snapshot=0) as store:
        store.snapshot = open_whole(folder).snapshot
        store.adopt(WITHDRAWN)
        problems = list(verify(folder, full=True))
        for problem in problems:
            session.say(f"{problem.code} {problem.shard}: {problem.message}")
        saved = salvage(store, damage(problems))
        recipe = recipe_from_json(store.recipe_json)
        rows, roots = store.snapshot.rows(), store.snapshot.audio
    is_lost = rows["status"] == DAMAGED
    for corpus in rows.loc[is_lost, "corpus"].unique():
        mine = rows["corpus"] == corpus
        if corpus not in roots:
            session.warn(f"nobody knows where the audio of corpus {corpus!r} is; extract it again")
            continue
        hit = mine & rows["utterance_id"].isin(rows.loc[mine & is_lost, "utterance_id"])
        job = Job(
            manifest=_manifest(rows[hit]),
            root=Path(roots[corpus]),
            recipe=recipe,
            elsewhere=_manifest(rows[mine & ~hit]),
        )
        if extract_features(session, workdir, job, options).was_interrupted:
            raise KeyboardInterrupt
    now = Store(folder).snapshot.rows(["utterance_id", "key", "status"])
    is_left = now["key"].isin(rows.loc[is_lost, "key"]) & (now["status"] != LIVE)
    left = now.loc[is_left, "utterance_id"].unique().tolist()
    n_lost = rows.loc[is_lost, "utterance_id"].nunique()
    return {
        "store": str(folder),
        "n_problems": len(problems),
        "n_saved": saved.n_saved,
        "n_lost": n_lost,
        "n_extracted": n_lost - len(left),
        "left": left,
        "moved": [str(path) for path in saved.moved],
    }


def free_space(
    workdir: Workdir, folder: Path, *, keep: int, keep_trainings: bool, is_sure: bool
) -> dict[str, Any]:
    """Say what could be freed in a store, and free it if asked to.

    Parameters
    ----------
    workdir, folder : of everything, and of the store
    keep : newest snapshots to keep
    keep_trainings : keep the snapshots that trainings below the workdir were made from, too
    is_sure : free it
    """
    with opened(folder, is_dry=not is_sure) as store:
        known = store.snapshots
        trained = set(_trained(workdir, store)) if keep_trainings else set()
        kept = {*known[-keep:], *trained.intersection(known)}
        found = waste(store, kept)
        freed = collect(store, kept) if is_sure and known else 0
    return {
        "store": str(folder),
        "snapshots": list(found.snapshots),
        "kept_snapshots": sorted({*kept, *known[-1:]}),
        "n_shards": len(found.shards),
        "n_utterances": len(found.utterance_ids),
        "utterance_ids": list(found.utterance_ids),
        "n_held": found.n_held,
        "n_untold": found.n_untold,
        "n_damaged": found.n_damaged,
        "bytes": found.n_bytes,
        "freed_bytes": freed,
    }


def _trained(workdir: Workdir, store: Store) -> Iterator[int]:
    """Name the snapshots of this store that a training below the workdir can be repeated on."""
    for path in workdir.runs.glob("*/run.json"):
        try:
            provenance = json.loads(path.read_text(encoding="utf-8"))["provenance"]
            recipes = str(provenance["recipe_id"]).split(JOINT)
            numbers = (snapshot_of(provenance) or "").split(JOINT)
            for recipe_id, number in zip(recipes, numbers, strict=True):
                if recipe_id == store.recipe_id:
                    yield int(number)
        except (OSError, ValueError, KeyError, TypeError):
            continue


def compact_store(folder: Path) -> dict[str, Any]:
    """Copy a store's small shards together."""
    with held(folder) as store:
        done = compact(store)
        number = store.snapshot.number
    return {"store": str(folder), **dataclasses.asdict(done), **named_snapshot(number)}


def rebuild_store(folder: Path, labels: pd.DataFrame | None) -> dict[str, Any]:
    """Make a store's catalogue anew from its shards, and a snapshot where none can be read."""
    with writer_lock(folder):
        done = rebuild(folder, labels)
    live = done.store.live(["file"])
    return {
        "store": str(folder),
        **named_snapshot(done.store.snapshot.number),
        "n_utterances": len(live),
        "n_labelled": int((live["file"] != "").sum()),
        "problems": [f"{p.code} {p.shard}: {p.message}" for p in done.problems],
        "moved": [str(path) for path in done.moved],
    }


def merge_stores(workdir: Workdir, sources: Sequence[Path]) -> list[dict[str, Any]]:
    """Merge stores, given by their own folders or by workdirs, into those of this workdir.

    Raises
    ------
    StoreError
        A source holds no store.
    """
    by_recipe: dict[str, list[Path]] = {}
    for source in sources:
        is_store = (source / "recipe.json").exists()
        found = [source] if is_store else store_folders(Workdir(source))
        if not found:
            message = (
                f"{source} holds no store; expected a workdir, or the folder of a store (with a "
                "recipe.json)"
            )
            raise StoreError(message)
        for folder in found:
            by_recipe.setdefault(read_recipe(folder)[1], []).append(folder)
    return [_merge(workdir, text, folders) for text, folders in by_recipe.items()]


def _merge(workdir: Workdir, recipe_json: str, folders: list[Path]) -> dict[str, Any]:
    recipe_id = recipe_from_json(recipe_json).recipe_id
    folder = workdir.store_folder(recipe_id)
    folder.mkdir(parents=True, exist_ok=True)
    with writer_lock(folder):
        store = Store.create(folder, recipe_json)
        store.remove_stale_partials()
        others = [Store(each) for each in folders]
        for each in (store, *others):
            each.adopt(WITHDRAWN)
        done = merge(store, others, recipe_id)
    return {
        "store": str(folder),
        **named_snapshot(store.snapshot.number),
        "n_added": done.n_added,
        "n_shards": done.n_shards,
        "conflicts": [dataclasses.asdict(conflict) for conflict in done.conflicts],
    }


def _manifest(rows: pd.DataFrame) -> pd.DataFrame:
    """Make a manifest of rows: every utterance once, whatever its views."""
    rows = rows.drop_duplicates(["corpus", "utterance_id"])
    return rows.drop(columns=list(OWN_COLUMNS)).reset_index(drop=True)
