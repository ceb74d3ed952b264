import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytest

from models.blstm_attention_dnn import ClassifierSettings
from models.bundle import load_bundle
from models.predictor import Predictor
from stages.crossvalidate import prediction_table
from stages.dataset import Dataset
from stages.folds import FoldError
from stages.run_folder import RunFolderError, RunNotes
from stages.train import train
from stages.train_options import TrainError, TrainOptions
from stages.training_task import make_task
from tests.toy_dataset import make_dataset

OPTIONS = TrainOptions(
    seeds=(0, 5),
    n_components=6,
    n_examples=4,
    classifier=ClassifierSettings(
        lstm_units=8,
        attention_units=4,
        dnn_units=(6,),
        batch_size=16,
        epochs=6,
        learning_rate=3e-2,
    ),
)
QUICK = TrainOptions(
    n_components=0, own_svm=False, normalise="train", classifier=OPTIONS.classifier
)


Finished: TypeAlias = tuple[Path, dict[str, Any], list[tuple[int, int, str]]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("runs") / "first"
    steps: list[tuple[int, int, str]] = []
    notes = RunNotes(
        title="a toy",
        warning="not a result",
        provenance={"command": "emostack train"},
        spectrogram=lambda row: (np.zeros((4, 9)), 0.01) if row % 2 else None,
    )
    result = train(
        make_dataset(), OPTIONS, folder, notes=notes, on_progress=lambda *step: steps.append(step)
    )
    return folder, result, steps


def test_the_result_has_the_fields_of_the_contract_in_percent(finished: Finished) -> None:
    folder, result, _ = finished
    for name in ("uar_pooled", "uar_inductive", "uar_ensemble", "uar_fold_mean", "wa"):
        assert 20 < result[name] <= 100
    assert len(result["uar_seeds"]) == 2
    assert result["uar_pooled"] == pytest.approx(np.mean(result["uar_seeds"]))
    assert sorted(result["recall_by_class"]) == ["angry", "calm", "sad"]
    assert sorted(result["baselines"]) == ["svm-speaker", "svm-train"]
    assert sorted(result["parts"]) == [
        "linear-speaker", "linear-train", "network-speaker", "network-train",
    ]  # fmt: skip
    assert result["warning"] == "not a result"
    assert (result["recipe_id"], result["snapshot"], result["seeds"]) == ("r1", 7, [0, 5])
    assert result["generation"] == result["snapshot"]
    assert result["transductive"] is True
    assert (result["run"], result["bundle"]) == (str(folder), str(folder / "bundle"))
    json.dumps(result, allow_nan=False)


def test_every_utterance_is_predicted_once_a_seed_and_evaluation(finished: Finished) -> None:
    table = pd.read_parquet(finished[0] / "predictions.parquet")
    counts = table.groupby(["evaluation", "seed"])["utterance_id"].agg(["size", "nunique"])
    assert (counts == 36).all().all()
    assert sorted(counts.index) == [
        ("linear-speaker", 0),
        ("linear-train", 0),
        ("network-speaker", 0),
        ("network-speaker", 5),
        ("network-train", 0),
        ("network-train", 5),
        ("speaker", 0),
        ("speaker", 5),
        ("svm-speaker", 0),
        ("svm-train", 0),
        ("train", 0),
        ("train", 5),
    ]
    assert (table["fold"] == table["speaker"]).all()
    sums = table[["p:angry", "p:calm", "p:sad"]].sum(axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_run_json_tells_all_evaluations_with_curves_and_provenance(finished: Finished) -> None:
    run = json.loads((finished[0] / "run.json").read_text(encoding="utf-8"))
    assert (run["format"], run["title"], run["warning"]) == (1, "a toy", "not a result")
    assert run["headline"] == "speaker"
    flags = {own["name"]: own["transductive"] for own in run["evaluations"]}
    assert flags == {
        f"{stem}{kind}": kind == "speaker"
        for stem in ("", "network-", "linear-", "svm-")
        for kind in ("speaker", "train")
    }
    first = run["evaluations"][0]
    assert len(first["curves"]) == 8
    assert len(first["curves"][0]["train_loss"]) == run["settings"]["classifier"]["epochs"]
    assert run["provenance"]["recipe_id"] == "r1"
    assert run["provenance"]["snapshot"] == 7
    assert run["provenance"]["command"] == "emostack train"
    assert run["settings"]["classifier"]["lstm_units"] == 8


def test_examples_have_times_and_attention_and_a_picture_where_there_is_one(
    finished: Finished,
) -> None:
    folder, _, _ = finished
    examples = json.loads((folder / "run.json").read_text(encoding="utf-8"))["examples"]
    assert 1 <= len(examples) <= 4
    dataset = make_dataset()
    row_of = {name: row for row, name in enumerate(dataset.manifest["utterance_id"])}
    with np.load(folder / "examples.npz", allow_pickle=False) as arrays:
        for i, example in enumerate(examples):
            row = row_of[example["utterance_id"]]
            assert example["truth"] == dataset.manifest["emotion"][row]
            assert arrays[f"attention_{i}"].shape == (len(dataset.stacks[row]),)
            assert arrays[f"attention_{i}"].sum() == pytest.approx(1, abs=1e-5)
            assert np.array_equal(arrays[f"segment_start_{i}"], dataset.segment_start[row])
            assert example["has_spectrogram"] == bool(row % 2) == (f"logmel_{i}" in arrays)


def test_the_bundle_is_inductive_and_predicts(finished: Finished) -> None:
    bundle = load_bundle(finished[0] / "bundle")
    assert bundle.labels == ("angry", "calm", "sad")
    assert bundle.normalisation.settings.standardise == "train"
    assert list(bundle.weights) == [0, 5]
    assert bundle.card["warning"] == "not a result"
    assert (bundle.card["normalisation"], bundle.card["transductive"]) == ("train", False)
    result = finished[1]
    assert bundle.card["uar_inductive_percent"] == result["uar_inductive"]
    assert bundle.card["uar_transductive_percent"] == result["uar_pooled"]
    dataset = make_dataset()
    probabilities, _ = Predictor(bundle).predict(dataset.stacks, [""] * 36)
    named = np.array(bundle.labels)[probabilities.argmax(axis=1)]
    assert (named == dataset.manifest["emotion"]).mean() > 0.5


def test_progress_counts_every_training(finished: Finished) -> None:
    steps = finished[2]
    assert [step[0] for step in steps] == list(range(1, len(steps) + 1))
    assert {step[1] for step in steps} == {2 * 4 * (2 + 1) + 2}


def test_a_finished_run_is_never_overwritten(finished: Finished) -> None:
    with pytest.raises(RunFolderError, match=r"holds run\.json; expected a folder without a run"):
        train(make_dataset(), OPTIONS, finished[0])


def test_the_same_training_gives_the_same_numbers(tmp_path: Path) -> None:
    results = [train(make_dataset(3, 6), QUICK, tmp_path / name) for name in ("a", "b")]
    tables = [pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("a", "b")]
    pd.testing.assert_frame_equal(*tables)
    assert results[0]["uar_inductive"] == results[0]["uar_pooled"]
    assert results[0]["baselines"] == {}
    assert set(tables[0]["evaluation"]) == {"train", "network-train", "linear-train"}
    assert results[0]["transductive"] is False
    assert "uar_transductive_percent" not in load_bundle(tmp_path / "a" / "bundle").card


@pytest.mark.parametrize(
    ("column", "value", "error", "message"),
    [
        ("emotion", "", TrainError, "1 of 36 utterances have no emotion .*'0-3'"),
        ("speaker", "", FoldError, "1 of 36 utterances have no speaker"),
    ],
)
def test_what_cannot_be_learned_is_told_before_training(
    tmp_path: Path, column: str, value: str, error: type[Exception], message: str
) -> None:
    dataset = make_dataset()
    dataset.manifest.loc[3, column] = value
    with pytest.raises(error, match=message):
        train(dataset, OPTIONS, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def with_a_label_of(n: int) -> Dataset:
    dataset = make_dataset()
    dataset.manifest["emotion"] = dataset.manifest["emotion"].replace("sad", "s" * n)
    return dataset


def with_a_session_alone() -> Dataset:
    dataset = make_dataset()
    dataset.manifest["session"] = ["1"] * 9 + ["2"] * 27
    return dataset


def with_one_class_to_train_on() -> Dataset:
    dataset = make_dataset()
    dataset.manifest.loc[9:, "emotion"] = "calm"
    return dataset


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (with_a_label_of(201), {}, "labels are not .* 1 to 200 printable"),
        (make_dataset(), {"seeds": tuple(range(101))}, "seeds are not 1 to 100"),
        (make_dataset(), {"seeds": (2**32,)}, "seeds are not 1 to 100"),
        (make_dataset(), {"classifier": ClassifierSettings(lstm_units=10**5)}, "bytes of weights"),
        (with_a_session_alone(), {"folds": "session"}, "fold '2' has 1 speakers and 3 emotions"),
        (with_one_class_to_train_on(), {}, "fold 's0' has 3 speakers and 1 emotions"),
    ],
    ids=["label", "seeds", "seed", "weights", "one training speaker", "one training class"],
)
def test_what_would_be_refused_at_the_end_is_refused_before_training(
    tmp_path: Path, dataset: Dataset, options: dict[str, Any], message: str
) -> None:
    steps: list[str] = []
    with pytest.raises((TrainError, FoldError), match=message):
        train(
            dataset,
            replace(OPTIONS, **options),
            tmp_path / "run",
            on_progress=lambda *step: steps.append(str(step)),
        )
    assert steps == []
    assert not (tmp_path / "run").exists()


def test_predictions_outlive_a_bundle_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stages.train.save_bundle", full)
    with pytest.raises(OSError, match="No space left"):
        train(make_dataset(3, 6), QUICK, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["predictions.parquet"]
    with pytest.raises(RunFolderError, match=r"holds predictions\.parquet"):
        train(make_dataset(3, 6), QUICK, tmp_path / "run")


def test_notes_are_left_as_they_were(tmp_path: Path) -> None:
    notes = RunNotes(provenance={"command": "x"})
    train(make_dataset(3, 6), QUICK, tmp_path / "run", notes=notes)
    assert notes.provenance == {"command": "x"}


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        (np.zeros((0, 12), np.float32), "1 of 36 utterances have no segments .*'0-3'"),
        (np.full((2, 12), np.nan, np.float32), "features that are not finite .*'0-3'"),
    ],
    ids=["empty", "not finite"],
)
def test_features_that_nothing_can_be_learned_from_are_told(
    stack: np.ndarray, message: str
) -> None:
    dataset = make_dataset()
    dataset.stacks[3] = stack
    with pytest.raises(TrainError, match=message):
        make_task(dataset, OPTIONS)


def test_one_emotion_is_not_enough() -> None:
    dataset = make_dataset()
    dataset.manifest["emotion"] = "angry"
    with pytest.raises(TrainError, match="1 emotion among 36 utterances; expected 2 or more"):
        make_task(dataset, OPTIONS)


def test_shared_audio_is_refused_by_train(tmp_path: Path) -> None:
    dataset = make_dataset()
    dataset.keys[-1] = dataset.keys[0]
    with pytest.raises(FoldError, match="shares audio key-0-0"):
        train(dataset, OPTIONS, tmp_path / "run")


def test_parts_of_one_file_that_overlap_are_refused_by_train(tmp_path: Path) -> None:
    dataset = make_dataset()
    dataset.audio_sha256[-1] = dataset.audio_sha256[0]
    dataset.manifest.loc[0, "start"] = 0.5
    with pytest.raises(FoldError, match="shares audio sha-0-0"):
        train(dataset, OPTIONS, tmp_path / "run")
    dataset.manifest.loc[35, "end"] = 0.5
    assert len(make_task(dataset, OPTIONS).folds) == 4


def test_equal_names_in_two_corpora_are_two_speakers() -> None:
    dataset = make_dataset()
    dataset.manifest["speaker"] = dataset.manifest["speaker"].replace({"s2": "s0", "s3": "s1"})
    dataset.manifest["corpus"] = ["toy"] * 18 + ["play"] * 18
    task = make_task(dataset, OPTIONS)
    assert sorted(set(task.speakers)) == ["play/s0", "play/s1", "toy/s0", "toy/s1"]
    table = prediction_table(task, task.folds[0], np.eye(3)[[0] * 9], seed=0, name="x")
    assert set(table["speaker"]) == {"play/s0"} == set(table["fold"])


@pytest.mark.parametrize(("wanted", "got"), [(6, 6), (12, 0), (256, 0), (0, 0)])
def test_components_are_only_taken_where_they_drop_something(wanted: int, got: int) -> None:
    assert make_task(make_dataset(), TrainOptions(n_components=wanted)).n_components == got


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"normalise": "file"}, "expected one of none, train, speaker"),
        ({"balance": "smote"}, "expected one of weights, oversample, none"),
        ({"seeds": ()}, "expected different numbers from 0"),
        ({"seeds": (1, 1)}, "expected different numbers from 0"),
        ({"n_components": -1}, "n_components is -1"),
        ({"views": ("clean", "masks")}, "views are clean, masks; expected other ones than 'clean'"),
        ({"views": ("masks", "masks")}, "each once"),
        (
            {"speaker_bundle": True, "normalise": "train"},
            "normalise is 'train'; expected 'speaker'",
        ),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        TrainOptions(**wrong)


@pytest.mark.parametrize("kind", [TrainError, FoldError, RunFolderError])
def test_errors_survive_a_trip_between_processes(kind: type[Exception]) -> None:
    error = pickle.loads(pickle.dumps(kind("one message")))
    assert str(error) == "one message"
