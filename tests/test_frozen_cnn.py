import dataclasses
import importlib
import importlib.util
import itertools
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import librosa
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import backbone, frozen_graph
from models.frozen_cnn import FrozenCNN
from models.frozen_graph import WindowShape, band_rows, build_graph
from models.networks import NETWORKS, NetworkError, NetworkSettings
from models.weights import find_weights

ROOT = Path(__file__).parents[1]
SHARED_WEIGHTS = ROOT.parent / "shared" / "keras" / "models"

Float32 = npt.NDArray[np.float32]

TINY = NetworkSettings(
    network="mobilenet-0.25",
    weights="random:0",
    layers=("conv_pw_1_relu",),
    input_size=32,
    pooling="bands:7",
)
WINDOW = WindowShape(n_mels=24, n_frames=32)
IDENTITY = ((0.0, 255.0),) * 3
# Keras copies TensorFlow's variables in a way that NumPy 2 has deprecated, where it saves them.
keras_saves = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a promise made for tensorflow alone"
)


def _settings(**changes: object) -> NetworkSettings:
    values = {name: getattr(TINY, name) for name in TINY.__slots__}
    return NetworkSettings(**{**values, **changes})


def _ranged(ranges: tuple[tuple[float, float], ...]) -> NetworkSettings:
    return _settings(channel_ranges=ranges)


def _windows(n: int, window: WindowShape = WINDOW, seed: int = 0) -> Float32:
    generator = np.random.default_rng(seed)
    return generator.normal(-35.0, 18.0, (n, *window.array_shape)).astype(np.float32)


@pytest.fixture(scope="module")
def cnn() -> FrozenCNN:
    return FrozenCNN(TINY, WINDOW, None, batch_size=16)


# --- windows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [3, 5, 9, 15])
def test_deltas_are_librosas(width: int) -> None:
    static = _windows(1, WindowShape(n_mels=24, n_frames=40, delta_width=3))[0]
    n_frames = static.shape[1]
    window = WindowShape(n_mels=24, n_frames=n_frames, delta_width=width)
    padded = np.pad(static, ((0, 0), (width // 2, width // 2)), mode="edge")
    pictures = np.asarray(frozen_graph._pictures(padded[None], window, _ranged(IDENTITY)))[0]
    assert np.array_equal(pictures[..., 0], static)
    for order in (1, 2):
        expected = librosa.feature.delta(
            static.astype(np.float64), width=width, order=order, mode="nearest"
        )
        error = np.abs(pictures[..., order] - expected).max() / np.ptp(expected)
        assert error < 1e-6


def test_the_deltas_of_a_steady_sound_are_nothing() -> None:
    steady = np.full((1, *WINDOW.array_shape), -37.3, np.float32)
    pictures = np.asarray(frozen_graph._pictures(steady, WINDOW, _ranged(IDENTITY)))
    assert not pictures[..., 1:].any()


def test_channel_ranges_become_0_and_255_without_clipping() -> None:
    levels = np.array([-80.0, 10.0, 100.0], np.float32)
    windows = np.broadcast_to(levels[:, None, None], (3, *WINDOW.array_shape))
    pictures = np.asarray(frozen_graph._pictures(windows, WINDOW, TINY))
    np.testing.assert_allclose(pictures[:, 0, 0, 0], [0.0, 255.0, 510.0], rtol=1e-6)
    np.testing.assert_allclose(pictures[:, 0, 0, 1:], 127.5, rtol=1e-6)


def test_channels_show_what_their_names_say() -> None:
    windows = _windows(2)
    usual = np.asarray(frozen_graph._pictures(windows, WINDOW, _ranged(IDENTITY)))
    for name, place in (("static", 0), ("delta", 1), ("delta-delta", 2)):
        settings = dataclasses.replace(_ranged(IDENTITY), channels=(name,) * 3)
        pictures = np.asarray(frozen_graph._pictures(windows, WINDOW, settings))
        assert np.array_equal(pictures, np.repeat(usual[..., place : place + 1], 3, axis=-1))


@pytest.mark.parametrize("sizes", [(0, 64, 9), (64, 0, 9), (64, 64, 8), (64, 64, 1)])
def test_a_window_that_cannot_be_is_refused(sizes: tuple[int, int, int]) -> None:
    n_mels, n_frames, delta_width = sizes
    with pytest.raises(NetworkError, match="an odd number from 3"):
        WindowShape(n_mels=n_mels, n_frames=n_frames, delta_width=delta_width)


# --- pooling ---------------------------------------------------------------------------------


@given(n_rows=st.integers(1, 300), n_bands=st.integers(1, 512))
def test_bands_cover_all_rows_and_share_one_at_most(n_rows: int, n_bands: int) -> None:
    bands = band_rows(n_rows, n_bands)
    assert len(bands) == min(n_rows, n_bands)
    assert bands[0][0] == 0
    assert bands[-1][1] == n_rows
    assert all(first < end for first, end in bands)
    for (_, end), (first, _) in itertools.pairwise(bands):
        assert end - first in (0, 1)
    heights = [end - first for first, end in bands]
    assert max(heights) - min(heights) <= 2


@given(n_rows=st.integers(1, 12), n_bands=st.integers(1, 14), n_columns=st.integers(1, 5))
def test_bands_are_means_over_their_rows_and_over_time(
    n_rows: int, n_bands: int, n_columns: int
) -> None:
    maps = np.random.default_rng(n_rows).random((2, n_rows, n_columns, 3), np.float32)
    pooled = np.asarray(frozen_graph._pool(maps, f"bands:{n_bands}"))
    n = min(n_rows, n_bands)
    expected = [
        maps[:, int(np.floor(b * n_rows / n)) : int(np.ceil((b + 1) * n_rows / n))].mean((1, 2))
        for b in range(n)
    ]
    np.testing.assert_allclose(pooled, np.concatenate(expected, axis=1), rtol=1e-5)


def test_average_and_flatten_are_what_they_say() -> None:
    maps = np.random.default_rng(0).random((2, 4, 5, 3), np.float32)
    average = np.asarray(frozen_graph._pool(maps, "average"))
    np.testing.assert_allclose(average, maps.mean((1, 2)), rtol=1e-5)
    assert np.array_equal(np.asarray(frozen_graph._pool(maps, "flatten")), maps.reshape(2, -1))


@pytest.mark.parametrize(
    ("pooling", "feature_dim"), [("average", 16), ("bands:7", 7 * 16), ("flatten", 16 * 16 * 16)]
)
def test_feature_dim_is_told_and_kept(pooling: str, feature_dim: int) -> None:
    cnn = FrozenCNN(_settings(pooling=pooling), WINDOW, None, batch_size=8)
    assert cnn.feature_dim == feature_dim
    features = cnn(_windows(3))
    assert features.shape == (3, feature_dim)
    assert features.dtype == np.float32


def test_layers_come_in_the_order_of_the_settings() -> None:
    layers = ("conv_pw_1_relu", "conv_pw_3_relu")
    there = FrozenCNN(_settings(layers=layers), WINDOW, None, batch_size=8)(_windows(8))
    back = FrozenCNN(_settings(layers=layers[::-1]), WINDOW, None, batch_size=8)(_windows(8))
    n_first = 7 * 16
    np.testing.assert_allclose(there[:, :n_first], back[:, -n_first:], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(there[:, n_first:], back[:, :-n_first], rtol=1e-5, atol=1e-6)


# --- batches ---------------------------------------------------------------------------------


@on_tensorflow
@pytest.mark.parametrize("batch_size", [8, 13, 32])
def test_a_batchs_composition_never_changes_a_feature(cnn: FrozenCNN, batch_size: int) -> None:
    one = _windows(1, seed=9)
    expected = cnn(one).tobytes()
    other = FrozenCNN(TINY, WINDOW, None, batch_size=batch_size)
    for position in (0, batch_size // 2, batch_size - 1):
        batch = _windows(batch_size, seed=position)
        batch[position] = one[0]
        assert other(batch)[position].tobytes() == expected
        assert other(batch[: position + 1])[position].tobytes() == expected


def test_windows_are_never_changed(cnn: FrozenCNN) -> None:
    windows = _windows(16)
    before = windows.copy()
    cnn(windows)
    assert np.array_equal(windows, before)
    windows.setflags(write=False)
    cnn(windows)


def test_features_of_one_call_survive_the_next(cnn: FrozenCNN) -> None:
    first = cnn(_windows(16))
    kept = first.copy()
    cnn(_windows(16, seed=1))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    "windows",
    [
        np.zeros((17, 24, 40), np.float32),
        np.zeros((0, 24, 40), np.float32),
        np.zeros((1, 24, 32), np.float32),
        np.zeros((1, 24, 40), np.float64),
        np.zeros((24, 40), np.float32),
    ],
    ids=["too many", "none", "no context", "float64", "no batch"],
)
def test_windows_of_another_shape_are_refused(cnn: FrozenCNN, windows: Float32) -> None:
    with pytest.raises(ValueError, match="expected float32 with 1 to 16 windows of"):
        cnn(windows)


def test_a_batch_below_eight_is_refused() -> None:
    with pytest.raises(NetworkError, match="batch size is 7; expected 8 or more"):
        FrozenCNN(TINY, WINDOW, None, batch_size=7)


# --- weights ---------------------------------------------------------------------------------


def test_random_weights_are_decided_by_their_seed(cnn: FrozenCNN) -> None:
    again = FrozenCNN(TINY, WINDOW, None, batch_size=16)
    other = FrozenCNN(_settings(weights="random:1"), WINDOW, None, batch_size=16)
    windows = _windows(16)
    assert np.array_equal(cnn(windows), again(windows))
    assert not np.allclose(cnn(windows), other(windows))
    assert np.ptp(cnn(windows), axis=0).max() > 0.1


@keras_saves
def test_a_weights_file_gives_back_what_was_saved(cnn: FrozenCNN, tmp_path: Path) -> None:
    path = tmp_path / "mine.weights.h5"
    network = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    backbone.draw_weights(network, 0)
    network.save_weights(path)
    mine = FrozenCNN(_settings(weights="file:mine.weights.h5"), WINDOW, path, batch_size=16)
    assert np.array_equal(mine(_windows(5)), cnn(_windows(5)))


@keras_saves
def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    settings = _settings(weights="file:mine.weights.h5")
    text = tmp_path / "mine.weights.h5"
    text.write_text("no weights")
    with pytest.raises(NetworkError, match=r"does not hold weights of mobilenet-0\.25"):
        build_graph(settings, WINDOW, text)
    foreign = tmp_path / "foreign.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(foreign)
    with pytest.raises(NetworkError, match=r"does not hold weights of mobilenet-0\.25"):
        build_graph(settings, WINDOW, foreign)
    with pytest.raises(NetworkError, match="no file was given for the file:mine"):
        build_graph(settings, WINDOW, None)


def test_a_layer_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(NetworkError, match=r"no layer 'conv_pw_33_relu'.*did you mean conv_pw_3_"):
        build_graph(_settings(layers=("conv_pw_33_relu",)), WINDOW, None)


def test_a_layer_named_by_a_counter_is_refused() -> None:
    settings = _settings(network="mobilenet_v3_small", layers=("activation",))
    with pytest.raises(NetworkError, match="no layer 'activation' that could be tapped"):
        build_graph(settings, WINDOW, None)


@pytest.mark.skipif(not SHARED_WEIGHTS.is_dir(), reason="ImageNet weights are not here")
def test_imagenet_weights_load_without_a_word() -> None:
    settings = NetworkSettings()
    path = find_weights(settings, SHARED_WEIGHTS)
    window = WindowShape(n_mels=64, n_frames=64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cnn = FrozenCNN(settings, window, path, batch_size=8)
    features = cnn(_windows(8, window))
    assert cnn.feature_dim == 7 * 96 + 7 * 192 + 6 * 384  # the deepest layer has six rows only
    assert np.isfinite(features).all()
    assert 0.0 <= features.min() < 0.1 < features.mean() < features.max() <= 6.0


# --- Keras' configuration --------------------------------------------------------------------


def test_bfloat16_is_near_float32_and_stays_inside(cnn: FrozenCNN) -> None:
    before = keras.config.dtype_policy().name
    coarse = FrozenCNN(_settings(precision="bfloat16"), WINDOW, None, batch_size=16)
    assert keras.config.dtype_policy().name == before
    fine_features, coarse_features = cnn(_windows(16)), coarse(_windows(16))
    assert coarse_features.dtype == np.float32
    error = np.abs(fine_features - coarse_features).max() / np.ptp(fine_features)
    assert 1e-6 < error < 3e-2


def test_the_users_configuration_neither_matters_nor_changes(cnn: FrozenCNN) -> None:
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        other = FrozenCNN(TINY, WINDOW, None, batch_size=16)
        with pytest.raises(NetworkError):
            build_graph(_settings(layers=("nothing",)), WINDOW, None)
        seen = keras.config.image_data_format(), keras.config.floatx()
        assert seen == ("channels_first", "float64")
        assert keras.config.dtype_policy().name == "float64"
        features = other(_windows(16))
    finally:
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    assert np.array_equal(features, cnn(_windows(16)))


SCRIPT = """
import sys
import keras, numpy as np
from models.frozen_cnn import FrozenCNN
from models.frozen_graph import WindowShape
from models.networks import NetworkSettings
assert keras.backend.backend() == sys.argv[1]
settings = NetworkSettings(
    network="mobilenet-0.25", weights="random:0", input_size=48,
    layers=("conv_pw_3_relu", "conv_pw_5_relu"),
)
window = WindowShape(n_mels=24, n_frames=32)
windows = np.random.default_rng(0).normal(-35.0, 18.0, (11, *window.array_shape))
cnn = FrozenCNN(settings, window, None, batch_size=16)
np.save(sys.argv[2], cnn(windows.astype(np.float32)))
"""


def test_backends_agree(tmp_path: Path) -> None:
    backends = [name for name in ("tensorflow", "jax") if importlib.util.find_spec(name)]
    if len(backends) < 2:
        pytest.skip("needs tensorflow and jax")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, backend, str(tmp_path / f"{backend}.npy")],
            cwd=ROOT,
            env={**environment, "KERAS_BACKEND": backend},
        )
        for backend in backends
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    features = [np.load(tmp_path / f"{backend}.npy") for backend in backends]
    for part in (np.s_[:, : 7 * 32], np.s_[:, 7 * 32 :]):
        ours, theirs = features[0][part], features[1][part]
        assert np.abs(ours - theirs).max() / np.ptp(ours) < 1e-4


# --- all networks ----------------------------------------------------------------------------


QUICK = ("mobilenet-0.25", "mobilenet_v2-0.35", "mobilenet_v3_small")


@pytest.mark.parametrize(
    "name",
    [
        *QUICK,
        *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS if name not in QUICK),
    ],
)
def test_every_tap_of_the_table_gives_features(name: str) -> None:
    entry = NETWORKS[name]
    settings = _settings(network=name, layers=entry.taps, input_size=entry.smallest_size)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cnn = FrozenCNN(settings, WINDOW, None, batch_size=8)
    features = cnn(_windows(8))
    assert features.shape == (8, cnn.feature_dim)
    assert np.isfinite(features).all()


def _pictures_by_librosa(windows: Float32, settings: NetworkSettings) -> Float32:
    """Static, delta and delta-delta, each range mapped to 0 and 255, by another road than ours."""
    middle = np.s_[:, :, WINDOW.delta_width // 2 : -(WINDOW.delta_width // 2)]
    deltas = [librosa.feature.delta(windows, order=order, mode="nearest") for order in (1, 2)]
    mapped = [
        255 * (channel[middle] - low) / (high - low)
        for channel, (low, high) in zip((windows, *deltas), settings.channel_ranges, strict=True)
    ]
    return np.stack(mapped, axis=-1).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vgg16", "block1_pool"),  # blue first, ImageNet's mean taken off
        ("resnet50_v2", "conv2_block1_out"),  # from -1 to 1
        ("densenet121", "conv2_block1_concat"),  # ImageNet's mean and deviation
        ("efficientnet_b0", "block2a_expand_activation"),  # untouched: the network does it itself
    ],
)
def test_features_are_keras_own_from_preprocessing_to_bands(name: str, layer: str) -> None:
    settings = _settings(network=name, weights="random:3", layers=(layer,), pooling="bands:3")
    window = WindowShape(n_mels=32, n_frames=32)  # as large as the input: nothing is resized
    windows = _windows(8, window)
    keras_module = importlib.import_module(f"keras.applications.{settings.entry.module}")
    pictures = keras_module.preprocess_input(_pictures_by_librosa(windows, settings))
    network = getattr(keras_module, settings.entry.constructor)(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    backbone.draw_weights(network, 3)
    maps = np.asarray(keras.Model(network.inputs[0], network.get_layer(layer).output)(pictures))
    n = maps.shape[1]
    bands = [
        maps[:, math.floor(b * n / 3) : math.ceil((b + 1) * n / 3)].mean((1, 2)) for b in range(3)
    ]
    expected = np.concatenate(bands, axis=1)
    seen = FrozenCNN(settings, window, None, batch_size=8)(windows)
    assert np.abs(seen - expected).max() / np.abs(expected).max() < 1e-5


@keras_saves
@pytest.mark.slow
def test_efficientnets_extra_rescaling_is_kerass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = NETWORKS["efficientnet_b0"]
    path = tmp_path / "efficientnetb0_notop.weights.h5"
    pictures = np.random.default_rng(0).uniform(0.0, 255.0, (8, 64, 64, 3)).astype(np.float32)
    shape = (64, 64, 3)
    saved = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=shape)
    backbone.draw_weights(saved, 0)
    for layer in saved.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt_mean.assign([0.485, 0.456, 0.406])
            layer.adapt_variance.assign(np.square([0.229, 0.224, 0.225]))
    saved.save_weights(path)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(path))
    theirs = keras.applications.EfficientNetB0(include_top=False, input_shape=shape)
    settings = NetworkSettings(
        network="efficientnet_b0", layers=entry.taps[:2], input_size=64, pooling="flatten"
    )
    ours = backbone.cut_network(settings, path)
    expected = np.asarray(
        keras.Model(theirs.inputs[0], theirs.get_layer("block2b_add").output)(pictures)
    )
    seen = np.asarray(ours(pictures)[0])
    assert np.abs(seen - expected).max() / np.ptp(expected) < 1e-5
