"""Stage one: carry out a plan, shard by shard, then publish what exists and what is wanted."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from features_cache.lock import WriterLock
from features_cache.store import Store
from models.engines import KERAS
from stages.frontend.decoder import DECODER
from stages.next_snapshot import Made, Outcome, counted_once, differs, outcome, snapshot_parts, told
from stages.plan import Plan
from stages.recipe import Recipe

if TYPE_CHECKING:  # imports Keras: seconds that a night without work does not have to spend
    from stages.shard_work import ShardResult, ShardTask

FEW = 3
"""Fewer utterances than this may vanish, as long as one is left."""

ENOUGH = 100
"""Utterances to try before their failures say anything about the rest."""


class MostlyBrokenError(RuntimeError):
    """So much has vanished or failed that the machine is to blame, not the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """In place of a result: the worker died that had the task, whether or not it had begun."""

    task: "ShardTask"


class Workers(Protocol):
    """Whoever runs tasks: this process, a local cluster, a remote one."""

    n_workers: int

    def run(
        self,
        work: "Callable[[ShardTask], ShardResult]",
        next_task: "Callable[[], ShardTask | None]",
    ) -> "Iterator[ShardResult | Lost]":
        """Run tasks until there is none and none is running.

        `next_task` gives None while there is none; a result may bring more.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractRun:
    """How an extraction is run; nothing here changes a feature.

    Attributes
    ----------
    lock : the store's, held by the caller
    batch_size : segments a call of the network, at least 8
    engine : what runs the network, one of `models.engines.ENGINES`
    fail_threshold : percent of utterances that may fail
    stop : tells that no further task is to be handed out
    audio : corpus -> absolute folder of its files
    on_result : called after every shard, for progress
    """

    lock: WriterLock
    batch_size: int = 32
    engine: str = KERAS
    fail_threshold: float = 100.0
    stop: Callable[[], bool] = lambda: False
    audio: Mapping[str, str] = field(default_factory=dict)
    on_result: "Callable[[ShardResult], None]" = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What an extraction came to.

    Attributes
    ----------
    snapshot : number of the one that readers now see
    newly_quarantined : what has no features now, and had some or for another reason, each bad file
        once: ``utterance_id, file, view, reason, message``
    quarantined : number of this manifest's quarantined utterances, by reason; one whose views alone
        fail is among them
    n_left : utterances that were not reached, counted once a view
    n_segments : segments made in this run
    audio_s : seconds of audio that they were made of
    seconds : wall clock from the first task to the published snapshot
    """

    snapshot: int
    newly_quarantined: pd.DataFrame
    quarantined: dict[str, int]
    n_left: int
    n_segments: int
    audio_s: float
    seconds: float


def refuse_vanished(plan: Plan, fail_threshold: float) -> None:
    """Refuse a plan in which a large part of the corpus has vanished: a disk is not mounted.

    Raises
    ------
    MostlyBrokenError
        More than `fail_threshold` percent of the known utterances are gone or out of reach.
    """
    share = 100.0 * plan.n_vanished / max(1, plan.n_known)
    is_few = plan.n_vanished < FEW and plan.n_vanished < plan.n_known
    if share <= fail_threshold or is_few:
        return
    message = (
        f"{plan.n_vanished} of {plan.n_known} known utterances have vanished ({share:.0f} %: "
        f"{len(plan.gone)} from the manifest, the others' files); expected at most "
        f"{fail_threshold:g} %; nothing was changed: mount the disk, give another corpus a name "
        "of its own in the column 'corpus', or allow it with --fail-threshold 100"
    )
    raise MostlyBrokenError(message)


def extract(
    plan: Plan, store: Store, recipe: Recipe, workers: Workers, run: ExtractRun
) -> Extraction:
    """Carry out a plan; the caller holds the store's writer lock.

    What was finished is published, also when the run is interrupted or a worker fails.

    Parameters
    ----------
    plan : from `stages.plan.make_plan`, made on the store's newest snapshot
    store : where shards, catalogue and snapshot go; what killed runs have left is in its catalogue
    recipe : resolved
    workers : who runs the tasks
    run : how

    Returns
    -------
    Extraction
        Its snapshot holds every row that is wanted.

    Raises
    ------
    MostlyBrokenError
        More than the threshold of what was tried has failed.
    """
    began = time.monotonic()
    made = Made(made_by=DECODER)
    n_left_out = 0
    try:
        if len(plan.pending):
            n_left_out = _run_tasks(plan, store, recipe, workers, run, made)
    except BaseException:
        made.failures.clear()  # nobody has been told; and the machine may be to blame for them
        if made.shards:
            _publish(store, recipe, run, made, outcome(plan, made, is_cut_short=True))
        raise
    found = outcome(plan, made)
    _publish(store, recipe, run, made, found)
    bad = told(found, counted_once(found, np.ones(len(found.is_news), bool)))
    return Extraction(
        snapshot=store.snapshot.number,
        newly_quarantined=told(found, counted_once(found, found.is_news)),
        quarantined=dict(Counter(bad["reason"].tolist()).most_common()),
        n_left=len(plan.pending) - made.n_made - len(made.failures) - n_left_out,
        n_segments=made.n_segments,
        audio_s=made.audio_s,
        seconds=time.monotonic() - began,
    )


def _publish(store: Store, recipe: Recipe, run: ExtractRun, made: Made, found: Outcome) -> None:
    """Publish what exists, then what is wanted: knowing more than is wanted does no harm."""
    is_elsewhere = bool(dict(run.audio).items() - store.snapshot.audio.items())
    is_nothing = not len(found.own) and not len(found.kept) and store.snapshot.number == 0
    is_new = not is_nothing and (is_elsewhere or differs(found))
    exists = made.added_to(store.catalogue)
    store.publish_catalogue(
        exists, recipe.recipe_id, for_snapshot=store.next_snapshot if is_new else 0
    )
    if is_new:
        store.publish_snapshot(snapshot_parts(found), recipe.recipe_id, audio=run.audio)
    store.show()


def _run_tasks(
    plan: Plan, store: Store, recipe: Recipe, workers: Workers, run: ExtractRun, made: Made
) -> int:
    """Have the work done; how many views were not tried because their utterance has failed."""
    from stages.shard_work import ShardTask, extract_shard
    from stages.task_queue import TaskQueue

    blank = ShardTask(
        store=os.fspath(store.folder.absolute()),
        lock_token=run.lock.token,
        recipe_json=recipe.to_json(),
        batch_size=run.batch_size,
        engine=run.engine,
    )
    queue = TaskQueue(plan, blank, workers.n_workers, run.stop)
    for answer in workers.run(extract_shard, queue.next_task):
        result = queue.recover(answer.task) if isinstance(answer, Lost) else answer
        queue.put_back(result.left)
        made.add(result)
        queue.leave_out_views_of(result.failures)
        _refuse_failing(made, run.fail_threshold)
        run.on_result(result)
    return queue.n_left_out


def _refuse_failing(made: Made, fail_threshold: float) -> None:
    n_failed = len(made.failures)
    n_tried = made.n_made + n_failed
    if n_tried < ENOUGH or 100.0 * n_failed <= fail_threshold * n_tried:
        return
    last = made.failures[-1]
    message = (
        f"{n_failed} of the first {n_tried} utterances failed (the last one: {last.code}: "
        f"{last.message}); expected at most {fail_threshold:g} %; what succeeded is kept: look at "
        "the disk and the files, or allow it with --fail-threshold 100"
    )
    raise MostlyBrokenError(message)
