import numpy as np
import pytest

from models.linear_svm import standardise
from models.mixed_features import common_units, fill_gaps

SPEAKERS = ["a"] * 4 + ["b"] * 4 + ["c"] * 4
TRAIN = np.arange(8)


def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(5, 2, (12, 6)).astype(np.float32)


@pytest.mark.parametrize("kind", ["train", "speaker"])
@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_a_gap_is_nothing_once_standardised(kind: str, gap: float) -> None:
    spoiled = vectors()
    spoiled[[0, 5, 9], [1, 2, 3]] = gap
    filled = fill_gaps(spoiled, SPEAKERS, TRAIN, kind)
    result = standardise(common_units(filled, TRAIN), SPEAKERS, TRAIN, kind)
    np.testing.assert_allclose(result[[0, 5, 9], [1, 2, 3]], 0, atol=1e-5)
    assert np.isfinite(result).all()


def test_what_is_whole_stays_as_it_is() -> None:
    whole = vectors()
    assert fill_gaps(whole, SPEAKERS, TRAIN, "train") is whole
    spoiled = whole.copy()
    spoiled[3, 2] = np.nan
    filled = fill_gaps(spoiled, SPEAKERS, TRAIN, "train")
    others = np.ones_like(whole, bool)
    others[3, 2] = False
    assert np.array_equal(filled[others], whole[others])


@pytest.mark.parametrize("kind", ["none", "train", "speaker"])
def test_an_utterance_without_any_number_gets_by(kind: str) -> None:
    spoiled = vectors()
    spoiled[2] = np.nan
    spoiled[:, 4] = np.nan
    filled = fill_gaps(spoiled, SPEAKERS, TRAIN, kind)
    assert np.isfinite(filled).all()
    assert not filled[:, 4].any()


def test_test_rows_fill_no_gap_inductively() -> None:
    spoiled = vectors()
    spoiled[1, 1] = np.nan
    other = spoiled.copy()
    other[8:] *= 1000
    one, two = (fill_gaps(each, SPEAKERS, TRAIN, "train") for each in (spoiled, other))
    assert np.array_equal(one[:8], two[:8])


def test_small_units_count_as_much_as_large_ones() -> None:
    mixed = vectors() * np.array([1e-6, 1e-3, 1, 1e3, 1e6, 1], np.float32)
    result = standardise(common_units(mixed, TRAIN), SPEAKERS, TRAIN, "train")
    np.testing.assert_allclose(result[TRAIN].std(axis=0), 1, rtol=1e-3)


def test_what_training_rows_tell_nothing_about_is_left_out() -> None:
    still = vectors()
    still[:8, 0] = 3.0
    still[:8, 1] = 1e6 + np.linspace(0, 0.1, 8)  # rounding, not movement
    result = common_units(still, TRAIN)
    assert not result[:, :2].any()
    assert result[:, 2:].any(axis=0).all()
