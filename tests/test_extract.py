"""Stage one through its front door: nothing lost, nothing done twice, bad files told."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from distributed import LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from features_cache.lock import LockedError, writer_lock
from features_cache.snapshot import TRANSIENT
from features_cache.store import Store
from features_cache.verify import verify
from pipeline.cluster import ClusterError, open_workers
from stages.frontend.decoder import DECODER
from stages.manifest import audio_paths, complete, write_manifest
from stages.plan import make_plan
from stages.segment_features import Failed, window_events
from stages.task_queue import portions
from stages.utterance import Utterance
from tests.hostile_audio import voice_like, write_hostile_corpus
from tests.small_job import Job, times_on_disk, write_corpus

ROOT = Path(__file__).parent.parent


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture
def extracted(job: Job) -> Job:
    job.extract()
    return job


def test_every_utterance_gets_its_segments(extracted: Job) -> None:
    stacks = extracted.stacks()
    assert set(stacks) == set(extracted.manifest["utterance_id"])
    for name, stack in stacks.items():
        duration_s = soundfile.info(extracted.audio / f"{name}.wav").duration
        n_frames = 1 + (round(duration_s * 16000) - 512) // 160
        assert len(stack) == max(1, 1 + math.ceil((n_frames - 64) / 16))
        assert stack.dtype == np.float32
        assert np.isfinite(stack).all()


def test_the_same_command_again_does_nothing(extracted: Job) -> None:
    before = sorted(path.name for path in extracted.store_folder.rglob("*"))
    again = extracted.extract()
    assert (again["n_new"], again["n_skipped"], again["n_segments"]) == (0, 8, 0)
    assert (again["snapshot"], again["generation"]) == (1, 1)
    assert sorted(path.name for path in extracted.store_folder.rglob("*")) == before


def test_changed_renamed_and_deleted_files_are_exactly_that(extracted: Job) -> None:
    soundfile.write(extracted.audio / "u1.wav", voice_like(1.1, seed=99), 16000)
    (extracted.audio / "u2.wav").rename(extracted.audio / "moved.wav")
    (extracted.audio / "u3.wav").unlink()
    rows = extracted.manifest[extracted.manifest["utterance_id"] != "u3"].copy()
    rows.loc[rows["utterance_id"] == "u2", ["utterance_id", "file"]] = "moved", "moved.wav"
    extracted.manifest = rows
    old = extracted.stacks()
    counts = {"n_new": 0, "n_changed": 1, "n_renamed": 1, "n_gone": 1, "n_to_extract": 1}
    plan = extracted.plan()
    assert {name: plan[name] for name in counts} == counts
    done = extracted.extract()
    assert {name: done[name] for name in counts} == counts
    new = extracted.stacks()
    assert set(new) == {"u0", "u1", "moved", "u4", "u5", "u6", "u7"}
    np.testing.assert_array_equal(new["moved"], old["u2"])
    assert new["u1"].shape != old["u1"].shape
    assert done["n_segments"] == len(new["u1"])


def test_a_changed_file_that_changes_back_costs_nothing(extracted: Job) -> None:
    path, before = extracted.audio / "u1.wav", extracted.stacks()
    first = path.read_bytes()
    soundfile.write(path, voice_like(1.1, seed=99), 16000)
    extracted.extract()
    assert extracted.stacks()["u1"].shape != before["u1"].shape
    path.write_bytes(first)
    done = extracted.extract()
    assert (done["n_changed"], done["n_to_extract"]) == (1, 0)
    np.testing.assert_array_equal(extracted.stacks()["u1"], before["u1"])
    assert extracted.extract()["snapshot"] == done["snapshot"]


def test_a_changed_file_that_was_not_reached_keeps_its_old_features(
    extracted: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = extracted.stacks()
    for name in ("u1", "u2"):
        soundfile.write(extracted.audio / f"{name}.wav", voice_like(1.1, seed=99), 16000)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("stages.shard_work.extract_shard", die)
        with pytest.raises(KeyboardInterrupt):
            extracted.extract()
    assert {k: v.tobytes() for k, v in extracted.stacks().items()} == {
        k: v.tobytes() for k, v in before.items()
    }
    assert extracted.extract()["n_changed"] == 2


def test_an_interrupted_run_tells_of_no_bad_file_and_the_next_one_does(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.shard_work import ShardResult, ShardTask, extract_shard

    (job.audio / "u0.wav").write_bytes(b"not audio at all")
    results: list[ShardResult] = []

    def die_after_one(task: ShardTask) -> ShardResult:
        if results:
            raise KeyboardInterrupt
        results.append(extract_shard(task))
        return results[0]

    with monkeypatch.context() as patch:
        patch.setattr("stages.shard_work.extract_shard", die_after_one)
        with pytest.raises(KeyboardInterrupt):
            job.extract()
    (first,) = results
    assert [failure.utterance.utterance_id for failure in first.failures] == ["u0"]
    assert first.shard is not None
    n_made = len(first.shard.entries)
    status = Store(job.store_folder).snapshot.rows(["status"])["status"]
    assert status.value_counts().to_dict() == {"live": n_made, "pending": 8 - n_made}
    assert not set(Store(job.store_folder).catalogue.texts("reason")) - {""}
    done = job.extract()
    assert (done["n_to_extract"], done["n_new"]) == (8 - n_made, 8 - n_made)
    assert (done["n_quarantined"], done["n_quarantined_total"]) == (1, 1)
    assert job.extract()["n_quarantined"] == 0


def test_a_bad_file_is_known_under_another_name(job: Job) -> None:
    (job.audio / "u0.wav").write_bytes(b"not audio at all")
    job.extract()
    (job.audio / "u0.wav").rename(job.audio / "moved.wav")
    job.manifest = job.manifest.replace({"u0": "moved", "u0.wav": "moved.wav"})
    done = job.extract()
    assert (done["n_to_extract"], done["n_quarantined_total"]) == (0, 1)
    rows = Store(job.store_folder).snapshot.rows().set_index("utterance_id")
    assert (len(rows), rows.loc["moved", "status"]) == (8, "unreadable")


@pytest.fixture
def mended(extracted: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A store whose features were made by a decoder that is withdrawn now."""
    withdrawn = frozenset({DECODER})
    monkeypatch.setattr("stages.extract.DECODER", "ears 2")
    monkeypatch.setattr("stages.shard_work.DECODER", "ears 2")
    monkeypatch.setattr("pipeline.extraction.WITHDRAWN", withdrawn)
    monkeypatch.setitem(make_plan.__kwdefaults__, "withdrawn", withdrawn)
    return extracted


def makers(job: Job) -> set[str]:
    return set(Store(job.store_folder).catalogue.texts("made_by"))


def test_features_of_a_withdrawn_decoder_are_made_again_once(mended: Job) -> None:
    assert makers(mended) == {DECODER}
    before = times_on_disk(mended.store_folder)
    plan = mended.plan()
    assert (plan["n_withdrawn"], plan["n_to_extract"], plan["n_retried"]) == (8, 8, 8)
    done = mended.extract()
    assert (done["n_withdrawn"], done["n_left"], done["snapshot"]) == (8, 0, 1)
    assert makers(mended) == {"ears 2"}
    assert times_on_disk(mended.store_folder) == before + before
    again = mended.extract()
    assert (again["n_withdrawn"], again["n_to_extract"]) == (0, 0)
    assert list(verify(mended.store_folder, full=True)) == []


def test_what_a_killed_run_has_made_anew_of_a_withdrawn_decoder_counts(
    mended: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("features_cache.store.publish_catalogue", die)
        with pytest.raises(MemoryError):
            mended.extract()
    done = mended.extract()
    assert (done["n_withdrawn"], done["n_to_extract"]) == (0, 0)
    assert makers(mended) == {"ears 2"}


def test_parts_of_a_manifest_fill_one_store_together(job: Job, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = Job(tmp_path / "whole")
    whole.extract()
    counts = [job.extract_part(i, 3) for i in (1, 2, 3)]
    assert sum(done["n_new"] for done in counts) == 8
    assert all(done["n_gone"] == 0 for done in counts)
    assert {k: v.tobytes() for k, v in job.stacks().items()} == {
        k: v.tobytes() for k, v in whole.stacks().items()
    }


def test_a_dry_run_writes_no_store(job: Job) -> None:
    plan = job.plan()
    assert (plan["n_new"], plan["n_to_extract"], plan["snapshot"]) == (8, 8, 0)
    assert not job.store_folder.exists()


def test_one_process_a_local_cluster_and_a_running_one_give_the_same_bytes(
    tmp_path: Path,
) -> None:
    jobs = []
    for name in ("here", "local", "running"):
        (tmp_path / name).mkdir()
        jobs.append(Job(tmp_path / name))
    here, local, running = jobs
    here.extract(n_workers=0)
    local.extract(n_workers=2)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        running.extract(scheduler=cluster.scheduler_address)
    expected = here.stacks()
    for other in (local, running):
        found = other.stacks()
        assert set(found) == set(expected)
        for name, stack in expected.items():
            assert found[name].tobytes() == stack.tobytes()


def test_a_batch_size_never_changes_a_feature(tmp_path: Path) -> None:
    stacks = []
    for size in (8, 32):
        (tmp_path / str(size)).mkdir()
        job = Job(tmp_path / str(size))
        job.extract(batch_size=size)
        stacks.append(job.stacks())
    for name, stack in stacks[0].items():
        assert stack.tobytes() == stacks[1][name].tobytes()


def test_a_scheduler_that_does_not_answer_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.cluster.CONNECT_S", 1)
    with (
        pytest.raises(ClusterError, match=r"no Dask scheduler answered at tcp://127\.0\.0\.1:9"),
        open_workers(0, "tcp://127.0.0.1:9", store=tmp_path, audio=tmp_path, scratch=tmp_path),
    ):
        pass


def test_twenty_bad_inputs_are_processed_or_quarantined_each_for_its_own_reason(
    tmp_path: Path,
) -> None:
    job = Job(tmp_path)
    made = write_hostile_corpus(job.audio / "hostile", long_s=30)
    hostile = pd.DataFrame(
        {
            "utterance_id": list(made),
            "file": [str(path.relative_to(job.audio)) for path, _ in made.values()],
            "corpus": "small",
            "speaker": "",
            "emotion": "",
        }
    )
    job.manifest = pd.concat([job.manifest, complete(hostile)], ignore_index=True)
    done = job.extract()
    status = Store(job.store_folder).snapshot.rows().set_index("utterance_id")["status"]
    seen = {name: status[name].replace("live", "ok") for name in made}
    assert seen == {name: code for name, (_, code) in made.items()}
    n_bad = sum(code != "ok" for _, code in made.values())
    assert done["n_quarantined"] == done["n_quarantined_total"] == n_bad
    assert len(job.stacks()) == 8 + len(made) - n_bad
    again = job.extract()
    assert (again["n_quarantined"], again["n_quarantined_total"]) == (0, n_bad)
    assert again["n_to_extract"] == 0
    retried = job.extract(retry_quarantined=True)
    assert retried["n_quarantined"] == 0
    assert retried["n_retried"] > 0


def test_a_second_extraction_is_refused_while_one_runs(extracted: Job) -> None:
    with writer_lock(extracted.store_folder), pytest.raises(LockedError, match="process"):
        extracted.extract()


def test_labels_change_without_touching_audio(extracted: Job) -> None:
    extracted.manifest["emotion"] = "anger"
    done = extracted.extract()
    assert (done["n_relabelled"], done["n_segments"], done["snapshot"]) == (8, 0, 2)


def test_features_that_do_not_fit_float16_quarantine_their_utterance(job: Job) -> None:
    tiny = (-1e-4, 1e-4)  # dB: everything lands far outside what a network expects
    network = dataclasses.replace(
        job.recipe.network, channel_ranges=(tiny, tiny, tiny), layers=("conv1",)
    )
    job.recipe = dataclasses.replace(job.recipe, network=network, dtype="float16")
    done = job.extract()
    rows = Store(job.workdir.store_folder(job.recipe.recipe_id)).snapshot.rows()
    assert done["n_quarantined"] == 8
    assert set(rows["status"]) == {"float16_overflow"}


def test_a_file_that_changes_while_it_is_read_is_tried_again(job: Job) -> None:
    path = job.audio / "u0.wav"
    looked_at = Utterance(utterance_id="u0", path=path, size=path.stat().st_size, mtime_ns=1)
    events = list(window_events([looked_at], job.recipe))
    assert isinstance(events[-1], Failed)
    assert events[-1].code == "changed_during_run"
    assert events[-1].code in TRANSIENT


@given(sizes=st.lists(st.integers(1, 10**8), max_size=60), n_workers=st.integers(0, 9))
def test_portions_hold_everything_once_and_in_order(sizes: list[int], n_workers: int) -> None:
    pending = pd.DataFrame({"path": [str(i) for i in range(len(sizes))], "size": sizes})
    pending = pending.assign(view="clean")
    cuts = list(portions(pending, n_workers))
    assert [i for first, last in cuts for i in range(first, last)] == list(range(len(sizes)))
    assert all(first < last for first, last in cuts)


def test_ranges_of_one_long_file_share_its_bytes() -> None:
    pending = pd.DataFrame({"path": ["x"] * 400, "view": "clean", "size": 10**8})
    assert len(list(portions(pending, n_workers=2))) <= 9


def test_audio_is_found_from_any_folder(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = audio_paths(job.manifest, Path("audio"))
    assert paths.tolist() == [f"{tmp_path}/audio/{file}" for file in job.manifest["file"]]


def test_a_lost_shard_is_extracted_again(extracted: Job) -> None:
    before = extracted.stacks()
    for shard in (extracted.store_folder / "shards").glob("*.h5"):
        shard.unlink()
    done = extracted.extract()
    assert done["n_to_extract"] == 8
    assert {k: v.tobytes() for k, v in extracted.stacks().items()} == {
        k: v.tobytes() for k, v in before.items()
    }


def test_kill_9_loses_at_most_the_shards_in_flight(tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    reference.mkdir()
    calm, shaken = Job(reference), Job(tmp_path)
    for job in (calm, shaken):
        job.manifest = write_corpus(job.audio, n=24)
    calm.extract()
    write_manifest(shaken.manifest, tmp_path / "m.csv")
    shards = shaken.store_folder / "shards"
    process = _start(tmp_path)
    try:
        deadline = time.monotonic() + 120
        while not list(shards.glob("*.h5")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finished = {path.name: path.read_bytes() for path in shards.glob("*.h5")}
    assert finished
    assert [p.code for p in verify(shaken.store_folder, full=True)] == []
    done = shaken.extract()
    assert done["n_to_extract"] < 24
    assert done["n_skipped"] + done["n_to_extract"] == 24
    assert {name: (shards / name).read_bytes() for name in finished} == finished
    assert list(shards.glob(".*")) == []
    expected, found = calm.stacks(), shaken.stacks()
    assert {k: v.tobytes() for k, v in found.items()} == {
        k: v.tobytes() for k, v in expected.items()
    }
    assert list(verify(shaken.store_folder, full=True)) == []


@pytest.mark.parametrize("word", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_says_so_and_keeps_what_is_finished(
    tmp_path: Path, word: signal.Signals
) -> None:
    job = Job(tmp_path)
    job.manifest = write_corpus(
        job.audio, n=60
    )  # seconds of work, so that the signal comes in the middle
    write_manifest(job.manifest, tmp_path / "m.csv")
    process = _start(tmp_path)
    deadline = time.monotonic() + 120
    while not list((job.store_folder / "shards").glob("*.h5")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(word)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.decode().strip() == "interrupted; everything written so far is whole"
    store = Store(job.store_folder)
    store.adopt()  # a shard that came last may not be in the catalogue yet
    assert 0 < store.catalogue.is_place.sum() < 60
    assert [path.name for path in store.shards_folder.glob(".*")] == []
    assert list(verify(job.store_folder, full=True)) == []


def _start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "extract"]
    command += [str(folder / "m.csv"), "--audio", str(folder / "audio")]
    command += ["--recipe", str(folder / "tiny.toml"), "--workdir", str(folder / "runs")]
    command += ["--workers", "0", "--quiet"]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
