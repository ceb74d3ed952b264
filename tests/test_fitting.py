import pickle
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from models.blstm_attention_dnn import BLSTMAttentionDNN
from models.fitting import (
    FittingError,
    LabelledStacks,
    StoppedError,
    class_weights,
    fit,
)
from models.linear_svm import uar
from tests.toy_dataset import SMALL_NETWORK as SMALL


@pytest.fixture(scope="module")
def network() -> BLSTMAttentionDNN:
    return BLSTMAttentionDNN(SMALL, n_features=5, n_labels=3)


def make_data(n: int, seed: int = 0) -> LabelledStacks:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, n)
    stacks = [rng.normal(size=(rng.integers(1, 20), 5)).astype(np.float32) for _ in range(n)]
    for stack, target in zip(stacks, targets, strict=True):
        stack[len(stack) // 2, target] += 6
    return LabelledStacks(stacks=stacks, targets=targets)


def heard(network: BLSTMAttentionDNN, data: LabelledStacks) -> np.ndarray:
    answers: np.ndarray = network.predict(data.stacks)[0].argmax(axis=1)
    return answers


def test_a_training_is_decided_by_its_seed_whatever_was_trained_before(
    network: BLSTMAttentionDNN,
) -> None:
    train, test = make_data(40), make_data(20, 1)
    runs = []
    for seed in (1, 2, 1):
        losses = fit(network, train, seed=seed)
        runs.append((losses, network.predict(test.stacks)[0].tolist()))
    assert runs[0] == runs[2]
    assert runs[0] != runs[1]


def test_it_learns_what_is_there_to_learn(network: BLSTMAttentionDNN) -> None:
    losses = fit(network, make_data(120), seed=0)
    test = make_data(60, 1)
    assert uar(test.targets, heard(network, test)) > 0.8
    assert losses[-1] < losses[0]
    assert len(losses) == SMALL.epochs


def test_the_learning_rate_falls_to_nothing(
    network: BLSTMAttentionDNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    plain = network.train_step

    def watched(*batch: np.ndarray) -> float:
        seen.append(network.learning_rate)
        return plain(*batch)

    monkeypatch.setattr(network, "train_step", watched)
    fit(network, make_data(40), seed=0)
    assert seen[0] == pytest.approx(SMALL.learning_rate)
    assert seen == sorted(seen, reverse=True)
    assert 0 < seen[-1] < 0.03 * SMALL.learning_rate


def test_utterances_are_learned_from_through_their_views(network: BLSTMAttentionDNN) -> None:
    data = make_data(160)
    hidden = [np.zeros_like(stack) for stack in data.stacks]  # nothing to learn but by the view
    blind = replace(data, stacks=hidden)
    test = make_data(60, 1)
    fit(network, blind, seed=0)
    assert uar(test.targets, heard(network, test)) < 0.6
    losses = fit(network, replace(blind, views=[data.stacks]), seed=0)
    assert uar(test.targets, heard(network, test)) > 0.8
    assert losses != fit(network, replace(blind, views=[data.stacks, hidden]), seed=0)


def test_a_view_may_have_other_lengths(network: BLSTMAttentionDNN) -> None:
    data = make_data(10)
    longer = [np.repeat(stack, 2, axis=0) for stack in data.stacks]
    assert np.isfinite(fit(network, replace(data, views=[longer]), seed=0)).all()


def test_oversampling_shows_every_class_as_often(
    network: BLSTMAttentionDNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = np.zeros(3)

    def watched(_: np.ndarray, __: np.ndarray, targets: np.ndarray, ___: np.ndarray) -> float:
        shown[:] += targets.sum(axis=0)
        return 1.0

    monkeypatch.setattr(network, "train_step", watched)
    data = make_data(30)
    fit(network, replace(data, targets=np.array([0] * 20 + [1] * 8 + [2] * 2)), seed=0)
    assert shown.tolist() == [20 * SMALL.epochs, 8 * SMALL.epochs, 2 * SMALL.epochs]
    shown[:] = 0
    fit(
        network,
        replace(data, targets=np.array([0] * 20 + [1] * 8 + [2] * 2)),
        seed=0,
        balance="oversample",
    )
    assert shown.tolist() == [20 * SMALL.epochs] * 3


@pytest.mark.parametrize("balance", ["weights", "oversample", "none"])
def test_every_balance_trains(network: BLSTMAttentionDNN, balance: str) -> None:
    data = make_data(30)
    assert fit(network, data, seed=0, balance=balance)[0] > 0


def test_class_weights_even_classes_out() -> None:
    targets = np.array([0] * 8 + [2] * 2)
    weights = class_weights(targets, 3)
    assert weights[1] == 0
    assert weights[0] * 8 == pytest.approx(weights[2] * 2)
    assert weights[targets].mean() == pytest.approx(1)


def test_no_epoch_is_begun_once_somebody_wants_to_stop(
    network: BLSTMAttentionDNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Event()
    steps: list[int] = []

    def step_and_stop(*_: np.ndarray) -> float:
        steps.append(1)
        stop.set()
        return 1.0

    monkeypatch.setattr(network, "train_step", step_and_stop)
    with pytest.raises(StoppedError, match="stopped before epoch 2"):
        fit(network, make_data(16), seed=0, stop=stop)
    assert len(steps) == 1


def test_a_training_loss_that_is_not_finite_is_told(network: BLSTMAttentionDNN) -> None:
    sick = make_data(20)
    sick = replace(sick, stacks=[np.full_like(stack, np.nan) for stack in sick.stacks])
    with pytest.raises(FittingError, match=r"^the loss is nan in epoch 1; expected") as caught:
        fit(network, sick, seed=0)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
