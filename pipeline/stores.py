"""Finding stores below a workdir, without needing the network's weights."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from features_cache.store import Store, StoreError
from pipeline.workdir import Workdir
from stages.recipe import RECIPES, Recipe, load_recipe, recipe_from_json


def all_stores(workdir: Workdir) -> Iterator[Store]:
    """Open every store below a workdir."""
    if workdir.features.is_dir():
        for folder in sorted(workdir.features.iterdir()):
            if (folder / "recipe.json").is_file():
                yield Store(folder)


def open_store(workdir: Workdir, recipe_name: str) -> tuple[Store, Recipe]:
    """Open the store of a recipe, whatever its weights' SHA-256.

    Raises
    ------
    StoreError
        There is no such store, or several that differ in their weights.
    """
    wanted = load_recipe(recipe_name)
    found = [
        (store, recipe)
        for store in all_stores(workdir)
        if without_sha256(recipe := recipe_from_json(store.recipe_json)) == without_sha256(wanted)
    ]
    if len(found) != 1:
        seen = f"{len(found)} stores" if found else "no store"
        message = (
            f"{workdir.features} has {seen} of recipe {recipe_name!r}; expected one; run 'emostack "
            "extract' first, or look at 'emostack store ls'"
        )
        raise StoreError(message)
    return found[0]


def without_sha256(recipe: Recipe) -> Recipe:
    """Return the recipe as it was before its weights were found."""
    network = dataclasses.replace(recipe.network, weights_sha256="")
    return dataclasses.replace(recipe, network=network)


def describe(store: Store) -> dict[str, Any]:
    """Say what a store holds."""
    recipe = recipe_from_json(store.recipe_json)
    names = [name for name, known in RECIPES.items() if known == without_sha256(recipe)]
    live = store.generation.live
    bad = store.generation.quarantined
    return {
        "recipe_id": recipe.recipe_id,
        "recipe": names[0] if names else recipe.network.network,
        "weights": recipe.network.weights,
        "folder": str(store.folder),
        "generation": store.generation.number,
        "n_utterances": len(live),
        "n_segments": int((live["row_end"] - live["row_start"]).sum()),
        "n_quarantined": len(bad),
        "quarantined": bad[["utterance_id", "reason", "message"]].to_dict("records"),
        "bytes": sum(path.stat().st_size for path in store.shards_folder.glob("*.h5")),
    }
