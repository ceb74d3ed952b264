"""Workers that would give other features, or cannot see the files, are refused."""

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster import ClusterError, ThisProcess, _refuse_unfit_workers, default_workers
from stages.shard_work import package_versions


class OneWorker:
    """Stands in for a client with one worker, which answers as it is told."""

    def __init__(self, versions: dict[str, str] | Exception, *, sees: bool = True) -> None:
        self._versions, self._sees = versions, sees

    def run(
        self, function: Callable[..., Any], *arguments: str, on_error: str = "raise"
    ) -> dict[str, Any]:
        assert on_error == "return" or not isinstance(self._versions, Exception)
        if function is os.path.exists:
            return {"tcp://worker": self._sees and function(*arguments)}
        return {"tcp://worker": self._versions}


def test_a_worker_like_this_machine_is_fit(tmp_path: Path) -> None:
    _refuse_unfit_workers(OneWorker(package_versions()), tmp_path, tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_worker_with_another_version_is_refused_by_name(tmp_path: Path) -> None:
    client = OneWorker({**package_versions(), "librosa": "0.9.0"})
    with pytest.raises(ClusterError, match=r"worker tcp://worker has librosa 0\.9\.0 \(here "):
        _refuse_unfit_workers(client, tmp_path, tmp_path)  # type: ignore[arg-type]


def test_a_worker_without_emostack_is_refused_in_one_line(tmp_path: Path) -> None:
    client = OneWorker(ModuleNotFoundError("No module named\n'stages'"))
    with pytest.raises(ClusterError, match=r"^worker tcp://worker cannot load emostack .*'stages'"):
        _refuse_unfit_workers(client, tmp_path, tmp_path)  # type: ignore[arg-type]


def test_a_worker_that_does_not_see_the_store_is_refused(tmp_path: Path) -> None:
    client = OneWorker(package_versions(), sees=False)
    with pytest.raises(
        ClusterError, match=r"does not see .* put --workdir and the audio on shared"
    ):
        _refuse_unfit_workers(client, tmp_path, tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_does_not_see_the_audio_is_refused(tmp_path: Path) -> None:
    audio = tmp_path / "elsewhere" / "a.wav"
    with pytest.raises(ClusterError, match=r"does not see .*elsewhere"):
        _refuse_unfit_workers(OneWorker(package_versions()), tmp_path, audio)  # type: ignore[arg-type]


def test_tasks_may_be_added_while_others_run() -> None:
    tasks = deque([3])
    done = []
    for result in ThisProcess().run(lambda n: n - 1, lambda: tasks.popleft() if tasks else None):
        done.append(result)
        if result:
            tasks.append(result)
    assert done == [2, 1, 0]


def test_there_is_at_least_one_worker_and_at_most_one_a_core() -> None:
    assert 1 <= default_workers() <= (os.cpu_count() or 1)
