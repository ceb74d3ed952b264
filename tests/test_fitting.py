import pickle
from dataclasses import replace

import numpy as np
import pytest

from models.blstm_attention_dnn import BLSTMAttentionDNN
from models.fitting import FittingError, LabelledStacks, class_weights, fit, score, uar
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


def test_a_training_is_decided_by_its_seed_whatever_was_trained_before(
    network: BLSTMAttentionDNN,
) -> None:
    train, validation = make_data(40), make_data(20, 1)
    runs = []
    for seed in (1, 2, 1):
        history = fit(network, train, validation, seed=seed)
        runs.append((history.train_loss, network.predict(validation.stacks)[0].tolist()))
    assert runs[0] == runs[2]
    assert runs[0] != runs[1]


def test_it_learns_what_is_there_to_learn(network: BLSTMAttentionDNN) -> None:
    history = fit(network, make_data(120), make_data(60, 1), seed=0)
    assert score(network, make_data(60, 1))[1] > 80
    assert history.train_loss[-1] < history.train_loss[0]
    assert 1 <= history.best_epoch <= len(history.validation_loss) <= SMALL.max_epochs


def test_the_best_epochs_weights_are_kept(network: BLSTMAttentionDNN) -> None:
    validation = make_data(30, 1)
    history = fit(network, make_data(40), validation, seed=3)
    loss, uar = score(network, validation)
    assert loss == pytest.approx(min(history.validation_loss), abs=1e-5)
    assert history.validation_loss[history.best_epoch - 1] == min(history.validation_loss)
    assert uar == pytest.approx(history.validation_uar[history.best_epoch - 1])


def test_training_stops_after_patience_without_a_better_epoch(network: BLSTMAttentionDNN) -> None:
    noise = make_data(30, 1)
    noise = LabelledStacks(stacks=noise.stacks, targets=(noise.targets + 1) % 3)
    history = fit(network, make_data(60), noise, seed=0)
    assert len(history.validation_loss) < SMALL.max_epochs
    assert len(history.validation_loss) == history.best_epoch + SMALL.patience


def test_without_validation_it_runs_for_the_epochs_asked_for(network: BLSTMAttentionDNN) -> None:
    history = fit(network, make_data(20), seed=0, n_epochs=3)
    assert history.best_epoch == len(history.train_loss) == 3
    assert history.as_json()["validation_uar"] == []


@pytest.mark.parametrize("balance", ["weights", "oversample", "none"])
def test_every_balance_trains(network: BLSTMAttentionDNN, balance: str) -> None:
    data = make_data(30)
    assert fit(network, data, seed=0, n_epochs=1, balance=balance).train_loss[0] > 0


def test_class_weights_even_classes_out() -> None:
    targets = np.array([0] * 8 + [2] * 2)
    weights = class_weights(targets, 3)
    assert weights[1] == 0
    assert weights[0] * 8 == pytest.approx(weights[2] * 2)
    assert weights[targets].mean() == pytest.approx(1)


def test_no_epochs_are_no_training_at_all(network: BLSTMAttentionDNN) -> None:
    history = fit(network, make_data(20), seed=0, n_epochs=0)
    assert (history.best_epoch, history.train_loss) == (0, [])


def test_without_validation_the_last_epochs_weights_stay(network: BLSTMAttentionDNN) -> None:
    fit(network, make_data(40), seed=0, n_epochs=1)
    first = network.weights()
    fit(network, make_data(40), seed=0, n_epochs=2)
    assert not np.array_equal(network.weights()["output.kernel"], first["output.kernel"])


def test_uar_is_the_mean_recall_of_the_classes_that_occur() -> None:
    assert uar(np.array([0, 0, 0, 2]), np.array([0, 0, 1, 2])) == pytest.approx((2 / 3 + 1) / 2)


def test_a_training_loss_that_is_not_finite_is_told(network: BLSTMAttentionDNN) -> None:
    sick = make_data(20)
    sick = replace(sick, stacks=[np.full_like(stack, np.nan) for stack in sick.stacks])
    with pytest.raises(FittingError, match=r"^the training loss is nan in epoch 1; expected"):
        fit(network, sick, seed=0)


def test_a_validation_loss_that_is_not_finite_is_told_in_one_line(
    network: BLSTMAttentionDNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.fitting.score", lambda *_: (float("inf"), 50.0))
    with pytest.raises(
        FittingError, match=r"^the validation loss is inf in epoch 1; .*$"
    ) as caught:
        fit(network, make_data(20), make_data(20, 1), seed=0)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
