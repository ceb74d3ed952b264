"""What a night adds to extraction."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features_cache.audio_hashes import AudioHashes
from features_cache.store import Store
from stages.frontend.logmel import FrontEnd
from stages.manifest import audio_paths
from stages.nightly import feature_drift, findings, last_training
from stages.plan import Plan, make_plan
from tests.hostile_audio import voice_like
from tests.small_job import Job, write_corpus


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def plan_of(job: Job) -> Plan:
    store = Store.create(job.store_folder, job.recipe.to_json())
    paths = audio_paths(job.manifest, job.audio)
    states = AudioHashes(job.workdir.hashes_file).states(paths)
    return make_plan(job.manifest, paths, states, store.snapshot, store.catalogue)


def codes_of(job: Job) -> list[tuple[str, str]]:
    paths = audio_paths(job.manifest, job.audio)
    found = findings(plan_of(job), paths, FrontEnd(), lambda: False)
    return sorted((problem.utterance_id, problem.code) for problem in found)


def test_only_what_is_new_is_looked_through(job: Job) -> None:
    soundfile.write(job.audio / "u1.wav", np.zeros(8000), 16000)
    (job.audio / "u3.wav").write_bytes((job.audio / "u2.wav").read_bytes())
    job.manifest.loc[4, "speaker"] = ""
    assert codes_of(job) == [("u1", "silent"), ("u3", "duplicated"), ("u4", "missing_speaker")]
    job.extract()
    assert codes_of(job) == []
    (job.audio / "u5.wav").write_bytes((job.audio / "u6.wav").read_bytes())
    assert codes_of(job) == []  # its content is in the store: nothing of it would be decoded


def test_there_is_an_end_to_looking_when_time_is_up(job: Job) -> None:
    soundfile.write(job.audio / "u1.wav", np.zeros(8000), 16000)
    paths = audio_paths(job.manifest, job.audio)
    found = findings(plan_of(job), paths, FrontEnd(), lambda: True)
    assert list(found) == []


def test_drift_compares_what_came_with_what_was_there(job: Job) -> None:
    job.manifest = write_corpus(job.audio, n=14)
    job.extract()
    assert feature_drift(Store(job.store_folder), plan_of(job).pending["key"]) is None
    job.manifest = write_corpus(job.audio, n=26)
    for i in range(14, 26):
        soundfile.write(job.audio / f"u{i}.wav", 0.01 * voice_like(1.0, seed=i), 16000)
    came = plan_of(job).pending["key"]
    job.extract()
    found = feature_drift(Store(job.store_folder), came)
    assert found is not None
    assert (found["n_before"], found["n_new"]) == (14, 12)
    assert found["verdict"] != "none"


@pytest.mark.parametrize("word", ["snapshot", "generation"], ids=["now", "version 0.1"])
def test_the_last_training_of_a_title_is_the_newest_whole_one(tmp_path: Path, word: str) -> None:
    for name, title, uar in (("1", "a", 50.0), ("2", "a", 60.0), ("3", "b", 70.0)):
        (tmp_path / name).mkdir()
        run = {
            "title": title,
            "headline": "speaker",
            "evaluations": [{"name": "speaker", "metrics": {"uar_pooled": uar}}],
            "provenance": {word: int(name)},
        }
        (tmp_path / name / "run.json").write_text(json.dumps(run), encoding="utf-8")
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / "run.json").write_text("{torn", encoding="utf-8")
    last = last_training(tmp_path, "a")
    assert (last["snapshot"], last["uar_pooled"]) == ("2", 60.0)
    assert last_training(tmp_path, "c") == {}
