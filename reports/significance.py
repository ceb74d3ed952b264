"""Whether one classifier is better than another on the same utterances, or was only lucky.

Conventions
-----------
*Scores* are float64, shape (n,), 0 to 1: the share of a classifier's seeds that named each utterance
correctly. With it, recall is the mean score of a class, and the mean of the seeds' UARs is the mean
of the recalls: both average over the same utterances, so their order does not matter.

A *difference* is the second's UAR less the first's, in percentage points. *Units* are what is drawn,
or swapped, as one: int64, shape (n,), 0 to n_units - 1.

Both tests condition on the trainings that were made. They say whether the same trainings would differ
on other speakers, or other utterances of these; not whether new trainings would. Folds share most of
their training speakers, so that even ten of them are less than ten independent trials
(Dietterich 1998, Neural Computation 10, 1895).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.metrics import bootstrap_uar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["SwapTest", "contrast", "difference", "holm", "swap_test"]

N_BOOT = 2000
"""Resampled sets behind each interval of a difference."""

N_SWAPS = 20_000
"""Random swaps, where there are too many units to try them all."""

EXACT_UNITS = 20
"""Units of which every swap is tried: half a million sums."""

BLOCK = 2_000_000
"""Numbers drawn at a time."""

SAME = 1e-9
"""Sums that differ by less than this share of the largest possible one are the same sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapTest:
    """What a randomisation test found.

    Attributes
    ----------
    p : two-sided, in (0, 1]
    n_units : units whose answers could be swapped
    is_exact : every swap was tried; else `N_SWAPS` random ones
    least_p : the smallest p that this many units can give
    """

    p: float
    n_units: int
    is_exact: bool
    least_p: float


def difference(first: NDArray[Any], second: NDArray[Any], truth: NDArray[Any]) -> float:
    """Take the first's UAR from the second's.

    Parameters
    ----------
    first, second : scores
    truth : int64, shape (n,), index of each utterance's class

    Returns
    -------
    difference : percentage points

    Examples
    --------
    >>> difference(np.array([1.0, 1.0, 1.0]), np.array([1.0, 0.0, 1.0]), np.array([0, 0, 1]))
    -25.0
    """
    return float(_effects(second - first, truth, np.arange(len(truth))).sum())


def swap_test(
    first: NDArray[Any],
    second: NDArray[Any],
    truth: NDArray[Any],
    units: NDArray[Any],
    *,
    n_swaps: int = N_SWAPS,
    seed: int = 0,
) -> SwapTest | None:
    """Test by swapping the two classifiers' answers, whole units at a time.

    The paired randomisation test (Noreen 1989, Computer-Intensive Methods for Testing Hypotheses).
    If it made no difference which classifier was asked, swapping a unit's answers would change
    nothing: p is the share of all swaps whose difference is at least as large, whatever its sign, as
    the one seen. A swap leaves the truth alone, and so the number of utterances of each class: each
    unit adds to, or takes from, the difference of UAR an amount of its own, and a swap turns that
    amount's sign. Random swaps count the one seen among themselves, so that p is never zero
    (Phipson and Smyth 2010, Statistical Applications in Genetics and Molecular Biology 9, 39).

    Parameters
    ----------
    first, second : scores
    truth : int64, shape (n,), index of each utterance's class
    units : what is swapped as one: the utterance's speaker, or the utterance itself
    n_swaps : random swaps, where more than `EXACT_UNITS` units differ
    seed : of the random swaps

    Returns
    -------
    test : None for fewer than two units: nothing can be said
    """
    effects = _effects(second - first, truth, units)
    if len(effects) < 2:
        return None
    limit = SAME * float(np.abs(effects).sum())
    moving = effects[np.abs(effects) > limit]
    # A unit on which both score alike doubles the swaps of either kind: it changes no share.
    is_exact = len(moving) <= EXACT_UNITS
    reached = abs(float(moving.sum())) - limit
    if is_exact:
        p = float(np.mean(np.abs(_all_sums(moving)) >= reached))
    else:
        p = (1 + _count_random(moving, reached, n_swaps, seed)) / (1 + n_swaps)
    least_p = 2.0 ** (1 - len(effects))
    least_p = least_p if is_exact else max(least_p, 1 / (1 + n_swaps))
    return SwapTest(p=p, n_units=len(effects), is_exact=is_exact, least_p=least_p)


def _effects(gain: NDArray[Any], truth: NDArray[Any], units: NDArray[Any]) -> NDArray[np.float64]:
    """Give what each unit adds to the difference of UAR, percentage points, shape (n_units,)."""
    sizes = np.bincount(truth)
    weights = 100.0 / (np.count_nonzero(sizes) * sizes[truth])
    return np.bincount(units, weights=weights * gain).astype(np.float64)


def _all_sums(effects: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the effects under every choice of signs but for turning all: 2 ** (n - 1) sums."""
    sums = effects[:1] if len(effects) else np.zeros(1)
    for effect in effects[1:]:
        sums = np.concatenate([sums + effect, sums - effect])
    return sums


def _count_random(effects: NDArray[np.float64], reached: float, n_swaps: int, seed: int) -> int:
    """Count the random swaps whose sum is at least as large as the one reached."""
    sizes = np.abs(effects)
    # Of units with the same effect only the number that is turned matters, however many there are.
    kinds, n_each = np.unique(np.round(sizes / sizes.max(), 12), return_counts=True)
    kinds = kinds * sizes.max()
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // len(kinds))
    count = 0
    for start in range(0, n_swaps, step):
        n_rows = min(step, n_swaps - start)
        turned = rng.binomial(n_each, 0.5, size=(n_rows, len(kinds)))
        count += int((np.abs((n_each - 2 * turned) @ kinds) >= reached).sum())
    return count


def contrast(
    first: NDArray[Any],
    second: NDArray[Any],
    truth: NDArray[Any],
    speakers: NDArray[Any],
    *,
    n_boot: int = N_BOOT,
    seed: int = 0,
) -> dict[str, Any]:
    """Say how far two classifiers are apart, and how sure that is.

    The intervals draw units with replacement and take both classifiers' answers to them: the paired
    percentile bootstrap (Efron and Tibshirani 1993, An Introduction to the Bootstrap).

    Parameters
    ----------
    first, second : scores of both on the same utterances
    truth : int64, shape (n,), index of each utterance's class
    speakers : units: the speaker of each utterance
    n_boot : resampled sets behind each interval
    seed : of everything that is drawn

    Returns
    -------
    contrast : JSON-friendly

        * ``difference`` : percentage points of UAR
        * ``interval``, ``interval_utterances`` : ``[low, high]``, 95 %, by speakers and utterances;
          None with fewer than two
        * ``p``, ``p_utterances`` : of `swap_test`, likewise
        * ``test`` : how p by speakers was found: ``{n_units, is_exact, least_p}``, or None
    """
    gain = (second - first)[None]
    utterances = np.arange(len(truth))
    by_speaker = swap_test(first, second, truth, speakers, seed=seed)
    by_utterance = swap_test(first, second, truth, utterances, seed=seed)
    return {
        "difference": difference(first, second, truth),
        "interval": bootstrap_uar(gain, truth, speakers, n_boot=n_boot, seed=seed),
        "interval_utterances": bootstrap_uar(gain, truth, utterances, n_boot=n_boot, seed=seed),
        "p": by_speaker.p if by_speaker else None,
        "p_utterances": by_utterance.p if by_utterance else None,
        "test": {
            "n_units": by_speaker.n_units,
            "is_exact": by_speaker.is_exact,
            "least_p": by_speaker.least_p,
        }
        if by_speaker
        else None,
    }


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number (Holm 1979, Scandinavian Journal of Statistics 6, 65).

    Parameters
    ----------
    p_values : of one family of tests; None where there was nothing to test

    Returns
    -------
    corrected : in the same order, at most 1

    Examples
    --------
    >>> holm([0.01, None, 0.25, 0.02])
    [0.03, None, 0.25, 0.04]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[i] = highest
    return corrected
