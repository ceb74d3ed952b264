from typing import Any, TypeAlias

import numpy as np
import pytest

from models.linear_svm import (
    SVMError,
    SVMSettings,
    choose_c,
    linear_kernel,
    predict_fold,
    standardise,
    uar,
)
from models.utterance_vectors import utterance_vectors

Task: TypeAlias = tuple[np.ndarray, np.ndarray, list[str]]


@pytest.fixture
def task() -> Task:
    rng = np.random.default_rng(3)
    targets = np.tile([0, 1, 2], 20)
    speakers = [f"s{i // 12}" for i in range(60)]
    vectors = rng.normal(size=(60, 8)).astype(np.float32)
    vectors[np.arange(60), targets] += 4
    return vectors, targets, speakers


def test_an_utterance_becomes_mean_and_deviation() -> None:
    stack = np.array([[1, 0], [3, 0]], np.float32)
    assert utterance_vectors([stack, stack]).tolist() == [[2, 0, 1, 0]] * 2


@pytest.mark.parametrize("kind", ["none", "train", "speaker"])
def test_it_learns_what_is_there_to_learn(task: Task, kind: str) -> None:
    vectors, targets, speakers = task
    train, test = np.arange(48), np.arange(48, 60)
    inputs = standardise(vectors, speakers, train, kind)
    probabilities, c = predict_fold(inputs, targets, speakers, train=train, test=test, n_labels=3)
    assert (probabilities.argmax(axis=1) == targets[test]).mean() > 0.9
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert c in SVMSettings().c_values


def test_labels_of_test_rows_decide_nothing(task: Task) -> None:
    vectors, targets, speakers = task
    train, test = np.arange(48), np.arange(48, 60)
    shuffled = targets.copy()
    shuffled[test] = 0
    one, two = (
        predict_fold(vectors, labels, speakers, train=train, test=test, n_labels=3)[0]
        for labels in (targets, shuffled)
    )
    assert np.array_equal(one, two)


def test_test_rows_decide_nothing_inductively(task: Task) -> None:
    vectors, targets, speakers = task
    train, test = np.arange(48), np.arange(48, 60)
    other = vectors.copy()
    other[50:60] *= 100
    one, two = (
        predict_fold(
            standardise(values, speakers, train, "train"),
            targets,
            speakers,
            train=train,
            test=test,
            n_labels=3,
        )[0][:2]
        for values in (vectors, other)
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_a_class_that_training_lacks_has_probability_zero(task: Task) -> None:
    vectors, targets, speakers = task
    train = np.flatnonzero(targets[:48] != 2)
    probabilities, _ = predict_fold(
        vectors, targets, speakers, train=train, test=np.arange(48, 60), n_labels=3
    )
    assert (probabilities[:, 2] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_tie_is_won_by_the_smallest_c(task: Task) -> None:
    _, targets, speakers = task
    train = np.arange(60)
    easy = np.eye(3, dtype=np.float32)[targets]
    kernel = linear_kernel(easy, train)
    chosen = choose_c(kernel, targets, speakers, train, SVMSettings(c_values=(1.0, 2.0)))
    assert chosen == 1.0


def test_speakers_and_classes_must_be_two(task: Task) -> None:
    vectors, targets, _ = task
    rows = np.arange(60)
    with pytest.raises(SVMError, match="1 training speaker; expected at least 2"):
        predict_fold(vectors, targets, ["a"] * 60, train=rows, test=rows, n_labels=3)
    with pytest.raises(SVMError, match="one class"):
        predict_fold(vectors, targets * 0, ["a"] * 60, train=rows, test=rows, n_labels=3)


@pytest.mark.parametrize("wrong", [{"c_values": ()}, {"c_values": (0.0,)}, {"n_inner_folds": 1}])
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SVMError, match="expected"):
        SVMSettings(**wrong)


def test_uar_is_the_mean_recall_of_the_classes_that_occur() -> None:
    assert uar(np.array([0, 0, 0, 2]), np.array([0, 0, 1, 2])) == pytest.approx((2 / 3 + 1) / 2)
