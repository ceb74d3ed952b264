"""An exported hdf5 becomes a store again: features, names and labels, without any audio."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from features_cache.consolidated_reading import Consolidated, open_consolidated
from features_cache.keys import CLEAN, file_sha256
from features_cache.numbered import in_parts
from features_cache.shard import SHARD_BYTES, PublishedShard, ShardHeader, ShardWriter
from features_cache.snapshot import LIVE, as_table
from features_cache.store import Store, rows_of_shards
from stages.manifest import COLUMNS, complete, validate
from stages.manifest_checks import raise_for
from stages.recipe import Recipe, RecipeError, recipe_from_json
from stages.sharing.format import SUMS
from stages.sharing.hdf5 import FILE

ENGINE = "imported"


class ImportFileError(ValueError):
    """A file cannot be imported."""


def import_features(path: Path, folder: Path, versions_json: str) -> tuple[Recipe, pd.DataFrame]:
    """Make a new store of an exported file.

    Parameters
    ----------
    path : the file, or the export's folder; where checksums lie beside it, it must match them
    folder : of the new store; it holds nothing yet
    versions_json : what its shards say made them

    Returns
    -------
    (Recipe, DataFrame)
        What made the features; and the manifest, in the export's order.

    Raises
    ------
    ImportFileError, features_cache.consolidated_reading.ConsolidatedError
        The file is not an export of segments, or does not hold what it says.
    stages.manifest.ManifestError
        Rows that no manifest may have.
    """
    file = path / FILE if path.is_dir() else path
    _check_sum(file)
    with open_consolidated(file, (*COLUMNS, "key")) as source:
        recipe = _recipe(source)
        manifest = _manifest(source)
        store = Store.create(folder, recipe.to_json())
        header = ShardHeader(
            recipe_id=recipe.recipe_id,
            recipe_json=recipe.to_json(),
            versions_json=versions_json,
            engine=ENGINE,
            dtype=source.dtype,
            feature_dim=source.feature_dim,
        )
        shards = list(_write_shards(source, store, header))
        rows = manifest.assign(key=source.columns["key"], status=LIVE)
    sums = {shard.name: shard.sha256 for shard in shards}
    exists = store.catalogue.plus(rows_of_shards(shards), sums)
    store.publish_catalogue(exists, recipe.recipe_id, for_snapshot=store.next_snapshot)
    store.publish_snapshot(in_parts(as_table(rows)), recipe.recipe_id)
    return recipe, manifest


def _check_sum(file: Path) -> None:
    """Compare the file with the checksums beside it, if there are some that name it."""
    if not file.is_file():
        message = f"{file} is not there; expected an exported {FILE} or the folder that holds it"
        raise ImportFileError(message + "; check the path")
    try:
        lines = (file.parent / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if expected.get(file.name, "") not in ("", file_sha256(file)):
        message = f"{file} is not what {SUMS} says; expected SHA-256 {expected[file.name]}"
        raise ImportFileError(message + "; fetch it again")


def _recipe(source: Consolidated) -> Recipe:
    rows = source.attributes.get("rows")
    if rows != "segment":
        message = (
            f"{source.path} does not hold one row a segment (but: {rows!r}); expected segments"
        )
        raise ImportFileError(message + "; ask for an export without --pool")
    try:
        recipe = recipe_from_json(source.attributes.get("recipe_json", ""))
        is_its_own = recipe.recipe_id == source.attributes.get("recipe_id")
    except (RecipeError, AttributeError, TypeError) as error:
        message = f"{source.path} names a recipe that this version does not know ({error})"
        raise ImportFileError(
            message + "; expected one of this version; update emostack"
        ) from error
    if not is_its_own or recipe.dtype != source.dtype:
        message = f"{source.path} does not hold the features that its recipe makes"
        raise ImportFileError(message + f"; expected {recipe.dtype} of recipe {recipe.recipe_id}")
    return recipe


def _manifest(source: Consolidated) -> pd.DataFrame:
    manifest = complete(pd.DataFrame({name: source.columns[name] for name in COLUMNS}))
    raise_for(validate(manifest, root=source.path.parent), source=str(source.path))
    keys = [str(key) for key in source.columns["key"]]
    odd = [key for key in keys if len(key) != 64 or not set(key) <= set("0123456789abcdef")]
    if odd:
        message = f"{source.path} has the key {odd[0]!r}; expected 64 hexadecimal digits each"
        raise ImportFileError(message)
    return manifest


def _write_shards(
    source: Consolidated, store: Store, header: ShardHeader
) -> Iterator[PublishedShard]:
    # Equal keys are the same audio: its features are kept once.
    first_with = {key: i for i, key in reversed(list(enumerate(source.columns["key"])))}
    _refuse_twins(source, first_with)
    waiting = sorted(first_with.values(), reverse=True)
    while waiting:
        with ShardWriter(store.shards_folder, header) as writer:
            while waiting and writer.n_bytes < SHARD_BYTES:
                number = waiting.pop()
                for block in source.blocks(number):
                    writer.append(*block)
                writer.end_utterance(
                    key=source.columns["key"][number],
                    utterance_id=source.columns["utterance_id"][number],
                    view=CLEAN,
                )
            yield writer.close()


def _refuse_twins(source: Consolidated, first_with: Mapping[str, int]) -> None:
    """Refuse a file in which equal keys, which say equal audio, stand for different features."""
    for number, key in enumerate(source.columns["key"]):
        first = first_with[key]
        if first != number and not source.same_rows(first, number):
            names = source.columns["utterance_id"]
            message = (
                f"{source.path} has one key and two stacks for {names[first]!r} and "
                f"{names[number]!r}; expected equal features for equal audio; ask for the file again"
            )
            raise ImportFileError(message)
