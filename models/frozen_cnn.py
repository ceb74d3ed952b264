"""The frozen CNN as Keras runs it: windows to features, in batches of one fixed size."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.frozen_graph import WindowShape, build_graph
from models.networks import NetworkError, NetworkSettings
from models.quiet_keras import keras, ops

Float32 = npt.NDArray[np.float32]
Tensor = Any  # the backend's own

# A batch of one takes another path through TensorFlow's convolutions, with other last bits.
MIN_BATCH_SIZE = 8

_log = logging.getLogger("emostack." + __name__)


class FrozenCNN:
    """The graph, loaded once and run on batches of one fixed size.

    One program is compiled for the one shape ``(batch_size, n_mels, n_frames + delta_width - 1)``;
    smaller batches are padded. On one machine and backend a window's feature is the same to the
    last bit wherever in a batch it stands and whatever stands beside it.

    Parameters
    ----------
    settings : which network, weights, layers and pooling
    window : shape of the windows that will come
    weights_file : as `models.weights.weights_file` gives it; None for random weights
    batch_size : 8 or more

    Attributes
    ----------
    name : what runs it, such as ``keras-tensorflow``
    feature_dim : length of a feature vector
    batch_size : most windows one call takes

    Raises
    ------
    NetworkError
        If `batch_size` is below 8, a layer is not there, or the weights do not fit.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        window: WindowShape,
        weights_file: Path | None,
        *,
        batch_size: int = 32,
    ) -> None:
        refuse_small_batches(batch_size)
        self.name = f"keras-{keras.backend.backend()}"
        self._graph = build_graph(settings, window, weights_file, batch_size=batch_size)
        self._program = _program(self._graph)
        self._shape = window.array_shape
        self.batch_size = batch_size
        self.feature_dim = int(self._graph.output_shape[-1])
        _log.debug("%s gives %d values a segment", settings.network, self.feature_dim)

    def __call__(self, windows: Float32) -> Float32:
        """Compute the features of up to `batch_size` windows.

        Parameters
        ----------
        windows : float32, shape (n, n_mels, n_frames + delta_width - 1), in dB
            Never changed.

        Returns
        -------
        features : float32, shape (n, feature_dim)

        Raises
        ------
        ValueError
            If the shape or type of `windows` is another.
        """
        return self.start(windows)()

    def start(self, windows: Float32) -> Callable[[], Float32]:
        """Begin with a batch: a GPU goes on with it while the next one is being made.

        Parameters
        ----------
        windows : as above

        Returns
        -------
        callable
            Waits for the features, copies them to the host, and gives them.

        Raises
        ------
        ValueError
            If the shape or type of `windows` is another.
        """
        batch = padded(windows, (self.batch_size, *self._shape))
        return partial(_read_back, self._program(batch), len(windows))


def _program(graph: keras.Model) -> Callable[[Float32], Tensor]:
    """Compile a graph to what begins a batch; on TensorFlow and torch it returns before the end."""
    # Left to itself Keras asks TensorFlow for XLA, whose convolutions on CPUs are ten times
    # slower than the plain graph's; JAX, in turn, compiles by XLA or not at all.
    graph.jit_compile = keras.backend.backend() == "jax"
    if graph.jit_compile:  # Keras' step for JAX takes the weights' place until it has ended
        return lambda batch: graph.predict_on_batch(batch)
    graph.make_predict_function()
    return lambda batch: graph.predict_function([(batch,)])


def _read_back(result: Tensor, n: int) -> Float32:
    features = np.asarray(ops.convert_to_numpy(result), np.float32)
    return features if n == len(features) else features[:n].copy()


def refuse_small_batches(batch_size: int) -> None:
    """Refuse batches in which a feature would depend on their size.

    Raises
    ------
    NetworkError
        If `batch_size` is below 8.
    """
    if batch_size < MIN_BATCH_SIZE:
        message = (
            f"batch size is {batch_size}; expected {MIN_BATCH_SIZE} or more: in smaller "
            "batches a feature's last bits change"
        )
        raise NetworkError(message)


def padded(windows: Float32, batch_shape: tuple[int, ...]) -> Float32:
    """Copy windows to the front of a batch of zeros.

    Parameters
    ----------
    windows : float32, shape (n, n_mels, n_frames + delta_width - 1)
    batch_shape : (batch_size, n_mels, n_frames + delta_width - 1)

    Raises
    ------
    ValueError
        If the shape or type of `windows` is another, or they are too many.
    """
    refuse_unfit(windows, batch_shape)
    batch = np.zeros(batch_shape, np.float32)
    batch[: len(windows)] = windows
    return batch


def refuse_unfit(windows: Float32, batch_shape: tuple[int, ...]) -> None:
    """Refuse windows that are no batch.

    Raises
    ------
    ValueError
        If the shape or type of `windows` is another, or they are too many.
    """
    n = len(windows)
    sound = windows.shape[1:] == batch_shape[1:] and windows.dtype == np.float32
    if not sound or not 1 <= n <= batch_shape[0]:
        message = (
            f"windows are {windows.dtype} {windows.shape}; expected float32 with 1 to "
            f"{batch_shape[0]} windows of {batch_shape[1:]}"
        )
        raise ValueError(message)
