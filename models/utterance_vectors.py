"""One vector an utterance, as linear classifiers want it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.normalisation import Normalisation


def utterance_vectors(stacks: Sequence[np.ndarray]) -> np.ndarray:
    """Mean and deviation over segments.

    Parameters
    ----------
    stacks : float32, each of shape (n_i, n_features), n_i >= 1

    Returns
    -------
    float32, shape (n_stacks, 2 * n_features)

    Examples
    --------
    >>> utterance_vectors([np.array([[1.0], [3.0]], np.float32)]).tolist()
    [[2.0, 1.0]]
    """
    return np.stack([np.concatenate([s.mean(axis=0), s.std(axis=0)]) for s in stacks])


def standardised(
    normalisation: Normalisation, vectors: np.ndarray, speakers: Sequence[str]
) -> np.ndarray:
    """Standardise vectors, each speaker's as if they were one stack.

    Parameters
    ----------
    normalisation : fitted, without components
    vectors : float32, shape (n, n_values)
    speakers : one a vector
    """
    names = np.asarray(speakers, dtype=object)
    different = sorted(set(speakers))
    rows = [np.flatnonzero(names == name) for name in different]
    parts = normalisation.transform([vectors[own] for own in rows], different)
    result = np.empty_like(vectors)
    for own, part in zip(rows, parts, strict=True):
        result[own] = part
    return result
