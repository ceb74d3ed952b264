"""Recipes: everything that decides a feature, hashed whole, and every mistake named."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.networks import NetworkSettings
from models.settings import SettingsError, from_mapping, to_mapping
from stages.frontend.logmel import FrontEnd
from stages.frontend.segments import Segments
from stages.recipe import (
    DEFAULT,
    RECIPES,
    Recipe,
    RecipeError,
    load_recipe,
    recipe_from_json,
    resolve,
    with_random_weights,
)

PUBLISHED = {
    "emostack-v1": "0c0216787ae5d367",
    "emostack-v1-bfloat16": "f82daf55571d672d",
    "emostack-small-v1": "e9efe3cdb19a25bf",
    "paper-2021": "8b340aa89c5d80d8",
    "mobilenet-bands-v1": "22f1374526481061",
}
"""First digits of the SHA-256 of each published recipe's JSON: its meaning must never change."""


def resolved() -> Recipe:
    return resolve(with_random_weights(RECIPES[DEFAULT]))


def test_a_published_recipe_never_changes_its_meaning() -> None:
    digests = {
        name: hashlib.sha256(recipe.to_json().encode()).hexdigest()[: len(PUBLISHED.get(name, ""))]
        for name, recipe in RECIPES.items()
    }
    assert digests == PUBLISHED


def test_a_recipe_comes_back_from_its_json() -> None:
    recipe = resolved()
    assert recipe_from_json(recipe.to_json()) == recipe
    assert recipe_from_json(recipe.to_json()).recipe_id == recipe.recipe_id


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float32"},
        {"revision": 2},
        {"frontend": FrontEnd(n_mels=40)},
        {"frontend": FrontEnd(preemphasis=0.97)},
        {"segments": Segments(shift_frames=30)},
        {"segments": Segments(last="drop")},
    ],
    ids=str,
)
def test_whatever_decides_a_feature_decides_the_id(change: dict[str, object]) -> None:
    recipe = resolved()
    assert dataclasses.replace(recipe, **change).recipe_id != recipe.recipe_id  # type: ignore[arg-type]


def test_what_joined_later_changes_no_id_where_it_means_what_was_done_before() -> None:
    recipe = resolve(with_random_weights(Recipe()))
    assert "channels" not in recipe.to_json()
    static = dataclasses.replace(recipe.network, channels=("static",) * 3)
    changed = dataclasses.replace(recipe, network=static)
    assert recipe_from_json(changed.to_json()) == changed
    assert changed.recipe_id != recipe.recipe_id


def test_a_recipe_without_known_weights_has_no_id() -> None:
    with pytest.raises(RecipeError, match="does not know its weights yet"):
        _ = RECIPES[DEFAULT].recipe_id


def test_a_toml_file_is_a_recipe_with_defaults_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[network]\nnetwork = "mobilenet-0.25"\nlayers = ["conv_pw_1_relu"]\n')
    recipe = load_recipe(str(path))
    assert recipe.network.layers == ("conv_pw_1_relu",)
    assert recipe.frontend == FrontEnd()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[frontend]\nn_mel = 3", r"'frontend.n_mel' is not a setting; did you mean 'n_mels'"),
        ("[frontend]\nn_mels = '3'", r"'frontend.n_mels' is '3'; expected int"),
        ("[frontend]\nn_mels = true", r"'frontend.n_mels' is True; expected int"),
        ("[network]\nlayers = 'conv'", r"'network.layers' is 'conv'; expected tuple"),
        ("[network]\nnetwork = 'mobilnet-0.75'", "mobilenet-0.75"),
        ("dtype = 'float64'", "dtype is 'float64'; expected one of float16, float32"),
        ("[network]\nweights = 'file:/tmp/w.h5'", "expected file:NAME"),
        ("frontend = 3", "'frontend' is 3; expected FrontEnd"),
        ("[frontend", "is not valid"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(path))


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"expected one of emostack-v1, .* or a \.toml file"):
        load_recipe("paper")


def test_a_whole_number_may_stand_for_a_float_and_means_the_same() -> None:
    one = from_mapping(FrontEnd, {"fmin_hz": 20})
    assert one == from_mapping(FrontEnd, {"fmin_hz": 20.0})
    assert isinstance(one.fmin_hz, float)


def test_a_complete_mapping_must_leave_nothing_out() -> None:
    with pytest.raises(SettingsError, match="Segments lacks the settings shift_frames"):
        from_mapping(Segments, {"n_frames": 64}, complete=True)


@given(
    n_mels=st.integers(8, 128),
    shift=st.integers(1, 64),
    low=st.floats(-120, 0),
    size=st.sampled_from([32, 96, 224]),
)
def test_settings_survive_the_round_trip_through_plain_data(
    n_mels: int, shift: int, low: float, size: int
) -> None:
    recipe = Recipe(
        frontend=FrontEnd(n_mels=n_mels),
        segments=Segments(shift_frames=shift),
        network=NetworkSettings(
            input_size=size, channel_ranges=((low, 10.0), (-1.0, 1.0), (-1.0, 1.0))
        ),
    )
    assert from_mapping(Recipe, to_mapping(recipe), complete=True) == recipe


def test_a_recipe_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(RecipeError, match="a segment has 4194304 values"):
        Recipe(frontend=FrontEnd(n_mels=64), segments=Segments(n_frames=65536))


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"dtype": 1e999}', "[]", '{"dtype": null}'])
def test_json_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="not written by this version"):
        recipe_from_json(text)
