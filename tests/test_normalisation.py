from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.normalisation import (
    Normalisation,
    NormalisationError,
    NormalisationSettings,
    array_shapes,
    fit_normalisation,
    moments,
)

Corpus: TypeAlias = tuple[list[np.ndarray], list[str]]


@pytest.fixture
def corpus() -> Corpus:
    rng = np.random.default_rng(5)
    speakers = ["a"] * 6 + ["b"] * 6
    stacks = [
        (rng.normal(size=(rng.integers(3, 9), 6)) * (1 + i) + 10 * i).astype(np.float32)
        for i in [0] * 6 + [1] * 6
    ]
    return stacks, speakers


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 1000))
def test_moments_are_those_of_all_segments_however_they_are_stacked(
    lengths: list[int], seed: int
) -> None:
    values = np.random.default_rng(seed).normal(3, 2, (sum(lengths), 4)).astype(np.float32)
    mean, deviation = moments(np.split(values, np.cumsum(lengths)[:-1]))
    np.testing.assert_allclose(mean, values.mean(axis=0), atol=1e-5)
    assert (deviation > 0).all()
    assert (deviation >= values.std(axis=0) - 1e-5).all()


def test_a_feature_that_hardly_moves_is_not_blown_up() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    values[:, 1] *= 1e-7
    _, deviation = moments([values])
    assert deviation[1] > 1e-3


def test_constant_features_are_left_alone() -> None:
    mean, deviation = moments([np.full((4, 2), 7, np.float32)])
    assert mean.tolist() == [7, 7]
    assert deviation.tolist() == [1, 1]


def test_train_standardises_the_training_segments(corpus: Corpus) -> None:
    stacks, speakers = corpus
    chosen = NormalisationSettings(standardise="train", n_components=0)
    out = fit_normalisation(stacks, speakers, chosen).transform(stacks, speakers)
    together = np.concatenate(out)
    np.testing.assert_allclose(together.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(together.std(axis=0), 1, atol=1e-4)
    assert together.dtype == np.float32


def test_speaker_standardises_each_speaker_even_unseen_ones(corpus: Corpus) -> None:
    stacks, speakers = corpus
    chosen = NormalisationSettings(standardise="speaker", n_components=0)
    fitted = fit_normalisation(stacks[:6], speakers[:6], chosen)
    out = fitted.transform(stacks, speakers)
    for part in (out[:6], out[6:]):
        np.testing.assert_allclose(np.concatenate(part).mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(np.concatenate(part).std(axis=0), 1, atol=1e-4)


def test_none_changes_nothing(corpus: Corpus) -> None:
    stacks, speakers = corpus
    chosen = NormalisationSettings(standardise="none", n_components=0)
    out = fit_normalisation(stacks, speakers, chosen).transform(stacks, speakers)
    assert all(np.array_equal(a, b) for a, b in zip(out, stacks, strict=True))


@pytest.mark.parametrize("kind", ["none", "train", "speaker"])
def test_a_fit_is_its_arrays_and_of_the_shapes_told_beforehand(corpus: Corpus, kind: str) -> None:
    stacks, speakers = corpus
    chosen = NormalisationSettings(standardise=kind, n_components=3)
    fitted = fit_normalisation(stacks, speakers, chosen)
    assert {name: a.shape for name, a in fitted.arrays.items()} == array_shapes(chosen, 6)
    again = Normalisation(chosen, fitted.arrays)
    first, second = fitted.transform(stacks, speakers), again.transform(stacks, speakers)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert first[0].shape[1] == 3
    assert first[0].dtype == np.float32


def test_stacks_are_projected_in_blocks_as_they_are_one_by_one(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks, speakers = corpus
    chosen = NormalisationSettings(standardise="train", n_components=3)
    fitted = fit_normalisation(stacks, speakers, chosen)
    alone = [fitted.transform([stack], [""])[0] for stack in stacks]
    for rows in (1, 10, 4096):
        monkeypatch.setattr("models.normalisation.BLOCK_ROWS", rows)
        blocks = fitted.transform(stacks, speakers)
        for one, other in zip(alone, blocks, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    assert fitted.transform([], []) == []


@pytest.mark.parametrize("kind", ["none", "train", "speaker"])
def test_the_fit_sees_training_stacks_alone(corpus: Corpus, kind: str) -> None:
    stacks, speakers = corpus
    train, others = stacks[:6], stacks[6:]
    chosen = NormalisationSettings(standardise=kind, n_components=3)
    fitted = fit_normalisation(train, speakers[:6], chosen)
    arrays = {name: array.tobytes() for name, array in fitted.arrays.items()}
    alone = fitted.transform(train, speakers[:6])
    for strangers in (others, [stack * 1000 for stack in others]):
        beside = fitted.transform([*train, *strangers], speakers)[:6]
        assert all(np.array_equal(a, b) for a, b in zip(alone, beside, strict=True))
        assert {name: array.tobytes() for name, array in fitted.arrays.items()} == arrays
    if kind == "train":
        together = np.concatenate(train)
        np.testing.assert_allclose(fitted.arrays["mean"], together.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(fitted.arrays["deviation"], together.std(axis=0), atol=1e-5)


def test_training_segments_that_are_all_alike_blow_nothing_up() -> None:
    rng = np.random.default_rng(0)
    stacks = [rng.normal(size=(n, 5)).astype(np.float32) for n in (1, 1, 1, 4)]
    chosen = NormalisationSettings(standardise="speaker", n_components=2)
    fitted = fit_normalisation(stacks[:3], ["a", "b", "c"], chosen)  # one segment a speaker
    assert fitted.arrays["scale"].tolist() == [1]
    assert np.abs(fitted.transform(stacks, ["a", "b", "c", "d"])[3]).max() < 10


def test_components_of_many_segments_repeat_by_seed() -> None:
    stacks = [np.random.default_rng(1).normal(size=(5000, 5)).astype(np.float32)]
    chosen = NormalisationSettings(standardise="train", n_components=2)
    one, two = (fit_normalisation(stacks, ["a"], chosen, seed=4) for _ in range(2))
    assert np.array_equal(one.arrays["components"], two.arrays["components"])


@pytest.mark.parametrize(
    ("speakers", "n_components", "message"),
    [
        (["a", ""], 1, "1 of them unknown; expected a known speaker"),
        (["a"], 1, "2 stacks, 1 speakers"),
        (["a", "b"], 9, "n_components is 9; expected at most 4 with 4 training segments"),
    ],
)
def test_what_cannot_be_fitted_is_told(
    speakers: list[str], n_components: int, message: str
) -> None:
    stacks = [np.ones((2, 5), np.float32)] * 2
    chosen = NormalisationSettings(standardise="speaker", n_components=n_components)
    with pytest.raises(NormalisationError, match=message):
        fit_normalisation(stacks, speakers, chosen)


def test_no_segments_have_no_statistics() -> None:
    with pytest.raises(NormalisationError, match="no segments"):
        moments([])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"standardise": "file"}, "expected one of none, train, speaker"),
        ({"n_components": -1}, "-1"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(NormalisationError, match=message):
        NormalisationSettings(**wrong)
