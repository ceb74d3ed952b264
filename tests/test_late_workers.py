"""Workers that live longer than their run, or are given up too early, publish nothing twice."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from features_cache.lock import writer_lock
from features_cache.shard import new_shard_name
from features_cache.store import Store
from stages import shard_work
from stages.crumb import take_crumb
from stages.frontend.segments import Segments
from stages.plan import Item
from stages.recipe import Recipe
from stages.shard_work import ShardTask, extract_shard, withdraw
from tests.small_job import Job


@pytest.fixture
def task(tmp_path: Path) -> ShardTask:
    """A task of two utterances, of a run that has died."""
    job = Job(tmp_path / "job")
    job.store_folder.mkdir(parents=True)
    Store.create(job.store_folder, job.recipe.to_json()).close()
    with writer_lock(job.store_folder) as lock:
        token = lock.token
    items = []
    for i in range(2):
        path = job.audio / f"u{i}.wav"
        found = path.stat()
        items.append(
            Item(
                key=f"{i:064x}",
                utterance_id=f"u{i}",
                view="clean",
                path=str(path),
                start=0.0,
                end=math.nan,
                size=found.st_size,
                mtime_ns=found.st_mtime_ns,
            )
        )
    return ShardTask(
        store=str(job.store_folder),
        lock_token=token,
        recipe_json=job.recipe.to_json(),
        batch_size=32,
        items=tuple(items),
        shard=new_shard_name(),
    )


def files(task: ShardTask) -> list[Path]:
    return list((Path(task.store) / "shards").iterdir())


def test_a_worker_whose_run_has_died_finishes_its_shard(task: ShardTask) -> None:
    result = extract_shard(task)
    assert result.left == ()
    assert [path.name for path in files(task)] == [task.shard]


def test_a_worker_that_loaded_while_another_run_came_and_went_publishes_nothing(
    task: ShardTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = shard_work.load_network

    def load_slowly(*what: Any) -> Any:  # noqa: ANN401
        with writer_lock(Path(task.store)):
            pass
        return load(*what)

    monkeypatch.setattr(shard_work, "load_network", load_slowly)
    assert extract_shard(task).left == task.items
    assert files(task) == []


@pytest.mark.parametrize("by", ["the next run", "its own run"])
def test_a_worker_that_is_given_up_in_the_middle_publishes_nothing(
    task: ShardTask, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    read = shard_work.window_events

    def read_and_lose(*what: Any) -> Iterator[Any]:  # noqa: ANN401
        events = list(read(*what))
        yield from events[:-1]
        if by == "its own run":
            assert take_crumb(task) == 1
            withdraw(task)
        else:
            Store(Path(task.store)).remove_stale_partials()
        yield events[-1]

    monkeypatch.setattr(shard_work, "window_events", read_and_lose)
    with pytest.raises(OSError, match=r"\.partial"):
        extract_shard(task)
    assert files(task) == []


def test_the_network_s_want_of_memory_is_laid_to_the_utterance_that_it_was_at(
    task: ShardTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = shard_work.load_network

    def load_hungry(*what: Any) -> Any:  # noqa: ANN401
        network = load(*what)

        def starve(_: object) -> None:  # the other utterance has long been decoded ahead
            raise MemoryError

        monkeypatch.setattr(network, "start", starve)
        return network

    monkeypatch.setattr(shard_work, "load_network", load_hungry)
    result = extract_shard(task)
    assert [(failed.item.utterance_id, failed.code) for failed in result.failures] == [
        ("u0", "memory")
    ]
    assert [item.utterance_id for item in result.left] == ["u1"]


def test_few_blocks_are_made_ahead_where_windows_are_long() -> None:
    long = replace(Recipe(), segments=Segments(n_frames=1000, shift_frames=10))
    ahead = {n: shard_work._blocks_ahead(recipe) for n, recipe in enumerate((Recipe(), long))}
    assert 2 <= ahead[1] < ahead[0] <= shard_work.MOST_AHEAD
