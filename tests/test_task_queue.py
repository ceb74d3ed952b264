"""Work handed out once, and again only where a worker died on it."""

import struct
from pathlib import Path

import numpy as np
import pytest

from features_cache.shard import ShardHeader, ShardWriter
from stages.shard_work import ShardResult, ShardTask
from stages.task_queue import TaskQueue
from stages.utterance import Utterance
from tests.test_plan import World, manifest

HEADER = ShardHeader(
    recipe_id="r", recipe_json="{}", versions_json="{}", engine="e", dtype="float32", feature_dim=2
)


def utterance(name: str) -> Utterance:
    return Utterance(utterance_id=name, path=Path(f"/{name}.wav"), key=name.ljust(64, "0"))


class Queue:
    """A queue over three utterances, one worker, and the store's folder."""

    def __init__(self, folder: Path) -> None:
        self.shards = folder / "shards"
        self.shards.mkdir()
        self.stopped = False
        files = {name: f"{name}.wav" for name in "abc"}
        plan = World(folder / "world").plan(manifest(files), {f: f for f in files.values()})
        blank = ShardTask(store=str(folder), lock_token="", recipe_json="{}", batch_size=8)
        self.queue = TaskQueue(plan, blank, 1, lambda: self.stopped)

    def next_names(self) -> tuple[ShardTask, str]:
        task = self.queue.next_task()
        assert task is not None
        return task, "".join(each.utterance_id for each in task.utterances)

    def leave_marker(self, task: ShardTask, at: int) -> None:
        (self.shards / f".{task.shard}.at.partial").write_bytes(struct.pack("<q", at))


@pytest.fixture
def world(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


def drained(world: Queue) -> list[str]:
    tasks = iter(world.queue.next_task, None)
    return ["".join(each.utterance_id for each in task.utterances) for task in tasks if task]


def test_everything_is_handed_out_once_under_shard_names_of_their_own(world: Queue) -> None:
    tasks = [world.queue.next_task() for _ in range(4)]
    handed_out = [each.utterance_id for task in tasks if task for each in task.utterances]
    assert handed_out == ["a", "b", "c"]
    names = [task.shard for task in tasks if task]
    assert len(set(names)) == len(names)


def test_what_was_left_comes_again(world: Queue) -> None:
    drained(world)
    world.queue.put_back((utterance("b"),))
    assert drained(world) == ["b"]


def test_nothing_is_handed_out_after_a_word_to_stop(world: Queue) -> None:
    world.stopped = True
    assert world.queue.next_task() is None


def test_a_task_that_was_not_begun_is_put_back_whole(world: Queue) -> None:
    task, names = world.next_names()
    assert world.queue.recover(task) == ShardResult()
    assert names in drained(world)


def test_an_utterance_that_killed_a_worker_is_tried_alone_and_then_given_up(world: Queue) -> None:
    drained(world)
    world.queue.put_back((utterance("a"), utterance("b"), utterance("c")))
    task, names = world.next_names()
    assert names == "abc"
    world.leave_marker(task, 1)
    assert world.queue.recover(task).failures == ()
    assert sorted(drained(world)) == ["ac", "b"]
    world.queue.put_back((utterance("b"),))
    task, _ = world.next_names()
    world.leave_marker(task, 0)
    failures = world.queue.recover(task).failures
    assert [(each.utterance.utterance_id, each.code) for each in failures] == [("b", "crashed")]
    assert drained(world) == []
    assert list(world.shards.iterdir()) == []


def test_a_shard_that_was_published_before_the_death_counts(world: Queue) -> None:
    drained(world)
    world.queue.put_back((utterance("a"), utterance("b")))
    task, _ = world.next_names()
    with ShardWriter(world.shards, HEADER, task.shard) as shard:
        shard.append(np.ones((3, 2), np.float32), np.arange(3.0), np.arange(3.0) + 1)
        shard.end_utterance(key=task.utterances[0].key, utterance_id="a", view="clean")
        published = shard.close()
    result = world.queue.recover(task)
    assert result.shard == published
    assert result.n_segments == 3
    assert drained(world) == ["b"]
