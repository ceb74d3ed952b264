import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.blstm_attention_dnn import BLSTMAttentionDNN, ClassifierSettings, initial_weights
from models.bundle import MAX_BYTES, Bundle, BundleError, load_bundle, save_bundle
from models.linear_path import fit_linear_path, pooled
from models.normalisation import NormalisationSettings, fit_normalisation
from models.predictor import Predictor
from models.utterance_vectors import utterance_vectors

SETTINGS = ClassifierSettings(lstm_units=6, attention_units=4, dnn_units=(5,), batch_size=8)


def make_stacks(n: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(3 + i, 7)).astype(np.float32) for i in range(n)]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    stacks = make_stacks()
    normalisation = fit_normalisation(
        stacks, ["a"] * 6, NormalisationSettings(standardise="train", n_components=4)
    )
    linear = fit_linear_path(
        [utterance_vectors(stacks)],
        np.array([0, 1] * 3),
        ["a"] * 6,
        n_labels=2,
        kind="train",
        penalty=0.5,
    )
    return Bundle(
        labels=("Ärger", "Freude"),
        recipe_id="r1",
        recipe_json='{"network": "tiny"}',
        feature_dim=7,
        normalisation=normalisation,
        classifier=SETTINGS,
        weights={seed: initial_weights(SETTINGS, 4, 2, seed) for seed in (0, 3)},
        linear_share=0.6,
        linear=linear,
        card={"title": "a test", "uar": 50.0, "transductive": False, "none": None, "n": 3},
    )


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    save_bundle(bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


def edit(folder: Path, **changes: object) -> None:
    path = folder / "bundle.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        at = document
        *outer, last = key.split("__")
        for name in outer:
            at = at[name]
        at[last] = value
    path.write_text(json.dumps(document), encoding="utf-8")


def test_a_bundle_comes_back_as_it_was_saved(bundle: Bundle, folder: Path) -> None:
    again = load_bundle(folder)
    assert (again.labels, again.recipe_id, again.recipe_json) == (
        bundle.labels,
        bundle.recipe_id,
        bundle.recipe_json,
    )
    assert again.card == bundle.card
    assert again.classifier == bundle.classifier
    assert again.normalisation.settings == bundle.normalisation.settings
    for seed, weights in bundle.weights.items():
        assert all(np.array_equal(again.weights[seed][name], weights[name]) for name in weights)
    assert again.linear is not None
    assert bundle.linear is not None
    assert again.linear_share == 0.6
    for name, array in bundle.linear.arrays.items():
        assert np.array_equal(again.linear.arrays[name], array)
    assert sorted(path.name for path in folder.iterdir()) == [
        "bundle.json",
        "linear.npz",
        "normalisation.npz",
        "seed-0.npz",
        "seed-3.npz",
    ]


def test_a_bundle_without_a_linear_path_has_no_arrays_of_one(
    bundle: Bundle, tmp_path: Path
) -> None:
    save_bundle(replace(bundle, linear_share=0.0, linear=None), tmp_path / "alone")
    again = load_bundle(tmp_path / "alone")
    assert again.linear is None
    assert not (tmp_path / "alone" / "linear.npz").exists()
    stacks = make_stacks()
    without, _ = Predictor(again).predict(stacks, ["x"] * 6)
    with_it, _ = Predictor(bundle).predict(stacks, ["x"] * 6)
    assert np.abs(without - with_it).max() > 0.01


def test_predictions_are_the_mean_over_the_seeds(bundle: Bundle, folder: Path) -> None:
    stacks = make_stacks()
    probabilities, attention = Predictor(load_bundle(folder)).predict(stacks, ["x"] * 6)
    network = BLSTMAttentionDNN(SETTINGS, n_features=4, n_labels=2)
    inputs = bundle.normalisation.transform(stacks, ["x"] * 6)
    assert bundle.linear is not None
    scores = bundle.linear.scores(utterance_vectors(stacks), ["x"] * 6)
    expected = []
    for weights in bundle.weights.values():
        network.set_weights(weights)
        expected.append(pooled(network.predict(inputs)[0], scores, 0.6))
    np.testing.assert_allclose(probabilities, np.mean(expected, axis=0), atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [len(own) for own in attention] == [len(stack) for stack in stacks]


def test_features_of_another_recipe_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"shape \(2, 9\); expected \(segments, 7\)"):
        Predictor(bundle).predict([np.zeros((2, 9), np.float32)], ["x"])


def test_the_same_bundle_gives_the_same_bytes(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "twin")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "twin" / path.name).read_bytes()


def test_an_existing_folder_is_never_overwritten(bundle: Bundle, folder: Path) -> None:
    with pytest.raises(BundleError, match="exists; expected a new folder"):
        save_bundle(bundle, folder)


def test_a_bundle_that_could_not_be_read_again_is_not_left_behind(
    bundle: Bundle, tmp_path: Path
) -> None:
    broken = {0: {**bundle.weights[0], "output.bias": np.full(2, np.nan, np.float32)}}
    wrong = Bundle(
        labels=bundle.labels,
        recipe_id="",
        recipe_json="",
        feature_dim=7,
        normalisation=bundle.normalisation,
        classifier=SETTINGS,
        weights=broken,
        card={},
    )
    with pytest.raises(BundleError, match="not finite"):
        save_bundle(wrong, tmp_path / "wrong")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format is 2; expected 3"),
        ({"format": True}, "format is a bool"),
        ({"labels": ["a"]}, "labels are not"),
        ({"labels": ["a", "a"]}, "labels are not"),
        ({"labels": ["a", 1]}, "labels are not"),
        ({"labels": ["a", "b" * 1000]}, "labels are not"),
        ({"labels": ["\x1b[2Ja", "b"]}, "labels are not .* printable"),
        ({"labels": ["a\nb", "b"]}, "labels are not .* printable"),
        ({"classifier__batch_size": 10**12}, "batch_size is 1000000000000; expected at most 4096"),
        ({"classifier__learning_rate": 10**30}, "has 31 digits; expected 20 at most"),
        ({"seeds": [2**32]}, "seeds are not"),
        ({"seeds": list(range(101))}, "seeds are not"),
        ({"labels": ["a", "b", "c"]}, r"output\.\w+ has shape|unpacks to"),
        ({"labels": [["a"], ["b"]]}, "labels are not"),
        ({"seeds": [0, 0]}, "seeds are not"),
        ({"seeds": ["../../etc/passwd"]}, "seeds are not"),
        ({"seeds": [-1]}, "seeds are not"),
        ({"seeds": [0, 1]}, "seed-1"),
        ({"feature_dim": 0}, "feature_dim is 0"),
        ({"feature_dim": 10**9}, "feature_dim is 1000000000"),
        ({"feature_dim": 3}, "4 components of 3 features"),
        ({"feature_dim": 900}, "has shape|unpacks to"),
        ({"feature_dim": "7"}, "feature_dim is a str"),
        ({"card": {"x": [1]}}, "the card holds"),
        ({"linear_share": 1.0}, "share is 1.0; expected 0 or more and less than 1"),
        ({"linear_share": "all"}, "linear_share is a str"),
        ({"extra": 1}, "missing or unknown keys: extra"),
        ({"classifier__layers": 3}, "'layers' is not a setting"),
        ({"classifier__lstm_units": 10**9}, "bytes of weights"),
        ({"classifier__lstm_units": 8000, "classifier__dnn_units": [8000] * 9}, "bytes of weights"),
        ({"classifier__lstm_units": "6"}, "'lstm_units' is '6'; expected int"),
        ({"classifier__lstm_units": -1}, "lstm_units is -1"),
        ({"classifier__dnn_units": 5}, "'dnn_units' is 5; expected tuple"),
        ({"classifier__dropout": "x"}, "'dropout' is 'x'; expected float"),
        ({"normalisation__standardise": "os.system"}, "expected one of none, train, speaker"),
        ({"normalisation__n_components": -1}, "n_components is -1"),
    ],
    ids=str,
)
def test_hostile_settings_are_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[1]", "holds a list"),
        ('{"format": NaN}', "NaN is not a finite number"),
        ('{"format": 1, "format": 1}', "key twice"),
        ("[" * 100_000, "not JSON"),
        ('{"card": {"x": ' * 50_000, "not JSON"),
        ('{"format": 1e999}', "'1e999' is not a finite number"),
        ('{"format": -1e999}', "'-1e999' is not a finite number"),
        ('{"feature_dim": ' + "1" * 5000 + "}", "has 5000 digits; expected 20 at most"),
        (" " * 2_000_000, "larger than"),
        ("\udcff", "not JSON"),
    ],
    ids=[
        "empty", "list", "nan", "key twice", "deep", "deep objects", "infinite", "minus infinite",
        "many digits", "large", "not utf-8",
    ],
)  # fmt: skip
def test_json_that_is_none_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "bundle.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return (os.mkdir, ("exploded",))


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)


def saved(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()


NAME = "output.bias.npy"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda old: {**old, "extra.npy": saved(np.zeros(1))}, "unknown members: 'extra.npy'"),
        (lambda old: {k: v for k, v in old.items() if k != NAME}, f"members: '{NAME}'"),
        (lambda old: {**old, NAME: saved(np.zeros(3, np.float32))}, r"has shape \(3,\)"),
        (lambda old: {**old, NAME: saved(np.zeros(2))}, "type float64"),
        (lambda old: {**old, NAME: saved(np.zeros(2, ">f4"))}, "type >f4"),
        (
            lambda old: {**old, NAME: saved(np.array([Bomb(), 1], object), allow_pickle=True)},
            "type object",
        ),
        (lambda old: {**old, NAME: pickle.dumps(Bomb())}, "is no array"),
        (lambda old: {**old, NAME: header((10**12,))}, r"has shape \(1000000000000,\)"),
        (lambda old: {**old, NAME: header((2,))}, "shorter or longer"),
        (lambda old: {**old, NAME: header((2,)) + bytes(12)}, "shorter or longer"),
        (lambda old: {**old, NAME: bytes(10**7)}, "unpacks to 10000000 bytes"),
        (lambda old: {**old, NAME: b"\x93NUMPY\x03\x00" + bytes(50)}, r"version \(3, 0\)"),
        (lambda old: {**old, NAME: b"\x93NUMPY\x01\x00\x10\x00" + b"os.system(1)1234"}, "no array"),
        (lambda old: {**old, NAME: saved(np.array([1, np.inf], np.float32))}, "not finite"),
    ],
    ids=[
        "unknown member", "missing member", "foreign shape", "float64", "big endian", "object array",
        "bare pickle", "huge shape", "too short", "too long", "zip bomb", "other version",
        "code in the header", "not finite",
    ],
)  # fmt: skip
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_hostile_arrays_are_refused(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    change: Callable[[dict[str, bytes]], dict[str, bytes]],
    message: str,
    compression: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    rewrite(folder / "seed-0.npz", change(members(folder / "seed-0.npz")), compression)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)
    assert not (tmp_path / "exploded").exists()


def test_a_pickle_in_place_of_the_weights_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "seed-0.npz").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BundleError, match=r"not a whole \.npz file"):
        load_bundle(folder)
    assert not (tmp_path / "exploded").exists()


def test_flipped_and_cut_weights_are_refused(folder: Path) -> None:
    path = folder / "seed-0.npz"
    whole = path.read_bytes()
    spot = len(whole) // 2
    for broken in (whole[:spot], whole[:spot] + bytes([whole[spot] ^ 1]) + whole[spot + 1 :]):
        path.write_bytes(broken)
        with pytest.raises(BundleError, match=r"not a whole \.npz file"):
            load_bundle(folder)


def test_foreign_compression_is_refused(folder: Path) -> None:
    path = folder / "seed-0.npz"
    rewrite(path, members(path), zipfile.ZIP_LZMA)
    with pytest.raises(BundleError, match="compressed in a foreign way"):
        load_bundle(folder)


def test_a_folder_without_a_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a sound bundle"):
        load_bundle(tmp_path / "nowhere")


def test_a_missing_seed_is_told(folder: Path) -> None:
    shutil.move(folder / "seed-3.npz", folder / "other.npz")
    with pytest.raises(BundleError, match="seed-3"):
        load_bundle(folder)


def test_the_limit_leaves_room_for_real_bundles() -> None:
    from models.blstm_attention_dnn import weight_shapes

    shapes = weight_shapes(ClassifierSettings(), 8192, 10)
    assert sum(4 * int(np.prod(shape)) for shape in shapes.values()) * 10 < MAX_BYTES
