"""The graph from windows of static log-Mel to feature vectors, in Keras.

Conventions
-----------
A *window* is float32 (n_mels, n_frames + delta_width - 1) in dB, row 0 the lowest frequency: one
segment with delta_width // 2 frames of context on either side, which only the deltas look at.
Pictures are channels-last whatever the user's Keras configuration says.

The graph is made of Keras layers and `keras.ops` alone, so that it runs on every Keras backend and
can be handed to OpenVINO. What comes before the network is arithmetic on float32 values one by one,
never a matrix product, which graphics cards may compute with ten bits of mantissa.
"""

import importlib
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.signal import savgol_coeffs

from models.backbone import cut_network
from models.networks import NetworkError, NetworkSettings, bands_of
from models.quiet_keras import keras, ops

Tensor = Any  # a Keras tensor while the graph is built; Keras ships no types


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
    pictures = build_picture_graph(settings, window, batch_size=batch_size)
    network = build_feature_graph(settings, weights_file, batch_size=batch_size)
    with _keras_configuration("float32"):
        features = network(pictures.output, training=False)
        return keras.Model(pictures.input, features, name="emostack_frozen_cnn")


def build_picture_graph(
    settings: NetworkSettings, window: WindowShape, *, batch_size: int | None = None
) -> keras.Model:
    """Build what comes before the network: windows to preprocessed pictures, always in float32.

    Returns
    -------
    graph : float32 (batch, n_mels, n_frames + delta_width - 1) to float32 (batch, input_size,
        input_size, 3)
    """
    size = settings.input_size
    with _keras_configuration("float32"):
        windows = keras.Input(window.array_shape, batch_size=batch_size, dtype="float32")
        pictures = _pictures(windows, window, settings)
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
        return keras.Model(windows, pictures, name="emostack_pictures")


def build_feature_graph(
    settings: NetworkSettings,
    weights_file: Path | None,
    *,
    batch_size: int | None = None,
    in_float32: bool = False,
) -> keras.Model:
    """Build the network, cut, in its recipe's precision, and what pools its maps, in float32.

    Parameters
    ----------
    settings, weights_file, batch_size : as in `build_graph`
    in_float32 : whatever the recipe's precision, for whoever makes the casts himself

    Returns
    -------
    graph : float32 (batch, input_size, input_size, 3) to float32 (batch, feature_dim)

    Raises
    ------
    NetworkError
        As in `build_graph`.
    """
    with _keras_configuration("float32"):
        size = settings.input_size
        pictures = keras.Input((size, size, 3), batch_size=batch_size, dtype="float32")
    with _keras_configuration("float32" if in_float32 else settings.precision):
        maps = cut_network(settings, weights_file)(pictures, training=False)
    with _keras_configuration("float32"):
        pooled = [_pool(ops.cast(tap, "float32"), settings.pooling) for tap in maps]
        features = pooled[0] if len(pooled) == 1 else ops.concatenate(pooled, axis=-1)
        return keras.Model(pictures, features, name="emostack_features")


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


def _pictures(windows: Tensor, window: WindowShape, settings: NetworkSettings) -> Tensor:
    """Windows -> float32 (batch, n_mels, n_frames, 3), the ranges mapped to 0 and 255."""
    middle = window.delta_width // 2
    shifted = [windows[:, :, k : k + window.n_frames] for k in range(window.delta_width)]
    kinds: dict[str, Callable[[list[Tensor]], Tensor]] = {
        "static": operator.itemgetter(middle),
        "delta": _delta,
        "delta-delta": _delta_delta,
    }
    return ops.stack(
        [
            (kinds[name](shifted) - low) * (255.0 / (high - low))
            for name, (low, high) in zip(settings.channels, settings.channel_ranges, strict=True)
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
