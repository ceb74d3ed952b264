"""Stage one as one job: lock, hash, plan, extract, publish."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from features_cache.audio_hashes import AudioHashes
from features_cache.catalogue import Catalogue
from features_cache.lock import WriterLock, writer_lock
from features_cache.snapshot import LIVE, Snapshot
from features_cache.store import Store
from models.engines import KERAS
from pipeline.cluster import default_workers, open_workers, openvino_is_quicker_there
from pipeline.extraction_words import Watch, contract_fields, tell_plan, tell_quarantined
from pipeline.options import FAIL_THRESHOLD
from pipeline.progress import meter
from pipeline.session import Session
from pipeline.stopping import Deadline, OutOfTimeError, stoppable
from pipeline.workdir import Workdir
from stages.engine_choice import AUTO, choose_engine, openvino_is_quicker
from stages.extract import Extraction, ExtractRun, MostlyBrokenError, extract, refuse_vanished
from stages.frontend.decoder import WITHDRAWN
from stages.frontend.views.table import views
from stages.manifest import audio_paths, in_part
from stages.plan import Plan, make_plan
from stages.recipe import Recipe

if TYPE_CHECKING:
    from stages.shard_work import ShardResult

LITTLE_AUDIO_BYTES = 8 * 2**20
"""Less work than this (four minutes of 16 kHz PCM) is done before a cluster has started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """How an extraction is run; nothing here changes a feature.

    Attributes
    ----------
    n_workers : processes of a local cluster, 0 for none, None to choose
    scheduler : address of a running scheduler, or None
    batch_size : segments a call of the network
    engine : what runs the network: ``auto``, ``keras`` or ``openvino``
    retry_quarantined : try again what failed before
    fail_threshold : percent of utterances that may vanish or fail
    limit : when to stop at the latest, or None
    """

    n_workers: int | None = None
    scheduler: str | None = None
    batch_size: int = 32
    engine: str = AUTO
    retry_quarantined: bool = False
    fail_threshold: float = FAIL_THRESHOLD
    limit: Deadline | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a run of stage one has come to.

    Attributes
    ----------
    plan : what was to be done
    done : what was; None for a dry run
    stopped_by : the option or the signal that ended the run early, or empty
    was_interrupted : whether it was a signal: then the command has to end, once this is told
    fields : the contract's fields of ``emostack extract --json``
    """

    plan: Plan
    done: Extraction | None
    fields: dict[str, Any]
    stopped_by: str = ""
    was_interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be extracted, and into which store.

    Attributes
    ----------
    manifest, root : the utterances, and the folder that their files are relative to
    recipe : resolved
    elsewhere : the corpus' other utterances, if these are a part of it: they are not gone
    views : names of the views to extract besides `clean`; others that are there stay
    """

    manifest: pd.DataFrame
    root: Path
    recipe: Recipe
    elsewhere: pd.DataFrame | None = None
    views: tuple[str, ...] = ()

    @property
    def audio(self) -> dict[str, str]:
        """Corpus -> absolute folder of its files."""
        root = os.path.abspath(self.root)  # noqa: PTH100 - which also resolves ".."
        return {str(name): root for name in self.manifest["corpus"].unique()}

    def part(self, i: int, n: int) -> "Job":
        """Give the `i`-th of `n` parts, counted from 1."""
        is_mine = in_part(self.manifest, i, n)
        rows = self.manifest[is_mine].reset_index(drop=True)
        return replace(self, manifest=rows, elsewhere=self.manifest[~is_mine])


def plan_features(
    session: Session, workdir: Workdir, job: Job, options: ExtractOptions
) -> Features:
    """Say what `extract_features` would do; nothing is written but files' digests."""
    folder = workdir.store_folder(job.recipe.recipe_id)
    store = Store(folder) if (folder / "recipe.json").exists() else None
    if store:
        store.adopt(WITHDRAWN)  # in memory alone
    plan = _plan(session, workdir, job, store, options, None)
    tell_plan(session, plan)
    try:
        if store:
            _refuse_nothing(job, store, options)
        refuse_vanished(plan, options.fail_threshold)
    except MostlyBrokenError as error:
        session.warn(f"this would be refused: {error}")
    number = store.snapshot.number if store else 0
    fields = contract_fields(job.recipe, plan, None, number, 0.0)
    return Features(plan=plan, done=None, fields=fields)


def extract_features(
    session: Session,
    workdir: Workdir,
    job: Job,
    options: ExtractOptions,
    *,
    on_plan: Callable[[Plan], None] = lambda _: None,
) -> Features:
    """Bring a recipe's store up to a manifest.

    Parameters
    ----------
    session : says what happens
    workdir : where the store is
    job : what to extract
    options : how to run
    on_plan : called with the plan before anything of it is carried out

    Returns
    -------
    Features
        What was planned, and what has come of it.

    Raises
    ------
    features_cache.lock.LockedError
        Another run is writing to the store.
    stages.extract.MostlyBrokenError
        Too much has vanished, or fails; or the manifest names nothing.
    """
    began = time.monotonic()
    limit = options.limit
    with writing(session, workdir, job.recipe) as (store, lock):
        _refuse_nothing(job, store, options)
        plan = _plan(session, workdir, job, store, options, limit)
        tell_plan(session, plan)
        refuse_vanished(plan, options.fail_threshold)
        on_plan(plan)
        with stoppable(lock, limit, session.say) as stop:
            run = ExtractRun(
                lock=lock,
                batch_size=options.batch_size,
                engine=_engine(session, plan, store, options),
                fail_threshold=options.fail_threshold,
                stop=stop,
                audio=job.audio,
            )
            done = _carry_out(session, workdir, plan, store, job.recipe, options, run)
    tell_quarantined(session, done)
    fields = contract_fields(job.recipe, plan, done, done.snapshot, time.monotonic() - began)
    stopped_by = stop.reason if done.n_left or stop.was_signal else ""
    if stopped_by:
        tell = session.say if stop.was_signal else session.warn
        tell(f"{stopped_by}: {done.n_left} utterances are left for the next run")
    return Features(
        plan=plan,
        done=done,
        stopped_by=stopped_by,
        was_interrupted=stop.was_signal,
        fields=fields,
    )


def _refuse_nothing(job: Job, store: Store, options: ExtractOptions) -> None:
    """Refuse a manifest without rows: it could not say whose utterances are gone."""
    is_part, is_allowed = job.elsewhere is not None, options.fail_threshold >= 100
    if not job.manifest.empty or is_part or is_allowed:
        return
    n_live = int((store.snapshot.rows(["status"])["status"] == LIVE).sum())
    if not n_live:
        return
    message = (
        f"the manifest names no utterance, and the store knows {n_live}; "
        "expected some; nothing was changed: look at what makes the manifest, or allow it with "
        "--fail-threshold 100"
    )
    raise MostlyBrokenError(message)


@contextmanager
def writing(
    session: Session, workdir: Workdir, recipe: Recipe
) -> Iterator[tuple[Store, WriterLock]]:
    """Hold a recipe's store for writing, made if it is not there.

    Raises
    ------
    features_cache.lock.LockedError
        Another run is writing to it.
    """
    folder = workdir.store_folder(recipe.recipe_id)
    folder.mkdir(parents=True, exist_ok=True)
    with writer_lock(folder) as lock, closing(Store.create(folder, recipe.to_json())) as store:
        stale = store.remove_stale_partials()
        if stale:
            session.say(f"removed {len(stale)} unfinished files of a run that died")
        store.adopt(WITHDRAWN)
        yield store, lock


def _plan(
    session: Session,
    workdir: Workdir,
    job: Job,
    store: Store | None,
    options: ExtractOptions,
    limit: Deadline | None,
) -> Plan:
    paths = audio_paths(job.manifest, job.root)
    states = _states(session, workdir, paths, limit)
    # What reading has freed stays with the process, and planning could not use it.
    pa.default_memory_pool().release_unused()
    return make_plan(
        job.manifest,
        paths,
        states,
        store.snapshot if store else Snapshot(),
        store.on_disk() if store else Catalogue(),
        views=views(job.views),
        retry_quarantined=options.retry_quarantined,
        elsewhere=job.elsewhere,
        withdrawn=WITHDRAWN,
    )


def _states(
    session: Session, workdir: Workdir, paths: pd.Series, limit: Deadline | None
) -> pd.DataFrame:
    """Look at the files; those that look changed are hashed, which may take a first night long."""
    workdir.features.mkdir(parents=True, exist_ok=True)
    hashes = AudioHashes(workdir.hashes_file)
    with meter("hashing", len(paths), quiet=session.quiet) as progress:
        before = 0

        def on_hashed(n_hashed: int, n_files: int) -> None:
            nonlocal before
            progress.advance(n_hashed - before, total=n_files)
            before = n_hashed
            if limit is not None and limit.seconds_left < 0 and n_hashed < n_files:
                message = (
                    f"{limit.name}: the time was up when {n_hashed} of {n_files} new files had "
                    "been hashed; that is kept: run the same command again"
                )
                raise OutOfTimeError(message)

        try:
            return hashes.states(paths, on_hashed)
        finally:  # what was hashed before an interruption is not hashed again
            hashes.save()


def _engine(session: Session, plan: Plan, store: Store, options: ExtractOptions) -> str:
    """Choose what runs the network, and say so; nothing is looked at where nothing is to be run."""
    if plan.pending.empty:
        return KERAS
    is_quicker = openvino_is_quicker
    if options.scheduler is not None:
        is_quicker = partial(openvino_is_quicker_there, options.scheduler)
    engine = choose_engine(options.engine, store, is_quicker)
    session.say(f"the network is run by {engine}")
    return engine


def _carry_out(
    session: Session,
    workdir: Workdir,
    plan: Plan,
    store: Store,
    recipe: Recipe,
    options: ExtractOptions,
    run: ExtractRun,
) -> Extraction:
    n_workers, scheduler = options.n_workers, options.scheduler
    if n_workers is None:
        is_little = plan.pending["size"].sum() < LITTLE_AUDIO_BYTES
        n_workers = 0 if is_little else default_workers(run.engine)
    if plan.pending.empty:
        n_workers, scheduler = 0, None
    workdir.scratch.mkdir(exist_ok=True)
    audio = workdir.root if plan.pending.empty else Path(plan.pending["path"].iloc[0])
    with (
        open_workers(
            n_workers,
            scheduler,
            store=store.folder,
            audio=audio,
            scratch=workdir.scratch,
            engine=run.engine,
        ) as workers,
        meter("extracting", len(plan.pending), quiet=session.quiet) as progress,
    ):
        watch = Watch(session, store.shards_folder, len(plan.pending))

        def on_result(result: "ShardResult") -> None:
            progress.advance(*watch.count(result))

        return extract(plan, store, recipe, workers, replace(run, on_result=on_result))
