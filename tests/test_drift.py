import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.drift import drift

DIM = 60


def utterances(
    n: int, seed: int, *, shift: float = 0.0, spread: float = 1.0, together: float = 0.5
) -> np.ndarray:
    """Draw features of which a share `together` of the variance is common to all."""
    rng = np.random.default_rng(seed)
    own, common = rng.standard_normal((n, DIM)), rng.standard_normal((n, 1))
    features = math.sqrt(1.0 - together) * own + math.sqrt(together) * common
    return (spread * features + shift).astype(np.float32)


def test_the_shift_is_cohens_d_with_the_pooled_deviation() -> None:
    before = np.tile(np.float32([[0], [2]]), (5, 1))
    new = np.tile(np.float32([[1], [5]]), (10, 1))
    s = math.sqrt((9 * before.var(ddof=1) + 19 * new.var(ddof=1)) / 28)
    found = drift(before, new)
    assert found is not None
    assert found["median_shift"] == found["largest_shift"] == pytest.approx(2.0 / s)
    spread = found["median_spread_ratio"]
    assert spread == pytest.approx(new.std(ddof=1) / before.std(ddof=1))
    assert (found["n_before"], found["n_new"]) == (10, 20)
    assert found["expected_shift"] == pytest.approx(0.6745 * math.sqrt(1 / 10 + 1 / 20))


@pytest.mark.parametrize(("n_before", "n_new"), [(9, 100), (100, 9), (0, 0)])
def test_few_utterances_tell_nothing(n_before: int, n_new: int) -> None:
    assert drift(utterances(n_before, 0), utterances(n_new, 1)) is None


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.0, "none"), (0.1, "none"), (0.55, "some"), (1.5, "strong")]
)
def test_a_shift_is_called_what_it_is(shift: float, verdict: str) -> None:
    found = drift(utterances(500, 0, together=0.0), utterances(300, 1, shift=shift, together=0.0))
    assert found is not None
    assert found["verdict"] == verdict


@pytest.mark.parametrize("together", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("n_new", [10, 30, 200])
def test_chance_alone_is_seldom_called_drift(n_new: int, together: float) -> None:
    nights = [
        drift(utterances(60, seed, together=together), utterances(n_new, -~seed, together=together))
        for seed in range(0, 400, 2)
    ]
    assert np.mean([night is None or night["verdict"] != "none" for night in nights]) <= 0.05


def test_chance_gives_about_the_expected_shift() -> None:
    found = [
        drift(utterances(100, seed, together=0.0), utterances(40, seed + 1, together=0.0))
        for seed in range(0, 100, 2)
    ]
    shifts = [each["median_shift"] for each in found if each]
    assert np.mean(shifts) == pytest.approx(found[0]["expected_shift"], rel=0.1)  # type: ignore[index]


def test_features_that_are_constant_or_not_finite_are_left_out() -> None:
    before, new = utterances(50, 0), utterances(50, 1)
    clean = drift(before, new)
    constant, broken = np.full((50, 1), 0.1, np.float32), before[:, :1].copy()
    broken[7] = np.nan
    assert clean == drift(
        np.hstack([before, constant, broken]), np.hstack([new, constant + np.float32(1e-8), broken])
    )
    assert drift(constant, constant) is None


def test_a_feature_that_wakes_up_has_a_shift_but_no_ratio_of_spreads() -> None:
    found = drift(np.zeros((20, 1), np.float32), utterances(20, 1, shift=3.0)[:, :1])
    assert found is not None
    assert found["median_spread_ratio"] is None
    assert found["verdict"] == "strong"
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@given(scale=st.floats(0.01, 100), offset=st.floats(-10, 10))
@settings(max_examples=30, deadline=None)
def test_units_do_not_matter(scale: float, offset: float) -> None:
    before, new = utterances(30, 0), utterances(20, 1, shift=0.4)
    plain = drift(before, new)
    other = drift(np.float32(scale) * (before + offset), np.float32(scale) * (new + offset))
    assert plain is not None
    assert other is not None
    numbers = ("median_shift", "largest_shift", "median_spread_ratio")
    assert [other[n] for n in numbers] == pytest.approx([plain[n] for n in numbers], rel=1e-3)


@pytest.mark.parametrize("shape", [(20,), (20, DIM + 1), (20, DIM, 1)])
def test_tables_of_other_features_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="take both from stores of one recipe"):
        drift(utterances(20, 0), np.zeros(shape, np.float32))
