"""Principal components by a few large matrix products.

Randomised subspace iteration (Halko, Martinsson and Tropp 2011, doi 10.1137/090771806, algorithm
4.4). Planes are made orthonormal by the eigenvectors of their small matrix of inner products, which
costs next to nothing; a QR or a singular value decomposition of the tall matrix takes longer than all
products together.
"""

import numpy as np

ITERATIONS = 3
"""Two find 0.6 % less of the variance of EMO-DB's segments, a costlier library routine 0.2 % less."""

SPARE = 10
"""Directions searched in beside the wanted ones, which are then found better."""

RANK_SHARE = 1e-12
"""Below this share of the largest square, a direction is rounding noise of float32."""


def principal_components(
    segments: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the directions in which segments vary most.

    Parameters
    ----------
    segments : float32, shape (n_segments, n_features)
    n : how many directions, at most the smaller of both
    rng : where the search starts

    Returns
    -------
    centre : float32, shape (n_features,)
    components : float32, shape (n_features, n), orthonormal columns, the largest variance first; a
        column without variance is zero
    variance : float64, shape (n,)
    """
    centre = segments.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = segments - centre
    n_features = segments.shape[1]
    basis = rng.standard_normal((n_features, min(n + SPARE, n_features)), np.float32)
    for _ in range(ITERATIONS):
        basis = _orthonormal(centred.T @ (centred @ basis))
    # Within the plane that was found the directions are exact.
    variance, turn = _spectrum(centred @ basis)
    components = (basis @ turn[:, :n]).astype(np.float32)
    components *= np.where(components.sum(axis=0) < 0, -1, 1).astype(np.float32)
    return centre, np.ascontiguousarray(components), variance[:n] / max(1, len(segments) - 1)


def _orthonormal(matrix: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span what a matrix's columns span; zero columns where that is less."""
    values, vectors = _spectrum(matrix)
    kept = values > RANK_SHARE * values[0]
    turned: np.ndarray = matrix @ (vectors * kept / np.sqrt(np.where(kept, values, 1)))
    return turned.astype(np.float32)


def _spectrum(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, largest first, and eigenvectors of a matrix's inner products of columns."""
    wide = matrix.astype(np.float64)
    values, vectors = np.linalg.eigh(wide.T @ wide)
    return np.maximum(values[::-1], 0), vectors[:, ::-1]
