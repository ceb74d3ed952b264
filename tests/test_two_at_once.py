"""Two runs at the same time: one works, one is told who does; readers and trainings hold still."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from features_cache.lock import LOCK
from features_cache.store import Store
from pipeline.care import compact_store, free_space
from stages.dataset import load_dataset, select, stacks
from stages.manifest import write_manifest
from tests.small_job import Job, running, times_on_disk, wholeness, write_short_corpus


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path / "job")
    job.manifest = write_short_corpus(job.audio, 24)
    return job


def night(job: Job) -> list[object]:
    """Words that do a night of this job."""
    write_manifest(job.manifest, job.folder / "m.csv")
    config = job.folder / "night.toml"
    config.write_text(
        f"workdir = {json.dumps(str(job.workdir.root))}\n"
        f"[nightly]\nmanifest = {json.dumps(str(job.folder / 'm.csv'))}\n"
        f"audio = {json.dumps(str(job.audio))}\n"
        f"recipe = {json.dumps(str(job.folder / 'tiny.toml'))}\n"
        "workers = 0\ntrain = false\n"
    )
    return ["nightly", config, "--quiet"]


@pytest.mark.parametrize("kind", ["extract", pytest.param("nightly", marks=pytest.mark.slow)])
def test_of_two_at_once_one_works_and_one_says_who_does(job: Job, kind: str) -> None:
    words = job.words() if kind == "extract" else night(job)
    with running(*words) as one, running(*words) as other:
        told = {p: p.communicate(timeout=120) for p in (one, other)}
        worker, refused = sorted(told, key=lambda p: p.returncode)
    assert (worker.returncode, refused.returncode) == (0, 4), told
    out, err = told[refused]
    assert out == ""
    assert err.count("\n") == 1
    assert f"is being written by another run (process {worker.pid} on " in err
    assert " since 20" in err
    assert wholeness(job.store_folder) == []
    assert set(times_on_disk(job.store_folder).values()) == {1}
    assert len(job.stacks()) == 24


def test_the_lock_of_a_killed_run_is_taken_over(job: Job) -> None:
    lock = job.store_folder / LOCK
    with running(*job.words()) as process:
        until = time.monotonic() + 60
        while not lock.exists() or str(process.pid) not in lock.read_text():
            assert time.monotonic() < until
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert f'"pid": {process.pid}' in lock.read_text()
    job.extract()
    assert len(job.stacks()) == 24


def test_a_training_reads_one_snapshot_while_others_are_published(job: Job) -> None:
    everything = job.manifest
    job.manifest = everything.iloc[:12]
    job.extract()
    expected = job.features()
    held = Store(job.store_folder)
    selection = select(job.manifest, held)
    reading = stacks(selection, held)
    found = [next(reading) for _ in range(4)]
    (job.audio / "u3.wav").write_bytes((job.audio / "u20.wav").read_bytes())
    job.manifest = everything
    job.extract()
    found += [next(reading) for _ in range(4)]
    job.manifest = everything.assign(emotion="fear")
    job.extract()
    compact_store(job.store_folder)
    free_space(job.workdir, job.store_folder, keep=3, keep_trainings=False, is_sure=True)
    assert len(list(held.shards_folder.glob("*.h5"))) == 1
    found += list(reading)
    names = selection.manifest["utterance_id"]
    assert {n: f.tobytes() for n, (f, *_) in zip(names, found, strict=True)} == expected
    again = load_dataset(selection, held, job.recipe.recipe_id)
    assert again.snapshot == 1
    assert set(again.manifest["emotion"]) == {"joy"}
    assert {n: s.tobytes() for n, s in zip(names, again.stacks, strict=True)} == expected
    newest = Store(job.store_folder)
    assert (newest.snapshot.number, len(newest.catalogue.shards)) == (3, 1)
    assert newest.stack("u3").tobytes() != expected["u3"]
    np.testing.assert_array_equal(newest.stack("u20"), newest.stack("u3"))


@pytest.mark.slow
def test_a_training_reads_one_snapshot_while_a_run_of_its_own_process_adds(job: Job) -> None:
    everything = job.manifest
    job.manifest = everything.iloc[:6]
    job.extract()
    held = Store(job.store_folder)
    selection = select(job.manifest, held)
    first = load_dataset(selection, held, job.recipe.recipe_id)
    job.manifest = everything
    with running(*job.words()) as process:
        n_read = 0
        while process.poll() is None:
            found = load_dataset(selection, held, job.recipe.recipe_id)
            assert found.snapshot == 1
            for was, now in zip(first.stacks, found.stacks, strict=True):
                np.testing.assert_array_equal(was, now)
            n_read += 1
            time.sleep(0.1)
        assert process.wait() == 0
    assert n_read > 10
    assert Store(job.store_folder).snapshot.number == 2
