"""Whole utterances as single pictures through a frozen network: one vector a picture.

What toolkits for spectrogram pictures do (DeepSpectrum, Amiriparian et al. 2017): the whole utterance
is squeezed to the network's input, one layer is tapped, its map averaged over both axes. Here the
picture is grey: the log-Mel level in all three channels.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import numpy as np

from models.frozen_cnn import refuse_small_batches
from models.frozen_graph import build_feature_graph
from models.quiet_keras import ops

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.networks import NetworkSettings


class WholePictureCNN:
    """The network, loaded once and run on batches of one fixed size.

    Parameters
    ----------
    settings : which network, weights and layer; its ``channel_ranges[0]`` become 0 and 255
    weights_file : as `models.weights.weights_file` gives it; None for random weights
    batch_size : 8 or more

    Attributes
    ----------
    batch_size : most pictures one call takes

    Raises
    ------
    NetworkError
        A layer is not there, the weights do not fit, or `batch_size` is below 8.
    """

    def __init__(
        self, settings: NetworkSettings, weights_file: Path | None, *, batch_size: int = 16
    ) -> None:
        refuse_small_batches(batch_size)
        self.batch_size = batch_size
        self._settings = settings
        self._graph = build_feature_graph(settings, weights_file, batch_size=batch_size)

    def __call__(self, spectrograms: Sequence[np.ndarray]) -> np.ndarray:
        """Compute the vectors of up to `batch_size` utterances.

        Parameters
        ----------
        spectrograms : float32, each of shape (n_mels, n_frames_i), in dB, row 0 the lowest band

        Returns
        -------
        float32, shape (n, feature_dim)
        """
        size = self._settings.input_size
        batch = np.zeros((self.batch_size, size, size, 3), np.float32)
        for i, levels in enumerate(spectrograms):
            batch[i] = self._picture(levels)
        features = ops.convert_to_numpy(self._graph(batch, training=False))
        return np.asarray(features[: len(spectrograms)], np.float32)

    def _picture(self, levels: np.ndarray) -> np.ndarray:
        low, high = self._settings.channel_ranges[0]
        grey = ((levels - low) * (255.0 / (high - low))).astype(np.float32)
        size = self._settings.input_size
        resized = ops.image.resize(
            np.repeat(grey[:, :, np.newaxis], 3, axis=2),
            (size, size),
            interpolation="bilinear",
            antialias=True,  # a minute becomes a few hundred columns
            data_format="channels_last",
        )
        module = importlib.import_module(f"keras.applications.{self._settings.entry.module}")
        picture = module.preprocess_input(resized, data_format="channels_last")
        return np.asarray(ops.convert_to_numpy(picture), np.float32)
