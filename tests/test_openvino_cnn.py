"""OpenVINO runs the same graph: like Keras within a tolerance, like itself to the last bit."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("openvino")

from models.engines import EngineError
from models.frozen_cnn import FrozenCNN
from models.frozen_graph import WindowShape
from models.networks import NETWORKS, NetworkError, NetworkSettings
from models.openvino_cnn import OpenvinoCNN, pinned_threads
from models.weights import find_weights

ROOT = Path(__file__).parents[1]
SHARED_WEIGHTS = ROOT.parent / "shared" / "keras" / "models"

Float32 = npt.NDArray[np.float32]

TOLERANCE = {"float32": 2e-5, "bfloat16": 8e-2}
"""Largest difference between the engines, in parts of the range of an output: docs/performance.md."""

WINDOW = WindowShape(n_mels=24, n_frames=32)
TINY = NetworkSettings(
    network="mobilenet-0.25",
    weights="random:0",
    layers=("conv_pw_1_relu", "conv_pw_3_relu"),
    input_size=32,
)

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="OpenVINO gets the graph by way of TensorFlow"
)


def _windows(n: int, window: WindowShape = WINDOW, seed: int = 0) -> Float32:
    """Make levels that wander as those of a sound do, so that deltas are small beside them."""
    steps = np.random.default_rng(seed).normal(0.0, 3.0, (n, *window.array_shape))
    return np.clip(np.cumsum(steps, axis=-1) - 40.0, -80.0, 10.0).astype(np.float32)


def _differences(settings: NetworkSettings, weights_file: Path | None = None) -> list[float]:
    """Differences between the engines, layer by layer, in parts of the layer's range."""
    window = WindowShape(n_mels=64, n_frames=64)
    windows = _windows(8, window)
    mine = OpenvinoCNN(settings, window, weights_file, batch_size=8)(windows)
    theirs = FrozenCNN(settings, window, weights_file, batch_size=8)(windows)
    assert mine.shape == theirs.shape
    assert mine.dtype == np.float32
    ends = np.cumsum([_dim_of(settings, layer) for layer in settings.layers])
    assert ends[-1] == mine.shape[1]
    return [
        float(np.abs(a - b).max() / np.ptp(b))
        for a, b in zip(
            np.split(mine, ends[:-1], axis=1), np.split(theirs, ends[:-1], axis=1), strict=True
        )
    ]


def _dim_of(settings: NetworkSettings, layer: str) -> int:
    """Length of what one layer adds to a feature vector pooled by average or in bands."""
    entry = settings.entry
    network = getattr(keras.applications, entry.constructor)(
        include_top=False,
        weights=None,
        input_shape=(settings.input_size, settings.input_size, 3),
        **({} if entry.alpha is None else {"alpha": entry.alpha}),
    )
    _, rows, _, channels = network.get_layer(layer).output.shape
    return int(channels * (1 if settings.pooling == "average" else min(7, rows)))


@pytest.fixture(scope="module")
def cnn() -> OpenvinoCNN:
    return OpenvinoCNN(TINY, WINDOW, None, batch_size=16)


# --- like Keras ------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("network", ["mobilenet-0.25", "mobilenet_v3_small"])
def test_the_engines_agree_output_by_output(network: str, precision: str) -> None:
    layers = NETWORKS[network].taps[2::-1]  # the deepest first: the order is the settings'
    settings = NetworkSettings(
        network=network, weights="random:0", layers=layers, input_size=32, precision=precision
    )
    assert max(_differences(settings)) < TOLERANCE[precision]


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        "mobilenet_v2-0.35",
        "efficientnet_b0",
        "efficientnet_v2_b0",
        "densenet121",
        "vgg16",
        "resnet50",
        "resnet50_v2",
        "xception",
        "inception_v3",
        "convnext_tiny",
    ],
)
def test_the_engines_agree_on_networks_of_the_table(network: str) -> None:
    entry = NETWORKS[network]
    settings = NetworkSettings(
        network=network,
        weights="random:0",
        layers=entry.taps[:3],
        input_size=max(64, entry.smallest_size),
        pooling="average",
    )
    assert max(_differences(settings)) < TOLERANCE["float32"]


@pytest.mark.skipif(not SHARED_WEIGHTS.is_dir(), reason="ImageNet weights are not here")
@pytest.mark.parametrize("precision", TOLERANCE)
def test_the_engines_agree_on_the_default_recipe(precision: str) -> None:
    settings = NetworkSettings(precision=precision)
    found = _differences(settings, find_weights(settings, SHARED_WEIGHTS))
    assert max(found) < TOLERANCE[precision]


def test_bfloat16_is_what_the_recipe_says_and_never_what_the_cpu_likes(cnn: OpenvinoCNN) -> None:
    kinds = [
        step.get_compiled_model().get_property("INFERENCE_PRECISION_HINT") for step in cnn._steps
    ]
    assert [kind.to_string() for kind in kinds] == ["f32"]
    coarse = OpenvinoCNN(NetworkSettings(**_changed(precision="bfloat16")), WINDOW, None)
    kinds = [
        step.get_compiled_model().get_property("INFERENCE_PRECISION_HINT") for step in coarse._steps
    ]
    assert [kind.to_string() for kind in kinds] == ["f32", "bf16"]


def _changed(**changes: object) -> dict[str, object]:
    return {**{name: getattr(TINY, name) for name in TINY.__slots__}, **changes}


# --- like itself -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [8, 13, 32, 64])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_batchs_composition_never_changes_a_feature(
    cnn: OpenvinoCNN, batch_size: int, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _windows(1, seed=9)
    expected = cnn(one).tobytes()
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    other = OpenvinoCNN(TINY, WINDOW, None, batch_size=batch_size)
    for position in (0, batch_size // 2, batch_size - 1):
        batch = _windows(batch_size, seed=position)
        batch[position] = one[0]
        assert other(batch)[position].tobytes() == expected
        assert other(batch[: position + 1])[position].tobytes() == expected


@pytest.mark.slow
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("input_size", [64, 96])
def test_nor_does_it_with_the_default_recipes_layers(input_size: int, precision: str) -> None:
    window = WindowShape(n_mels=64, n_frames=64)
    settings = NetworkSettings(weights="random:0", input_size=input_size, precision=precision)
    one = _windows(1, window, seed=9)
    seen = set()
    for batch_size in (8, 31, 64):
        cnn = OpenvinoCNN(settings, window, None, batch_size=batch_size)
        for position in (0, batch_size // 2, batch_size - 1):
            batch = _windows(batch_size, window, seed=position)
            batch[position] = one[0]
            seen.add(cnn(batch)[position].tobytes())
    assert len(seen) == 1


def test_a_batch_of_large_pictures_is_computed_in_parts(
    cnn: OpenvinoCNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.openvino_cnn.PIXELS_A_CALL", 8 * 32**2)
    parts = OpenvinoCNN(TINY, WINDOW, None, batch_size=16)
    windows = _windows(13)
    assert np.array_equal(parts(windows), cnn(windows))
    with pytest.raises(ValueError, match="1 to 16 windows"):
        parts(_windows(17))


def test_features_of_one_call_survive_the_next(cnn: OpenvinoCNN) -> None:
    windows = _windows(16)
    before = windows.copy()
    first = cnn(windows)
    kept = first.copy()
    cnn(_windows(16, seed=1))
    assert np.array_equal(first, kept)
    assert np.array_equal(windows, before)


# --- how it is run ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("set_to", "expected"),
    [
        ({"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "2"}, 1),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "0"}, 1),
    ],
)
def test_threads_are_those_that_the_worker_was_given(
    set_to: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert pinned_threads() >= 1
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    assert pinned_threads() == expected
    compiled = OpenvinoCNN(TINY, WINDOW, None)._steps[0].get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == expected
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.parametrize(
    "windows",
    [
        np.zeros((17, 24, 40), np.float32),
        np.zeros((0, 24, 40), np.float32),
        np.zeros((4, 24, 39), np.float32),
        np.zeros((4, 24, 40), np.float64),
    ],
)
def test_windows_of_another_shape_are_refused(
    cnn: OpenvinoCNN, windows: npt.NDArray[np.floating]
) -> None:
    with pytest.raises(ValueError, match=r"expected float32 with 1 to 16 windows of \(24, 40\)"):
        cnn(windows)  # type: ignore[arg-type]


def test_what_keras_refuses_is_refused_alike() -> None:
    with pytest.raises(NetworkError, match="expected 8 or more"):
        OpenvinoCNN(TINY, WINDOW, None, batch_size=7)
    with pytest.raises(NetworkError, match="no layer 'nothing'"):
        OpenvinoCNN(NetworkSettings(**_changed(layers=("nothing",))), WINDOW, None)


def test_another_backend_than_tensorflow_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(EngineError, match=r"runs on jax; expected tensorflow.*--engine keras"):
        OpenvinoCNN(TINY, WINDOW, None)


def test_nobody_is_told_that_openvino_was_imported() -> None:
    code = (
        "import sys; from models.openvino_cnn import _import_openvino; _import_openvino(); "
        "import openvino.tools.ovc.telemetry_utils as t; print(t.tm.__name__); "
        "print('openvino_telemetry' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"]
