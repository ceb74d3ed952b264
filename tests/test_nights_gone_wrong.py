"""Nights on which the disk is not mounted, the files are broken, or a byte has flipped."""

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features_cache.snapshot import LIVE, PENDING
from features_cache.store import Store
from pipeline.cli import main
from stages.manifest import complete, write_manifest
from tests.small_job import Job, wholeness, write_short_corpus

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Call the command line in this process: exit status, stdout, stderr."""
    before = signal.getsignal(signal.SIGTERM)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["emostack", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capfd.readouterr()

    yield call
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path / "job")
    shutil.rmtree(job.audio)
    job.manifest = write_short_corpus(job.audio, 24)
    job.extract()
    return job


def nightly(job: Job, **settings: Any) -> list[object]:  # noqa: ANN401
    """Words that do a night; settings of the table [nightly]."""
    write_manifest(job.manifest, job.folder / "m.csv")
    table = {
        "audio": str(job.audio),
        "recipe": str(job.folder / "tiny.toml"),
        "workers": 0,
        "train": False,
        "manifest": str(job.folder / "m.csv"),
        **settings,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items() if value is not None]
    config = job.folder / "night.toml"
    config.write_text("\n".join(["[nightly]", *lines]) + "\n")
    return ["nightly", config, "--workdir", job.workdir.root, "--quiet"]


def refused(answer: tuple[int, str, str], words: str) -> None:
    """Check for one line on stderr; a night says the same in its summary for mail."""
    status, out, err = answer
    assert status == 1, err
    assert out == "" or out.startswith("FAILED emostack ")
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert words in err


@pytest.mark.parametrize("is_night", [False, True], ids=["extract", "nightly"])
def test_the_night_the_disk_is_not_mounted_changes_nothing(
    job: Job, call: Call, is_night: bool
) -> None:
    before = job.features()
    words = nightly(job) if is_night else job.words()
    job.audio.rename(job.folder / "elsewhere")
    job.audio.mkdir()
    refused(call(*words), "24 of 24 known utterances have vanished (100 %")
    snapshot = Store(job.store_folder).snapshot
    assert (snapshot.number, set(snapshot.rows()["status"])) == (1, {LIVE})
    assert job.features() == before
    status, _, _ = call(*words, "--fail-threshold", "100")
    assert status == 3
    assert set(Store(job.store_folder).snapshot.rows()["status"]) == {"missing"}
    job.audio.rmdir()
    (job.folder / "elsewhere").rename(job.audio)
    done = job.extract()
    assert (done["n_to_extract"], done["n_segments"]) == (0, 0)
    assert job.features() == before


def test_a_folder_of_audio_that_is_not_there_at_all_changes_nothing(job: Job, call: Call) -> None:
    shutil.rmtree(job.audio)
    refused(call(*nightly(job)), f"{job.audio} is not there")
    assert call(*job.words())[0] == 2
    assert Store(job.store_folder).snapshot.number == 1


def emodb_night(folder: Path, job: Job) -> list[object]:
    names = ("03a01Fa", "03a01Nc", "08a01Na", "09a01Nb", "10a01Ag", "11a01Nd")
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        shutil.copy(job.audio / f"u{i}.wav", folder / f"{name}.wav")
    return nightly(job, manifest=None, audio=None, reader="emodb", corpus=str(folder))


def test_a_reader_that_finds_its_folder_empty_lets_nothing_go(job: Job, call: Call) -> None:
    corpus = job.folder / "emodb"
    words = emodb_night(corpus, job)
    assert call(*words)[0] == 0
    before = Store(job.store_folder)
    assert len(before.live()) == 30
    shutil.rmtree(corpus)
    corpus.mkdir()
    refused(call(*words), "holds no wav file")
    after = Store(job.store_folder)
    assert after.snapshot.number == before.snapshot.number
    assert len(after.live()) == 30


def test_a_hundred_new_files_that_are_all_broken_end_the_night_and_the_good_are_kept(
    job: Job, call: Call
) -> None:
    good = job.manifest
    extra = write_short_corpus(job.audio, 34).iloc[24:]
    bad = [f"b{i}" for i in range(120)]
    for i, name in enumerate(bad):
        (job.audio / f"{name}.wav").write_text(f"this is no sound: {i}\n" * 40)
    rows = {"utterance_id": bad, "file": [f"{name}.wav" for name in bad], "speaker": "s"}
    broken = complete(pd.DataFrame({**rows, "emotion": "", "corpus": "small"}))
    job.manifest = pd.concat([good, extra, broken], ignore_index=True)
    refused(call(*job.words()), "utterances failed (the last one: unreadable: ")
    store = Store(job.store_folder)
    assert len(store.live()) == 34
    assert set(store.snapshot.rows()["status"]) == {LIVE, PENDING}
    assert wholeness(job.store_folder) == []
    refused(call(*job.words()), "utterances failed (the last one: unreadable: ")  # tried again
    status, _, _ = call(*job.words(), "--fail-threshold", "100")
    assert status == 3
    assert sum(Store(job.store_folder).snapshot.rows()["status"] == "unreadable") == 120


def test_a_flipped_byte_is_found_and_repair_redoes_exactly_what_it_hit(
    job: Job, call: Call
) -> None:
    before = job.features()
    place = Store(job.store_folder).place("u7")
    shard = job.store_folder / "shards" / place.shard
    row = job.stacks()["u7"][0].tobytes()
    whole = shard.read_bytes()
    at = whole.index(row) + 5
    shard.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    below = ("--workdir", job.workdir.root, "--json", "--quiet")
    status, out, _ = call("store", "verify", "--full", *below)
    problems = json.loads(out)["problems"]
    assert status == 1
    assert [(p["shard"], p["utterance_ids"]) for p in problems] == [(place.shard, ["u7"])]
    status, out, _ = call("store", "repair", "--workers", "0", *below)
    (done,) = json.loads(out)["stores"]
    assert (status, done["n_lost"], done["n_extracted"], done["left"]) == (0, 1, 1, [])
    assert call("store", "verify", "--full", *below)[0] == 0
    assert job.features() == before
