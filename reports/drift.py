"""Drift: whether what came in looks like what was there.

A feature's *shift* is Cohen's d, the difference of two means in units of the pooled deviation:

    d = (mean_new - mean_before) / s,
    s^2 = ((n_before - 1) s_before^2 + (n_new - 1) s_new^2) / (n_before + n_new - 2)

(J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd edition, 1988, sections 2.2
and 2.5). He calls 0.2 small and 0.5 medium. A night has one shift a feature; the median of their
sizes is what counts.

Chance alone gives d a deviation of about sqrt(1 / n_before + 1 / n_new) where nothing has moved, so
the median of |d| is expected at 0.6745 times that (the median of a half-normal variable). That
is a guide only: features of one network go together, and the more they do, the more that median
strays. If all of them moved as one it would be the |d| of a single feature, and below 1.96
deviations in 19 of 20 nights. The verdict allows chance all of that: "some" is a median shift more
than 0.2 above it, "strong" one more than 0.5 above it.

Utterances are taken as independent. Those of one new speaker are not: such a night drifts, rightly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["drift"]

MIN_UTTERANCES = 10
"""Fewer on either side tell nothing of a deviation."""

SMALL, MEDIUM = 0.2, 0.5
"""Cohen's words for shifts, in pooled deviations."""

HALF_NORMAL_MEDIAN = 0.6745
CHANCE_BOUND = 1.96
"""In deviations of d: the median of a half-normal variable, and what 95 % of it stay below."""

RESOLUTION = 1e-6
"""A deviation below this share of the mean is float32's rounding: the feature is constant."""


def drift(before: NDArray[np.float32], new: NDArray[np.float32]) -> dict[str, Any] | None:
    """Compare the features that came with those that were known.

    Parameters
    ----------
    before : float32, shape (n_before, feature_dim): each known utterance's mean over its segments
    new : float32, shape (n_new, feature_dim): the same of the utterances that came

    Returns
    -------
    drift : None where either side has fewer than 10 utterances or no feature varies. Else
        ``n_before``, ``n_new``; ``median_shift`` and ``largest_shift``, the median and the largest
        size of Cohen's d over features; ``expected_shift``, about what chance would give for the
        median; ``median_spread_ratio``, the median of new over known deviation, None where no
        feature varies on both sides; ``verdict``, "none", "some" or "strong". Features that are
        constant, or not finite in some utterance, are left out.

    Raises
    ------
    ValueError
        The two are no tables of the same features.
    """
    if before.ndim != 2 or new.ndim != 2 or before.shape[1] != new.shape[1]:
        raise ValueError(
            f"features of shapes {before.shape} and {new.shape}; expected (n_utterances, "
            "feature_dim) with one feature_dim; take both from stores of one recipe"
        )
    n_before, n_new = len(before), len(new)
    if min(n_before, n_new) < MIN_UTTERANCES:
        return None
    shifts, ratios = _compare(before, new)
    if not shifts.size:
        return None
    deviation = math.sqrt(1.0 / n_before + 1.0 / n_new)
    median = float(np.median(shifts))
    return {
        "n_before": n_before,
        "n_new": n_new,
        "median_shift": median,
        "largest_shift": float(shifts.max()),
        "expected_shift": HALF_NORMAL_MEDIAN * deviation,
        "median_spread_ratio": float(np.median(ratios)) if ratios.size else None,
        "verdict": _verdict(median - CHANCE_BOUND * deviation),
    }


def _compare(
    before: NDArray[np.float32], new: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the size of each feature's shift, and the ratios of deviations; each of its own length."""
    finite = np.isfinite(before).all(axis=0) & np.isfinite(new).all(axis=0)
    sides = [side[:, finite].astype(np.float64) for side in (before, new)]
    (mean_before, mean_new), (s_before, s_new) = (
        [side.mean(axis=0) for side in sides],
        [side.std(axis=0, ddof=1) for side in sides],
    )
    weights = len(before) - 1, len(new) - 1
    pooled = np.sqrt((weights[0] * s_before**2 + weights[1] * s_new**2) / sum(weights))
    floor = RESOLUTION * np.maximum(abs(mean_before), abs(mean_new))
    varies, both = pooled > floor, (s_before > floor) & (s_new > floor)
    shifts = abs(mean_new - mean_before)[varies] / pooled[varies]
    return shifts, s_new[both] / s_before[both]


def _verdict(excess: float) -> str:
    """Name a median shift by what is left of it above chance."""
    if excess > MEDIUM:
        return "strong"
    return "some" if excess > SMALL else "none"
