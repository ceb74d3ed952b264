"""Stacks as they lie in stores, read whenever they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from features_cache.places import Place, Places
from features_cache.store import Store
from models.stacks import LazyStacks, Stacks, lengths_of
from stages.fusing import fused

WIDENED = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
"""Float32 of every float16: to look them up takes half as long as NumPy's conversion."""

_READING = Lock()
"""A store's open files belong to whoever reads; HDF5 reads one at a time anyway."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where some utterances' features are in one store.

    Attributes
    ----------
    places : of each utterance
    store : holding the snapshot that the places are of
    is_there : bool (n,), which of the utterances have features; None: all
    """

    places: Places
    store: Store
    is_there: NDArray[np.bool_] | None = None


def stored_stacks(sources: Sequence[Source], instead: Stacks | None = None) -> LazyStacks:
    """Give the utterances' stacks, of one source or of several side by side (`stages.fusing`).

    Parameters
    ----------
    sources : of the same utterances, by different recipes
    instead : stands in for an utterance that one of the sources lacks

    Returns
    -------
    float32, each of shape (n_segments, feature_dim)
    """
    is_there = np.ones(len(sources[0].places), bool)
    counts = [source.places.n_rows for source in sources]
    lengths = np.where(np.all([n > 0 for n in counts], axis=0), counts[0], 0)
    for source in sources:
        if source.is_there is not None:
            is_there &= source.is_there
    if instead is not None:
        lengths = np.where(is_there, lengths, lengths_of(instead))

    def make(number: int) -> NDArray[np.float32]:
        if instead is not None and not is_there[number]:
            return instead[number]
        with _READING:
            return _read([(source.store, source.places[number]) for source in sources])

    return LazyStacks(lengths, make)


def _read(parts: Sequence[tuple[Store, Place]]) -> NDArray[np.float32]:
    if len(parts) == 1:
        ((store, place),) = parts
        return widened(store.read(place))
    return fused([(widened(store.read(place)), *store.read_times(place)) for store, place in parts])


def widened(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Make float32 of float16 features; float32 ones stay as they are.

    Examples
    --------
    >>> widened(np.array([[0.1, -np.inf]], np.float16)).tolist()
    [[0.0999755859375, -inf]]
    """
    if features.dtype != np.float16:
        return features.astype(np.float32, copy=False)
    found: NDArray[np.float32] = np.take(WIDENED, features.view(np.uint16))
    return found
