"""Standardisation and principal components of segment features, fitted on training stacks.

Conventions
-----------
* ``none``: features as they are. ``train``: mean and deviation of the training segments.
  ``speaker``: every speaker's segments by that speaker's own mean and deviation, labels unseen:
  the usual practice in speech emotion recognition, and *transductive*, since a test speaker's own
  utterances are used.
* Principal components are fitted on standardised training segments alone and divided by one
  number, so that a component keeps its share of the variance. See
  `models.principal_components`.
* Stacks are projected many at a time: a product a stack leaves most of a processor idle.
* Stacks may be lazy (`models.stacks`): a block of them, or one where they are not projected, is in memory
  at a time. Statistics take two passes, components one over those that were drawn, projecting one.
* What was fitted is a handful of arrays: nothing else has to be kept with a trained classifier.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.principal_components import principal_components
from models.stacks import LazyStacks, lengths_of, picked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from models.stacks import Stacks

STANDARDISE = ("none", "train", "speaker")

FLOOR_SHARE = 0.01
"""A feature that hardly moves is divided by this share of the median deviation, not by its own."""

PCA_ROWS = 4096
"""Segments the components are found on. Neighbouring segments overlap: more rows bring little."""

BLOCK_ROWS = 4096
"""Segments that are projected at once, so that memory does not grow with the corpus."""


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


def moments(stacks: Stacks) -> tuple[np.ndarray, np.ndarray]:
    """Mean and floored standard deviation of each feature over all segments of some stacks.

    Parameters
    ----------
    stacks : float32, each of shape (n_i, n_features); together at least one segment

    Returns
    -------
    mean, deviation : float32, shape (n_features,); deviation > 0
    """
    n_rows = int(lengths_of(stacks).sum())
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


def places_by_speaker(speakers: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Speakers in alphabetical order, each with its places.

    Examples
    --------
    >>> [(name, places.tolist()) for name, places in places_by_speaker(["b", "a", "b"])]
    [('a', [1]), ('b', [0, 2])]
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(speakers):
        places.setdefault(name, []).append(place)
    return [(name, np.array(places[name])) for name in sorted(places)]


def _moments_by_speaker(
    stacks: Stacks, speakers: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if len(speakers) != len(stacks) or "" in speakers:
        raise NormalisationError(
            f"{len(stacks)} stacks, {len(speakers)} speakers, "
            f"{sum(not speaker for speaker in speakers)} of them unknown; expected a known speaker "
            f"for each stack: name the speakers or normalise by 'train'"
        )
    return {name: moments(picked(stacks, own)) for name, own in places_by_speaker(speakers)}


def standardise_by_speaker(stacks: Stacks, speakers: Sequence[str]) -> LazyStacks:
    """Standardise every speaker's stacks by that speaker's own mean and deviation.

    The statistics are taken now; a stack is standardised whenever it is asked for, which costs less
    than the memory of a second corpus.
    """
    own = NormalisationSettings(standardise="speaker", n_components=0)
    return Normalisation(own, {}).standardised(stacks, speakers)


def _statistics(
    settings: NormalisationSettings,
    arrays: Mapping[str, np.ndarray],
    stacks: Stacks,
    speakers: Sequence[str],
) -> list[tuple[np.ndarray, np.ndarray] | None]:
    """Mean and deviation to standardise each stack by."""
    if settings.standardise == "none":
        return [None] * len(stacks)
    if settings.standardise == "train":
        return [(arrays["mean"], arrays["deviation"])] * len(stacks)
    own = _moments_by_speaker(stacks, speakers)
    return [own[speaker] for speaker in speakers]


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

    def transform(self, stacks: Stacks, speakers: Sequence[str]) -> list[np.ndarray]:
        """Normalise stacks; with ``speaker``, by statistics of just these stacks' speakers.

        Parameters
        ----------
        stacks : float32, each of shape (n_i, n_features)
        speakers : one name a stack; only looked at with ``speaker``

        Returns
        -------
        float32, each of shape (n_i, n_components or n_features)
        """
        return list(self.transformed(stacks, speakers))

    def transformed(self, stacks: Stacks, speakers: Sequence[str]) -> Iterator[np.ndarray]:
        """Normalise stacks as `transform` does, a block of them in memory at a time."""
        standardised = self.standardised(stacks, speakers)
        if not self.settings.n_components:
            yield from standardised
            return
        for block in _blocks(standardised.lengths):
            parts = [standardised[i] for i in block]
            projected = self._project(np.concatenate(parts))
            yield from np.split(projected, np.cumsum([len(part) for part in parts])[:-1])

    def standardised(self, stacks: Stacks, speakers: Sequence[str]) -> LazyStacks:
        """Standardise stacks, each whenever it is asked for, and leave the components out."""
        statistics = _statistics(self.settings, self.arrays, stacks, speakers)
        return LazyStacks(
            lengths_of(stacks), lambda number: _standardised(stacks[number], statistics[number])
        )

    def _project(self, segments: np.ndarray) -> np.ndarray:
        centred = segments - self.arrays["centre"]
        projected: np.ndarray = centred @ self.arrays["components"] / self.arrays["scale"]
        return projected


def _blocks(lengths: np.ndarray) -> list[range]:
    """Cut stacks, in their order, into blocks of about `BLOCK_ROWS` segments."""
    ends = np.cumsum(lengths)
    cuts = np.flatnonzero(np.diff(ends // BLOCK_ROWS)) + 1
    edges = sorted({0, *cuts.tolist(), len(lengths)})
    return [range(*pair) for pair in itertools.pairwise(edges)]


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
    stacks: Stacks,
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
    stacks: Stacks,
    speakers: Sequence[str],
    settings: NormalisationSettings,
    arrays: Mapping[str, np.ndarray],
    seed: int,
) -> dict[str, np.ndarray]:
    statistics = _statistics(settings, arrays, stacks, speakers)
    lengths = lengths_of(stacks)
    n_rows, n_features = int(lengths.sum()), stacks[0].shape[1]
    if settings.n_components > min(n_rows, n_features):
        raise NormalisationError(
            f"n_components is {settings.n_components}; expected at most "
            f"{min(n_rows, n_features)} with {n_rows} training segments of {n_features} features"
        )
    rng = np.random.default_rng([seed, 2])
    kept = np.zeros(n_rows, bool)
    kept[rng.permutation(n_rows)[: max(PCA_ROWS, settings.n_components)]] = True
    parts = np.split(kept, np.cumsum(lengths)[:-1])
    chosen = [
        _standardised(stacks[number][part], own)
        for number, (part, own) in enumerate(zip(parts, statistics, strict=True))
        if part.any()
    ]
    centre, components, variance = principal_components(
        np.concatenate(chosen), settings.n_components, rng
    )
    scale = np.sqrt(variance.mean(keepdims=True))
    if not scale > np.finfo(np.float32).tiny:  # training segments that are all alike
        scale = np.ones(1)
    return {"centre": centre, "components": components, "scale": scale.astype(np.float32)}
