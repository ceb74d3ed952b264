"""Stage one as one job: lock, hash, plan, extract, publish."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from features_cache.audio_hashes import AudioHashes
from features_cache.generation import Generation
from features_cache.lock import writer_lock
from features_cache.store import Store
from pipeline.cluster import default_workers, open_workers
from pipeline.progress import meter
from pipeline.session import Session
from pipeline.workdir import Workdir
from stages.extract import Extraction, extract
from stages.manifest import audio_paths
from stages.plan import CHANGES, Plan, make_plan
from stages.recipe import Recipe

if TYPE_CHECKING:
    from stages.shard_work import ShardResult

LITTLE_AUDIO_BYTES = 8 * 2**20
"""Less work than this (four minutes of 16 kHz PCM) is done before a cluster has started."""

SHOWN = 5
"""Names shown of each kind of change, and failures told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """How an extraction is run; nothing here changes a feature.

    Attributes
    ----------
    n_workers : processes of a local cluster, 0 for none, None to choose
    scheduler : address of a running scheduler, or None
    batch_size : segments a call of the network
    retry_quarantined : try again what failed before
    """

    n_workers: int | None = None
    scheduler: str | None = None
    batch_size: int = 32
    retry_quarantined: bool = False


def plan_features(
    session: Session,
    workdir: Workdir,
    manifest: pd.DataFrame,
    root: Path,
    recipe: Recipe,
    options: ExtractOptions,
) -> dict[str, Any]:
    """Say what `extract_features` would do; change nothing."""
    folder = workdir.store_folder(recipe.recipe_id)
    store = Store(folder) if (folder / "recipe.json").exists() else None
    plan = _plan(workdir, manifest, root, store, options)
    _tell(session, plan)
    number = store.generation.number if store else 0
    return _fields(recipe, plan, None, number, 0.0)


def extract_features(
    session: Session,
    workdir: Workdir,
    manifest: pd.DataFrame,
    root: Path,
    recipe: Recipe,
    options: ExtractOptions,
) -> dict[str, Any]:
    """Bring the recipe's store up to a manifest.

    Parameters
    ----------
    session : says what happens
    workdir : where the store is
    manifest, root : the utterances, and the folder that their files are relative to
    recipe : resolved
    options : how to run

    Returns
    -------
    dict
        The contract's fields of ``emostack extract --json``.

    Raises
    ------
    features_cache.lock.LockedError
        Another run is writing to the store.
    """
    began = time.monotonic()
    with _writing(session, workdir, recipe) as store:
        plan = _plan(workdir, manifest, root, store, options)
        _tell(session, plan)
        done = _carry_out(session, workdir, plan, store, recipe, options)
        for name, code, message in done.newly_quarantined[:SHOWN]:
            session.warn(f"quarantined {name!r}: {code}: {message}")
        left = len(done.newly_quarantined) - SHOWN
        if left > 0:
            session.warn(f"and {left} more; 'emostack store ls --quarantined' lists them")
        return _fields(recipe, plan, done, done.generation.number, time.monotonic() - began)


@contextmanager
def _writing(session: Session, workdir: Workdir, recipe: Recipe) -> Iterator[Store]:
    folder = workdir.store_folder(recipe.recipe_id)
    folder.mkdir(parents=True, exist_ok=True)
    with writer_lock(folder):
        store = Store.create(folder, recipe.to_json())
        try:
            stale = store.remove_stale_partials()
            if stale:
                session.say(f"removed {len(stale)} unfinished files of a run that died")
            yield store
        finally:
            store.close()


def _plan(
    workdir: Workdir,
    manifest: pd.DataFrame,
    root: Path,
    store: Store | None,
    options: ExtractOptions,
) -> Plan:
    workdir.features.mkdir(parents=True, exist_ok=True)
    hashes = AudioHashes(workdir.hashes_file)
    paths = audio_paths(manifest, root)
    try:
        states = hashes.states(paths)
    finally:  # what was hashed before an interruption is not hashed again
        hashes.save()
    return make_plan(
        manifest,
        paths,
        states,
        store.generation if store else Generation(),
        store.known_places() if store else {},
        retry_quarantined=options.retry_quarantined,
    )


def _carry_out(
    session: Session,
    workdir: Workdir,
    plan: Plan,
    store: Store,
    recipe: Recipe,
    options: ExtractOptions,
) -> Extraction:
    n_workers = options.n_workers
    audio_bytes = sum(item.size for item in plan.items)
    if n_workers is None:
        n_workers = 0 if audio_bytes < LITTLE_AUDIO_BYTES else default_workers()
    if not plan.items:
        n_workers, scheduler = 0, None
    else:
        scheduler = options.scheduler
    workdir.scratch.mkdir(exist_ok=True)
    audio = Path(plan.items[0].path) if plan.items else workdir.root
    with (
        open_workers(
            n_workers, scheduler, store=store.folder, audio=audio, scratch=workdir.scratch
        ) as workers,
        meter("extracting", len(plan.items), quiet=session.quiet) as progress,
    ):
        began, n_segments = time.monotonic(), 0

        def on_result(result: "ShardResult") -> None:
            nonlocal n_segments
            n_segments += result.n_segments
            rate = n_segments / (time.monotonic() - began)
            n_ended = len(result.failures) + (len(result.shard.entries) if result.shard else 0)
            progress.advance(n_ended, f"{rate:.0f} segments/s")

        return extract(
            plan, store, recipe, workers, batch_size=options.batch_size, on_result=on_result
        )


def _tell(session: Session, plan: Plan) -> None:
    for change in CHANGES:
        ids = plan.ids(change)
        if ids:
            names = "" if change == "skipped" else _names(ids)
            session.say(f"{change:>12} {len(ids):6d}  {names}".rstrip())
    if plan.gone and len(plan.gone) == plan.n_known:
        session.warn(
            f"all {plan.n_known} utterances known of this corpus are gone; if the manifest is of "
            "another corpus, name it in the column 'corpus'"
        )
    if plan.gone:
        session.say(f"{'gone':>12} {len(plan.gone):6d}  {_names(list(plan.gone))}")
    session.say(f"{'to extract':>12} {len(plan.items):6d}")


def _names(ids: list[str]) -> str:
    shown = ", ".join(repr(name) for name in ids[:SHOWN])
    return shown + (", ..." if len(ids) > SHOWN else "")


def _fields(
    recipe: Recipe, plan: Plan, done: Extraction | None, generation: int, seconds: float
) -> dict[str, Any]:
    n_segments = done.n_segments if done else 0
    return {
        "recipe_id": recipe.recipe_id,
        **{f"n_{change}": plan.count(change) for change in CHANGES if change != "quarantined"},
        "n_gone": len(plan.gone),
        "n_to_extract": len(plan.items),
        "n_quarantined": len(done.newly_quarantined if done else plan.newly_bad),
        "n_quarantined_total": done.n_quarantined_total if done else plan.count("quarantined"),
        "n_segments": n_segments,
        "seconds": round(seconds, 3),
        "segments_per_second": round(n_segments / done.seconds, 1) if done and n_segments else 0.0,
        "generation": generation,
    }
