"""Training on one corpus and testing on another, and the paper's two experiments, by command line."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile

from pipeline.reproductions import REPRODUCTIONS
from stages.corpora.table import READERS
from stages.manifest import read_manifest, write_manifest
from stages.train_options import TrainOptions
from tests.command_line import Emostack, command_line
from tests.hostile_audio import voice_like
from tests.small_job import write_corpus, write_recipe
from tests.test_table_corpora import iemocap

EMOTIONS = {"0": "neu", "1": "exc", "2": "ang", "3": "sad", "4": "fru"}


@pytest.fixture
def emostack(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Emostack:
    """Call the command line in this process."""
    return command_line(monkeypatch, capfd)


def write_second(folder: Path) -> pd.DataFrame:
    """Write six recordings of other people, called as those of the first corpus are."""
    rows = write_corpus(folder, n=6)
    for i, file in enumerate(rows["file"]):
        soundfile.write(folder / file, voice_like(0.6 + 0.1 * i, seed=100 + i), 16000)
    emotions = ["glad", "fear", "glad", "fear", "glad", "awe"]
    return rows.assign(corpus="second", emotion=emotions)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corpora, their manifests, a map from one to the other, a tiny recipe."""
    folder = tmp_path_factory.mktemp("job")
    write_manifest(write_corpus(folder / "one"), folder / "one.csv")
    write_manifest(write_second(folder / "two"), folder / "two.csv")
    (folder / "map.toml").write_text('leave_out = ["awe"]\n[labels]\nglad = "joy"\n')
    write_recipe(folder)
    return folder


@pytest.fixture
def words(home: Path, emostack: Emostack) -> list[object]:
    """The words of a training on the first corpus; the features of both are there."""
    here: list[object] = ["--recipe", home / "tiny.toml", "--workdir", home / "runs"]
    for name in ("one", "two"):
        done = emostack(
            *("extract", home / f"{name}.csv", "--audio", home / name, "--workers", 0), *here
        )
        assert done.status == 0, done.err
    return ["train", home / "one.csv", "--audio", home / "one", *here]


@pytest.mark.slow
def test_a_training_is_tested_on_another_corpus(
    home: Path, words: list[object], emostack: Emostack
) -> None:
    tested = ["--test", home / "two.csv", "--test-audio", home / "two"]
    done = emostack(*words, *tested, "--map", home / "map.toml", "--json")
    assert done.status == 0, done.err
    assert "utterances left out by the label map: 'awe' 1" in done.err
    fields = done.fields
    assert fields["trained_on"] == "small: 8 utterances of 4 speakers, 2 emotions"
    assert fields["tested_on"] == "second: 5 utterances of 4 speakers, 2 emotions"
    assert set(fields["recall_by_class"]) == {"fear", "joy"}
    run = Path(fields["run"])
    document = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert document["title"] == "one, tested on two"
    assert document["settings"]["folds"] == "test manifest"
    assert all(example["has_spectrogram"] for example in document["examples"])
    manifests = [read_manifest(Path(fields[name])) for name in ("manifest", "test_manifest")]
    first, other = manifests
    assert first["file"].tolist() == read_manifest(home / "one.csv")["file"].tolist()
    assert other["emotion"].tolist() == ["joy", "fear", "joy", "fear", "joy"]
    again = emostack(
        *("train", fields["manifest"], "--test", fields["test_manifest"], *words[4:], "--json")
    )
    assert again.status == 0, again.err
    assert again.fields["uar_seeds"] == fields["uar_seeds"]
    assert again.fields["baselines"] == fields["baselines"]


def test_emotions_that_the_training_lacks_are_told_in_one_line(
    home: Path, words: list[object], emostack: Emostack
) -> None:
    before = list((home / "runs" / "runs").glob("*"))
    done = emostack(*words, "--test", home / "two.csv")
    assert done.status == 1
    assert (
        "emotions that the training corpus lacks: 'awe' 1, 'glad' 3; expected fear, joy"
        in (done.err.splitlines()[-1])
    )
    assert list((home / "runs" / "runs").glob("*")) == before


def test_a_test_corpus_without_features_says_to_extract_it(
    home: Path, words: list[object], emostack: Emostack, tmp_path: Path
) -> None:
    rows = read_manifest(home / "two.csv")
    write_manifest(rows.assign(corpus="third"), tmp_path / "three.csv")
    done = emostack(*words, "--test", tmp_path / "three.csv")
    assert done.status == 1
    line = done.err.splitlines()[-1]
    assert "test manifest: 6 of 6 utterances have no features" in line
    assert "run 'emostack extract' on this manifest first" in line


def test_people_who_are_in_both_are_refused(
    home: Path, words: list[object], emostack: Emostack, tmp_path: Path
) -> None:
    write_manifest(read_manifest(home / "one.csv").iloc[:3], tmp_path / "some.csv")
    done = emostack(*words, "--test", tmp_path / "some.csv")
    assert done.status == 1
    assert "shares speaker s0, s1, s2 between training and test" in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (["--map", "{home}/map.toml"], 2, "--map is of the manifest to test on"),
        (["--test-audio", "{home}"], 2, "--test-audio is of the manifest to test on"),
        (["--test", "{home}/two.csv", "--folds", "session"], 2, "leave one of them out"),
        (["--test", "{home}/none.csv"], 1, "none.csv"),
    ],
)
def test_words_that_do_not_fit_are_refused(
    home: Path, emostack: Emostack, more: list[str], status: int, said: str
) -> None:
    given = [word.format(home=home) for word in more]
    done = emostack("train", home / "one.csv", *given, "--workdir", home / "runs")
    assert done.status == status
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err


# The paper's experiments


def write_iemocap(folder: Path, emotions: str = "01234") -> None:
    """Write a release of five sessions in which each of ten people says each emotion once."""
    turns = [
        (f"Ses0{session}F_impro0{dialog}_{who}00{dialog}", EMOTIONS[dialog])
        for session in range(1, 6)
        for dialog in emotions
        for who in "FM"
    ]
    iemocap(folder, turns)
    for seed, path in enumerate(sorted(folder.rglob("*.wav"))):
        soundfile.write(path, voice_like(0.4 + seed % 5 / 10, seed=seed), 16000)


def reproduce(folder: Path, audio: Path) -> list[object]:
    here = ["--recipe", write_recipe(folder), "--workdir", folder / "runs", "--workers", 0]
    return ["reproduce", "iemocap", "--audio", audio, *here, "--json"]


def test_iemocap_is_folded_by_session_and_has_four_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emostack: Emostack
) -> None:
    asked: list[Any] = []

    def stop(*given: Any, **named: Any) -> dict[str, Any]:  # noqa: ANN401
        asked.append((given, named))
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.experiments.run_training", stop)
    write_iemocap(tmp_path / "audio", emotions="024")
    assert emostack(*reproduce(tmp_path, tmp_path / "audio"), "--seeds", 2).status == 130
    ((given, named),) = asked
    (manifest,) = (each for each in given if isinstance(each, pd.DataFrame))
    (options,) = (each for each in given if isinstance(each, TrainOptions))
    assert sorted(set(manifest["emotion"])) == ["anger", "neutral"]
    assert (options.folds, options.seeds) == ("session", (0, 1))
    assert named["title"] == "iemocap, 4 classes, leave one session out"
    assert named["provenance"]["paper_uar"] == 68.5


@pytest.mark.slow
def test_reproduce_iemocap_leaves_one_session_out(tmp_path: Path, emostack: Emostack) -> None:
    write_iemocap(tmp_path / "audio")
    done = emostack(*reproduce(tmp_path, tmp_path / "audio"))
    assert done.status == 0, done.err
    fields = done.fields
    assert fields["paper_uar"] == 68.5
    assert set(fields["recall_by_class"]) == {"anger", "happiness", "neutral", "sadness"}
    assert fields["n_utterances"] == 40
    table = pd.read_parquet(Path(fields["run"]) / "predictions.parquet")
    assert sorted(set(table["fold"])) == ["Ses01", "Ses02", "Ses03", "Ses04", "Ses05"]
    people = table.groupby("fold")["speaker"].unique()
    assert sorted(people["Ses02"]) == ["Ses02F", "Ses02M"]


def test_a_folder_that_is_not_iemocap_gets_the_readers_error(
    tmp_path: Path, emostack: Emostack
) -> None:
    done = emostack(*reproduce(tmp_path, tmp_path))
    assert done.status == 1
    assert "holds no Session1/dialog/EmoEvaluation/*.txt; expected DIR/Session1" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", list(REPRODUCTIONS))
def test_each_of_the_papers_experiments_is_on_a_corpus_that_can_be_read(name: str) -> None:
    assert name in READERS
    assert REPRODUCTIONS[name].title.startswith(f"{name}, ")
