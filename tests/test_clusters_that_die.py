"""A worker or the scheduler is killed: nothing is lost, and the same command goes on."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from features_cache.store import Store
from tests.small_job import ROOT, Job, running, times_on_disk, wholeness, write_short_corpus

pytestmark = pytest.mark.slow

SCHEDULER = """
import asyncio
from distributed import Scheduler
async def serve():
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()
asyncio.run(serve())
"""

WORKER = """
import asyncio, sys
from distributed import Worker
async def serve():
    async with Worker(sys.argv[1], nthreads=1, local_directory=sys.argv[2]) as worker:
        print("here", flush=True)
        await worker.finished()
asyncio.run(serve())
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path / "job")
    job.manifest = write_short_corpus(job.audio, 64, 6.0)
    return job


@contextmanager
def python(program: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program that says one line when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_for_shards(job: Job, process: subprocess.Popen[str], n: int) -> None:
    until = time.monotonic() + 120
    while len(list(job.store_folder.glob("shards/*.h5"))) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)


def check_whole(job: Job, features: dict[str, bytes]) -> None:
    assert wholeness(job.store_folder) == []
    assert len(Store(job.store_folder).live(["key"])) == 64
    assert set(times_on_disk(job.store_folder).values()) == {1}
    assert job.features() == features


@pytest.fixture
def features(tmp_path: Path) -> dict[str, bytes]:
    """Features of a run that nobody disturbs."""
    calm = Job(tmp_path / "calm")
    calm.manifest = write_short_corpus(calm.audio, 64, 6.0)
    calm.extract()
    return calm.features()


def test_a_local_cluster_replaces_workers_that_are_killed(
    job: Job, features: dict[str, bytes]
) -> None:
    with running(*job.words(2)) as process:
        for n_shards in (1, 3):
            wait_for_shards(job, process, n_shards)
            children = psutil.Process(process.pid).children(recursive=True)
            next(c for c in children if "spawn_main" in " ".join(c.cmdline())).kill()
        _, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (0, "")
    check_whole(job, features)


def cluster(
    stack: ExitStack, folder: Path, n_workers: int
) -> tuple[str, list[subprocess.Popen[str]]]:
    """Start a scheduler and workers; its address, and all processes, the scheduler first."""
    scheduler = stack.enter_context(python(SCHEDULER))
    address = first_line(scheduler)
    workers = [stack.enter_context(python(WORKER, address, folder)) for _ in range(n_workers)]
    assert [first_line(worker) for worker in workers] == ["here"] * n_workers
    return address, [scheduler, *workers]


def test_a_killed_worker_of_a_running_cluster_costs_nothing_but_time(
    job: Job, features: dict[str, bytes], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        address, (_, victim, _) = cluster(stack, tmp_path, 2)
        process = stack.enter_context(running(*job.words(), "--scheduler", address))
        wait_for_shards(job, process, 1)
        victim.kill()
        _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    check_whole(job, features)


def test_a_killed_scheduler_is_told_and_the_same_command_goes_on(
    job: Job, features: dict[str, bytes], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        address, (scheduler, *_) = cluster(stack, tmp_path, 2)
        process = stack.enter_context(running(*job.words(), "--scheduler", address))
        wait_for_shards(job, process, 1)
        scheduler.kill()
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err.count("\n")) == (1, 1), err
        assert err.startswith("error: the Dask scheduler is gone or does not answer; ")
        assert wholeness(job.store_folder) == []
        store = Store(job.store_folder)
        store.adopt()
        assert store.catalogue.is_place.any()
        address, _ = cluster(stack, tmp_path, 1)
        process = stack.enter_context(running(*job.words(), "--scheduler", address))
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    check_whole(job, features)
