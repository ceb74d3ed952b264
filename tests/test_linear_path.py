"""The linear path: what ridge regression finds, for whom it weighs, and how both paths are pooled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.linear_path import (
    SHARPNESS,
    LinearPath,
    LinearPathError,
    LinearPathSettings,
    array_shapes,
    fit_linear_path,
    linear_path_of,
    pooled,
    probabilities_of,
)

KINDS = ("none", "train", "speaker")


def made_up(n: int = 60, n_values: int = 8) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Three classes, each moved along a value of its own, said by four speakers of other levels."""
    rng = np.random.default_rng(3)
    targets = np.arange(n) % 3
    vectors = rng.normal(size=(n, n_values))
    vectors[np.arange(n), targets] += 4
    speakers = [f"s{i // (n // 4)}" for i in range(n)]
    vectors += np.array([int(name[1:]) for name in speakers])[:, None]
    return vectors.astype(np.float32), targets, speakers


def fitted(kind: str, **changes: object) -> LinearPath:
    vectors, targets, speakers = made_up()
    options = {"n_labels": 3, "kind": kind, "penalty": 0.5, **changes}
    return fit_linear_path([vectors], targets, speakers, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["train", "speaker"])
def test_what_a_linear_map_can_tell_is_told(kind: str) -> None:
    vectors, targets, speakers = made_up()
    scores = fitted(kind).scores(vectors, speakers)
    assert (scores.argmax(axis=1) == targets).mean() > 0.95
    assert scores.dtype == np.float32


@pytest.mark.parametrize(("n", "n_values"), [(60, 8), (12, 40)])
def test_the_weights_are_the_closed_form_s(n: int, n_values: int) -> None:
    vectors, targets, speakers = made_up(n, n_values)
    path = fit_linear_path([vectors], targets, speakers, n_labels=3, kind="none", penalty=0.5)
    x = vectors.astype(np.float64)  # every class as often: all weigh the same
    penalty = 0.5 * (x**2).sum(axis=1).mean() * np.eye(n_values)
    expected = np.linalg.solve(x.T @ x + penalty, x.T @ (2 * np.eye(3)[targets] - 1))
    np.testing.assert_allclose(path.weights, expected, atol=1e-4)


def test_vectors_are_summed_up_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted("speaker")
    monkeypatch.setattr("models.linear_path.BLOCK_ROWS", 20)  # speakers of 15: one a block
    np.testing.assert_allclose(fitted("speaker").weights, whole.weights, atol=1e-6)


def test_a_penalty_that_is_too_small_is_told() -> None:
    vectors = np.repeat(np.arange(6, dtype=np.float32)[:, None], 4, axis=1) * 1e3
    with pytest.raises(LinearPathError, match="penalty of 1e-30 is too small"):
        fit_linear_path(
            [vectors], np.array([0, 1] * 3), ["a"] * 6, n_labels=2, kind="none", penalty=1e-30
        )


def test_rare_classes_weigh_as_much_as_common_ones() -> None:
    vectors, targets, speakers = made_up()
    often = np.concatenate([np.arange(60), np.tile(np.flatnonzero(targets == 0), 9)])
    names = [speakers[row] for row in often]
    paths = [
        fit_linear_path(
            [vectors[often]],
            targets[often],
            names,
            n_labels=3,
            kind="none",
            penalty=1e-6,
            balanced=balanced,
        )
        for balanced in (True, False)
    ]
    plain = fit_linear_path([vectors], targets, speakers, n_labels=3, kind="none", penalty=1e-6)
    near, far = (np.abs(path.weights - plain.weights).max() for path in paths)
    assert near < 1e-3 < far


def test_views_are_learned_from_and_set_no_standard() -> None:
    vectors, targets, speakers = made_up()
    alone = fitted("train")
    both = fit_linear_path(
        [vectors, vectors * 2], targets, speakers, n_labels=3, kind="train", penalty=0.5
    )
    assert np.array_equal(alone.arrays["mean"], both.arrays["mean"])
    assert np.array_equal(alone.arrays["deviation"], both.arrays["deviation"])
    assert not np.allclose(alone.weights, both.weights)


def test_a_speaker_s_own_level_is_taken_out_only_where_asked_for() -> None:
    vectors, _, speakers = made_up()
    louder = vectors + 100 * np.array([name == "s2" for name in speakers], np.float32)[:, None]
    same, other = (fitted(kind) for kind in ("speaker", "train"))
    np.testing.assert_allclose(
        same.scores(louder, speakers), same.scores(vectors, speakers), atol=1e-3
    )
    assert np.abs(other.scores(louder, speakers) - other.scores(vectors, speakers)).max() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_comes_back_from_its_arrays(kind: str) -> None:
    vectors, _, speakers = made_up()
    path = fitted(kind)
    assert {name: own.shape for name, own in path.arrays.items()} == array_shapes(kind, 4, 3)
    again = linear_path_of(kind, path.arrays)
    assert np.array_equal(again.scores(vectors, speakers), path.scores(vectors, speakers))


def test_a_class_that_nobody_speaks_in_training_scores_as_not_heard() -> None:
    vectors, targets, speakers = made_up()
    path = fitted("train", n_labels=4)
    scores = path.scores(vectors, speakers)
    assert (scores.argmax(axis=1) == targets).mean() > 0.95
    np.testing.assert_allclose(scores[:, 3], -1, atol=1e-5)


def test_vectors_that_are_all_alike_score_nothing() -> None:
    same = np.ones((6, 4), np.float32)
    path = fit_linear_path(
        [same], np.array([0, 1] * 3), ["a"] * 6, n_labels=2, kind="train", penalty=0.5
    )
    assert np.array_equal(path.scores(same, ["a"] * 6), np.zeros((6, 2), np.float32))


numbers = st.floats(-3, 3, width=32)


@given(arrays(np.float32, (4, 3), elements=numbers), arrays(np.float32, (4, 3), elements=numbers))
def test_the_pool_lies_between_its_parts(logits: np.ndarray, scores: np.ndarray) -> None:
    network = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    network = network.astype(np.float32)
    np.testing.assert_allclose(pooled(network, scores, 0.0), network, atol=1e-5)
    mixed = pooled(network, scores, 0.6)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-5)
    log_odds = 0.4 * (logits[:, 0] - logits[:, 1])
    log_odds += 0.6 * SHARPNESS * (scores[:, 0] - scores[:, 1])
    sure = mixed[:, :2].min(axis=1) > 1e-6
    np.testing.assert_allclose(np.log(mixed[sure, 0] / mixed[sure, 1]), log_odds[sure], atol=1e-2)


def test_a_network_that_rules_a_class_out_is_still_pooled() -> None:
    mixed = pooled(np.array([[1.0, 0.0]], np.float32), np.array([[-1.0, 1.0]], np.float32), 0.6)
    assert np.isfinite(mixed).all()
    alone = probabilities_of(np.array([[-1.0, 1.0]], np.float32))
    np.testing.assert_allclose(alone[0, 1], 1 / (1 + np.exp(-2 * SHARPNESS)), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 1.0}, "share is 1.0; expected 0 or more and less than 1"),
        ({"share": float("nan")}, "share is nan"),
        ({"penalty": 0.0}, "penalty is 0.0; expected more than 0"),
        ({"penalty": float("inf")}, "penalty is inf"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(LinearPathError, match=message):
        LinearPathSettings(**wrong)
