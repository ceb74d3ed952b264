"""The work of an extraction, handed out task by task, and handed out again when a worker dies.

Tasks are made when they are asked for, never a million at once. A worker leaves a crumb that says
which utterance it is reading; so when its process dies, the one to suspect is known. It is tried
once more, alone; the second death quarantines it as ``crashed``.
"""

import dataclasses
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd

from features_cache.keys import CLEAN
from features_cache.shard import new_shard_name
from stages.crumb import take_crumb
from stages.plan import Item, Plan
from stages.segment_features import Failed
from stages.shard_work import ShardResult, ShardTask, published_result, withdraw

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

    Attributes
    ----------
    left_out : views that were not handed out because their utterance has failed
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
        self._hopeless: dict[tuple[str, float, float], Failed] = {}
        self.left_out: list[Failed] = []

    def next_task(self) -> ShardTask | None:
        """Hand out a task; None while there is none, or when the work has to stop."""
        while not self._stop():
            items = self._again.popleft() if self._again else next(self._fresh, None)
            if items is None:
                return None
            if self._hopeless:
                items = self._hopeful(items)
            if items:
                return dataclasses.replace(self._blank, items=items, shard=new_shard_name())
        return None

    def leave_out_views_of(self, failures: Iterable[Failed]) -> None:
        """Hand out no view of an utterance that has itself failed: it fails like the utterance."""
        for failure in failures:
            if failure.item.view == CLEAN:
                self._hopeless[_utterance(failure.item)] = failure

    def _hopeful(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        kept = []
        for item in items:
            failure = self._hopeless.get(_utterance(item))
            if failure is None or item.view == CLEAN:
                kept.append(item)
            else:
                self.left_out.append(dataclasses.replace(failure, item=item))
        return tuple(kept)

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


def _utterance(item: Item) -> tuple[str, float, float]:
    end = math.inf if math.isnan(item.end) else item.end  # NaN is not itself
    return item.path, item.start, end


def portions(pending: pd.DataFrame, n_workers: int) -> Iterator[tuple[int, int]]:
    """Cut the work into tasks of about equal amounts of audio, in order: first row, last row.

    Utterances of one file share its bytes, in each view. A worker closes a shard that gets too large anyway, so
    this only has to be roughly right.
    """
    if pending.empty:
        return
    sharers = pending.groupby(["path", "view"], sort=False)["path"].transform("size")
    done = np.cumsum(pending["size"].to_numpy() / sharers.to_numpy())
    aim = max(1.0, min(TASK_AUDIO_BYTES, done[-1] / (TASKS_A_WORKER * max(1, n_workers))))
    first = 0
    while first < len(done):
        so_far = done[first - 1] if first else 0.0
        last = max(first + 1, int(np.searchsorted(done, so_far + aim)) + 1)
        yield first, min(last, len(done))
        first = last
