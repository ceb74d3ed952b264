"""Workers that live longer than their run, or are given up too early, publish nothing twice."""

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from features_cache.lock import writer_lock
from features_cache.shard import ShardWriter, new_shard_name
from features_cache.store import Store
from stages import segment_features, shard_work
from stages.frontend.logmel import logmel_blocks
from stages.frontend.segments import Segments
from stages.in_progress import take_marker
from stages.recipe import Recipe
from stages.shard_work import ShardTask, batches_ahead, extract_shard, withdraw
from stages.utterance import Utterance
from tests.small_job import Job


@pytest.fixture
def task(tmp_path: Path) -> ShardTask:
    """A task of two utterances, of a run that has died."""
    job = Job(tmp_path / "job")
    job.store_folder.mkdir(parents=True)
    Store.create(job.store_folder, job.recipe.to_json()).close()
    with writer_lock(job.store_folder) as lock:
        token = lock.token
    utterances = []
    for i in range(2):
        path = job.audio / f"u{i}.wav"
        found = path.stat()
        utterances.append(
            Utterance(
                key=f"{i:064x}",
                utterance_id=f"u{i}",
                path=path,
                size=found.st_size,
                mtime_ns=found.st_mtime_ns,
            )
        )
    return ShardTask(
        store=str(job.store_folder),
        lock_token=token,
        recipe_json=job.recipe.to_json(),
        batch_size=32,
        utterances=tuple(utterances),
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
    assert extract_shard(task).left == task.utterances
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
            assert take_marker(Path(task.store) / "shards", task.shard) == 1
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
    assert [(failed.utterance.utterance_id, failed.code) for failed in result.failures] == [
        ("u0", "memory")
    ]
    assert [utterance.utterance_id for utterance in result.left] == ["u1"]


@pytest.mark.parametrize(
    ("n_frames", "feature_dim", "expected"),
    [(64, 1000, (32, 4)), (1000, 1000, (8, 4)), (64, 10**6 // 4, (32, 2)), (16_000, 10**7, (1, 1))],
)
def test_few_batches_are_made_ahead_where_they_are_large(
    n_frames: int, feature_dim: int, expected: tuple[int, int]
) -> None:
    recipe = replace(Recipe(), segments=Segments(n_frames=n_frames, shift_frames=10))
    assert batches_ahead(recipe, batch_size=32, feature_dim=feature_dim) == expected


def test_reading_the_network_and_writing_have_a_thread_each_and_none_stays(
    task: ShardTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, int] = {}
    before = threading.active_count()

    def noting(who: str, does: Callable[..., Any]) -> Callable[..., Any]:
        def note_and_do(*what: Any, **more: Any) -> Any:  # noqa: ANN401
            seen[who] = threading.get_ident()
            return does(*what, **more)

        return note_and_do

    network = shard_work.load_network(task.recipe_json, task.batch_size, task.engine)
    monkeypatch.setattr(shard_work, "load_network", lambda *_: network)
    monkeypatch.setattr(network, "start", noting("network", network.start))
    monkeypatch.setattr(segment_features, "logmel_blocks", noting("reading", logmel_blocks))
    monkeypatch.setattr(ShardWriter, "append", noting("writing", ShardWriter.append))
    assert extract_shard(task).left == ()
    assert len(set(seen.values())) == 3
    assert seen["writing"] == threading.get_ident()
    assert threading.active_count() == before


@pytest.mark.parametrize(("ask_s", "expected"), [(math.inf, {2, 3}), (0.0, {4})])
def test_whether_to_go_on_is_asked_now_and_then(
    task: ShardTask, monkeypatch: pytest.MonkeyPatch, ask_s: float, expected: set[int]
) -> None:
    asked: list[str] = []

    def may_go_on(_: Path, token: str) -> bool:
        asked.append(token)
        return len(asked) < 4  # twice before the first utterance

    monkeypatch.setattr(shard_work, "may_go_on", may_go_on)
    monkeypatch.setattr(shard_work, "ASK_S", ask_s)
    result = extract_shard(task)
    assert len(asked) in expected
    assert (result.left == ()) is (ask_s > 0)
