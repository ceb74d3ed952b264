"""Features of several recipes side by side: one stack out of several.

Conventions
-----------
The segments, and their times, are the first recipe's. Each further recipe, which may cut others, gives
every one of them the features of its own segment whose centre is nearest in time; of two equally near,
the earlier. The columns stand in the order of the recipes.
"""

import json
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from features_cache.consolidated import TimedStack
from stages.recipe import Recipe, RecipeError, recipe_from_json

TIE_S = 1e-6
"""Distances in time that differ by less are equal: frames are milliseconds, and sums of them inexact."""

MAX_SIDE_BY_SIDE = 8
"""Recipes at most: each has a network of its own, and a bundle of them may come from anybody."""

JOINT = "+"
"""Stands between what names the parts: ``emostack-v1+emostack-small-v1``."""


def fused(parts: Sequence[TimedStack]) -> NDArray[np.float32]:
    """Put one utterance's features by several recipes side by side.

    Parameters
    ----------
    parts : of each recipe its features, shape (n_segments, feature_dim), and its segments' starts and
        ends, float64, shape (n_segments,), seconds in the utterance, ascending

    Returns
    -------
    float32, shape (n_segments of the first, sum of feature_dim)
        No rows where one of the recipes has none. A single part is as it was.

    Examples
    --------
    >>> slow = np.array([[1.0], [2.0]]), np.array([0.0, 2.0]), np.array([2.0, 4.0])
    >>> quick = np.array([[5.0], [6.0], [7.0], [8.0]]), np.arange(4.0), np.arange(4.0) + 1
    >>> fused([slow, quick]).tolist()
    [[1.0, 5.0], [2.0, 7.0]]
    """
    centres = [(start + end) / 2 for _, start, end in parts]
    n_segments = len(centres[0]) if all(map(len, centres)) else 0
    columns = [
        features if own is centres[0] else features[nearest(centres[0][:n_segments], own)]
        for (features, _, _), own in zip(parts, centres, strict=True)
    ]
    return np.concatenate([each[:n_segments] for each in columns], axis=1, dtype=np.float32)


def nearest(times: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find, for each time, the nearest of some others; of several equally near, the first.

    Parameters
    ----------
    times : seconds
    among : seconds, ascending; may only be empty where `times` is

    Returns
    -------
    Their places in `among`.
    """
    if not len(times):
        return np.zeros(0, np.intp)
    after = np.searchsorted(among, times).clip(max=len(among) - 1)
    before = (after - 1).clip(min=0)
    is_before = np.abs(times - among[before]) <= np.abs(among[after] - times) + TIE_S
    return np.searchsorted(among, among[np.where(is_before, before, after)])


def joint_name(names: Iterable[object]) -> str:
    """Name what stands side by side; one name alone stays as it is."""
    return JOINT.join(map(str, names))


def recipes_from_json(text: str) -> list[Recipe]:
    """Read the recipe, or the several of an array, whose features a bundle was trained on.

    Raises
    ------
    RecipeError
        See `recipe_from_json` and `check_side_by_side`.
    """
    if not text.startswith("["):
        return [recipe_from_json(text)]
    try:
        several = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"these recipes were not written by this version of emostack: {error}"
        raise RecipeError(message) from error
    recipes = [recipe_from_json(json.dumps(each)) for each in several]
    check_side_by_side(recipes)
    return recipes


def check_side_by_side(recipes: Sequence[Recipe]) -> None:
    """Refuse recipes whose features cannot stand side by side.

    Raises
    ------
    RecipeError
        There are none, or too many, or the same one twice.
    """
    if not 1 <= len(recipes) <= MAX_SIDE_BY_SIDE:
        message = (
            f"{len(recipes)} recipes side by side; expected 1 to {MAX_SIDE_BY_SIDE}; name as many"
        )
        raise RecipeError(message)
    for recipe in recipes:
        if recipes.count(recipe) > 1:
            message = (
                f"recipe {recipe.recipe_id} stands beside itself; expected different ones, since its "
                "features twice say no more than once; name it once"
            )
            raise RecipeError(message)
