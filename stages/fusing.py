"""Features of several recipes side by side: one stack out of several.

Conventions
-----------
The segments, and their times, are the first recipe's. Each further recipe, which may cut others, gives
every one of them the features of its own segment whose centre is nearest in time; of two equally near,
the earlier. The columns stand in the order of the recipes.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from features_cache.consolidated import Stack

TIE_S = 1e-6
"""Distances in time that differ by less are equal: frames are milliseconds, and sums of them inexact."""

JOINT = "+"
"""Stands between what names the parts: ``emostack-v1+emostack-small-v1``."""


def fused(parts: Sequence[Stack]) -> NDArray[np.float32]:
    """Put one utterance's features by several recipes side by side.

    Parameters
    ----------
    parts : of each recipe its features, shape (n_segments, feature_dim), and its segments' starts and
        ends, float64, shape (n_segments,), seconds in the utterance, ascending

    Returns
    -------
    float32, shape (n_segments of the first, sum of feature_dim)
        No rows where one of the recipes has none. A single part is as it was.

    Examples
    --------
    >>> slow = np.array([[1.0], [2.0]]), np.array([0.0, 2.0]), np.array([2.0, 4.0])
    >>> quick = np.array([[5.0], [6.0], [7.0], [8.0]]), np.arange(4.0), np.arange(4.0) + 1
    >>> fused([slow, quick]).tolist()
    [[1.0, 5.0], [2.0, 7.0]]
    """
    centres = [(start + end) / 2 for _, start, end in parts]
    n_segments = len(centres[0]) if all(map(len, centres)) else 0
    columns = [
        features if own is centres[0] else features[nearest(centres[0][:n_segments], own)]
        for (features, _, _), own in zip(parts, centres, strict=True)
    ]
    return np.concatenate([each[:n_segments] for each in columns], axis=1, dtype=np.float32)


def nearest(times: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find, for each time, the nearest of some others; of several equally near, the first.

    Parameters
    ----------
    times : seconds
    among : seconds, ascending; may only be empty where `times` is

    Returns
    -------
    Their places in `among`.
    """
    if not len(times):
        return np.zeros(0, np.intp)
    after = np.searchsorted(among, times).clip(max=len(among) - 1)
    before = (after - 1).clip(min=0)
    is_before = np.abs(times - among[before]) <= np.abs(among[after] - times) + TIE_S
    return np.searchsorted(among, among[np.where(is_before, before, after)])


def joint_name(names: Iterable[object]) -> str:
    """Name what stands side by side; one name alone stays as it is."""
    return JOINT.join(map(str, names))
