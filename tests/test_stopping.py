"""Signals and deadlines end a run in good order: what is finished is published, and then it ends."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from features_cache.numbered import numbers
from features_cache.store import Store
from pipeline.stopping import deadline
from tests.small_job import Job, running, times_on_disk, wholeness, write_short_corpus

INTERRUPTED = "interrupted; everything written so far is whole"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path / "job")
    job.manifest = write_short_corpus(job.audio, 160)
    return job


def wait_until(process: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.002)


def has_finished_a_shard(job: Job) -> bool:
    return bool(list(job.store_folder.glob("shards/*.h5")))


def tasks_under_way(job: Job) -> list[Path]:
    """Tasks that workers are at."""
    return list((job.store_folder / "shards").glob(".*.at.partial"))


@pytest.mark.parametrize(
    ("word", "n_workers"),
    [
        (signal.SIGTERM, 0),
        pytest.param(signal.SIGINT, 0, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 2, marks=pytest.mark.slow),
    ],
)
def test_shards_in_flight_are_closed_and_published(
    job: Job, word: signal.Signals, n_workers: int
) -> None:
    with running(*job.words(n_workers)) as process:
        wait_until(process, lambda: has_finished_a_shard(job) and bool(tasks_under_way(job)))
        os.killpg(process.pid, word)  # as Ctrl-C, systemd and Slurm do
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip() == INTERRUPTED
    store = Store(job.store_folder)
    assert json.loads(out)["n_left"] == 160 - len(store.live())
    assert store.snapshot.number == 1
    assert store.unknown_shards() == []
    assert 0 < len(store.live()) < 160
    assert list(store.shards_folder.glob(".*")) == []
    assert wholeness(job.store_folder) == []
    done = job.extract()
    assert done["n_to_extract"] == 160 - len(store.live())
    assert set(times_on_disk(job.store_folder).values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_second_signal_ends_it_at_once_and_loses_nothing_finished(
    job: Job, n_workers: int
) -> None:
    with running(*job.words(n_workers)) as process:
        wait_until(process, lambda: has_finished_a_shard(job))
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        seconds = time.monotonic() - began
    assert process.returncode == 130
    assert err.strip() == INTERRUPTED
    assert seconds < 10
    assert wholeness(job.store_folder) == []
    assert len(times_on_disk(job.store_folder)) > 0
    job.extract()
    assert set(times_on_disk(job.store_folder).values()) == {1}


def test_a_signal_while_files_are_hashed_keeps_the_hashes(tmp_path: Path) -> None:
    job = Job(tmp_path / "job")
    for i in range(8):
        path = job.audio / f"u{i}.wav"
        os.truncate(path, 2**32)  # sparse: many seconds of hashing, and no disk
        os.utime(path, (10**9, 10**9))
    with running(*job.words()) as process:
        wait_until(process, lambda: bytes_read(process.pid) > 2**30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (130, "", INTERRUPTED)
    assert numbers(job.store_folder / "snapshots") == []
    assert numbers(job.store_folder / "catalogue") == []
    assert job.workdir.hashes_file.exists()
    assert not (job.workdir.root / "scratch").exists()


def bytes_read(pid: int) -> int:
    words = Path(f"/proc/{pid}/io").read_text().split()
    return int(words[words.index("rchar:") + 1])


@pytest.mark.slow
def test_max_hours_stops_with_status_0_and_the_next_run_does_the_rest(job: Job) -> None:
    with running(*job.words(), "--max-hours", "0.0005") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    fields = json.loads(out)
    assert 0 < fields["n_left"] <= 160
    assert f"--max-hours 0.0005: {fields['n_left']} utterances are left for the next run" in err
    assert wholeness(job.store_folder) == []
    done = job.extract()
    assert (done["n_to_extract"], done["n_left"]) == (fields["n_left"], 0)
    assert set(times_on_disk(job.store_folder).values()) == {1}


def test_a_time_that_is_up_before_anything_was_done_leaves_everything(job: Job) -> None:
    fields = job.extract(limit=deadline(None, 1e-7))
    assert (fields["n_left"], fields["n_segments"]) == (160, 0)
    assert job.extract()["n_to_extract"] == 160
    assert set(times_on_disk(job.store_folder).values()) == {1}


@pytest.mark.slow
def test_until_the_next_minute_stops_then(job: Job) -> None:
    now = datetime.now().astimezone()
    if now.second > 50:  # too late to have begun by then
        time.sleep(61 - now.second)
        now = datetime.now().astimezone()
    at = (now + timedelta(minutes=1)).replace(second=0, microsecond=0)
    time.sleep(max(0.0, (at - now).total_seconds() - 4))
    with running(*job.words(), "--until", f"{at:%H:%M}") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["n_left"] > 0
    assert f"--until {at:%H:%M}: " in err
    assert wholeness(job.store_folder) == []
