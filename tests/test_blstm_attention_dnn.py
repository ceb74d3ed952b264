import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.batches import in_order, pad, shuffled
from models.blstm_attention_dnn import (
    BLSTMAttentionDNN,
    ClassifierError,
    ClassifierSettings,
    initial_weights,
    weight_shapes,
)
from models.fitting import LabelledStacks, class_weights, fit, score

SMALL = ClassifierSettings(
    lstm_units=8,
    attention_units=4,
    dnn_units=(6,),
    batch_size=16,
    max_epochs=12,
    patience=4,
    dropout=0.1,
    segment_dropout=0.1,
    learning_rate=1e-2,
)


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


def test_padding_never_changes_a_prediction(network: BLSTMAttentionDNN) -> None:
    network.reset(0)
    stacks = make_data(20).stacks
    together, attention = network.predict(stacks)
    longest = np.concatenate([stacks[0]] * 30)
    for number, stack in enumerate(stacks):
        beside, own = network.predict([longest, stack])
        np.testing.assert_allclose(beside[1], together[number], atol=1e-6)
        np.testing.assert_allclose(own[1], attention[number], atol=1e-6)


def test_attention_has_one_weight_a_segment_and_sums_to_one(network: BLSTMAttentionDNN) -> None:
    network.reset(0)
    stacks = make_data(9).stacks
    probabilities, attention = network.predict(stacks)
    assert [len(own) for own in attention] == [len(stack) for stack in stacks]
    np.testing.assert_allclose([own.sum() for own in attention], 1, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


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


def test_weights_have_the_shapes_told_beforehand_and_come_out_as_they_went_in(
    network: BLSTMAttentionDNN,
) -> None:
    fresh = initial_weights(SMALL, 5, 3, seed=9)
    network.set_weights(fresh)
    out = network.weights()
    assert {name: value.shape for name, value in out.items()} == weight_shapes(SMALL, 5, 3)
    assert all(np.array_equal(out[name], fresh[name]) for name in fresh)


def test_recurrent_kernels_start_orthogonal() -> None:
    kernel = initial_weights(SMALL, 5, 3, seed=0)["forward.recurrent_kernel"][:, :8]
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(8), atol=1e-5)


def test_foreign_weights_are_refused(network: BLSTMAttentionDNN) -> None:
    weights = network.weights()
    weights["output.bias"] = np.zeros(9, np.float32)
    with pytest.raises(ClassifierError, match=r"do not fit the network at output\.bias"):
        network.set_weights(weights)


@pytest.mark.parametrize("shape", [(0, 5), (3, 4), (5,)])
def test_foreign_stacks_are_refused(network: BLSTMAttentionDNN, shape: tuple[int, ...]) -> None:
    with pytest.raises(ClassifierError, match="stack 0 has shape"):
        network.predict([np.zeros(shape, np.float32)])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lstm_units": 0}, "lstm_units is 0"),
        ({"dnn_units": (4, 0)}, r"dnn_units\[1\] is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"label_smoothing": float("nan")}, "label_smoothing is nan"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"segment_dropout": 1.0}, "segment_dropout is 1.0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ClassifierError, match=message):
        ClassifierSettings(**wrong)


def test_a_network_needs_features_and_two_labels() -> None:
    with pytest.raises(ClassifierError, match="expected at least 1 and 2"):
        BLSTMAttentionDNN(SMALL, n_features=5, n_labels=1)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=70), st.integers(1, 40), st.integers(0, 99)
)
def test_batches_hold_every_row_once(lengths: list[int], size: int, seed: int) -> None:
    lengths = np.array(lengths)
    for batches in (
        in_order(lengths, size),
        shuffled(lengths, size, np.random.default_rng(seed)),
    ):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        assert max(map(len, batches)) <= size


def test_padding_is_zero_masked_and_rounded_up() -> None:
    stacks = [np.ones((9, 2), np.float32), np.ones((3, 2), np.float32)]
    values, mask = pad(stacks, [1, 0], batch_size=3)
    assert values.shape == (3, 16, 2)
    assert mask.sum(axis=1).tolist() == [3, 9, 1]
    assert values.sum() == 24


ANSWER = """
import sys
import numpy as np
from models.blstm_attention_dnn import BLSTMAttentionDNN, ClassifierSettings
network = BLSTMAttentionDNN(ClassifierSettings(lstm_units=8), n_features=4, n_labels=3)
network.reset(0)
rng = np.random.default_rng(0)
stacks = [rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 9, 14)]
np.save(sys.argv[1], network.predict(stacks)[0])
"""


@pytest.mark.slow
def test_backends_agree(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    answers = []
    for backend in ("tensorflow", "jax"):
        path = tmp_path / f"{backend}.npy"
        subprocess.run(
            [sys.executable, "-c", ANSWER, str(path)],
            env={"KERAS_BACKEND": backend, "PATH": "", "PYTHONPATH": "."},
            cwd=Path(__file__).parents[1],
            check=True,
            capture_output=True,
        )
        answers.append(np.load(path))
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)
