import json
import pickle
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytest

from models.blstm_attention_dnn import ClassifierSettings
from models.bundle import Predictor, load_bundle
from stages.crossvalidate import make_task
from stages.dataset import Dataset
from stages.folds import FoldError
from stages.run_folder import RunFolderError, RunNotes
from stages.train import train
from stages.train_options import TrainError, TrainOptions

OPTIONS = TrainOptions(
    seeds=(0, 5),
    n_components=6,
    n_examples=4,
    classifier=ClassifierSettings(
        lstm_units=8,
        attention_units=4,
        dnn_units=(6,),
        batch_size=16,
        max_epochs=6,
        patience=3,
        learning_rate=1e-2,
    ),
)


Finished: TypeAlias = tuple[Path, dict[str, Any], list[tuple[int, int, str]]]


def make_dataset(n_speakers: int = 4, n_each: int = 9, n_features: int = 12) -> Dataset:
    rng = np.random.default_rng(0)
    emotions = np.tile(["angry", "calm", "sad"], n_each // 3)
    rows, stacks = [], []
    for speaker in range(n_speakers):
        for take, emotion in enumerate(emotions):
            name = f"{speaker}-{take}"
            rows.append((name, f"{name}.wav", 0.0, np.nan, f"s{speaker}", "1", "", emotion, "toy"))
            stack = rng.normal(speaker, 1, (rng.integers(2, 7), n_features)).astype(np.float32)
            stack[:, ["angry", "calm", "sad"].index(emotion)] += 4
            stacks.append(stack)
    columns = [
        "utterance_id",
        "file",
        "start",
        "end",
        "speaker",
        "session",
        "gender",
        "emotion",
        "corpus",
    ]
    starts = [0.16 * np.arange(len(stack)) for stack in stacks]
    return Dataset(
        manifest=pd.DataFrame(rows, columns=columns),
        stacks=stacks,
        segment_start=starts,
        segment_end=[start + 0.64 for start in starts],
        keys=[f"key-{row[0]}" for row in rows],
        recipe_id="r1",
        recipe_json='{"revision": 1}',
        generation=7,
    )


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
    assert result["warning"] == "not a result"
    assert (result["run"], result["bundle"]) == (str(folder), str(folder / "bundle"))
    json.dumps(result, allow_nan=False)


def test_every_utterance_is_predicted_once_a_seed_and_evaluation(finished: Finished) -> None:
    table = pd.read_parquet(finished[0] / "predictions.parquet")
    counts = table.groupby(["evaluation", "seed"])["utterance_id"].agg(["size", "nunique"])
    assert (counts == 36).all().all()
    assert sorted(counts.index) == [
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
    assert flags == {"speaker": True, "train": False, "svm-speaker": True, "svm-train": False}
    first = run["evaluations"][0]
    assert len(first["curves"]) == 8
    assert len(first["curves"][0]["train_loss"]) == len(first["curves"][0]["validation_uar"])
    assert run["provenance"]["recipe_id"] == "r1"
    assert run["provenance"]["generation"] == 7
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
    options = TrainOptions(
        n_components=0, baselines=False, normalise="train", classifier=OPTIONS.classifier
    )
    results = [train(make_dataset(3, 6), options, tmp_path / name) for name in ("a", "b")]
    tables = [pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("a", "b")]
    pd.testing.assert_frame_equal(*tables)
    assert results[0]["uar_inductive"] == results[0]["uar_pooled"]
    assert results[0]["baselines"] == {}
    assert set(tables[0]["evaluation"]) == {"train"}


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
        ({"validation_share": 1.0}, "validation_share is 1.0"),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        TrainOptions(**wrong)


@pytest.mark.parametrize("kind", [TrainError, FoldError, RunFolderError])
def test_errors_survive_a_trip_between_processes(kind: type[Exception]) -> None:
    error = pickle.loads(pickle.dumps(kind("one message")))
    assert str(error) == "one message"
