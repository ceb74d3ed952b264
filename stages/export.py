"""Features with labels for others, in formats that they already read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features_cache.atomic import atomic_write
from features_cache.consolidated import write_consolidated
from features_cache.keys import file_sha256
from features_cache.store import Store
from stages.dataset import Selection, stacks
from stages.manifest import COLUMNS
from stages.recipe import Recipe

ROW_GROUP_SEGMENTS = 4096
"""Segments held in memory at once while Parquet is written."""


class ExportError(ValueError):
    """There is nothing to export, or no such format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was written.

    Attributes
    ----------
    files : paths, in the order written
    sha256 : hexadecimal digest of each
    n_utterances, n_segments, feature_dim : how much is in them
    """

    files: tuple[Path, ...]
    sha256: tuple[str, ...]
    n_utterances: int
    n_segments: int
    feature_dim: int


def export(selection: Selection, store: Store, recipe: Recipe, *, to: str, output: Path) -> Export:
    """Write a selection's features and labels to one file.

    Parameters
    ----------
    selection : what to write, in its order
    store : where it is
    recipe : the store's
    to : a key of `FORMATS`
    output : the file, published only when it is whole

    Raises
    ------
    ExportError
        The selection is empty.
    """
    if not selection.places:
        message = "no utterance of the manifest has features; expected at least one"
        raise ExportError(message)
    output.parent.mkdir(parents=True, exist_ok=True)
    n_segments = FORMATS[to](selection, store, recipe, output)
    return Export(
        files=(output,),
        sha256=(file_sha256(output),),
        n_utterances=len(selection.places),
        n_segments=n_segments,
        feature_dim=store.read(selection.places[0]).shape[1],
    )


def _to_hdf5(selection: Selection, store: Store, recipe: Recipe, output: Path) -> int:
    names = ["utterance_id", "corpus", "speaker", "session", "gender", "emotion", "file"]
    columns = {name: selection.manifest[name].tolist() for name in names}
    attributes = _origin(store, recipe)
    return write_consolidated(
        output, stacks(selection, store), {**columns, "key": selection.keys}, attributes
    )


def _to_parquet(selection: Selection, store: Store, recipe: Recipe, output: Path) -> int:
    """Write one row a segment: the manifest's columns, times, and a fixed-size list of features."""
    n_segments = 0
    writer: pq.ParquetWriter | None = None
    with atomic_write(output) as partial:
        try:
            for table in _tables(selection, store):
                table = table.replace_schema_metadata(_origin(store, recipe))
                writer = writer or pq.ParquetWriter(partial, table.schema, compression="zstd")
                writer.write_table(table)
                n_segments += len(table)
        finally:
            if writer:
                writer.close()
    return n_segments


def _tables(selection: Selection, store: Store) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = selection.manifest[list(COLUMNS)].to_dict("records")
    for row, (features, start, end) in zip(rows, stacks(selection, store), strict=True):
        n, dim = features.shape
        flat = pa.array(features.astype(np.float32).ravel())
        columns = {
            "utterance_id": [row["utterance_id"]] * n,
            "segment": np.arange(n, dtype=np.int32),
            "segment_start": start,
            "segment_end": end,
            **{k: [row[k]] * n for k in ("corpus", "speaker", "session", "gender", "emotion")},
            "features": pa.FixedSizeListArray.from_arrays(flat, dim),
        }
        waiting.append(pa.table(columns))
        if sum(map(len, waiting)) >= ROW_GROUP_SEGMENTS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _origin(store: Store, recipe: Recipe) -> dict[str, str]:
    return {
        "recipe_id": recipe.recipe_id,
        "recipe_json": store.recipe_json,
        "generation": str(store.generation.number),
    }


FORMATS: Mapping[str, Callable[[Selection, Store, Recipe, Path], int]] = MappingProxyType(
    {"hdf5": _to_hdf5, "parquet": _to_parquet}
)
