"""Vectors whose features have gaps and units of their own, made fit for one standardisation.

`models.normalisation` takes features that are alike in size: it divides none by less than a share of
the median deviation. Hertz beside ratios would lose the ratios. So such features are brought to the
training rows' unit deviation first; what no training row tells anything about becomes 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

CONSTANT = 1e-6
"""A deviation below this share of a feature's largest value is rounding, not movement."""


def fill_gaps(
    vectors: np.ndarray, speakers: Sequence[str], train: np.ndarray, kind: str
) -> np.ndarray:
    """Fill what is not finite so that it is 0 once the vectors are standardised.

    Parameters
    ----------
    vectors : float32, shape (n, n_features)
    speakers : one a row
    train : int64, rows of the training part
    kind : ``speaker``: with the mean of the speaker's own rows; else of the training rows

    Returns
    -------
    float32, shape (n, n_features), finite; a feature without any number is 0
    """
    is_gap = ~np.isfinite(vectors)
    if not is_gap.any():
        return vectors
    zeros = np.where(is_gap, 0.0, vectors)
    filled = np.empty_like(vectors)
    names = np.asarray(speakers, dtype=object)
    everything = np.arange(len(vectors))
    own = [np.flatnonzero(names == name) for name in sorted(set(speakers))]
    pairs = [(rows, rows) for rows in own] if kind == "speaker" else [(everything, train)]
    for rows, source in pairs:
        counts = np.maximum((~is_gap[source]).sum(axis=0), 1)
        means = zeros[source].sum(axis=0, dtype=np.float64) / counts
        filled[rows] = np.where(is_gap[rows], means, zeros[rows])
    return filled


def common_units(vectors: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Bring every feature to mean 0 and deviation 1 over the training rows.

    Parameters
    ----------
    vectors : float32, shape (n, n_features), finite
    train : int64, rows of the training part

    Returns
    -------
    float32, shape (n, n_features); 0 where the training rows are all alike

    Examples
    --------
    >>> common_units(
    ...     np.array([[1.0, 5.0], [3.0, 5.0], [4.0, 6.0]], np.float32), np.arange(2)
    ... ).tolist()
    [[-1.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    """
    rows = vectors[train].astype(np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    moves = deviation > CONSTANT * np.abs(rows).max(axis=0)
    scaled = (vectors - mean) / np.where(moves, deviation, 1.0)
    result: np.ndarray = np.where(moves, scaled, 0.0).astype(np.float32)
    return result
