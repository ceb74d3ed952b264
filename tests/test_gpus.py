"""Worker processes and GPUs; the GPUs are made up, since what is tested is who is told what."""

import dataclasses
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from features_cache.shard import PublishedShard, ShardWriter, new_shard_name
from models import backend, gpus
from models.gpus import VISIBLE_GPUS, visible_gpus
from pipeline import cluster
from pipeline.cluster import default_workers, open_workers
from stages.in_progress import take_marker
from stages.shard_work import ShardTask, extract_shard
from tests.small_job import Job
from tests.test_late_workers import task  # noqa: F401


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /dev, on a machine where Keras finds two GPUs."""
    monkeypatch.setattr(gpus, "DEVICES", tmp_path)
    monkeypatch.setattr(backend, "gpu_names", lambda: ["gpu:0", "gpu:1"])
    monkeypatch.delenv(VISIBLE_GPUS, raising=False)
    return tmp_path


def test_without_a_driver_keras_is_not_even_asked(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(backend, "gpu_names")
    (devices / "nvidiactl").touch()
    assert visible_gpus() == []


@pytest.mark.parametrize("driver", ["nvidia0", "kfd", "dxg"])
@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1"]), ("", ["0", "1"]), ("5, GPU-ab", ["5", "GPU-ab"]), ("3,4,9", ["3", "4"])],
)
def test_gpus_are_called_as_the_environment_calls_them(
    devices: Path,
    monkeypatch: pytest.MonkeyPatch,
    driver: str,
    visible: str | None,
    expected: list[str],
) -> None:
    (devices / driver).touch()
    if visible is not None:
        monkeypatch.setenv(VISIBLE_GPUS, visible)
    assert visible_gpus() == expected


def test_there_is_one_worker_a_gpu_for_keras_alone(devices: Path) -> None:
    (devices / "nvidia0").touch()
    assert default_workers("keras") == 2
    assert cluster.usable_gpus("openvino") == []


def test_keras_names_no_gpu_where_there_is_none() -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is one")
    assert backend.gpu_names() == []


def test_each_worker_process_sees_a_gpu_and_does_two_tasks_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "visible_gpus", lambda: ["4", "7"])
    with open_workers(3, None, store=tmp_path, audio=tmp_path, scratch=tmp_path) as workers:
        assert workers.n_workers == 3
        client = workers._client  # type: ignore[attr-defined]
        seen = client.run(os.getenv, VISIBLE_GPUS)
        assert sorted(seen.values()) == ["4", "4", "7"]
        assert set(client.nthreads().values()) == {2}


def test_gpu_workers_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = Job(tmp_path / "here"), Job(tmp_path / "there")
    here.extract(0, engine="keras")
    monkeypatch.setattr(cluster, "visible_gpus", lambda: [""])  # sees none, so the CPU does it
    there.extract(1, engine="keras")
    stacks = there.stacks()
    for name, stack in here.stacks().items():
        np.testing.assert_array_equal(stack, stacks[name])


def test_a_process_goes_on_with_a_task_while_another_ones_shard_is_published(
    task: ShardTask,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_publishing, may_publish, close = threading.Event(), threading.Event(), ShardWriter.close

    def close_slowly(shard: ShardWriter) -> PublishedShard:
        if shard.name == task.shard:
            is_publishing.set()
            assert may_publish.wait(60)
        return close(shard)

    monkeypatch.setattr(ShardWriter, "close", close_slowly)
    first = threading.Thread(target=extract_shard, args=[task])
    first.start()
    assert is_publishing.wait(60)
    other = dataclasses.replace(task, shard=new_shard_name())
    assert extract_shard(other).left == ()
    folder = Path(task.store) / "shards"
    assert (
        take_marker(folder, task.shard) is None
    )  # whoever died now would have no utterance to blame
    assert [path.name for path in folder.glob("[!.]*.h5")] == [other.shard]
    may_publish.set()
    first.join(60)
    assert {path.name for path in folder.iterdir()} == {task.shard, other.shard}
