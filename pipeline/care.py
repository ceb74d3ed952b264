"""Looking after a store: repair, gc, compact, rebuild and merge, each under the store's lock."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from features_cache.compact import compact
from features_cache.gc import collect, waste
from features_cache.generation import GONE, PLACE_COLUMNS, numbers
from features_cache.lock import writer_lock
from features_cache.merge import merge
from features_cache.rebuild import rebuild
from features_cache.repair import damage, salvage
from features_cache.store import Store, StoreError
from features_cache.verify import newest_whole, verify
from pipeline.extraction import ExtractOptions, Job, extract_features
from pipeline.session import Session
from pipeline.stores import store_folders
from pipeline.workdir import Workdir
from stages.fusing import JOINT
from stages.recipe import recipe_from_json


@contextmanager
def held(folder: Path, *, generation: int | None = None) -> Iterator[Store]:
    """Hold a store that is there for writing."""
    with writer_lock(folder):
        store = Store(folder, generation=generation)
        store.remove_stale_partials()
        try:
            yield store
        finally:
            store.close()


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
    with held(folder, generation=newest_whole(folder / "generations")) as store:
        problems = list(verify(folder, full=True))
        for problem in problems:
            session.say(f"{problem.code} {problem.shard}: {problem.message}")
        saved = salvage(store, store.generation.recipe_id, damage(problems))
        recipe = recipe_from_json(store.recipe_json)
        rows, roots = store.generation.rows, store.generation.audio
    is_lost = rows["utterance_id"].isin(saved.lost_ids) & (rows["status"] != GONE)
    for corpus in rows.loc[is_lost, "corpus"].unique():
        mine = (rows["corpus"] == corpus) & (rows["status"] != GONE)
        if corpus not in roots:
            session.warn(f"nobody knows where the audio of corpus {corpus!r} is; extract it again")
            continue
        job = Job(
            manifest=_manifest(rows[mine & is_lost]),
            root=Path(roots[corpus]),
            recipe=recipe,
            elsewhere=_manifest(rows[mine & ~is_lost]),
        )
        if extract_features(session, workdir, job, options).was_interrupted:
            raise KeyboardInterrupt
    bad = Store(folder).generation.quarantined
    left = bad.loc[bad["key"].isin(rows.loc[is_lost, "key"]), "utterance_id"].unique().tolist()
    n_lost = len(set(saved.lost_ids))
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
    keep : newest generations to keep; the very newest loses its tombstones all the same
    keep_trainings : keep, whole, the generations that trainings below the workdir were made from
    is_sure : free it
    """
    with held(folder) as store:
        known = numbers(store.generations_folder)
        trained = set(_trained(workdir, store)) if keep_trainings else set()
        kept = {*known[-keep:-1], *trained.intersection(known)}
        found = waste(store, kept)
        recipe_id = store.generation.recipe_id
        is_to_do = is_sure and store.generation.number > 0
        freed = collect(store, recipe_id, kept) if is_to_do else 0
    return {
        "store": str(folder),
        "generations": list(found.generations),
        "kept_generations": sorted({*kept, *known[-1:]}),
        "held_by": sorted(kept),
        "n_shards": len(found.shards),
        "n_utterances": len(found.utterance_ids),
        "utterance_ids": list(found.utterance_ids),
        "n_held": len(found.held_ids),
        "n_damaged": found.n_damaged,
        "bytes": found.n_bytes,
        "freed_bytes": freed,
    }


def _trained(workdir: Workdir, store: Store) -> Iterator[int]:
    """Name the generations of this store that a training below the workdir can be repeated on."""
    for path in workdir.runs.glob("*/run.json"):
        try:
            provenance = json.loads(path.read_text(encoding="utf-8"))["provenance"]
            recipes, generations = (
                str(provenance[name]).split(JOINT) for name in ("recipe_id", "generation")
            )
            for recipe_id, generation in zip(recipes, generations, strict=True):
                if recipe_id == store.generation.recipe_id:
                    yield int(generation)
        except (OSError, ValueError, KeyError, TypeError):
            continue


def compact_store(folder: Path) -> dict[str, Any]:
    """Copy a store's small shards together."""
    with held(folder) as store:
        done = compact(store, store.generation.recipe_id)
        generation = store.generation.number
    return {"store": str(folder), **dataclasses.asdict(done), "generation": generation}


def rebuild_store(folder: Path, labels: pd.DataFrame | None) -> dict[str, Any]:
    """Make a store's generation anew from its shards."""
    with writer_lock(folder):
        done = rebuild(folder, labels)
    live = done.store.generation.live
    return {
        "store": str(folder),
        "generation": done.store.generation.number,
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
            by_recipe.setdefault((folder / "recipe.json").read_text("utf-8"), []).append(folder)
    return [_merge(workdir, text, folders) for text, folders in by_recipe.items()]


def _merge(workdir: Workdir, recipe_json: str, folders: list[Path]) -> dict[str, Any]:
    recipe_id = recipe_from_json(recipe_json).recipe_id
    folder = workdir.store_folder(recipe_id)
    folder.mkdir(parents=True, exist_ok=True)
    with writer_lock(folder):
        store = Store.create(folder, recipe_json)
        store.remove_stale_partials()
        done = merge(store, [Store(each) for each in folders], recipe_id)
    return {
        "store": str(folder),
        "generation": done.generation.number,
        "n_added": done.n_added,
        "n_shards": done.n_shards,
        "conflicts": [dataclasses.asdict(conflict) for conflict in done.conflicts],
    }


def _manifest(rows: pd.DataFrame) -> pd.DataFrame:
    """Make a manifest of rows: every utterance once, whatever its views."""
    rows = rows.drop_duplicates(["corpus", "utterance_id"])
    return rows.drop(columns=list(PLACE_COLUMNS)).reset_index(drop=True)
