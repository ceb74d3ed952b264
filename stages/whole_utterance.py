"""A baseline's vectors: each utterance as one picture, the last layer, a global average."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from models.settings import to_mapping
from models.weights import weights_file
from models.whole_picture import WholePictureCNN
from stages.frontend.audio import AudioError
from stages.frontend.logmel import logmel_blocks
from stages.recordings import check_unchanged, unusable
from stages.vector_cache import VectorMaker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from models.networks import NetworkSettings
    from stages.recipe import Recipe
    from stages.utterance import Utterance

NAME = "whole-utterance"
REVISION = 1
"""Raised by hand when code changes what the same settings give."""


def picture_settings(recipe: Recipe) -> NetworkSettings:
    """Return the recipe's network at its own size, its deepest tap averaged over both axes."""
    entry = recipe.network.entry
    return replace(
        recipe.network,
        layers=(entry.taps[-1],),
        input_size=entry.default_size,
        pooling="average",
        precision="float32",
    )


def whole_utterance_maker(recipe: Recipe) -> VectorMaker:
    """Say how these vectors are made."""
    return VectorMaker(
        name=NAME,
        identity={
            "network": to_mapping(picture_settings(recipe)),
            "frontend": to_mapping(recipe.frontend),
            "revision": REVISION,
        },
        make=partial(whole_utterance_vectors, recipe=recipe),
        has_own_units=False,
    )


def whole_utterance_vectors(
    recordings: Sequence[Utterance], recipe: Recipe
) -> Iterator[np.ndarray]:
    """Compute the vectors of recordings, in their order.

    Yields
    ------
    float32, shape (n_channels of the layer,)

    Raises
    ------
    RecordingError
        Audio that cannot be used.
    models.weights.WeightsError
        The recipe's weights are not here.
    """
    settings = picture_settings(recipe)
    network = WholePictureCNN(settings, weights_file(settings, download=False))
    spectrograms = (_logmel(each, recipe) for each in recordings)
    while batch := list(islice(spectrograms, network.batch_size)):
        yield from network(batch)


def _logmel(recording: Utterance, recipe: Recipe) -> np.ndarray:
    check_unchanged(recording)
    blocks = logmel_blocks(
        recording.path, start=recording.start, end=recording.end, settings=recipe.frontend
    )
    try:
        return np.concatenate(list(blocks), axis=1)
    except AudioError as error:
        raise unusable(recording, error) from error
