"""The work of an extraction, handed out task by task, and handed out again when a worker dies.

Tasks are made when they are asked for, never a million at once. A worker leaves a crumb that says
which utterance it is at; so when its process dies, the utterance that killed it is known. It is tried
once more, alone; the second death quarantines it as ``crashed``.
"""

import dataclasses
from collections import Counter, deque
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from features_cache.shard import new_shard_name
from stages.plan import Item, Plan
from stages.segment_features import Failed
from stages.shard_work import ShardResult, ShardTask, published_result, take_crumb, withdraw

TASK_AUDIO_BYTES = 32 * 2**20
"""Audio handed out in one task at most."""

TASKS_A_WORKER = 4
"""Aim: enough tasks that workers end together, few enough that shards stay few."""

DEATHS = 2
"""Worker processes that one utterance may kill."""


class TaskQueue:
    """What is still to be handed out.

    Parameters
    ----------
    plan : what has to be extracted
    blank : a task without utterances
    n_workers : how many share the work
    stop : tells that nothing more is to be handed out
    """

    def __init__(
        self, plan: Plan, blank: ShardTask, n_workers: int, stop: Callable[[], bool]
    ) -> None:
        self._blank, self._stop = blank, stop
        self._fresh = (
            tuple(plan.items(first, last)) for first, last in portions(plan.pending, n_workers)
        )
        self._again: deque[tuple[Item, ...]] = deque()
        self._deaths: Counter[str] = Counter()

    def next_task(self) -> ShardTask | None:
        """Hand out a task; None while there is none, or when the work has to stop."""
        if self._stop():
            return None
        items = self._again.popleft() if self._again else next(self._fresh, None)
        if items is None:
            return None
        return dataclasses.replace(self._blank, items=items, shard=new_shard_name())

    def put_back(self, items: tuple[Item, ...]) -> None:
        """Take utterances back that a worker did not begin."""
        if items:
            self._again.append(items)

    def recover(self, task: ShardTask) -> ShardResult:
        """Find out what became of a task whose worker died, and put back what did not.

        A shard that was published before the death counts. Otherwise the utterance that the worker
        was at is put back by itself, or, the second time, given up.
        """
        at = take_crumb(task)
        withdraw(task)
        result = published_result(task)
        if result is None:
            left = ShardResult(left=task.items)
            result = left if at is None else self._without_suspect(task, at)
        self.put_back(result.left)
        return dataclasses.replace(result, left=())

    def _without_suspect(self, task: ShardTask, at: int) -> ShardResult:
        suspect, others = task.items[at], task.items[:at] + task.items[at + 1 :]
        self._deaths[suspect.key] += 1
        if self._deaths[suspect.key] < DEATHS:
            self.put_back((suspect,))
            return ShardResult(left=others)
        message = f"{DEATHS} worker processes died on it (out of memory, or a crash)"
        return ShardResult(
            failures=(Failed(item=suspect, code="crashed", message=message),), left=others
        )


def portions(pending: pd.DataFrame, n_workers: int) -> Iterator[tuple[int, int]]:
    """Cut the work into tasks of about equal amounts of audio, in order: first row, last row.

    Utterances of one file share its bytes. A worker closes a shard that gets too large anyway, so
    this only has to be roughly right.
    """
    if pending.empty:
        return
    sharers = pending["path"].map(pending["path"].value_counts())
    done = np.cumsum(pending["size"].to_numpy() / sharers.to_numpy())
    aim = max(1.0, min(TASK_AUDIO_BYTES, done[-1] / (TASKS_A_WORKER * max(1, n_workers))))
    first = 0
    while first < len(done):
        so_far = done[first - 1] if first else 0.0
        last = max(first + 1, int(np.searchsorted(done, so_far + aim)) + 1)
        yield first, min(last, len(done))
        first = last
