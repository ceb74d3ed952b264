from dataclasses import replace

import numpy as np
import pytest

from reports.metrics import evaluate
from stages.baselines import (
    UtteranceVectors,
    cross_validate_baselines,
    cross_validate_majority,
    cross_validate_svm,
    n_steps,
)
from stages.crossvalidate import Evaluation
from stages.train_options import TrainOptions
from stages.training_task import Task, make_task
from tests.toy_dataset import make_dataset

OPTIONS = TrainOptions(n_components=0, seeds=(3, 4))
UNITS = np.geomspace(1e-6, 1e6, 12)
"""Of features that are told in hertz, seconds, decibels, ..."""


@pytest.fixture
def task() -> Task:
    return make_task(make_dataset(), OPTIONS)


def rival(task: Task, **changes: np.ndarray) -> UtteranceVectors:
    vectors = np.stack([stack.mean(axis=0) * UNITS for stack in task.dataset.stacks])
    own = {"name": "egemaps", "vectors": vectors.astype(np.float32)}
    return UtteranceVectors(**{**own, **changes})


def run(task: Task, own: UtteranceVectors, kind: str) -> Evaluation:
    return cross_validate_svm(task, own, kind, OPTIONS, lambda _: None)


def test_the_majority_class_recalls_one_class_of_all(task: Task) -> None:
    targets = task.targets.copy()
    targets[::4] = 1  # so that one is more frequent everywhere
    evaluation = cross_validate_majority(replace(task, targets=targets), OPTIONS, lambda _: None)
    metrics = evaluate(evaluation.predictions, task.labels)
    assert metrics["uar_pooled"] == pytest.approx(100 / 3)
    assert metrics["recall_by_class"]["calm"] == 100
    assert metrics["seeds"] == [3]


def test_the_majority_is_the_training_parts(task: Task) -> None:
    fold = task.folds[0]
    targets = np.zeros_like(task.targets)
    targets[fold.test] = 2
    table = cross_validate_majority(replace(task, targets=targets), OPTIONS, lambda _: None).tables[
        0
    ]
    assert set(table["predicted"]) == {"angry"}
    assert table["p:angry"].tolist() == [1.0] * len(fold.test)


@pytest.mark.parametrize("kind", ["speaker", "train"])
def test_features_of_any_unit_are_learned_from(task: Task, kind: str) -> None:
    evaluation = run(task, rival(task), kind)
    assert evaluation.name == f"egemaps-{kind}"
    assert (evaluation.classifier, evaluation.features) == ("linear_svm", "egemaps")
    assert evaluate(evaluation.predictions, task.labels)["uar_pooled"] > 85
    assert list(evaluation.chosen_c) == [fold.name for fold in task.folds]


def test_a_test_speakers_vectors_change_nothing_in_its_folds_machine_inductively(
    task: Task,
) -> None:
    fold = task.folds[1]
    half, other = fold.test[:4], fold.test[4:]
    before = rival(task)
    vectors = before.vectors.copy()
    vectors[half] *= 1000
    vectors[half[0], 3] = np.nan
    after = replace(before, vectors=vectors)
    one, two = (run(task, each, "train") for each in (before, after))
    assert one.chosen_c[fold.name] == two.chosen_c[fold.name]
    ids = task.dataset.manifest["utterance_id"][other].tolist()
    rows = [table[table["utterance_id"].isin(ids)] for table in (one.tables[1], two.tables[1])]
    assert len(rows[0]) == len(other)
    assert rows[0].equals(rows[1])


def test_how_loud_or_high_a_speaker_is_does_not_matter_once_normalised_by_speaker(
    task: Task,
) -> None:
    before = rival(task)
    vectors = before.vectors.copy()
    vectors[task.folds[1].test] = vectors[task.folds[1].test] * 8 + 16 * UNITS
    one, two = (run(task, replace(before, vectors=v), "speaker") for v in (before.vectors, vectors))
    assert (one.predictions["predicted"] == two.predictions["predicted"]).mean() > 0.9


@pytest.mark.parametrize("kind", ["none", "train", "speaker"])
def test_utterances_without_numbers_are_predicted_all_the_same(task: Task, kind: str) -> None:
    vectors = rival(task).vectors.copy()
    vectors[[0, 20]] = np.nan
    predictions = run(task, rival(task, vectors=vectors), kind).predictions
    assert len(predictions) == len(task.targets)
    assert np.isfinite(predictions[[f"p:{label}" for label in task.labels]]).all().all()


@pytest.mark.parametrize("baselines", [True, False])
@pytest.mark.parametrize("asked", [True, False])
def test_all_baselines_are_evaluated_with_all_normalisations_and_counted(
    task: Task, *, baselines: bool, asked: bool
) -> None:
    options = replace(OPTIONS, own_svm=baselines)
    rivals = [rival(task), replace(rival(task), name="whole-utterance")] if asked else None
    kinds = ["speaker", "train"]
    ticks: list[str] = []
    evaluations = cross_validate_baselines(task, kinds, options, rivals, ticks.append)
    expected = ["svm-speaker", "svm-train"] if baselines else []
    if asked:
        expected += [
            "egemaps-speaker", "egemaps-train", "whole-utterance-speaker", "whole-utterance-train",
            "majority",
        ]  # fmt: skip
    assert [each.name for each in evaluations] == expected
    assert len(ticks) == n_steps(task, kinds, options, rivals)
    assert all(set(each.predictions["evaluation"]) == {each.name} for each in evaluations)
