"""Kill -9 at random moments: nothing that was finished is lost, nothing is done twice."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from features_cache.store import Store
from tests.small_job import Job, running, times_on_disk, wholeness, write_short_corpus

N_UTTERANCES = 64
SHORT_S, LONG_S = 0.4, 6.0
"""Seconds of the shortest recording, in the short form of the test and in the long one."""
WAYS = (*["worker"] * 10, "parent", "both")
EARLY_S = {0: 6.0, 2: 12.0}
"""Seconds until an early first kill of a run, at most, by its number of workers."""


def job_of(folder: Path, shortest_s: float) -> Job:
    job = Job(folder)
    job.manifest = write_short_corpus(job.audio, N_UTTERANCES, shortest_s)
    return job


def calm_features(folder: Path, shortest_s: float) -> dict[str, bytes]:
    """Features of a run that nobody disturbs."""
    job = job_of(folder, shortest_s)
    job.extract()
    return job.features()


def worker_processes(parent: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        children = psutil.Process(parent).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    return []


class Patient(random.Random):
    """Chance that always waits for the longest."""

    def choice(self, seq: Sequence[Any]) -> Any:  # noqa: ANN401
        return max(seq)


class Life:
    """One store from nothing to its end, with a view of what must never change in it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.published: dict[str, bytes] = {}

    def look(self) -> None:
        """Check that the store is whole, and that what was there is there unchanged."""
        assert wholeness(self.job.store_folder) == []
        shards = self.job.store_folder / "shards"
        for name, was in self.published.items():
            assert (shards / name).read_bytes() == was
        self.published = {path.name: path.read_bytes() for path in shards.glob("*.h5")}

    def care(self, words: tuple[object, ...], chance: random.Random) -> int:
        """Look after the store, and die of it now and then; how many kills there were."""
        if not (self.job.store_folder / "recipe.json").exists():
            return 0
        with running("store", *words, "--workdir", self.job.workdir.root) as process:
            wait(process, chance.choice((60.0, chance.uniform(1.0, 4.0))))
            n_kills = int(kill(process, "parent", chance))
        shards = self.job.store_folder / "shards"
        self.published = {n: was for n, was in self.published.items() if (shards / n).exists()}
        self.look()
        return n_kills

    @property
    def is_over(self) -> bool:
        """Whether a snapshot has everything."""
        if not (self.job.store_folder / "recipe.json").exists():
            return False
        return len(Store(self.job.store_folder).live(["key"])) == N_UTTERANCES

    def check_end(self, calm: dict[str, bytes]) -> None:
        """Run to the end, unless there already, and compare."""
        self.job.extract(retry_quarantined=True)
        self.look()
        self.care(("gc", "--yes"), Patient())
        assert self.job.features() == calm
        keys = Store(self.job.store_folder).live(["key"])["key"]
        assert times_on_disk(self.job.store_folder) == dict.fromkeys(keys, 1)
        assert list((self.job.store_folder / "shards").glob(".*")) == []


def kill(process: subprocess.Popen[str], way: str, chance: random.Random) -> bool:
    """Kill one process, or all; tell whether there was anything to kill."""
    workers = worker_processes(process.pid)
    if process.poll() is not None or (way == "worker" and not workers):
        return False
    if way == "both":
        os.killpg(process.pid, signal.SIGKILL)
    elif way == "parent":
        process.kill()
    else:
        with suppress(psutil.NoSuchProcess):
            chance.choice(workers).kill()
    return True


def wait(process: subprocess.Popen[str], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def wait_for_a_moment(
    life: Life, process: subprocess.Popen[str], chance: random.Random, early_s: float
) -> None:
    """Let a run start, hash or load; or, two times of three, let it finish a shard first."""
    if chance.random() < 1 / 3:
        wait(process, chance.uniform(0.5, early_s))
        return
    shards = life.job.store_folder / "shards"
    n_before = len(life.published)
    until = time.monotonic() + 180
    while len(list(shards.glob("*.h5"))) == n_before and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    wait(process, chance.uniform(0.0, 1.0))


def run_and_kill(life: Life, chance: random.Random, n_workers: int, orphans: ExitStack) -> int:
    """Start a run and kill of it what chance says, until it has ended; how many kills there were.

    The workers that a killed parent leaves behind live on into the next run, if they can.
    """
    n_kills = 0
    with ExitStack() as stack:
        way = ""
        process = stack.enter_context(running(*life.job.words(n_workers)))
        wait_for_a_moment(life, process, chance, EARLY_S[n_workers])
        orphans.close()
        while process.poll() is None:
            way = chance.choice(WAYS if n_workers else ("parent",))
            n_kills += kill(process, way, chance)
            life.look()
            wait(process, chance.uniform(0.0, chance.choice((1.0, 4.0))) if way == "worker" else 30)
        assert process.returncode in {0, 1, 3, -signal.SIGKILL}
        if way != "both":
            orphans.push(stack.pop_all())
    return n_kills


def test_kills_in_short_form(tmp_path: Path) -> None:
    calm = calm_features(tmp_path / "calm", SHORT_S)
    chance = random.Random(3)
    life = Life(job_of(tmp_path / "shaken", SHORT_S))
    shards = life.job.store_folder / "shards"
    n_kills = 0
    for n_shards in (1, 2, 3):
        with running(*life.job.words()) as process:
            until = time.monotonic() + 180
            while len(list(shards.glob("*.h5"))) < n_shards and process.poll() is None:
                assert time.monotonic() < until
                time.sleep(0.002)
            wait(process, chance.uniform(0, 0.05))
            n_kills += kill(process, "both", chance)
        life.look()
    assert n_kills >= 2
    life.check_end(calm)


@pytest.mark.slow
def test_a_hundred_kills_of_runs_and_of_care_between_them(tmp_path: Path) -> None:
    calm = calm_features(tmp_path / "calm", LONG_S)
    part = job_of(tmp_path / "part", LONG_S)
    part.extract_part(1, 3)
    cares = (("gc", "--yes"), ("compact",), ("merge", part.workdir.root))
    chance = random.Random(1)
    n_kills, n_lives = 0, 0
    while n_kills < 100:
        life = Life(job_of(tmp_path / str(n_lives), LONG_S))
        n_lives += 1
        with ExitStack() as orphans:
            while n_kills < 100 and not life.is_over:
                n_workers = chance.choice((0, 2, 2))
                n_kills += run_and_kill(life, chance, n_workers, orphans)
                if chance.random() < 1 / 3:
                    n_kills += life.care(chance.choice(cares), chance)
            life.check_end(calm)
        assert n_lives < 50
