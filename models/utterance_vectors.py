"""One vector an utterance, as linear classifiers want it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.normalisation import places_by_speaker
from models.stacks import LazyStacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from models.normalisation import Normalisation
    from models.stacks import Stacks

Vectors = np.ndarray | LazyStacks
"""Float32, shape (n, n_values); or, where they would not fit into memory, n stacks of one row each."""


def utterance_vectors(stacks: Stacks) -> np.ndarray:
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


def rows_of(vectors: Vectors, rows: np.ndarray) -> np.ndarray:
    """Pick vectors by number: float32, shape (n_rows, n_values)."""
    if isinstance(vectors, LazyStacks):
        return np.concatenate([vectors[row] for row in rows])
    found: np.ndarray = vectors[rows]
    return found


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
    result = np.empty_like(vectors)
    for own, part in by_speaker(normalisation, vectors, np.arange(len(vectors)), speakers):
        result[own] = part
    return result


def by_speaker(
    normalisation: Normalisation, vectors: Vectors, rows: np.ndarray, speakers: Sequence[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Standardise some vectors, one speaker's in memory at a time.

    Parameters
    ----------
    normalisation : fitted, without components
    vectors, rows : which of the vectors
    speakers : one a row

    Yields
    ------
    places in `rows`, and the vectors of these, float32, shape (n_places, n_values)
    """
    for name, own in places_by_speaker(speakers):
        yield own, normalisation.transform([rows_of(vectors, rows[own])], [name])[0]
