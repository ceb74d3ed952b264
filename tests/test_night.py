"""Nights as the operator has them: one command, an exit status, a line, a page."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features_cache.lock import writer_lock
from features_cache.store import Store
from tests.command_line import COMMAND, Answer, FakeTraining, command_line, pages, write_voices
from tests.small_job import write_recipe

NAMES = [
    f"{speaker}a0{text}{letter}a" for speaker in ("03", "08") for text in (1, 2) for letter in "FW"
]


class Operator:
    """Someone with a corpus, a config and a workdir."""

    def __init__(self, folder: Path, call: Callable[..., Answer], training: FakeTraining) -> None:
        self.folder, self.call, self.training = folder, call, training
        self.workdir, self.config = folder / "runs", folder / "night.toml"
        self.audio, self.manifest = folder / "audio", folder / "m.csv"
        write_voices(self.audio, NAMES)
        write_recipe(folder)
        self.rows = {name: [f"{name}.wav", name[:2], name[5]] for name in NAMES}
        self.configure(manifest=str(self.manifest), audio=str(self.audio))

    def configure(self, **settings: object) -> None:
        given = {"recipe": str(self.folder / "tiny.toml"), "workers": 0, **settings}
        lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]
        top = f'workdir = "{self.workdir}"\nquiet = true\n'
        self.config.write_text(top + "[nightly]\n" + "\n".join(lines) + "\n", encoding="utf-8")

    def write_manifest(self) -> None:
        lines = [",".join([name, *cells]) for name, cells in self.rows.items()]
        head = "utterance_id,file,speaker,emotion"
        self.manifest.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")

    def night(self, *words: object) -> Answer:
        self.write_manifest()
        return self.call("nightly", self.config, *words)

    @property
    def page(self) -> dict[str, Any]:
        """The record of the last night."""
        return pages(self.workdir)[-1]

    def page_text(self, suffix: str) -> str:
        folder = self.workdir / "nights" / self.page["night"]
        return (folder / f"night.{suffix}").read_text(encoding="utf-8")

    @property
    def store(self) -> Store:
        return Store(next(self.workdir.glob("features/*/recipe.json")).parent)

    def live(self) -> set[str]:
        return set(self.store.live(["utterance_id"])["utterance_id"])


@pytest.fixture
def operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Operator:
    training = FakeTraining()
    monkeypatch.setattr("pipeline.training.run_training", training)
    return Operator(tmp_path, command_line(monkeypatch, capfd), training)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that the check has opened."""
    from stages import check

    names: list[str] = []
    real = check.native_blocks

    def counted(path: Path, **how: Any) -> Any:  # noqa: ANN401
        names.append(path.stem)
        return real(path, **how)

    monkeypatch.setattr("stages.check.native_blocks", counted)
    return names


def test_the_first_night_extracts_trains_and_says_so_in_a_line(operator: Operator) -> None:
    done = operator.night()
    assert (done.status, done.err) == (0, "")
    line, page = done.out.splitlines()
    assert re.fullmatch(r"emostack m: ok, \+8 new, \d+ segments in .+, UAR 51\.0, snapshot 1", line)
    assert Path(page).is_absolute()
    assert Path(page).is_file()
    assert operator.live() == set(NAMES)
    assert operator.training.snapshots == [1]


def test_a_calm_night_decodes_nothing_and_trains_nothing(
    operator: Operator, decoded: list[str]
) -> None:
    operator.night()
    assert sorted(decoded) == NAMES
    decoded.clear()
    done = operator.night()
    assert (done.status, decoded, operator.training.snapshots) == (0, [], [1])
    assert "nothing changed" in done.out
    assert "All went well" in operator.page_text("md")
    assert operator.page["changed"] is False


def test_every_kind_of_change_is_named_on_the_page_and_in_the_record(
    operator: Operator, decoded: list[str]
) -> None:
    operator.night()
    decoded.clear()
    new, changed, renamed, relabelled, gone = "09a01Fa", *NAMES[:4]
    write_voices(operator.audio, [new])
    operator.rows[new] = [f"{new}.wav", "09", "F"]
    (operator.audio / f"{changed}.wav").unlink()
    write_voices(operator.audio, ["other"])
    (operator.audio / "other.wav").rename(operator.audio / f"{changed}.wav")
    (operator.audio / f"{renamed}.wav").rename(operator.audio / "elsewhere.wav")
    operator.rows[renamed][0] = "elsewhere.wav"
    operator.rows[relabelled][2] = "L"
    del operator.rows[gone]
    assert operator.night().status == 0
    named = {"new": new, "changed": changed, "renamed": renamed, "relabelled": relabelled}
    assert operator.page["names"] == {
        kind: [name] for kind, name in {**named, "gone": gone}.items()
    }
    for suffix in ("md", "html"):
        text = operator.page_text(suffix)
        for name in (*named.values(), gone):
            assert name in text
    assert sorted(decoded) == sorted([new, changed])
    assert operator.live() == {*NAMES, new} - {gone}
    assert operator.training.snapshots == [1, 2]


def test_a_newly_quarantined_file_is_exit_status_3_once_and_counted_ever_after(
    operator: Operator,
) -> None:
    operator.night()
    (operator.audio / "bad.wav").write_text("no sound at all")
    operator.rows["bad"] = ["bad.wav", "03", "F"]
    done = operator.night()
    assert done.status == 3
    assert "1 newly quarantined (1 in all)" in done.out
    assert "quarantined 'bad': unreadable" in done.err
    assert operator.page["quarantined"][0]["utterance_id"] == "bad"
    assert "unreadable" in operator.page_text("md")
    done = operator.night()
    assert done.status == 0
    assert ", 1 quarantined," in done.out
    assert 'quarantined{title="m",reason="unreadable"} 1' in prometheus(operator)


def prometheus(operator: Operator) -> str:
    return (operator.workdir / "nights" / "emostack.prom").read_text(encoding="utf-8")


@pytest.mark.parametrize("is_folder_left", [True, False])
def test_a_disk_that_is_not_mounted_is_an_error_with_a_page_and_lets_nothing_go(
    operator: Operator, is_folder_left: bool
) -> None:
    operator.night()
    operator.audio.rename(operator.folder / "unmounted")
    if is_folder_left:
        operator.audio.mkdir()
    done = operator.night()
    assert done.status == 1
    assert done.out.startswith("FAILED emostack m: ")
    assert done.out.splitlines()[0].endswith(", snapshot 1")
    assert done.err.startswith("error: ")
    assert "mount the disk" in done.err
    assert operator.page["status"] == "failed"
    assert "Failed" in operator.page_text("html")
    assert 'emostack_night_success{title="m"} 0' in prometheus(operator)
    assert operator.store.snapshot.number == 1
    if is_folder_left:
        operator.audio.rmdir()
    (operator.folder / "unmounted").rename(operator.audio)
    assert "nothing changed" in operator.night().out
    assert operator.live() == set(NAMES)


def test_an_error_in_a_step_leaves_a_page_that_says_failed(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.training.run_training", broken)
        done = operator.night("--json")
    assert done.status == 1
    assert done.fields["status"] == "failed"
    assert "No space left on device" in done.fields["error"]
    assert "No space left on device" in operator.page_text("md")
    assert operator.store.snapshot.number == 1  # what was extracted is kept
    operator.night()
    assert operator.training.snapshots == [1]  # and trained on the next night


def test_a_night_that_was_killed_is_told_by_the_next(operator: Operator) -> None:
    operator.write_manifest()
    words = [*COMMAND, "nightly", str(operator.config)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as night:
        limit = time.monotonic() + 60
        while not (operator.workdir / "nights" / "emostack.prom").exists():
            assert time.monotonic() < limit
            time.sleep(0.01)
        night.kill()
    assert operator.page["status"] == "running"
    assert "Died" in operator.page_text("md")
    done = operator.night()
    assert done.status == 0
    assert "the night before died" in done.out
    assert "died without a word" in operator.page_text("md")
    assert operator.live() == set(NAMES)


def test_a_signal_ends_the_night_with_everything_whole_and_the_next_goes_on(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages import shard_work

    calls = []
    real = shard_work.extract_shard

    def interrupted(task: Any) -> Any:  # noqa: ANN401
        if not calls:
            os.kill(os.getpid(), signal.SIGTERM)
        calls.append(task)
        return real(task)

    with monkeypatch.context() as patch:
        patch.setattr("stages.shard_work.extract_shard", interrupted)
        done = operator.night()
    assert done.status == 130
    assert done.out.startswith("INTERRUPTED emostack m: ")
    assert operator.page["status"] == "interrupted"
    assert operator.training.snapshots == []
    assert operator.night().status == 0
    assert operator.live() == set(NAMES)


def test_a_second_night_is_exit_status_4_and_says_who_is_at_work_since_when(
    operator: Operator,
) -> None:
    nights = operator.workdir / "nights"
    nights.mkdir(parents=True)
    with writer_lock(nights):
        done = operator.night()
    assert done.status == 4
    assert re.search(rf"process {os.getpid()} on \S+ since \d{{4}}-\d\d-\d\dT", done.err)
    assert pages(operator.workdir) == []


def test_what_is_asked_of_the_training_decides_whether_it_is_done_again(
    operator: Operator,
) -> None:
    source = {"manifest": str(operator.manifest), "audio": str(operator.audio)}
    operator.night()
    operator.configure(**source, seeds=2)
    operator.night()
    operator.night()
    assert operator.training.snapshots == [1, 1]
    assert operator.page["train_skipped"] == "nothing changed"
    operator.configure(**source, seeds=3, train=False)
    operator.night()
    assert operator.training.snapshots == [1, 1]
    assert operator.page["train_skipped"] == "switched off"


def test_compacting_the_store_or_renaming_a_file_is_no_reason_to_train_again(
    operator: Operator,
) -> None:
    operator.night()
    write_voices(operator.audio, ["09a01Fa"])
    operator.rows["09a01Fa"] = ["09a01Fa.wav", "09", "F"]
    operator.night()
    done = operator.call("store", "compact", "--workdir", operator.workdir, "--json")
    assert done.fields["stores"][0]["snapshot"] == 2
    (operator.audio / f"{NAMES[0]}.wav").rename(operator.audio / "renamed.wav")
    operator.rows[NAMES[0]][0] = "renamed.wav"
    assert "1 renamed" in operator.night().out
    assert operator.training.snapshots == [1, 2]
    operator.rows[NAMES[0]][2] = "W"
    operator.night()
    assert operator.training.snapshots == [1, 2, 4]


def test_a_store_made_anew_is_trained_on_though_its_snapshot_has_an_old_number(
    operator: Operator,
) -> None:
    operator.night()
    shutil.rmtree(operator.store.folder)
    first, second = (operator.audio / f"{name}.wav" for name in NAMES[:2])
    first.write_bytes(second.read_bytes())  # another sound under the same name
    operator.night()
    assert operator.training.snapshots == [1, 1]
    operator.night()
    assert operator.training.snapshots == [1, 1]


def test_what_was_forgotten_leaves_the_classifier_the_next_night(operator: Operator) -> None:
    operator.night()
    done = operator.call("store", "forget", NAMES[0], "--workdir", operator.workdir)
    assert done.status == 0, done.err
    del operator.rows[NAMES[0]]
    assert "UAR 52.0" in operator.night().out
    assert "UAR" not in operator.night().out
    assert operator.training.snapshots == [1, 1]
    assert operator.live() == set(NAMES[1:])


def test_a_manifest_without_rows_is_an_error_and_changes_nothing(operator: Operator) -> None:
    operator.night()
    operator.rows = {}
    done = operator.night()
    assert done.status == 1
    assert "the manifest names no utterance, and the store knows" in done.err
    assert operator.live() == set(NAMES)
    words = ["--audio", operator.audio, "--recipe", operator.folder / "tiny.toml", "--dry-run"]
    dry = operator.call("extract", operator.manifest, *words, "--workdir", operator.workdir)
    assert dry.status == 0
    assert "this would be refused: the manifest names no utterance" in dry.err


def test_time_that_is_up_while_files_are_hashed_is_no_error_and_what_was_hashed_is_kept(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in operator.audio.iterdir():
        os.utime(path, (1.5e9, 1.5e9))  # long enough ago to be remembered
    words = ["--audio", operator.audio, "--recipe", operator.folder / "tiny.toml", "--json"]
    words += ["--workdir", operator.workdir, "--max-hours", "1e-9"]
    operator.write_manifest()
    with monkeypatch.context() as patch:
        patch.setattr("features_cache.audio_hashes.BLOCK", 4)
        done = operator.call("extract", operator.manifest, *words)
        assert (done.status, done.fields["n_segments"]) == (0, 0)
        assert f"4 of {len(NAMES)} new files had been hashed" in done.err
        assert operator.night("--max-hours", "1e-9").status == 0
    assert operator.page["status"] == "stopped"
    assert len(pd.read_parquet(operator.workdir / "features" / "audio_hashes.parquet")) == 8
    operator.night()
    assert operator.live() == set(NAMES)


def test_a_night_stopped_by_the_clock_is_no_error_and_trains_nothing(operator: Operator) -> None:
    done = operator.night("--max-hours", "0.0000001")
    assert done.status == 0
    assert done.out.startswith("emostack m: stopped by --max-hours 1e-07, ")
    assert " left" in done.out
    assert operator.page["train_skipped"] == "no time left"
    assert operator.training.snapshots == []
    assert operator.night().status == 0
    assert operator.live() == set(NAMES)


def test_the_prometheus_file_is_well_formed_and_goes_where_it_is_asked_for(
    operator: Operator,
) -> None:
    file = operator.folder / "textfiles" / "emo.prom"
    source = {"manifest": str(operator.manifest), "audio": str(operator.audio)}
    operator.configure(**source, prometheus=str(file), title='a "b" \\ c')
    assert operator.night().status == 0
    label = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
    sample = re.compile(rf"emostack_night_[a-z_]+\{{{label}(?:,{label})*\}} -?[0-9.e+-]+")
    lines = file.read_text(encoding="utf-8").splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert len(samples) > 10
    assert [line for line in samples if not sample.fullmatch(line)] == []
    assert len({line.rpartition(" ")[0] for line in samples}) == len(samples)
    assert list(file.parent.iterdir()) == [file]


def test_a_prometheus_file_that_cannot_be_written_is_told_before_the_night(
    operator: Operator,
) -> None:
    (operator.folder / "file").write_text("")
    done = operator.night("--prometheus", operator.folder / "file" / "emo.prom")
    assert done.status == 1
    assert "give another --prometheus" in done.err
    assert operator.night().status == 0
    assert operator.page["previous"] is None  # nobody died


def test_json_has_the_fields_of_every_verb_and_whether_anything_changed(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = operator.night("--json")
    assert {
        "recipe_id", "n_new", "n_changed", "n_renamed", "n_relabelled", "n_skipped", "n_gone",
        "n_quarantined", "n_quarantined_total", "n_segments", "seconds", "segments_per_second",
        "snapshot", "generation", "uar_pooled", "uar_inductive", "report",
        "changed", "status", "exit_status", "stopped_by", "error", "summary", "page",
    } <= set(done.fields)  # fmt: skip
    assert (done.fields["changed"], operator.night("--json").fields["changed"]) == (True, False)
    monkeypatch.setattr("pipeline.night.read_corpus", lambda *_: 1 / 0)
    assert operator.night("--json").fields["status"] == "failed"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[nightly]\nmanifset = 'm.csv'\n", r"line 2: unknown key 'manifset' .*'manifest'"),
        ("\n[nightli]\n", r"line 2: unknown key 'nightli'; .*'nightly'"),
        ("[nightly]\n\nuntil = '25:00'\n", r"line 3: nightly\.until .*'25:00' is no time of day"),
        ("[nightly]\nseeds = '3'\n", r"line 2: nightly\.seeds .*a whole number"),
        ("[nightly]\nseeds = \n", r"not valid TOML: .*line 2"),
        ("[nightly]\nreader = 'emodb'\n", r"the night has reader; expected reader and corpus"),
        ("[nightly]\nreader = 'emodbb'\ncorpus = '.'\n", r"'emodbb'.*did you mean 'emodb'"),
    ],
)
def test_a_mistake_in_the_config_is_one_line_that_names_it(
    operator: Operator, text: str, told: str
) -> None:
    operator.config.write_text(text)
    done = operator.night("--workdir", operator.workdir)
    assert done.status == 1
    assert len(done.err.splitlines()) == 1
    assert re.search(told, done.err)


def test_relative_paths_are_relative_to_where_the_command_is_called(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.configure(manifest="m.csv", audio="audio")
    monkeypatch.chdir(operator.folder)
    assert operator.night("--workdir", "runs").status == 0
    monkeypatch.chdir("/")
    done = operator.night()
    assert done.status == 1
    assert "audio is not there" in done.err


def test_a_reader_takes_the_place_of_a_manifest(operator: Operator) -> None:
    operator.configure(reader="emodb", corpus=str(operator.audio))
    done = operator.night()
    assert (done.status, operator.live()) == (0, set(NAMES))
    assert done.out.startswith("emostack emodb: ok, +8 new")
    (operator.audio / f"{NAMES[0]}.wav").unlink()
    assert "1 gone" in operator.night().out
    for file in operator.audio.iterdir():
        file.unlink()
    done = operator.night()
    assert done.status == 1
    assert "holds no wav file" in done.err
    assert operator.live() == set(NAMES[1:])


def test_a_table_may_be_named_instead_of_its_folder(operator: Operator) -> None:
    table = operator.audio / "table.csv"
    operator.write_manifest()
    operator.manifest.rename(table)
    operator.configure(reader="csv", corpus=str(table))
    assert operator.night().status == 0
    assert operator.live() == set(NAMES)


@pytest.mark.slow
def test_a_real_training_is_found_again_by_the_next_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    operator = Operator(tmp_path, command_line(monkeypatch, capfd), FakeTraining())
    for i, row in enumerate(operator.rows.values()):
        row[1] = f"speaker {i // 2}"
    done = operator.night("--json")
    assert (done.status, len(list(operator.workdir.glob("runs/*/run.json")))) == (0, 1)
    assert {"uar_pooled", "bundle", "run"} <= set(done.fields)
    assert operator.night().status == 0
    assert operator.page["train_skipped"] == "nothing changed"
    assert operator.night("--seeds", "2").status == 0
    assert operator.page["train"]["previous_uar"] == pytest.approx(done.fields["uar_pooled"])
