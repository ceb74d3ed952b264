"""Taking in what somebody else has exported."""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from features_cache.shard import read_header, versions_json
from features_cache.store import Store
from pipeline import __version__
from pipeline.care import merge_stores
from pipeline.stores import named_snapshot
from pipeline.workdir import Workdir
from stages.importing import ImportFileError, import_features
from stages.manifest import read_manifest, write_manifest
from stages.manifest_table import check_suffix


def import_export(workdir: Workdir, file: Path, output: Path | None) -> dict[str, Any]:
    """Merge an exported hdf5 into the workdir's store of its recipe, and write its manifest.

    Parameters
    ----------
    workdir : where the store is, or will be
    file : the exported file, or the export's folder
    output : the manifest; by default one below the workdir, named after the export

    Returns
    -------
    dict
        ``recipe_id, n_utterances, n_added, conflicts, snapshot, store, manifest``.

    Raises
    ------
    stages.importing.ImportFileError
        The file cannot be imported; nothing has changed.
    """
    folder = file if file.is_dir() else file.absolute().parent
    target = output or workdir.imports / f"{folder.absolute().name}.csv"
    check_suffix(target)
    workdir.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workdir.scratch, prefix="import-") as scratch:
        versions = versions_json({"emostack": __version__})
        recipe, manifest = import_features(file, Path(scratch), versions)
        _check_dim(workdir.store_folder(recipe.recipe_id), Path(scratch))
        _refuse_other_manifest(target, manifest)
        (done,) = merge_stores(workdir, [Path(scratch)])
    write_manifest(manifest, target)
    return {
        "recipe_id": recipe.recipe_id,
        "n_utterances": len(manifest),
        "n_added": done["n_added"],
        "conflicts": done["conflicts"],
        **named_snapshot(done["snapshot"]),
        "store": done["store"],
        "manifest": str(target),
    }


def _refuse_other_manifest(target: Path, manifest: pd.DataFrame) -> None:
    """Make the manifest's folder, and refuse to write over a file that says something else."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{target.parent} cannot be made ({error.strerror}); expected a folder"
        raise ImportFileError(message + "; give another --output") from error
    if target.exists() and not read_manifest(target, allow_absolute=True).equals(manifest):
        message = (
            f"{target} is there already and is not this export's manifest; expected a new file"
        )
        raise ImportFileError(message + "; give another --output")


def _check_dim(folder: Path, imported: Path) -> None:
    """Refuse features of another width than those that the recipe's store holds."""
    if not (folder / "recipe.json").exists():
        return
    here, there = _dim(Store(folder)), _dim(Store(imported))
    if here not in (None, there):
        message = f"the export has {there} features a segment; expected {here}, as in {folder}"
        raise ImportFileError(message + "; it was not made by the recipe that it names")


def _dim(store: Store) -> int | None:
    shards = sorted(store.catalogue.shards)
    return read_header(store.shards_folder / shards[0]).feature_dim if shards else None
