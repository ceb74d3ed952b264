"""Standardisation and principal components of segment features, fitted on training stacks.

Conventions
-----------
* ``none``: features as they are. ``train``: mean and deviation of the training segments.
  ``speaker``: every speaker's segments by that speaker's own mean and deviation, labels unseen:
  the usual practice in speech emotion recognition, and *transductive*, since a test speaker's own
  utterances are used.
* Principal components are fitted on standardised training segments alone and divided by one
  number, so that a component keeps its share of the variance.
* What was fitted is a handful of arrays: nothing else has to be kept with a trained classifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.decomposition import PCA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STANDARDISE = ("none", "train", "speaker")

FLOOR_SHARE = 0.01
"""A feature that hardly moves is divided by this share of the median deviation, not by its own."""

PCA_ROWS = 4096
"""Segments the components are found on. Neighbouring segments overlap: more rows bring little."""


class NormalisationError(ValueError):
    """Stacks, speakers or arrays that the normalisation cannot work with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalisationSettings:
    """How features are normalised.

    Parameters
    ----------
    standardise : ``none``, ``train`` or ``speaker``
    n_components : principal components kept; 0 = no PCA
    """

    standardise: str = "speaker"
    n_components: int = 256

    def __post_init__(self) -> None:
        if self.standardise not in STANDARDISE:
            raise NormalisationError(
                f"standardise is {self.standardise!r}; expected one of {', '.join(STANDARDISE)}"
            )
        if self.n_components < 0:
            raise NormalisationError(f"n_components is {self.n_components}; expected 0 or more")


def moments(stacks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and floored standard deviation of each feature over all segments of some stacks.

    Parameters
    ----------
    stacks : float32, each of shape (n_i, n_features); together at least one segment

    Returns
    -------
    mean, deviation : float32, shape (n_features,); deviation > 0
    """
    n_rows = sum(len(stack) for stack in stacks)
    if n_rows == 0:
        raise NormalisationError("no segments to take statistics from; expected at least one")
    mean, squares = np.zeros(stacks[0].shape[1]), np.zeros(stacks[0].shape[1])
    for stack in stacks:
        mean += stack.sum(axis=0, dtype=np.float64) / n_rows
    for stack in stacks:
        squares += ((stack - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / n_rows)
    moving = deviation[deviation > 0]
    floor = FLOOR_SHARE * float(np.median(moving)) if len(moving) else 1.0
    return mean.astype(np.float32), np.maximum(deviation, floor).astype(np.float32)


def _by_speaker(
    stacks: Sequence[np.ndarray], speakers: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if len(speakers) != len(stacks) or "" in speakers:
        raise NormalisationError(
            f"{len(stacks)} stacks, {len(speakers)} speakers, "
            f"{sum(not speaker for speaker in speakers)} of them unknown; expected a known speaker "
            f"for each stack: name the speakers or normalise by 'train'"
        )
    members: dict[str, list[np.ndarray]] = {}
    for stack, speaker in zip(stacks, speakers, strict=True):
        members.setdefault(speaker, []).append(stack)
    return {speaker: moments(own) for speaker, own in members.items()}


class Normalisation:
    """A fitted normalisation.

    Parameters
    ----------
    settings : what it does
    arrays : what it found, see `array_shapes` for names and shapes
    """

    def __init__(self, settings: NormalisationSettings, arrays: Mapping[str, np.ndarray]) -> None:
        self.settings = settings
        self.arrays = dict(arrays)

    def transform(self, stacks: Sequence[np.ndarray], speakers: Sequence[str]) -> list[np.ndarray]:
        """Normalise stacks; with ``speaker``, by statistics of just these stacks' speakers.

        Parameters
        ----------
        stacks : float32, each of shape (n_i, n_features)
        speakers : one name a stack; only looked at with ``speaker``

        Returns
        -------
        float32, each of shape (n_i, n_components or n_features)
        """
        own = _by_speaker(stacks, speakers) if self.settings.standardise == "speaker" else None
        return [
            self._project(_standardised(stack, own[speakers[i]] if own else self._common()))
            for i, stack in enumerate(stacks)
        ]

    def _common(self) -> tuple[np.ndarray, np.ndarray] | None:
        if self.settings.standardise == "none":
            return None
        return self.arrays["mean"], self.arrays["deviation"]

    def _project(self, stack: np.ndarray) -> np.ndarray:
        if not self.settings.n_components:
            return stack
        centred = stack - self.arrays["centre"]
        projected: np.ndarray = centred @ self.arrays["components"] / self.arrays["scale"]
        return projected


def _standardised(
    stack: np.ndarray, statistics: tuple[np.ndarray, np.ndarray] | None
) -> np.ndarray:
    if statistics is None:
        return stack.astype(np.float32, copy=False)
    result: np.ndarray = (stack - statistics[0]) / statistics[1]
    return result.astype(np.float32, copy=False)


def array_shapes(settings: NormalisationSettings, n_features: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array that a fitted normalisation holds."""
    shapes: dict[str, tuple[int, ...]] = {}
    if settings.standardise == "train":
        shapes |= {"mean": (n_features,), "deviation": (n_features,)}
    if settings.n_components:
        shapes |= {
            "centre": (n_features,),
            "components": (n_features, settings.n_components),
            "scale": (1,),
        }
    return shapes


def fit_normalisation(
    stacks: Sequence[np.ndarray],
    speakers: Sequence[str],
    settings: NormalisationSettings,
    *,
    seed: int = 0,
) -> Normalisation:
    """Fit on training stacks.

    Parameters
    ----------
    stacks : float32, each of shape (n_i, n_features)
    speakers : one name a stack; only looked at with ``speaker``
    settings : more components than features or training segments are too many
    seed : of the rows that the components are found on and of their search

    Raises
    ------
    NormalisationError
        No segments, unknown speakers, or too many components.
    """
    arrays: dict[str, np.ndarray] = {}
    if settings.standardise == "train":
        arrays["mean"], arrays["deviation"] = moments(stacks)
    if settings.n_components:
        arrays |= _fit_components(stacks, speakers, settings, arrays, seed)
    return Normalisation(settings, arrays)


def _fit_components(
    stacks: Sequence[np.ndarray],
    speakers: Sequence[str],
    settings: NormalisationSettings,
    arrays: Mapping[str, np.ndarray],
    seed: int,
) -> dict[str, np.ndarray]:
    plain = NormalisationSettings(standardise=settings.standardise, n_components=0)
    segments = np.concatenate(Normalisation(plain, arrays).transform(stacks, speakers))
    if settings.n_components > min(segments.shape):
        raise NormalisationError(
            f"n_components is {settings.n_components}; expected at most {min(segments.shape)} "
            f"with {segments.shape[0]} training segments of {segments.shape[1]} features"
        )
    if len(segments) > max(PCA_ROWS, settings.n_components):
        rows = np.random.default_rng([seed, 2]).choice(
            len(segments), max(PCA_ROWS, settings.n_components), replace=False
        )
        segments = segments[np.sort(rows)]
    # Two power iterations leave less than 1 % of the variance behind of what four find.
    pca = PCA(settings.n_components, svd_solver="randomized", iterated_power=2, random_state=seed)
    with np.errstate(invalid="ignore"):  # shares of no variance at all, which nobody reads
        pca.fit(segments)
    scale = np.sqrt(pca.explained_variance_.mean(keepdims=True))
    if not scale > np.finfo(np.float32).tiny:  # training segments that are all alike
        scale = np.ones(1)
    return {
        "centre": pca.mean_.astype(np.float32),
        "components": np.ascontiguousarray(pca.components_.T, np.float32),
        "scale": scale.astype(np.float32),
    }
