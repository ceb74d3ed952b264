"""The work of an extraction, handed out task by task, and handed out again when a worker dies.

Tasks are made when they are asked for, never a million at once. A worker leaves a marker that says
which utterance it is reading; so when its process dies, the one to suspect is known. It is tried
once more, alone; the second death quarantines it as ``crashed``.
"""

import dataclasses
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from features_cache.keys import CLEAN
from features_cache.shard import new_shard_name
from stages.in_progress import take_marker
from stages.plan import Plan
from stages.segment_features import Failed
from stages.shard_work import ShardResult, ShardTask, published_result, withdraw
from stages.utterance import Utterance

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
    n_left_out : views that were not handed out because their utterance has failed
    """

    def __init__(
        self, plan: Plan, blank: ShardTask, n_workers: int, stop: Callable[[], bool]
    ) -> None:
        self._blank, self._stop = blank, stop
        self._fresh = (
            tuple(plan.utterances(first, last)) for first, last in portions(plan.pending, n_workers)
        )
        self._again: deque[tuple[Utterance, ...]] = deque()
        self._deaths: Counter[str] = Counter()
        self._hopeless: set[tuple[Path, float, float]] = set()
        self.n_left_out = 0

    def next_task(self) -> ShardTask | None:
        """Hand out a task; None while there is none, or when the work has to stop."""
        while not self._stop():
            utterances = self._again.popleft() if self._again else next(self._fresh, None)
            if utterances is None:
                return None
            if self._hopeless:
                utterances = self._hopeful(utterances)
            if utterances:
                return dataclasses.replace(
                    self._blank, utterances=utterances, shard=new_shard_name()
                )
        return None

    def leave_out_views_of(self, failures: Iterable[Failed]) -> None:
        """Hand out no view of an utterance that has itself failed: it fails like the utterance."""
        for failure in failures:
            if failure.utterance.view == CLEAN:
                self._hopeless.add(_audio(failure.utterance))

    def _hopeful(self, utterances: tuple[Utterance, ...]) -> tuple[Utterance, ...]:
        kept = tuple(u for u in utterances if u.view == CLEAN or _audio(u) not in self._hopeless)
        self.n_left_out += len(utterances) - len(kept)
        return kept

    def put_back(self, utterances: tuple[Utterance, ...]) -> None:
        """Take utterances back that a worker did not begin."""
        if utterances:
            self._again.append(utterances)

    def recover(self, task: ShardTask) -> ShardResult:
        """Find out what became of a task whose worker died, and put back what did not.

        A shard that was published before the death counts. Otherwise the utterance that the worker
        was at is put back by itself, or, the second time, given up.
        """
        at = take_marker(Path(task.store) / "shards", task.shard)
        withdraw(task)
        result = published_result(task)
        if result is None:
            left = ShardResult(left=task.utterances)
            result = left if at is None else self._without_suspect(task, at)
        self.put_back(result.left)
        return dataclasses.replace(result, left=())

    def _without_suspect(self, task: ShardTask, at: int) -> ShardResult:
        suspect, others = task.utterances[at], task.utterances[:at] + task.utterances[at + 1 :]
        self._deaths[suspect.key] += 1
        if self._deaths[suspect.key] < DEATHS:
            self.put_back((suspect,))
            return ShardResult(left=others)
        message = f"{DEATHS} worker processes died on it (out of memory, or a crash)"
        return ShardResult(
            failures=(Failed(utterance=suspect, code="crashed", message=message),), left=others
        )


def _audio(utterance: Utterance) -> tuple[Path, float, float]:
    end = math.inf if math.isnan(utterance.end) else utterance.end  # NaN is not itself
    return utterance.path, utterance.start, end


def portions(pending: pd.DataFrame, n_workers: int) -> Iterator[tuple[int, int]]:
    """Cut the work into tasks of about equal amounts of audio, in order: first row, last row.

    Utterances of one file share its bytes, in each view. A worker closes a shard that gets too large
    anyway, so this only has to be roughly right.
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
