"""The frozen CNN: from windows of static log-Mel to feature vectors, as one Keras graph.

Conventions
-----------
A *window* is float32 (n_mels, n_frames + delta_width - 1) in dB, row 0 the lowest frequency: one
segment with delta_width // 2 frames of context on either side, which only the deltas look at.
Pictures are channels-last whatever the user's Keras configuration says.

The graph is made of Keras layers and `keras.ops` alone, so that it runs on every Keras backend.
What comes before the network is arithmetic on float32 values one by one, never a matrix product,
which graphics cards may compute with ten bits of mantissa.
"""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import savgol_coeffs

from models.backbone import cut_network
from models.networks import NetworkError, NetworkSettings, bands_of
from models.quiet_keras import keras, ops

Float32 = npt.NDArray[np.float32]
Tensor = Any  # a Keras tensor while the graph is built; Keras ships no types

# A batch of one takes another path through TensorFlow's convolutions, with other last bits.
MIN_BATCH_SIZE = 8

_log = logging.getLogger("emostack." + __name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowShape:
    """Shape of one window: (n_mels, n_frames + delta_width - 1).

    Attributes
    ----------
    n_mels : rows
    n_frames : frames of the segment, without context
    delta_width : frames that one delta looks at, odd, 3 or more

    Raises
    ------
    NetworkError
        If a value cannot be used.
    """

    n_mels: int
    n_frames: int
    delta_width: int = 9

    def __post_init__(self) -> None:
        if self.n_mels < 1 or self.n_frames < 1 or self.delta_width < 3 or not self.delta_width % 2:
            message = (
                f"window has {self.n_mels} bands, {self.n_frames} frames and a delta width of "
                f"{self.delta_width}; expected 1 or more, 1 or more, and an odd number from 3"
            )
            raise NetworkError(message)

    @property
    def array_shape(self) -> tuple[int, int]:
        """Shape of the array of one window, context included."""
        return self.n_mels, self.n_frames + self.delta_width - 1


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
        if batch_size < MIN_BATCH_SIZE:
            message = (
                f"batch size is {batch_size}; expected {MIN_BATCH_SIZE} or more: in smaller "
                "batches a feature's last bits change"
            )
            raise NetworkError(message)
        self._graph = build_graph(settings, window, weights_file, batch_size=batch_size)
        # Left to itself Keras asks TensorFlow for XLA, whose convolutions on CPUs are ten times
        # slower than the plain graph's; JAX, in turn, compiles by XLA or not at all.
        self._graph.jit_compile = keras.backend.backend() == "jax"
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
        n = len(windows)
        sound = windows.shape[1:] == self._shape and windows.dtype == np.float32
        if not sound or not 1 <= n <= self.batch_size:
            message = (
                f"windows are {windows.dtype} {windows.shape}; expected float32 with 1 to "
                f"{self.batch_size} windows of {self._shape}"
            )
            raise ValueError(message)
        batch = np.zeros((self.batch_size, *self._shape), np.float32)
        batch[:n] = windows
        features = np.asarray(self._graph.predict_on_batch(batch), np.float32)
        return features if n == self.batch_size else features[:n].copy()


def build_graph(
    settings: NetworkSettings,
    window: WindowShape,
    weights_file: Path | None,
    *,
    batch_size: int | None = None,
) -> keras.Model:
    """Build the graph from windows to features.

    Static log-Mel -> deltas -> channel ranges -> bilinear resizing to the input size, unless the
    segment has it already -> the network's own preprocessing -> the network, cut behind the
    deepest tapped layer -> each tapped layer pooled -> concatenated in the order of the settings.

    Parameters
    ----------
    settings : which network, weights, layers and pooling
    window : shape of the windows that will come
    weights_file : as `models.weights.weights_file` gives it; None for random weights
    batch_size : windows in a batch; None leaves it open

    Returns
    -------
    graph : float32 (batch, n_mels, n_frames + delta_width - 1) to float32 (batch, feature_dim)

    Raises
    ------
    NetworkError
        If a layer is not there or cannot be pooled, or the weights do not fit the network.
    """
    size = settings.input_size
    with _keras_configuration("float32"):
        windows = keras.Input(window.array_shape, batch_size=batch_size, dtype="float32")
        pictures = _pictures(windows, window, settings.channel_ranges)
        if (window.n_mels, window.n_frames) != (size, size):
            pictures = ops.image.resize(
                pictures,
                (size, size),
                interpolation="bilinear",
                antialias=False,
                data_format="channels_last",
            )
        module = importlib.import_module(f"keras.applications.{settings.entry.module}")
        pictures = module.preprocess_input(pictures, data_format="channels_last")
    with _keras_configuration(settings.precision):
        maps = cut_network(settings, weights_file)(pictures, training=False)
    with _keras_configuration("float32"):
        pooled = [_pool(ops.cast(tap, "float32"), settings.pooling) for tap in maps]
        features = pooled[0] if len(pooled) == 1 else ops.concatenate(pooled, axis=-1)
        return keras.Model(windows, features, name="emostack_frozen_cnn")


def band_rows(n_rows: int, n_bands: int) -> list[tuple[int, int]]:
    """First row and row behind the last of each frequency band of a layer.

    Band b of N holds rows floor(b H / N) to ceil((b + 1) H / N) of H: neighbours share a row where
    H is no multiple of N, so that all are about alike in height. A layer with fewer rows than
    `n_bands` yields one band a row.

    Examples
    --------
    >>> band_rows(12, 7)
    [(0, 2), (1, 4), (3, 6), (5, 7), (6, 9), (8, 11), (10, 12)]
    """
    n_bands = min(n_bands, n_rows)
    return [(b * n_rows // n_bands, -(-(b + 1) * n_rows // n_bands)) for b in range(n_bands)]


@contextmanager
def _keras_configuration(precision: str) -> Iterator[None]:
    """Build under our own number and picture formats, whatever the user's keras.json says."""
    policy = keras.config.dtype_policy()
    floatx = keras.config.floatx()
    data_format = keras.config.image_data_format()
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(data_format)
        keras.config.set_floatx(floatx)


def _pictures(
    windows: Tensor, window: WindowShape, channel_ranges: tuple[tuple[float, float], ...]
) -> Tensor:
    """Windows -> float32 (batch, n_mels, n_frames, 3), the ranges mapped to 0 and 255."""
    middle = window.delta_width // 2
    shifted = [windows[:, :, k : k + window.n_frames] for k in range(window.delta_width)]
    channels = [shifted[middle], _delta(shifted), _delta_delta(shifted)]
    return ops.stack(
        [
            (channel - low) * (255.0 / (high - low))
            for channel, (low, high) in zip(channels, channel_ranges, strict=True)
        ],
        axis=-1,
    )


# librosa.feature.delta(order=n, mode="nearest") fits a polynomial of degree n to each frame's
# neighbourhood and takes its n-th derivative (Savitzky and Golay, 1964). The weights of the first
# are odd and those of the second even with a sum of zero, so both can be written with differences,
# in which a constant level cancels exactly instead of leaving its rounding errors behind.
def _delta(shifted: list[Tensor]) -> Tensor:
    weights = savgol_coeffs(len(shifted), 1, deriv=1, use="dot")
    middle = len(shifted) // 2
    return sum(
        (shifted[middle + k] - shifted[middle - k]) * float(weights[middle + k])
        for k in range(1, middle + 1)
    )


def _delta_delta(shifted: list[Tensor]) -> Tensor:
    weights = savgol_coeffs(len(shifted), 2, deriv=2, use="dot")
    middle = len(shifted) // 2
    now = shifted[middle]
    return sum(
        ((shifted[middle + k] - now) + (shifted[middle - k] - now)) * float(weights[middle + k])
        for k in range(1, middle + 1)
    )


def _pool(maps: Tensor, pooling: str) -> Tensor:
    """Pool maps (batch, rows, columns, channels) to (batch, features), band by band."""
    n_rows, n_columns, n_channels = maps.shape[1:]
    if pooling == "average":
        return ops.mean(maps, axis=(1, 2))
    if pooling == "flatten":
        return ops.reshape(maps, (-1, n_rows * n_columns * n_channels))
    n_bands = bands_of(pooling)
    assert n_bands is not None  # the settings have been checked
    rows = ops.mean(maps, axis=2)
    bands = [ops.mean(rows[:, first:end], axis=1) for first, end in band_rows(n_rows, n_bands)]
    return bands[0] if len(bands) == 1 else ops.concatenate(bands, axis=-1)
