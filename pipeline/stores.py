"""Finding stores below a workdir, without needing the network's weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from features_cache.keys import CLEAN
from features_cache.numbered import TableError
from features_cache.snapshot import LIVE, PENDING
from features_cache.store import Store, StoreError, read_recipe
from pipeline.workdir import Workdir
from stages.fusing import check_side_by_side
from stages.recipe import (
    RECIPES,
    Recipe,
    RecipeError,
    load_recipe,
    recipe_from_json,
    without_sha256,
)


def store_folders(workdir: Workdir) -> list[Path]:
    """List the folders of the stores below a workdir."""
    return sorted(file.parent for file in workdir.features.glob("*/recipe.json"))


def open_store(
    workdir: Workdir, recipe_name: str, snapshot: int | None = None
) -> tuple[Store, Recipe]:
    """Open the store of a recipe; one that does not name its weights means any.

    Parameters
    ----------
    workdir : what it is below
    recipe_name : of a published recipe, or a TOML file
    snapshot : number of the one to hold; the newest by default

    Raises
    ------
    StoreError
        There is no such store, or several that differ in their weights.
    features_cache.numbered.TableError
        There is no such snapshot.
    """
    wanted = load_recipe(recipe_name)
    found = [
        (folder, recipe)
        for folder in store_folders(workdir)
        if (recipe := _recipe_of(folder)) is not None and wanted in (recipe, without_sha256(recipe))
    ]
    if len(found) != 1:
        seen = f"{len(found)} stores" if found else "no store"
        message = (
            f"{workdir.features} has {seen} of recipe {recipe_name!r}; expected one; run 'emostack "
            "extract' first, or look at 'emostack store ls'"
        )
        raise StoreError(message)
    folder, recipe = found[0]
    return Store(folder, snapshot=snapshot), recipe


def open_stores(
    workdir: Workdir, recipe_names: Sequence[str], snapshots: Sequence[int] = ()
) -> list[tuple[Store, Recipe]]:
    """Open the stores of recipes whose features are to stand side by side.

    Parameters
    ----------
    workdir : what they are below
    recipe_names : as for `open_store`
    snapshots : one per recipe; none: the newest of each

    Raises
    ------
    stages.recipe.RecipeError
        Too many recipes, or the same one twice, whatever it was called.
    """
    held: Sequence[int | None] = snapshots or [None] * len(recipe_names)
    named = zip(recipe_names, held, strict=True)
    found = [open_store(workdir, name, snapshot) for name, snapshot in named]
    check_side_by_side([recipe for _, recipe in found])
    return found


def named_snapshot(number: int) -> dict[str, int]:
    """Give a snapshot's number its field in ``--json``, and the one that it had in version 0.1."""
    return {"snapshot": number, "generation": number}


def _recipe_of(folder: Path) -> Recipe | None:
    """Read a store's recipe; None where another version wrote it, which is no concern of ours."""
    try:
        return recipe_from_json(read_recipe(folder)[1])
    except (RecipeError, StoreError, OSError, UnicodeDecodeError):
        return None


def describe(folder: Path) -> dict[str, Any]:
    """Say what a store holds; ``problem`` says why that cannot be told."""
    recipe = _recipe_of(folder)
    try:
        if recipe is None:
            message = f"{folder / 'recipe.json'} is not a recipe that this version knows"
            raise StoreError(message)
        store = Store(folder)
        columns = ["corpus", "utterance_id", "view", "status", "message"]
        rows, live = store.snapshot.rows(columns), store.live(["view"])
    except (StoreError, TableError) as error:
        return {"recipe_id": folder.name, "folder": str(folder), "problem": str(error)}
    names = [name for name, known in RECIPES.items() if known == without_sha256(recipe)]
    bad = _each_once(rows[~rows["status"].isin((LIVE, PENDING))])
    return {
        "recipe_id": recipe.recipe_id,
        "recipe": names[0] if names else recipe.network.network,
        "weights": recipe.network.weights,
        "folder": str(folder),
        **named_snapshot(store.snapshot.number),
        "n_utterances": int((live["view"] == CLEAN).sum()),
        "views": {str(view): int(n) for view, n in live["view"].value_counts().items()},
        "n_segments": int((live["row_end"] - live["row_start"]).sum()),
        "n_pending": int((rows["status"] == PENDING).sum()),
        "n_quarantined": len(bad),
        "quarantined": bad[["utterance_id", "reason", "message"]].to_dict("records"),
        "bytes": sum(path.stat().st_size for path in (folder / "shards").glob("*.h5")),
        "problem": "",
    }


def _each_once(bad: pd.DataFrame) -> pd.DataFrame:
    """Tell of a bad file once, not once per view; of itself first."""
    order = (bad["view"] != CLEAN).sort_values(kind="stable").index
    once = bad.loc[order].drop_duplicates(["corpus", "utterance_id"])
    return once.sort_index().rename(columns={"status": "reason"})
