import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.batches import in_order, pad, shuffled, within
from models.blstm_attention_dnn import (
    MAX_STEPS,
    BLSTMAttentionDNN,
    ClassifierError,
    ClassifierSettings,
    initial_weights,
    weight_shapes,
)
from tests.toy_dataset import SMALL_NETWORK as SMALL

FORMS = {
    "whole": SMALL,
    "no BLSTM": replace(SMALL, lstm_units=0),
    "no attention": replace(SMALL, attention_units=0),
    "neither": replace(SMALL, lstm_units=0, attention_units=0, dnn_units=()),
}


@pytest.fixture(scope="module")
def network() -> BLSTMAttentionDNN:
    return BLSTMAttentionDNN(SMALL, n_features=5, n_labels=3)


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> BLSTMAttentionDNN:
    return BLSTMAttentionDNN(FORMS[request.param], n_features=5, n_labels=3)


def make_stacks(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(rng.integers(1, 20), 5)).astype(np.float32) for _ in range(n)]


def test_padding_never_changes_a_prediction(form: BLSTMAttentionDNN) -> None:
    form.reset(0)
    stacks = make_stacks(20)
    together, attention = form.predict(stacks)
    longest = np.concatenate([stacks[0]] * 30)
    for number, stack in enumerate(stacks):
        beside, own = form.predict([longest, stack])
        np.testing.assert_allclose(beside[1], together[number], atol=1e-6)
        np.testing.assert_allclose(own[1], attention[number], atol=1e-6)


def test_attention_has_one_weight_a_segment_and_sums_to_one(form: BLSTMAttentionDNN) -> None:
    form.reset(0)
    stacks = make_stacks(9)
    probabilities, attention = form.predict(stacks)
    assert [len(own) for own in attention] == [len(stack) for stack in stacks]
    np.testing.assert_allclose([own.sum() for own in attention], 1, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_weights_have_the_shapes_told_beforehand_and_come_out_as_they_went_in(
    form: BLSTMAttentionDNN,
) -> None:
    fresh = initial_weights(form.settings, 5, 3, seed=9)
    form.set_weights(fresh)
    out = form.weights()
    assert {name: value.shape for name, value in out.items()} == weight_shapes(form.settings, 5, 3)
    assert all(np.array_equal(out[name], fresh[name]) for name in fresh)


def test_without_attention_every_segment_counts_alike() -> None:
    plain = BLSTMAttentionDNN(FORMS["neither"], n_features=5, n_labels=3)
    plain.reset(0)
    stacks = make_stacks(5)
    probabilities, attention = plain.predict(stacks)
    for stack, own in zip(stacks, attention, strict=True):
        np.testing.assert_allclose(own, 1 / len(stack), atol=1e-6)
    weights = plain.weights()
    logits = np.array([s.mean(axis=0) for s in stacks]) @ weights["output.kernel"]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_recurrent_kernels_start_orthogonal() -> None:
    kernel = initial_weights(SMALL, 5, 3, seed=0)["forward.recurrent_kernel"][:, :8]
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(8), atol=1e-5)


def test_foreign_weights_are_refused(network: BLSTMAttentionDNN) -> None:
    weights = network.weights()
    weights["output.bias"] = np.zeros(9, np.float32)
    with pytest.raises(ClassifierError, match=r"do not fit the network at output\.bias"):
        network.set_weights(weights)


def listening_weights(feature: int) -> dict[str, np.ndarray]:
    """Weights by hand: the step that holds `feature` gets the attention, and no state is carried."""
    weights = {name: np.zeros(shape) for name, shape in weight_shapes(SMALL, 5, 3).items()}
    units = SMALL.lstm_units
    gates = {"input": 0, "forget": 1, "cell": 2, "output": 3}
    bias = weights["forward.bias"].reshape(4, units)
    bias[gates["input"]], bias[gates["output"]], bias[gates["forget"]] = 20, 20, -20
    weights["forward.kernel"][feature, gates["cell"] * units] = 9
    weights["attention.kernel"][0, 0] = 9
    weights["score.kernel"][0, 0] = 20
    return {name: value.astype(np.float32) for name, value in weights.items()}


def test_attention_is_told_at_the_segment_that_got_it(network: BLSTMAttentionDNN) -> None:
    network.set_weights(listening_weights(feature=2))
    lengths, marked = [7, 3, 19, 8, 1, 12], [1, 2, 16, 0, 0, 4]
    stacks = [np.zeros((length, 5), np.float32) for length in lengths]
    for stack, place in zip(stacks, marked, strict=True):
        stack[place, 2] = 1
    _, attention = network.predict(stacks)
    assert [int(own.argmax()) for own in attention] == marked
    assert min(own.max() for own in attention) > 0.9


def test_a_very_long_stack_is_predicted_in_a_small_batch_and_changes_nothing(
    network: BLSTMAttentionDNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.reset(0)
    stacks = [*make_stacks(20), np.ones((300, 5), np.float32)]
    together, attention = network.predict(stacks)
    sizes = []

    def watched_pad(stacks: list[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
        values, mask = pad(stacks, size)
        sizes.append(values.shape[:2])
        return values, mask

    monkeypatch.setattr("models.blstm_attention_dnn.pad", watched_pad)
    monkeypatch.setattr("models.blstm_attention_dnn.MAX_STEPS", 16 * 24)
    again, own = network.predict(stacks)
    assert sizes[0] == (16, 16)
    assert sizes[-1] == (1, 300)
    assert all(rows == 1 or rows * steps <= 16 * 24 for rows, steps in sizes)
    np.testing.assert_allclose(again, together, atol=1e-6)
    np.testing.assert_allclose(np.concatenate(own), np.concatenate(attention), atol=1e-6)


def test_ordinary_lengths_are_predicted_in_full_batches() -> None:
    lengths = np.full(200, 512)
    batches = list(within(in_order(lengths, 64), lengths, 64, MAX_STEPS))
    assert [(len(rows), size) for rows, size in batches] == [(64, 64)] * 3 + [(8, 64)]


@pytest.mark.parametrize("shape", [(0, 5), (3, 4), (5,)])
def test_foreign_stacks_are_refused(network: BLSTMAttentionDNN, shape: tuple[int, ...]) -> None:
    with pytest.raises(ClassifierError, match="stack 0 has shape"):
        network.predict([np.zeros(shape, np.float32)])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lstm_units": -1}, "lstm_units is -1; expected 0 or more"),
        ({"attention_units": -1}, "attention_units is -1"),
        ({"dnn_units": (4, 0)}, r"dnn_units\[1\] is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"label_smoothing": float("nan")}, "label_smoothing is nan"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"segment_dropout": 1.0}, "segment_dropout is 1.0"),
        ({"batch_size": 4097}, "batch_size is 4097; expected at most 4096"),
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
    st.lists(st.integers(1, 900), min_size=1, max_size=70), st.integers(1, 40), st.integers(8, 2000)
)
def test_batches_cut_smaller_hold_every_row_once_and_fit(
    lengths: list[int], size: int, most: int
) -> None:
    lengths = np.array(lengths)
    batches = list(within(in_order(lengths, size), lengths, size, most))
    assert sorted(np.concatenate([rows for rows, _ in batches])) == list(range(len(lengths)))
    for rows, laid_out in batches:
        assert len(rows) <= laid_out <= size
        assert laid_out == 1 or laid_out * lengths[rows].max() <= most


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


def test_the_short_batch_holds_the_shortest_stacks() -> None:
    batches = shuffled(np.arange(1, 12), 4, np.random.default_rng(0), jitter=0)
    assert sorted(batch.tolist() for batch in batches) == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9, 10]]


def test_padding_is_zero_masked_and_rounded_up() -> None:
    stacks = [np.ones((9, 2), np.float32), np.ones((3, 2), np.float32)]
    values, mask = pad(stacks[::-1], batch_size=3)
    assert values.shape == (3, 12, 2)
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
