"""Stage one: carry out a plan, shard by shard, and publish the next generation."""

import dataclasses
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from features_cache.generation import LIVE, QUARANTINED, Generation
from features_cache.store import Place, Store
from stages.plan import PENDING, Item, Plan, place_rows
from stages.recipe import Recipe

if TYPE_CHECKING:  # imports Keras: seconds that a night without work does not have to spend
    from stages.segment_features import Failed
    from stages.shard_work import ShardResult, ShardTask

TASK_AUDIO_BYTES = 32 * 2**20
"""Audio handed out in one task at most."""

TASKS_A_WORKER = 4
"""Aim: enough tasks that workers end together, few enough that shards stay few."""


class Workers(Protocol):
    """Whoever runs tasks: this process, a local cluster, a remote one."""

    n_workers: int

    def run(
        self, work: "Callable[[ShardTask], ShardResult]", tasks: "deque[ShardTask]"
    ) -> "Iterator[ShardResult]":
        """Run tasks, in any order, until `tasks` is empty; more may be added meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What an extraction came to.

    Attributes
    ----------
    generation : the one that readers now see
    newly_quarantined : id, reason code and message of rows that are quarantined now, and were not
        or for another reason
    n_quarantined_total : rows of this manifest that are quarantined
    n_segments : segments made in this run
    seconds : wall clock from the first task to the published generation
    """

    generation: Generation
    newly_quarantined: tuple[tuple[str, str, str], ...]
    n_quarantined_total: int
    n_segments: int
    seconds: float


def extract(
    plan: Plan,
    store: Store,
    recipe: Recipe,
    workers: Workers,
    *,
    batch_size: int = 32,
    on_result: "Callable[[ShardResult], None]" = lambda _: None,
) -> Extraction:
    """Carry out a plan; the caller holds the store's writer lock.

    What was finished is published, also when the run is interrupted or a worker fails.

    Parameters
    ----------
    plan : from `stages.plan.make_plan`, made on the store's newest generation
    store : where shards and the generation go
    recipe : resolved
    workers : who runs the tasks
    batch_size : segments a call of the network, at least 8
    on_result : called after every shard, for progress

    Returns
    -------
    Extraction
        Its generation holds every row of the plan that has features or is quarantined.
    """
    began = time.monotonic()
    results: list[ShardResult] = []
    try:
        if plan.items:
            _run_tasks(plan, store, recipe, workers, batch_size, results, on_result)
    except BaseException:
        finished = [dataclasses.replace(result, failures=()) for result in results]
        if finished:  # failures are told by the run that comes to its end
            _publish(plan, store, recipe, finished)
        raise
    rows, generation = _publish(plan, store, recipe, results)
    return Extraction(
        generation=generation,
        newly_quarantined=newly_quarantined(plan, rows),
        n_quarantined_total=int((rows["status"] == QUARANTINED).sum()),
        n_segments=sum(result.n_segments for result in results),
        seconds=time.monotonic() - began,
    )


def _publish(
    plan: Plan, store: Store, recipe: Recipe, results: "Sequence[ShardResult]"
) -> tuple[pd.DataFrame, Generation]:
    rows = next_rows(plan, results)
    shards = [result.shard for result in results if result.shard]
    table = pd.concat([plan.carried, rows.drop(columns="change")], ignore_index=True)
    return rows, store.publish(_without_gaps(table), recipe.recipe_id, shards)


def next_rows(plan: Plan, results: "Sequence[ShardResult]") -> pd.DataFrame:
    """Fill in what the results say of the plan's pending rows; what was not reached drops out."""
    places = {
        entry.key: Place(shard=result.shard.name, row_start=entry.row_start, row_end=entry.row_end)
        for result in results
        if result.shard
        for entry in result.shard.entries
    }
    failures = {failure.item.key: failure for result in results for failure in result.failures}
    is_pending = plan.rows["status"] == PENDING
    settled = plan.rows[~is_pending]
    placed = place_rows(plan.rows[is_pending], places)
    live = placed[placed["shard"] != ""].assign(status=LIVE, reason="", message="")
    failed = placed[(placed["shard"] == "") & placed["key"].isin(failures.keys())]
    failed = failed.assign(status=QUARANTINED, **_reasons(failed, failures))
    return pd.concat([settled, live, failed]).sort_index()


def newly_quarantined(plan: Plan, rows: pd.DataFrame) -> tuple[tuple[str, str, str], ...]:
    """Id, reason and message of rows whose quarantine is news."""
    bad = rows[rows["status"] == QUARANTINED]
    reasons_before = plan.rows.loc[bad.index, "reason"]
    is_known = (bad["change"] == "retried") & (bad["reason"] == reasons_before)
    is_known |= (bad["change"] == "quarantined") & ~bad["utterance_id"].isin(plan.newly_bad)
    news = bad[~is_known]
    return tuple(zip(news["utterance_id"], news["reason"], news["message"], strict=True))


def _run_tasks(
    plan: Plan,
    store: Store,
    recipe: Recipe,
    workers: Workers,
    batch_size: int,
    results: "list[ShardResult]",
    on_result: "Callable[[ShardResult], None]",
) -> None:
    from stages.shard_work import ShardTask, extract_shard

    blank = ShardTask(
        store=os.fspath(store.folder.absolute()),
        recipe_json=recipe.to_json(),
        items=(),
        batch_size=batch_size,
    )
    portions = portion(plan.items, workers.n_workers)
    tasks = deque(dataclasses.replace(blank, items=items) for items in portions)
    for result in workers.run(extract_shard, tasks):
        results.append(result)
        if result.left:
            tasks.append(dataclasses.replace(blank, items=result.left))
        on_result(result)


def portion(items: Sequence[Item], n_workers: int) -> Iterator[tuple[Item, ...]]:
    """Cut the work into tasks of about equal amounts of audio, in order.

    Utterances of one file share its bytes. A worker closes a shard that gets too large anyway, so
    this only has to be roughly right.
    """
    sharers = Counter(item.path for item in items)
    total = sum(item.size / sharers[item.path] for item in items)
    aim = min(TASK_AUDIO_BYTES, total / (TASKS_A_WORKER * max(1, n_workers)))
    task: list[Item] = []
    n_bytes = 0.0
    for item in items:
        task.append(item)
        n_bytes += item.size / sharers[item.path]
        if n_bytes >= aim:
            yield tuple(task)
            task, n_bytes = [], 0.0
    if task:
        yield tuple(task)


def _reasons(failed: pd.DataFrame, failures: "Mapping[str, Failed]") -> dict[str, list[str]]:
    found = [failures[key] for key in failed["key"]]
    return {"reason": [f.code for f in found], "message": [f.message for f in found]}


def _without_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Give rows of older manifests an empty text in columns that they did not have."""
    text = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{name: table[name].fillna("").astype("str") for name in text})
