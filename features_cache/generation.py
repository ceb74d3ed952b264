"""Generations: immutable Parquet files that say what a store holds.

A generation is the manifest's rows, each with its view, key, place and status. Publishing one is
the only way to change what readers see; a reader or a training holds the one it opened.

Conventions
-----------
``status`` is ``live`` (the row's features are at ``shard``, ``row_start:row_end``), ``gone`` (the
manifest no longer names the utterance; its features stay where they are) or ``quarantined`` (no
features: ``reason`` is a code, ``message`` the words). A row's identity is (corpus, utterance_id,
view).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features_cache.atomic import atomic_write

LIVE, GONE, QUARANTINED = "live", "gone", "quarantined"

PLACE_COLUMNS = {
    "view": "str",
    "key": "str",
    "audio_sha256": "str",
    "shard": "str",
    "row_start": "int64",
    "row_end": "int64",
    "status": "str",
    "reason": "str",
    "message": "str",
}
"""Columns that a generation adds to the manifest's, with their types."""

_METADATA = b"emostack"
_NAME = re.compile(r"^(\d{8})\.parquet$")


class GenerationError(OSError):
    """A generation is missing or cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One published generation.

    Attributes
    ----------
    number : 1, 2, 3, ...; 0 stands for the empty store before the first
    parent : number of the generation this one was made from
    recipe_id : recipe of the store
    created : ISO 8601 time, UTC
    shards : shard file name -> hexadecimal SHA-256 of the file
    rows : the manifest's columns and `PLACE_COLUMNS`, one row an utterance and view
    """

    number: int = 0
    parent: int = 0
    recipe_id: str = ""
    created: str = ""
    shards: Mapping[str, str] = field(default_factory=dict)
    rows: pd.DataFrame = field(default_factory=lambda: empty_rows())

    @property
    def live(self) -> pd.DataFrame:
        """The rows that have features and are in the manifest."""
        return self.rows[self.rows["status"] == LIVE]

    @property
    def quarantined(self) -> pd.DataFrame:
        """The rows whose audio gave no features."""
        return self.rows[self.rows["status"] == QUARANTINED]


def empty_rows() -> pd.DataFrame:
    """Return a table of a generation's own columns without rows."""
    return pd.DataFrame(
        {
            name: pd.Series(dtype=kind)
            for name, kind in {"utterance_id": "str", **PLACE_COLUMNS}.items()
        }
    )


def numbers(folder: Path) -> list[int]:
    """Numbers of the generations in a folder, ascending."""
    return sorted(int(m[1]) for p in folder.iterdir() if (m := _NAME.match(p.name)))


def generation_path(folder: Path, number: int) -> Path:
    """File of one generation."""
    return folder / f"{number:08d}.parquet"


def publish_generation(
    folder: Path,
    rows: pd.DataFrame,
    *,
    parent: int,
    recipe_id: str,
    shards: Mapping[str, str],
) -> Generation:
    """Write the next generation, atomically.

    Raises
    ------
    FileExistsError
        Somebody else published a generation of that number meanwhile.
    """
    number = (numbers(folder) or [0])[-1] + 1
    created = datetime.now(UTC).isoformat(timespec="seconds")
    meta: dict[str, Any] = {
        "format": 1,
        "number": number,
        "parent": parent,
        "recipe_id": recipe_id,
        "created": created,
        "shards": dict(sorted(shards.items())),
    }
    table = pa.Table.from_pandas(rows, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), _METADATA: json.dumps(meta).encode()}
    with atomic_write(generation_path(folder, number), exclusive=True) as partial:
        pq.write_table(table.replace_schema_metadata(metadata), partial, compression="zstd")
    return Generation(
        number=number,
        parent=parent,
        recipe_id=recipe_id,
        created=created,
        shards=dict(shards),
        rows=rows,
    )


def read_generation(folder: Path, number: int | None = None) -> Generation:
    """Read one generation, by default the newest; number 0 is the empty one before the first.

    Raises
    ------
    GenerationError
        The generation is not there or its file is torn.
    """
    known = numbers(folder)
    if number is None:
        number = known[-1] if known else 0
    if number == 0:
        return Generation()
    path = generation_path(folder, number)
    try:
        table = pq.read_table(path)
        meta = json.loads(table.schema.metadata[_METADATA])
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        message = (
            f"generation {number} in {folder} cannot be read ({str(error).splitlines()[0][:200]}); "
            f"expected one of {known}; run 'emostack store verify'"
        )
        raise GenerationError(message) from error
    rows = table.to_pandas()
    for column in rows.columns:
        if not pd.api.types.is_numeric_dtype(rows[column]):
            rows[column] = rows[column].astype("str")
    return Generation(
        number=int(meta["number"]),
        parent=int(meta["parent"]),
        recipe_id=str(meta["recipe_id"]),
        created=str(meta["created"]),
        shards={str(k): str(v) for k, v in meta["shards"].items()},
        rows=rows,
    )


def same_rows(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Tell whether two generations' tables say the same, whatever the order of rows."""
    if set(first.columns) != set(second.columns) or len(first) != len(second):
        return False
    columns = sorted(first.columns)
    order = [c for c in ("corpus", "utterance_id", "view") if c in columns]
    a = first[columns].sort_values(order, ignore_index=True)
    b = second[columns].sort_values(order, ignore_index=True)
    return all(
        np.array_equal(
            a[c].to_numpy(), b[c].to_numpy(), equal_nan=pd.api.types.is_float_dtype(a[c])
        )
        for c in columns
    )
