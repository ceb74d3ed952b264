"""Differences of UAR: against pencil and paper, against brute force, and under the null."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reports import significance
from reports.metrics import confusion, uar
from reports.significance import contrast, difference, holm, swap_test

Answers = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    """Scores of two classifiers, truths and speakers; seeds 3 and 2."""
    n = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    first, second = rng.integers(0, 4, n) / 3, rng.integers(0, 3, n) / 2
    truth = np.unique(rng.integers(0, 4, n), return_inverse=True)[1]
    units = np.unique(rng.integers(0, draw(st.integers(1, 9)), n), return_inverse=True)[1]
    return first, second, truth, units


def alike(n_speakers: int = 3) -> Answers:
    """Each speaker says a and b once; the second classifier is right once more with each."""
    truth = np.tile([0, 1], n_speakers)
    return (truth == 0) * 1.0, np.ones(2 * n_speakers), truth, np.repeat(range(n_speakers), 2)


def test_three_speakers_who_agree_give_a_quarter() -> None:
    # Of eight swaps two, none and all, reach the difference of 50.
    first, second, truth, units = alike(3)
    assert difference(first, second, truth) == pytest.approx(50.0)
    found = swap_test(first, second, truth, units)
    assert found is not None
    assert (found.p, found.least_p, found.n_units, found.is_exact) == (0.25, 0.25, 3, True)


def test_ten_speakers_who_agree_give_the_smallest_p_there_is() -> None:
    found = contrast(*alike(10))
    assert found["p"] == found["test"]["least_p"] == 2 / 1024
    assert found["p_utterances"] == pytest.approx(2 / 1024)
    assert found["interval"] == [50.0, 50.0]
    low, high = found["interval_utterances"]
    assert low == high == 50.0


def test_the_same_answers_are_no_difference() -> None:
    first, _, truth, units = alike(10)
    found = contrast(first, first, truth, units)
    assert (found["difference"], found["p"], found["p_utterances"]) == (0.0, 1.0, 1.0)
    assert found["interval"] == found["interval_utterances"] == [0.0, 0.0]


def test_a_single_speaker_leaves_only_the_utterances() -> None:
    first, second, truth, _ = alike(5)
    found = contrast(first, second, truth, np.zeros(10, np.int64))
    assert found["interval"] is found["p"] is found["test"] is None
    assert found["p_utterances"] == pytest.approx(2 / 32)


@given(answers())
@settings(deadline=None, max_examples=40)
def test_swapping_who_is_first_turns_the_sign_and_nothing_else(drawn: Answers) -> None:
    first, second, truth, units = drawn
    there, back = (swap_test(*pair, truth, units) for pair in [(first, second), (second, first)])
    assert difference(first, second, truth) == pytest.approx(-difference(second, first, truth))
    assert there == back


@given(answers())
@settings(deadline=None, max_examples=40)
def test_the_exact_p_is_that_of_swapping_and_counting_again(drawn: Answers) -> None:
    first, second, truth, units = drawn
    n_units = int(units.max()) + 1
    found = swap_test(first, second, truth, units)
    if n_units < 2:
        assert found is None
        return

    def gap(is_swapped: NDArray[np.bool_]) -> float:
        one, other = np.where(is_swapped, second, first), np.where(is_swapped, first, second)
        means = [[own[truth == k].mean() for k in np.unique(truth)] for own in (one, other)]
        return float(100 * (np.mean(means[1]) - np.mean(means[0])))

    seen = abs(gap(np.zeros(len(truth), bool)))
    gaps = [
        abs(gap(np.array(swapped)[units]))
        for swapped in itertools.product([False, True], repeat=n_units)
    ]
    assert found is not None
    assert found.p == pytest.approx(np.mean([each >= seen - 1e-7 for each in gaps]))


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_the_difference_is_that_of_the_seeds_mean_uars(draw: int) -> None:
    rng = np.random.default_rng(draw)
    truth = np.concatenate([np.arange(3), rng.integers(0, 3, 40)])
    heard = [rng.integers(0, 3, (n_seeds, len(truth))) for n_seeds in (3, 2)]
    names = np.array(["a", "b", "c"])
    uars = [
        np.mean([uar(confusion(names[truth], names[row], list(names))) for row in seeds])
        for seeds in heard
    ]
    scores = [(seeds == truth).mean(axis=0) for seeds in heard]
    assert difference(*scores, truth) == pytest.approx(uars[1] - uars[0])


def test_under_the_null_p_is_uniform_to_the_last_step() -> None:
    # Every choice of signs is as likely as any other: so many of them reach p as p says.
    rng = np.random.default_rng(3)
    sizes = rng.random(8)
    truth = units = np.arange(8)
    truth = truth % 2
    found = [
        swap_test(np.zeros(8), sizes * np.array(signs), truth, units)
        for signs in itertools.product([-1, 1], repeat=8)
    ]
    p_values = np.array([each.p for each in found if each is not None])
    assert len(p_values) == 256
    for p in np.unique(p_values):
        assert np.mean(p_values <= p) == pytest.approx(p)
    assert len(np.unique(p_values)) == 128


def test_random_swaps_reject_a_true_null_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    p_values = []
    for seed in range(300):
        truth = rng.permutation(np.repeat([0, 1, 2], [10, 20, 40]))
        first, second = (rng.random((2, 70)) < 0.7) * 1.0
        found = swap_test(first, second, truth, np.arange(70), n_swaps=400, seed=seed)
        assert found is not None
        p_values.append(found.p)
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=0.06)


def test_random_swaps_come_close_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    truth, units = rng.integers(0, 3, 200), np.arange(200) % 12
    first, second = (rng.random((2, 200)) < [[0.7], [0.78]]) * 1.0
    exact = swap_test(first, second, truth, units)
    monkeypatch.setattr(significance, "EXACT_UNITS", 4)
    monkeypatch.setattr(significance, "BLOCK", 5000)
    drawn = swap_test(first, second, truth, units)
    assert exact is not None
    assert drawn is not None
    assert (exact.is_exact, drawn.is_exact) == (True, False)
    assert 0.01 < exact.p < 0.9
    assert drawn.p == pytest.approx(exact.p, abs=0.015)
    assert swap_test(first, second, truth, units) == drawn


def test_random_swaps_never_find_a_p_of_zero() -> None:
    found = swap_test(*alike(200)[:3], np.repeat(range(200), 2), n_swaps=99)
    assert found is not None
    assert found.p == found.least_p == 0.01


def test_the_interval_is_the_plain_paired_bootstrap() -> None:
    rng = np.random.default_rng(2)
    truth, units = rng.integers(0, 3, 240), np.arange(240) % 12
    ease = rng.random(240)
    first, second = (ease < 0.75) * 1.0, (ease + 0.1 * rng.normal(size=240) < 0.8) * 1.0
    rows = [np.flatnonzero(units == unit) for unit in range(12)]
    plain = []
    for _ in range(3000):
        drawn = np.concatenate([rows[unit] for unit in rng.integers(0, 12, 12)])
        plain.append(difference(first[drawn], second[drawn], truth[drawn]))
    seen = contrast(first, second, truth, units, n_boot=3000)["interval"]
    assert seen == pytest.approx(np.percentile(plain, [2.5, 97.5]), abs=0.6)


def test_speakers_who_differ_make_p_larger_than_utterances_would() -> None:
    # Of ten speakers six gain much and four lose a little less.
    units = np.repeat(np.arange(10), 20)
    truth = np.tile([0, 1], 100)
    gain = np.where(units < 6, 1.0, -0.8)
    found = contrast(np.zeros(200), gain, truth, units)
    assert found["p"] > 0.2
    assert found["p_utterances"] < 0.01


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, None, 0.9], [1.0, None, 1.0]),
        ([0.2], [0.2]),
        ([None], [None]),
        ([], []),
    ],
)
def test_holm_corrects_as_by_hand(
    p_values: list[float | None], corrected: list[float | None]
) -> None:
    assert holm(p_values) == [each if each is None else pytest.approx(each) for each in corrected]


@given(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=8))
def test_a_corrected_p_lies_between_itself_and_bonferronis(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for p, own in zip(p_values, corrected, strict=True):
        assert own is not None
        assert p <= own <= min(1.0, p * len(p_values))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(corrected, float)[order]) >= 0)
