"""A frozen network: one of the table, cut behind the deepest tapped layer, with its weights.

Weights are never asked of the network's constructor, which would download what is missing, and
fall back on a folder that everybody can write to: only a file that has been found and checked is
read. Call within the number and picture formats wanted (`models.frozen_cnn` sets them).
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.networks import NetworkError, NetworkSettings, nearest, random_seed
from models.quiet_keras import keras

Float32 = npt.NDArray[np.float32]
Tensor = Any  # Keras ships no types
Variable = Any


def cut_network(settings: NetworkSettings, weights_file: Path | None) -> keras.Model:
    """Build the network with its weights, up to the deepest tapped layer.

    Parameters
    ----------
    settings : which network, weights and layers
    weights_file : as `models.weights.weights_file` gives it; None for random weights

    Returns
    -------
    network : pictures (batch, input_size, input_size, 3), preprocessed, to one map
        (batch, rows, columns, channels) a tapped layer, in the order of the settings

    Raises
    ------
    NetworkError
        If a layer is not there or gives no map, or the weights do not fit the network.
    """
    entry = settings.entry
    network = getattr(keras.applications, entry.constructor)(
        include_top=False,
        weights=None,
        input_shape=(settings.input_size, settings.input_size, 3),
        **({} if entry.alpha is None else {"alpha": entry.alpha}),
    )
    taps = [_tap(network, settings.network, name) for name in settings.layers]
    seed = random_seed(settings.weights)
    if seed is not None:
        draw_weights(network, seed)
    elif weights_file is None:
        message = f"no file was given for the {settings.weights} weights of {settings.network}"
        raise NetworkError(message)
    else:
        _load_weights(network, settings, weights_file)
    return keras.Model(network.inputs[0], taps, name=network.name)


def _tap(network: keras.Model, network_name: str, layer_name: str) -> Tensor:
    named = {layer.name: layer for layer in network.layers if not _is_counted(layer)}
    if layer_name not in named:
        message = (
            f"{network_name} has no layer {layer_name!r} that could be tapped; "
            f"{nearest(layer_name, named)}"
        )
        raise NetworkError(message)
    output = named[layer_name].output
    if len(getattr(output, "shape", ())) != 4:
        message = f"layer {layer_name!r} of {network_name} does not give one map; choose another"
        raise NetworkError(message)
    return output


def _is_counted(layer: keras.Layer) -> bool:
    """Whether Keras made the name up: ``add_17`` is another layer in the next process."""
    stem = layer.name.rstrip("0123456789").rstrip("_") if "_" in layer.name else layer.name
    kind = type(layer).__name__.lower()
    return kind in (layer.name.replace("_", ""), stem.replace("_", ""))


def _load_weights(network: keras.Model, settings: NetworkSettings, path: Path) -> None:
    try:
        # Keras only warns of layers that a file has nothing for; they would keep chance weights.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            network.load_weights(path)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        message = (
            f"{path} does not hold weights of {settings.network} (include_top=False): "
            f"{str(error).splitlines()[0]}"
        )
        raise NetworkError(message) from error
    if settings.weights == "imagenet" and settings.entry.std_rescaling:
        _rescale_input(network, settings.entry.std_rescaling)


def _rescale_input(network: keras.Model, std: tuple[float, ...]) -> None:
    """Divide the normalised input by the square root of `std`.

    The constructor has one more layer for this when it is asked for "imagenet"; here the
    normalisation's own variance takes it in.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt_variance.assign(layer.adapt_variance * np.asarray(std, np.float32))
            layer.finalize_state()


def draw_weights(network: keras.Model, seed: int) -> None:
    """He-normal kernels by fan-in (He et al., 2015), normalisations that do nothing, no biases.

    One NumPy generator draws in layer order, so that every backend gets the same numbers.
    """
    generator = np.random.default_rng(seed)
    for layer in _leaves(network):
        for variable in layer.weights:
            variable.assign(_draw(generator, variable, is_depthwise=_is_depthwise(layer, variable)))
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _leaves(layer: keras.Layer) -> Iterator[keras.Layer]:
    nested = getattr(layer, "layers", None)
    if nested is None:
        yield layer
    else:
        for inner in nested:
            yield from _leaves(inner)


def _is_depthwise(layer: keras.Layer, variable: Variable) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D) or variable.name == "depthwise_kernel"


def _draw(generator: np.random.Generator, variable: Variable, *, is_depthwise: bool) -> Float32:
    shape = tuple(variable.shape)
    if variable.name.endswith("kernel"):
        fan_in = np.prod(shape[:2] if is_depthwise else shape[:-1])
        kernel: Float32 = generator.standard_normal(shape).astype(np.float32)
        return kernel * np.float32(np.sqrt(2.0 / fan_in))
    is_scale = variable.name in ("gamma", "variance", "moving_variance")
    return np.full(shape, float(is_scale), np.float32)
