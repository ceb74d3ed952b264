"""Worker processes die, schedulers die, the parent dies: nobody waits for ever, nobody stays."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster

from pipeline import dask_workers
from pipeline.cluster import ClusterError, DaskWorkers, open_workers
from stages.extract import Lost

ROOT = Path(__file__).parent.parent
SIGNALS = {signal.SIGINT, signal.SIGTERM}

REMOTE = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(120)
"""

VICTIM = """
import sys
from collections import deque
from pathlib import Path
from pipeline import cluster
from tests.test_cluster_deaths import give_back, nap
if __name__ == "__main__":
    cluster._refuse_unfit_workers = lambda *_: None  # it would import Keras on either side
    address = sys.argv[1] or None
    here = Path(sys.argv[2])
    try:
        with cluster.open_workers(2, address, store=here, audio=here, scratch=here) as workers:
            tasks = deque([0.01, 60.0, 60.0, 60.0])
            for result in workers.run(nap, lambda: tasks.popleft() if tasks else None):
                print("napped", result, flush=True)
    except cluster.ClusterError as error:
        print(error, flush=True)
"""


def give_back(task: tuple[None, ...]) -> tuple[None, ...]:
    return task


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_without_marker(marker: str) -> str:
    """Kill the own process, but only once: the marker's file tells of it."""
    if marker and not Path(marker).exists():
        Path(marker).touch()
        die(None)
    time.sleep(0.05)
    return marker


def fail(error: Exception) -> None:
    raise error


def blocked_signals(_: object) -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def next_of(tasks: deque[Any]) -> Callable[[], Any]:
    return lambda: tasks.popleft() if tasks else None


@contextmanager
def local_workers(n_workers: int, folder: Path) -> Iterator[DaskWorkers]:
    with open_workers(n_workers, None, store=folder, audio=folder, scratch=folder) as workers:
        assert isinstance(workers, DaskWorkers)
        yield workers


@contextmanager
def python(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a session of its own, none of which outlives the test."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_death_costs_only_what_the_dead_process_had_at_hand(tmp_path: Path) -> None:
    deadly = str(tmp_path / "died")
    tasks = deque(["", "", deadly, *[""] * 8])
    lost = []
    done = []
    with local_workers(2, tmp_path) as workers:
        for result in workers.run(die_without_marker, next_of(tasks)):
            if isinstance(result, Lost):
                lost.append(result.task)
                tasks.append(result.task)
            else:
                done.append(result)
    assert lost.count(deadly) == 1
    assert len(lost) <= dask_workers.TASKS_IN_FLIGHT * 2
    assert sorted(done) == [*[""] * 10, deadly]


def test_only_the_parent_answers_signals_also_after_a_death(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with local_workers(1, tmp_path) as workers:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
        (first,) = workers.run(blocked_signals, next_of(deque([1])))
        assert isinstance(*workers.run(die, next_of(deque([1]))), Lost)
        (second,) = workers.run(blocked_signals, next_of(deque([1])))
    assert first >= SIGNALS
    assert second >= SIGNALS


def test_deaths_without_a_result_in_between_come_to_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_workers, "MOST_DEATHS", 1)
    tasks = deque([1])
    with local_workers(1, tmp_path) as workers:
        results = workers.run(die, next_of(tasks))
        lost = next(results)
        assert isinstance(lost, Lost)
        tasks.append(lost.task)
        with pytest.raises(ClusterError, match=r"^2 worker processes died .* finished is kept"):
            next(results)


def test_workers_that_never_come_are_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_workers, "LOOK_S", 0.1)
    monkeypatch.setattr(dask_workers, "NO_WORKERS_S", 0.3)
    with (
        LocalCluster(
            n_workers=0, dashboard_address="127.0.0.1:0", local_directory=str(tmp_path)
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(ClusterError, match=r"no worker has been there for .*is kept"),
    ):
        next(DaskWorkers(client).run(nap, next_of(deque([0.0]))))


def test_what_the_work_raises_arrives(tmp_path: Path) -> None:
    with local_workers(1, tmp_path) as workers:
        with pytest.raises(TimeoutError, match="a slow disk"):
            list(workers.run(fail, next_of(deque([TimeoutError("a slow disk")]))))
        with pytest.raises(ClusterError, match=r"a worker cannot load emostack \(no soxr\)"):
            list(workers.run(fail, next_of(deque([ImportError("no soxr")]))))


def test_results_may_be_none_and_tasks_may_turn_up_late(tmp_path: Path) -> None:
    tasks: deque[tuple[None, ...]] = deque([()])
    n_results = 0
    with local_workers(1, tmp_path) as workers:
        for result in workers.run(tuple.count, next_of(deque())):
            pytest.fail(f"a result of nothing: {result}")
        for result in workers.run(give_back, next_of(tasks)):
            n_results += 1
            if n_results < 3:
                tasks.append((*result, None))
    assert n_results == 3
    assert not workers._client.futures


@pytest.mark.slow  # the worker loads Keras to know its version
def test_a_worker_of_another_version_is_given_nothing_whenever_it_joined(tmp_path: Path) -> None:
    with local_workers(1, tmp_path) as workers:
        workers._versions = {"numpy": "0.1"}
        with pytest.raises(ClusterError, match=r"^worker tcp://.* has numpy .* \(here 0\.1\)"):
            list(workers.run(give_back, next_of(deque([1]))))


@pytest.mark.parametrize(
    ("how", "most_s"),
    [
        (signal.SIGKILL, 15),
        pytest.param(signal.SIGSTOP, 90, marks=pytest.mark.slow),  # its connections stay open
    ],
    ids=["killed", "stopped"],
)
def test_a_dead_scheduler_is_told_in_one_line_and_soon(
    how: signal.Signals, most_s: float, tmp_path: Path
) -> None:
    with python(REMOTE) as remote:
        address = remote.stdout.readline().strip()  # type: ignore[union-attr]
        with python(VICTIM, address, str(tmp_path)) as client:
            assert client.stdout.readline() == "napped 0.01\n"  # type: ignore[union-attr]
            os.kill(remote.pid, how)
            told, noise = client.communicate(timeout=most_s)
    assert told.startswith("the Dask scheduler is gone or does not answer; ")
    assert told.count("\n") == 1
    assert noise == ""


def test_workers_follow_a_killed_parent(tmp_path: Path) -> None:
    with python(VICTIM, "", str(tmp_path)) as parent:
        assert parent.stdout.readline() == "napped 0.01\n"  # type: ignore[union-attr]
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        parent.kill()
        _, alive = psutil.wait_procs(children, timeout=15)
        assert not alive
