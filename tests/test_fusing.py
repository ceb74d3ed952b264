"""Features of several recipes side by side."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features_cache.consolidated import TimedStack
from stages.fusing import fused, joint_name, nearest, recipes_from_json
from stages.recipe import DEFAULT, RECIPES, Recipe, RecipeError, resolve, with_random_weights

HOP_S = 0.01
RESOLVED = resolve(with_random_weights(RECIPES[DEFAULT]))

starts = st.lists(st.integers(0, 60), min_size=1, max_size=30, unique=True).map(sorted)


@st.composite
def stacks(draw: st.DrawFn) -> TimedStack:
    """Segments at multiples of a frame, as recipes cut them, with features that tell them apart."""
    start = np.array(draw(starts), np.float64) * HOP_S
    end = start + draw(st.integers(1, 64)) * HOP_S
    dim = draw(st.integers(1, 3))
    features = draw(st.integers(0, 99)) + np.arange(len(start) * dim, dtype=np.float16)
    return features.reshape(len(start), dim), start, end


@given(st.lists(stacks(), min_size=1, max_size=4))
def test_there_is_a_row_a_segment_of_the_first_and_every_recipes_columns(
    parts: list[TimedStack],
) -> None:
    found = fused(parts)
    assert found.dtype == np.float32
    assert found.shape == (len(parts[0][1]), sum(features.shape[1] for features, _, _ in parts))
    assert np.array_equal(found[:, : parts[0][0].shape[1]], parts[0][0])


@given(stacks(), stacks())
def test_each_row_is_of_the_segment_nearest_in_time_and_of_two_of_the_earlier(
    first: TimedStack, other: TimedStack
) -> None:
    theirs = fused([first, other])[:, first[0].shape[1] :]
    # In whole half frames, in which nothing is rounded.
    own, others = (np.rint((s + e) / HOP_S).astype(int) for _, s, e in (first, other))
    for row, centre in zip(theirs, own, strict=True):
        by_distance = sorted(range(len(others)), key=lambda i: (abs(others[i] - centre), i))
        assert np.array_equal(row, other[0][by_distance[0]])


@given(stacks(), st.integers(1, 3))
def test_beside_itself_a_stack_stands_twice(stack: TimedStack, n: int) -> None:
    features = stack[0].astype(np.float32)
    assert np.array_equal(fused([stack] * n), np.concatenate([features] * n, axis=1))


@given(stacks(), stacks(), stacks())
def test_recipes_do_not_change_what_another_gives(
    a: TimedStack, b: TimedStack, c: TimedStack
) -> None:
    split = a[0].shape[1]
    both = [fused([a, b]), fused([a, c])[:, split:]]
    assert np.array_equal(fused([a, b, c]), np.concatenate(both, axis=1))


@pytest.mark.parametrize(
    ("times", "among", "places"),
    [
        ([0.5], [0.0, 1.0], [0]),
        ([0.1 + 0.2], [0.2, 0.4], [0]),
        ([0.3], [0.1 + 0.1, 0.1 + 0.3], [0]),
        ([-1.0, 0.51, 9.0], [0.0, 1.0], [0, 1, 1]),
        ([2.0], [1.0, 1.0], [0]),
        ([], [], []),
        ([], [1.0], []),
    ],
)
def test_the_nearest_is_found_however_sums_are_rounded(
    times: list[float], among: list[float], places: list[int]
) -> None:
    assert nearest(np.array(times), np.array(among)).tolist() == places


def test_an_utterance_without_segments_by_one_recipe_has_none() -> None:
    none = np.zeros((0, 2)), np.zeros(0), np.zeros(0)
    some = np.ones((3, 1)), np.arange(3.0), np.arange(3.0) + 1
    assert fused([none, some]).shape == fused([some, none]).shape == (0, 3)
    assert fused([none]).shape == (0, 2)


def test_many_segments_are_quick() -> None:
    hours = np.arange(100_000) * 0.12
    assert np.array_equal(nearest(hours, hours), np.arange(100_000))


def test_one_name_alone_stays_as_it_is() -> None:
    assert joint_name(["9f2c"]) == "9f2c"
    assert joint_name(["9f2c", 7]) == "9f2c+7"


def several(n: int) -> list[Recipe]:
    return [dataclasses.replace(RESOLVED, revision=i + 1) for i in range(n)]


def array_of(recipes: list[Recipe]) -> str:
    return f"[{','.join(recipe.to_json() for recipe in recipes)}]"


def test_recipes_side_by_side_come_back_from_their_array_in_their_order() -> None:
    assert recipes_from_json(array_of(several(3))) == several(3)
    assert recipes_from_json(RESOLVED.to_json()) == [RESOLVED]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (array_of([*several(2), *several(1)]), "stands beside itself; expected different ones"),
        (array_of(several(9)), "9 recipes side by side; expected 1 to 8"),
        ("[]", "0 recipes side by side"),
        ("[3]", "not written by this version"),
        ("[[]]", "not written by this version"),
        ("[{}", "not written by this version"),
        ("[" * 100_000, "not written by this version"),
        ('[{"dtype": "float64"}]', "expected one of float16, float32"),
    ],
    ids=["twice", "too many", "none", "number", "array", "torn", "deep", "wrong"],
)
def test_an_array_that_no_bundle_was_written_with_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipes_from_json(text)
