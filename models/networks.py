"""The table of networks that may be frozen, and the settings that choose one.

Nothing here imports Keras: the table is text, so that a plan, a listing or ``--help`` can read it
in no time. `models.frozen_cnn` turns an entry into a network, `models.weights` finds its weights.

Names, sizes and hashes of the weights files are those of ``keras.applications`` (include_top
False). The licences are those stated in its documentation for the weights, not for the code.
"""

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from models.settings import later

PRECISIONS = ("float32", "bfloat16")
CHANNELS = ("static", "delta", "delta-delta")
MAX_BANDS = 512
_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
_IMAGENET_STD = (0.229, 0.224, 0.225)


class NetworkError(ValueError):
    """A network, a layer or a setting of one that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkEntry:
    """One network of ``keras.applications``.

    Attributes
    ----------
    constructor : name in ``keras.applications``
    module : name of its module there, which holds its own ``preprocess_input``
    alpha : width multiplier; None where the constructor has none
    default_size, smallest_size : pixels
    taps : names of layers worth tapping, shallow to deep
    weights_name : file name below ``KERAS_HOME/models``
    weights_hash : md5 or sha256 of that file as Keras has it; empty where Keras has none
    weights_licence : SPDX identifier
    std_rescaling : per channel; empty for most
        EfficientNet's constructor divides its normalised input once more by the square root of
        these when (and only when) it is asked for ``imagenet``.
    """

    constructor: str
    module: str
    alpha: float | None = None
    default_size: int = 224
    smallest_size: int = 32
    taps: tuple[str, ...]
    weights_name: str
    weights_hash: str = ""
    weights_licence: str = "Apache-2.0"
    std_rescaling: tuple[float, ...] = ()


def _mobilenets() -> Iterable[tuple[str, NetworkEntry]]:
    for alpha, text in ((0.25, "2_5"), (0.5, "5_0"), (0.75, "7_5"), (1.0, "1_0")):
        yield (
            f"mobilenet-{alpha}",
            NetworkEntry(
                constructor="MobileNet",
                module="mobilenet",
                alpha=alpha,
                taps=tuple(f"conv_pw_{block}_relu" for block in range(1, 14)),
                weights_name=f"mobilenet_{text}_224_tf_no_top.h5",
            ),
        )
    for alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4):
        yield (
            f"mobilenet_v2-{alpha}",
            NetworkEntry(
                constructor="MobileNetV2",
                module="mobilenet_v2",
                alpha=alpha,
                taps=(*(f"block_{block}_add" for block in (2, 5, 9, 12, 15)), "out_relu"),
                weights_name=(
                    f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224_no_top.h5"
                ),
            ),
        )
    for size, blocks, digest in (
        ("small", (2, 5, 7, 10), "d3e8ec802a04aa4fc771ee12a9a9b836"),
        ("large", (2, 5, 9, 11, 14), "07fb09a5933dd0c8eaafa16978110389"),
    ):
        yield (
            f"mobilenet_v3_{size}",
            NetworkEntry(
                constructor=f"MobileNetV3{size.capitalize()}",
                module="mobilenet_v3",
                alpha=1.0,
                taps=tuple(f"expanded_conv_{block}_add" for block in blocks),
                weights_name=f"weights_mobilenet_v3_{size}_224_1.0_float_no_top_v2.h5",
                weights_hash=digest,
            ),
        )


def _efficientnets() -> Iterable[tuple[str, NetworkEntry]]:
    for name, size, digest in (
        ("b0", 224, "50bc09e76180e00e4465e1a485ddc09d"),
        ("b1", 240, "74c4e6b3e1f6a1eea24c589628592432"),
        ("b2", 260, "111f8e2ac8aa800a7a99e3239f7bfb39"),
        ("b3", 300, "af6d107764bb5b1abb91932881670226"),
    ):
        yield (
            f"efficientnet_{name}",
            NetworkEntry(
                constructor=f"EfficientNet{name.upper()}",
                module="efficientnet",
                default_size=size,
                taps=tuple(f"block{b}_add" for b in ("2b", "3b", "4c", "5c", "6d")),
                weights_name=f"efficientnet{name}_notop.h5",
                weights_hash=digest,
                std_rescaling=_IMAGENET_STD,
            ),
        )
    for name, size, digest in (
        ("b0", 224, "893217f2bb855e2983157299931e43ff"),
        ("b1", 240, "0e80663031ca32d657f9caa404b6ec37"),
        ("b2", 260, "1dfe2e7a5d45b6632553a8961ea609eb"),
        ("b3", 300, "f6abf7b5849ac99a89b50dd3fd532856"),
        ("s", 384, "af0682fb74e8c54910f2d4393339c070"),
    ):
        yield (
            f"efficientnet_v2_{name}",
            NetworkEntry(
                constructor=f"EfficientNetV2{name.upper()}",
                module="efficientnet_v2",
                default_size=size,
                taps=tuple(f"block{b}_add" for b in ("2b", "3b", "4c", "5e", "6h")),
                weights_name=f"efficientnetv2-{name}_notop.h5",
                weights_hash=digest,
            ),
        )


def _vggs_and_densenets() -> Iterable[tuple[str, NetworkEntry]]:
    for name, digest in (
        ("121", "30ee3e1110167f948a6b9946edeeb738"),
        ("169", "b8c4d4c20dd625c148057b9ff1c1176b"),
        ("201", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    ):
        yield (
            f"densenet{name}",
            NetworkEntry(
                constructor=f"DenseNet{name}",
                module="densenet",
                taps=("pool2_relu", "pool3_relu", "pool4_relu", "relu"),
                weights_name=f"densenet{name}_weights_tf_dim_ordering_tf_kernels_notop.h5",
                weights_hash=digest,
                weights_licence="BSD-3-Clause",
            ),
        )
    for name, digest in (
        ("vgg16", "6d6bbae143d832006294945121d1f1fc"),
        ("vgg19", "253f8cb515780f3b799900260a226db6"),
    ):
        yield (
            name,
            NetworkEntry(
                constructor=name.upper(),
                module=name,
                taps=tuple(f"block{block}_pool" for block in range(2, 6)),
                weights_name=f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5",
                weights_hash=digest,
                weights_licence="CC-BY-4.0",
            ),
        )


_OTHERS = {
    "resnet50": NetworkEntry(
        constructor="ResNet50",
        module="resnet",
        taps=("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
        weights_name="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_hash="4d473c1dd8becc155b73f8504c6f6626",
        weights_licence="MIT",
    ),
    "resnet50_v2": NetworkEntry(
        constructor="ResNet50V2",
        module="resnet_v2",
        taps=("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "post_relu"),
        weights_name="resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_hash="fac2f116257151a9d068a22e544a4917",
        weights_licence="BSD-3-Clause",
    ),
    "xception": NetworkEntry(
        constructor="Xception",
        module="xception",
        default_size=299,
        smallest_size=71,
        taps=(
            *(f"block{block}_sepconv1_act" for block in (4, 5, 9, 13)),
            "block14_sepconv2_act",
        ),
        weights_name="xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_hash="b0042744bf5b25fce3cb969f33bebb97",
        weights_licence="MIT",
    ),
    "inception_v3": NetworkEntry(
        constructor="InceptionV3",
        module="inception_v3",
        default_size=299,
        smallest_size=75,
        taps=("mixed2", "mixed5", "mixed7", "mixed10"),
        weights_name="inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_hash="bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "nasnet_mobile": NetworkEntry(
        constructor="NASNetMobile",
        module="nasnet",
        taps=("normal_concat_3", "normal_concat_8", "normal_concat_12"),
        weights_name="nasnet_mobile_no_top.h5",
        weights_hash="1ed92395b5b598bdda52abe5c0dbfd63",
    ),
    "convnext_tiny": NetworkEntry(
        constructor="ConvNeXtTiny",
        module="convnext",
        taps=tuple(f"convnext_tiny_downsampling_block_{block}" for block in range(3)),
        weights_name="convnext_tiny_notop.h5",
        weights_hash="d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
        weights_licence="MIT",
    ),
}

NETWORKS: dict[str, NetworkEntry] = {
    **dict(_mobilenets()),
    **dict(_efficientnets()),
    **dict(_vggs_and_densenets()),
    **_OTHERS,
}


def network_entry(name: str) -> NetworkEntry:
    """Entry of a network.

    Raises
    ------
    NetworkError
        If there is none of that name; the message has the nearest one.

    Examples
    --------
    >>> network_entry("mobilenet-0.75").weights_name
    'mobilenet_7_5_224_tf_no_top.h5'
    """
    try:
        return NETWORKS[name]
    except KeyError:
        message = f"network is {name!r}; expected one of the table; {nearest(name, NETWORKS)}"
        raise NetworkError(message) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """Remedy for a misspelt name: the nearest known ones, or all of them if none is near."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(names)}"


def bands_of(pooling: str) -> int | None:
    """N of ``bands:N``; None for ``average`` and ``flatten``.

    Raises
    ------
    NetworkError
        If `pooling` is none of the three, or N is outside 1 to 512.

    Examples
    --------
    >>> bands_of("bands:7")
    7
    """
    if pooling in ("average", "flatten"):
        return None
    match = re.fullmatch(r"bands:([1-9][0-9]{0,2})", pooling)
    if match is None or int(match[1]) > MAX_BANDS:
        message = (
            f"pooling is {pooling!r}; expected 'average', 'flatten' or 'bands:N' "
            f"with N from 1 to {MAX_BANDS}"
        )
        raise NetworkError(message)
    return int(match[1])


def random_seed(weights: str) -> int | None:
    """SEED of ``random:SEED``; None for the other kinds of weights.

    Raises
    ------
    NetworkError
        If `weights` is none of ``imagenet``, ``file:NAME`` and ``random:SEED``.
    """
    if weights == "imagenet" or re.fullmatch(r"file:.+", weights):
        return None
    match = re.fullmatch(r"random:(0|[1-9][0-9]{0,9})", weights)
    if match is None:
        message = (
            f"weights is {weights!r}; expected 'imagenet', 'file:NAME' or 'random:SEED' "
            "with SEED a whole number of up to ten digits"
        )
        raise NetworkError(message)
    return int(match[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What decides a segment's feature vector once its log-Mel is there.

    Attributes
    ----------
    network : key of `NETWORKS`
    weights : ``imagenet``, ``file:NAME`` or ``random:SEED``
        NAME is looked for in ``KERAS_HOME/models`` unless it is an absolute path.
    weights_sha256 : 64 hexadecimal digits; empty until `models.weights.resolve` has filled it
    layers : names of the tapped layers; their pooled outputs are concatenated in this order
    input_size : pixels, height and width of the network's input
    pooling : ``average`` (over both axes), ``bands:N`` (mean over time in N frequency bands) or
        ``flatten`` (everything)
    precision : ``float32`` or ``bfloat16``; the features are float32 either way
    channel_ranges : three pairs, one a channel, in dB
        The two values that become 0 and 255, linearly and without clipping, before the network's
        own preprocessing.
    channels : what the three channels show, each ``static``, ``delta`` or ``delta-delta``

    Raises
    ------
    NetworkError
        If a value cannot be used.
    """

    network: str = "mobilenet-0.75"
    weights: str = "imagenet"
    weights_sha256: str = ""
    layers: tuple[str, ...] = ("conv_pw_3_relu", "conv_pw_5_relu", "conv_pw_7_relu")
    input_size: int = 96
    pooling: str = "bands:7"
    precision: str = "float32"
    channel_ranges: tuple[tuple[float, float], ...] = ((-80.0, 10.0), (-7.0, 7.0), (-4.0, 4.0))
    channels: tuple[str, ...] = later(CHANNELS)

    def __post_init__(self) -> None:
        entry = network_entry(self.network)
        random_seed(self.weights)
        bands_of(self.pooling)
        if self.weights_sha256 and not _HEX_SHA256.fullmatch(self.weights_sha256):
            message = f"weights_sha256 is {self.weights_sha256!r}; expected 64 hexadecimal digits"
            raise NetworkError(message)
        if self.precision not in PRECISIONS:
            message = f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}"
            raise NetworkError(message)
        _check_layers(self.layers)
        _check_input_size(self.input_size, self.network, entry)
        _check_channel_ranges(self.channel_ranges)
        _check_channels(self.channels)

    @property
    def entry(self) -> NetworkEntry:
        """The network's row of the table."""
        return NETWORKS[self.network]


def _check_layers(layers: tuple[str, ...]) -> None:
    if not layers or len(set(layers)) != len(layers):
        message = f"layers is {list(layers)}; expected one or more names, each once"
        raise NetworkError(message)


def _check_input_size(input_size: int, network: str, entry: NetworkEntry) -> None:
    if not entry.smallest_size <= input_size <= 1024:
        message = (
            f"input_size is {input_size}; {network} takes {entry.smallest_size} to 1024 pixels"
        )
        raise NetworkError(message)


def _check_channels(channels: tuple[str, ...]) -> None:
    if len(channels) != 3 or not set(channels) <= set(CHANNELS):
        message = f"channels is {list(channels)}; expected three, each one of {', '.join(CHANNELS)}"
        raise NetworkError(message)


def _check_channel_ranges(ranges: tuple[tuple[float, float], ...]) -> None:
    pairs = [tuple(pair) for pair in ranges if len(tuple(pair)) == 2]
    rising = [low < high and math.isfinite(high - low) for low, high in pairs]
    if len(ranges) != 3 or rising != [True, True, True]:
        message = (
            f"channel_ranges is {ranges}; expected three pairs (low, high) in dB with low < high, "
            "for static, delta and delta-delta"
        )
        raise NetworkError(message)
