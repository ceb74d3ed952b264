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
from scipy.special import softmax
from sklearn.linear_model import Ridge

from models.fitting import class_weights
from models.normalisation import Normalisation, NormalisationSettings, fit_normalisation
from models.utterance_vectors import standardised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

    def scores(self, vectors: np.ndarray, speakers: Sequence[str]) -> np.ndarray:
        """Score each class.

        Parameters
        ----------
        vectors : float32, shape (n, n_values), as `utterance_vectors` gives them
        speakers : one a vector; only looked at where vectors are standardised by speaker

        Returns
        -------
        float32, shape (n, n_labels); the largest for the class that is heard, about 0 on average
        """
        inputs = standardised(self.normalisation, vectors, speakers)
        scores: np.ndarray = inputs @ self.weights + self.bias
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
    versions: Sequence[np.ndarray],
    targets: np.ndarray,
    speakers: Sequence[str],
    *,
    n_labels: int,
    kind: str,
    penalty: float,
    balanced: bool = True,
) -> LinearPath:
    """Fit on training utterances.

    Parameters
    ----------
    versions : the utterances' vectors, float32, shape (n, n_values), and after them those of each view
    targets : int64, shape (n,), in 0 ... n_labels - 1
    speakers : one an utterance
    n_labels : classes
    kind : ``none``, ``train`` (mean and deviation of the utterances themselves, not of their views) or
        ``speaker`` (each speaker's own, in each view)
    penalty : see `LinearPathSettings`
    balanced : weigh each class inversely to how often it occurs
    """
    normalisation = fit_normalisation([versions[0]], ["all of them"], _normalised(kind))
    inputs = np.concatenate([standardised(normalisation, own, speakers) for own in versions])
    wanted = np.where(np.eye(n_labels, dtype=bool)[np.tile(targets, len(versions))], 1, -1)
    per_class = class_weights(targets, n_labels) if balanced else np.ones(n_labels)
    mean_square = float(np.einsum("nv,nv->", inputs, inputs) / len(inputs))
    ridge = Ridge(
        alpha=penalty * max(mean_square, TINY),
        fit_intercept=False,
        solver="cholesky",
    )
    ridge.fit(
        inputs,
        wanted.astype(np.float32),
        sample_weight=np.tile(per_class[targets], len(versions)).astype(np.float32),
    )
    # Vectors are centred and there is no intercept, so what nobody speaks would score in the middle.
    bias = np.where(np.isin(np.arange(n_labels), targets), 0, -1).astype(np.float32)
    return LinearPath(normalisation, np.ascontiguousarray(ridge.coef_.T, np.float32), bias)


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
