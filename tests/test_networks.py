import importlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import keras
import pytest

from models.networks import (
    NETWORKS,
    NetworkError,
    NetworkSettings,
    bands_of,
    network_entry,
    random_seed,
)

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_entry_names_a_constructor_and_its_own_preprocessing(name: str) -> None:
    entry = NETWORKS[name]
    module = importlib.import_module(f"keras.applications.{entry.module}")
    assert callable(module.preprocess_input)
    constructor = getattr(keras.applications, entry.constructor)
    assert module.preprocess_input.__module__ == constructor.__module__
    assert entry.weights_name.endswith(".h5")
    assert len(entry.weights_hash) in (0, 32, 64)


def test_the_table_has_every_network_that_was_promised() -> None:
    promised = {f"mobilenet-{alpha}" for alpha in ("0.25", "0.5", "0.75", "1.0")}
    promised |= {f"mobilenet_v2-{a}" for a in ("0.35", "0.5", "0.75", "1.0", "1.3", "1.4")}
    promised |= {"mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_v2_s"}
    promised |= {f"efficientnet_b{n}" for n in range(4)}
    promised |= {f"efficientnet_v2_b{n}" for n in range(4)}
    promised |= {"densenet121", "densenet169", "densenet201", "resnet50", "resnet50_v2"}
    promised |= {"vgg16", "vgg19", "xception", "inception_v3", "nasnet_mobile", "convnext_tiny"}
    assert set(NETWORKS) == promised


class _AskedForError(Exception):
    """What Keras would have downloaded."""


def _file_keras_asks_for(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    def get_file(fname: str, *_: object, file_hash: str = "", **__: object) -> None:
        raise _AskedForError(fname, file_hash)

    entry = NETWORKS[name]
    constructor = getattr(keras.applications, entry.constructor)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    size = entry.default_size
    options = {} if entry.alpha is None else {"alpha": entry.alpha}
    with pytest.raises(_AskedForError) as caught:
        constructor(include_top=False, weights="imagenet", input_shape=(size, size, 3), **options)
    return caught.value.args[0], caught.value.args[1]


QUICK = ["mobilenet-0.75", "mobilenet_v2-0.35", "mobilenet_v3_small", "vgg16"]


@pytest.mark.parametrize(
    "name",
    [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS if n not in QUICK)],
)
def test_the_weights_file_is_the_one_keras_itself_asks_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = NETWORKS[name]
    asked = _file_keras_asks_for(name, monkeypatch)
    assert asked == (entry.weights_name, entry.weights_hash)


def test_an_unknown_network_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(NetworkError, match=r"'mobilenet-0\.7'.*did you mean.*mobilenet-0\.75"):
        network_entry("mobilenet-0.7")
    with pytest.raises(NetworkError, match=r"known are mobilenet-0\.25, "):
        NetworkSettings(network="qqqq")


@pytest.mark.parametrize(
    ("pooling", "n_bands"),
    [("average", None), ("flatten", None), ("bands:1", 1), ("bands:512", 512)],
)
def test_pooling_is_read(pooling: str, n_bands: int | None) -> None:
    assert bands_of(pooling) == n_bands


@pytest.mark.parametrize(
    ("weights", "seed"),
    [("imagenet", None), ("file:a b.h5", None), ("random:0", 0), ("random:9999999999", 9999999999)],
)
def test_weights_are_read(weights: str, seed: int | None) -> None:
    assert random_seed(weights) == seed


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        ("pooling", "max", "pooling is 'max'"),
        ("pooling", "bands:0", "pooling is 'bands:0'"),
        ("pooling", "bands:513", "from 1 to 512"),
        ("pooling", "bands:07", "pooling is 'bands:07'"),
        ("weights", "random", "weights is 'random'"),
        ("weights", "random:-1", "weights is 'random:-1'"),
        ("weights", "file:", "weights is 'file:'"),
        ("weights", "Imagenet", "weights is 'Imagenet'"),
        ("weights_sha256", "abc", "64 hexadecimal digits"),
        ("precision", "float16", "precision is 'float16'; expected one of float32, bfloat16"),
        ("layers", (), "one or more names"),
        ("layers", ("a", "a"), "each once"),
        ("input_size", 31, "takes 32 to 1024 pixels"),
        ("input_size", 1025, "takes 32 to 1024 pixels"),
        ("channel_ranges", ((0.0, 1.0),), "three pairs"),
        ("channel_ranges", ((0.0, 1.0), (1.0, 0.0), (0.0, 1.0)), "low < high"),
        ("channel_ranges", ((0.0, 1.0), (0.0, 1.0), (0.0, float("inf"))), "three pairs"),
        ("channel_ranges", ((0.0, 1.0), (0.0, 1.0, 2.0), (0.0, 1.0)), "three pairs"),
        ("channels", ("static", "delta"), "expected three, each one of static, delta, delta-delta"),
        ("channels", ("static", "delta", "deltas"), "expected three, each one of"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(
    setting: str, value: object, complaint: str
) -> None:
    with pytest.raises(NetworkError, match=complaint):
        NetworkSettings(**{setting: value})  # type: ignore[arg-type]


def test_the_smallest_input_is_the_networks_own() -> None:
    with pytest.raises(NetworkError, match="xception takes 71 to 1024"):
        NetworkSettings(network="xception", input_size=64)


def test_settings_are_plain_data() -> None:
    settings = NetworkSettings()
    assert json.loads(json.dumps(asdict(settings)))["channel_ranges"][0] == [-80.0, 10.0]
    assert hash(settings) == hash(NetworkSettings())
    assert settings.entry is NETWORKS["mobilenet-0.75"]


def test_table_and_weights_are_read_without_keras() -> None:
    code = "import sys, models.networks, models.weights; sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
