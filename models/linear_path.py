"""The linear path beside the network: one vector an utterance, read out by ridge regression.

An utterance's vector is the mean and the standard deviation of each of its features over the segments.
A linear map from it to one score a class, 1 for the class and -1 for the others, is found in closed
form (Hoerl and Kennard 1970, doi 10.1080/00401706.1970.10488634). The classifier's probabilities are
the logarithmic pool of both paths (Genest and Zidek 1986, doi 10.1214/ss/1177013825, section 3)::

    p ~ network ** (1 - share) * softmax(SHARPNESS * scores) ** share

as a wide and a deep part add their logits (Cheng et al. 2016, arXiv 1606.07792), except that each is
fitted by what suits it. The network sees a few hundred principal components in their order in time, the
linear path all features, pooled: docs/decisions/0014-a-linear-path.md has what either adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import softmax
from sklearn.linear_model import Ridge

from models.fitting import class_weights
from models.normalisation import (
    Normalisation,
    NormalisationSettings,
    fit_normalisation,
    places_by_speaker,
)
from models.stacks import LazyStacks
from models.utterance_vectors import by_speaker, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from models.utterance_vectors import Vectors

BLOCK_ROWS = 4096
"""Vectors whose products are added at once: to add a matrix of all values' products takes long."""

SHARPNESS = 5.0
"""Scores times this are log-odds: of 1 to 6 the best cross-entropy of the pool, on inner splits."""

TINY = 1e-9
"""Least probability of the network, whose logarithm has to be finite, and least mean square."""


class LinearPathError(ValueError):
    """Settings of a linear path that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearPathSettings:
    """What the linear path weighs and how it is fitted.

    Parameters
    ----------
    share : its exponent in the pool, in [0, 1); 0: there is none, the network speaks alone
    penalty : of the squared weights, in parts of the vectors' mean square norm
    """

    share: float = 0.6
    penalty: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise LinearPathError(f"share is {self.share}; expected 0 or more and less than 1")
        if not 0 < self.penalty < np.inf:
            raise LinearPathError(f"penalty is {self.penalty}; expected more than 0, and finite")


class LinearPath:
    """A fitted linear path.

    Parameters
    ----------
    normalisation : of the vectors; without components
    weights : float32, shape (n_values, n_labels)
    bias : float32, shape (n_labels,): -1 for a class that nobody spoke in training, else 0
    """

    def __init__(self, normalisation: Normalisation, weights: np.ndarray, bias: np.ndarray) -> None:
        self.normalisation = normalisation
        self.weights = weights
        self.bias = bias

    def scores(
        self, vectors: Vectors, speakers: Sequence[str], rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Score each class.

        Parameters
        ----------
        vectors, rows : which of the vectors, that `utterance_vectors` gives; None: all
        speakers : one a row; only looked at where vectors are standardised by speaker

        Returns
        -------
        float32, shape (n_rows, n_labels); the largest for the class that is heard, about 0 on average
        """
        rows = np.arange(len(vectors)) if rows is None else rows
        scores = np.empty((len(rows), len(self.bias)), np.float32)
        for own, part in by_speaker(self.normalisation, vectors, rows, speakers):
            scores[own] = part @ self.weights + self.bias
        return scores

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What was fitted, see `array_shapes`."""
        return {"weights": self.weights, "bias": self.bias, **self.normalisation.arrays}


def array_shapes(kind: str, n_features: int, n_labels: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array of a fitted path, for stacks of so many features."""
    n_values = 2 * n_features
    shapes: dict[str, tuple[int, ...]] = {"weights": (n_values, n_labels), "bias": (n_labels,)}
    if kind == "train":
        shapes |= {"mean": (n_values,), "deviation": (n_values,)}
    return shapes


def linear_path_of(kind: str, arrays: Mapping[str, np.ndarray]) -> LinearPath:
    """Put a path together again from its arrays; `kind` is that of its normalisation."""
    statistics = {name: own for name, own in arrays.items() if name not in ("weights", "bias")}
    return LinearPath(
        Normalisation(_normalised(kind), statistics), arrays["weights"], arrays["bias"]
    )


def fit_linear_path(
    versions: Sequence[Vectors],
    targets: np.ndarray,
    speakers: Sequence[str],
    *,
    n_labels: int,
    kind: str,
    penalty: float,
    balanced: bool = True,
    rows: np.ndarray | None = None,
) -> LinearPath:
    """Fit on training utterances.

    Parameters
    ----------
    versions : the utterances' vectors, n of them, and after them those of each view
    targets : int64, shape (n,), in 0 ... n_labels - 1
    speakers : one an utterance
    n_labels : classes
    kind : ``none``, ``train`` (mean and deviation of the utterances themselves, not of their views) or
        ``speaker`` (each speaker's own, in each view)
    penalty : see `LinearPathSettings`
    balanced : weigh each class inversely to how often it occurs
    rows : of the utterances that are learned from; None: all

    Notes
    -----
    More utterances and views than values are never in memory together, only a block of them, or one
    speaker's.
    """
    rows = np.arange(len(targets)) if rows is None else rows
    training = _Training(versions, rows, [speakers[row] for row in rows.tolist()])
    normalisation = training.fit_normalisation(kind)
    per_class = class_weights(targets[rows], n_labels) if balanced else np.ones(n_labels)
    wanted = np.where(np.eye(n_labels, dtype=bool)[targets[rows]], 1, -1).astype(np.float32)
    importance = per_class[targets[rows]].astype(np.float32)
    weights = training.ridge(normalisation, wanted, importance, penalty)
    # Vectors are centred and there is no intercept, so what nobody speaks would score in the middle.
    bias = np.where(np.isin(np.arange(n_labels), targets[rows]), 0, -1).astype(np.float32)
    return LinearPath(normalisation, np.ascontiguousarray(weights, np.float32), bias)


@dataclass(frozen=True, slots=True)
class _Training:
    """Vectors to learn from: some rows of each version, and who spoke each row."""

    versions: Sequence[Vectors]
    rows: np.ndarray
    speakers: list[str]

    def fit_normalisation(self, kind: str) -> Normalisation:
        places = [own for _, own in places_by_speaker(self.speakers)]
        utterances = LazyStacks(
            np.array([len(own) for own in places]),
            lambda number: rows_of(self.versions[0], self.rows[places[number]]),
        )
        everybody = ["all of them"] * len(places)
        return fit_normalisation(utterances, everybody, _normalised(kind))

    def parts(self, normalisation: Normalisation) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Version, places in `rows`, and their standardised vectors."""
        for version, vectors in enumerate(self.versions):
            for own, part in by_speaker(normalisation, vectors, self.rows, self.speakers):
                yield version, own, part

    def ridge(
        self,
        normalisation: Normalisation,
        wanted: np.ndarray,
        importance: np.ndarray,
        penalty: float,
    ) -> np.ndarray:
        """Find the weights, shape (n_values, n_labels), by the smaller of both closed forms."""
        n_values = rows_of(self.versions[0], self.rows[:1]).shape[1]
        n_vectors = len(self.versions) * len(self.rows)
        if n_vectors > n_values:
            return self._by_products(normalisation, wanted, importance, penalty, n_values)
        inputs = np.empty((n_vectors, n_values), np.float32)
        for version, own, part in self.parts(normalisation):
            inputs[version * len(self.rows) + own] = part
        ridge = Ridge(
            alpha=penalty * _mean_square(np.einsum("nv,nv->", inputs, inputs), n_vectors),
            fit_intercept=False,
            solver="cholesky",
        )
        repeats = len(self.versions)
        ridge.fit(inputs, np.tile(wanted, (repeats, 1)), sample_weight=np.tile(importance, repeats))
        weights: np.ndarray = ridge.coef_.T
        return weights

    def _by_products(
        self,
        normalisation: Normalisation,
        wanted: np.ndarray,
        importance: np.ndarray,
        penalty: float,
        n_values: int,
    ) -> np.ndarray:
        """Solve for the weights by inner products of values, summed up block by block."""
        products = np.zeros((n_values, n_values), np.float32, order="F")
        towards = np.zeros((n_values, wanted.shape[1]), np.float32)
        squares = 0.0
        for own, block in self._blocks(normalisation):
            weighted = block * np.sqrt(importance[own])[:, None]
            products += weighted.T @ weighted
            towards += block.T @ (wanted[own] * importance[own][:, None])
            squares += float(np.einsum("nv,nv->", block, block))
        n_vectors = len(self.versions) * len(self.rows)
        products[np.diag_indices(n_values)] += penalty * _mean_square(squares, n_vectors)
        try:
            factor = cho_factor(products, overwrite_a=True, check_finite=False)
        except LinAlgError as error:
            message = f"a penalty of {penalty:g} is too small for these features; raise it"
            raise LinearPathError(message) from error
        weights: np.ndarray = cho_solve(factor, towards, check_finite=False)
        return weights

    def _blocks(self, normalisation: Normalisation) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places in `rows` and their standardised vectors, speakers together up to a block."""
        held: list[tuple[np.ndarray, np.ndarray]] = []
        for _, own, part in self.parts(normalisation):
            if held and sum(len(places) for places, _ in held) + len(own) > BLOCK_ROWS:
                yield _joined(held)
                held = []
            held.append((own, part))
        yield _joined(held)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    places, vectors = zip(*parts, strict=True)
    return np.concatenate(places), np.concatenate(vectors)


def _mean_square(squares: float, n: int) -> float:
    return max(float(squares) / n, TINY)


def pooled(network: np.ndarray, scores: np.ndarray, share: float) -> np.ndarray:
    """Pool the network's probabilities and the linear path's scores.

    Parameters
    ----------
    network : float32, shape (n, n_labels), rows sum to 1
    scores : float32, of the same shape
    share : exponent of the linear path

    Returns
    -------
    probabilities : float32, shape (n, n_labels), rows sum to 1
    """
    heard = np.log(np.maximum(network, TINY))
    mixed: np.ndarray = softmax((1 - share) * heard + share * SHARPNESS * scores, axis=1)
    return mixed.astype(np.float32)


def probabilities_of(scores: np.ndarray) -> np.ndarray:
    """Say what the linear path alone would give, float32: rows sum to 1."""
    alone: np.ndarray = softmax(SHARPNESS * scores, axis=1)
    return alone.astype(np.float32)


def _normalised(kind: str) -> NormalisationSettings:
    return NormalisationSettings(standardise=kind, n_components=0)
