"""Generations: immutable Parquet files that say what a store holds.

A generation is the manifest's rows, each with its view, key, place and status. Publishing one is
the only way to change what readers see; a reader or a training holds the one it opened.

Conventions
-----------
``status`` is ``live`` (the row's features are at ``shard``, ``row_start:row_end``), ``quarantined``
(no features: ``reason`` is a code, ``message`` the words) or ``gone``: a tombstone, whose features
stay where they are until `gc`. A row that is not gone is identified by (corpus, utterance_id, view).
Tombstones are of utterances that have left the manifest, and, with the reason ``replaced``, of bytes
that an utterance no longer has; several may bear one name.

Rows are sorted by utterance_id, in groups of `ROW_GROUP`, so that one utterance is found without
reading the others.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features_cache.atomic import atomic_write

LIVE, GONE, QUARANTINED = "live", "gone", "quarantined"
REPLACED = "replaced"
"""Reason of a tombstone whose utterance lives on with other bytes."""

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

NOT_LABELS = frozenset({*PLACE_COLUMNS, "utterance_id", "corpus", "file", "start", "end"})
"""Columns that are no label: who, where, and what has become of it."""

ROW_GROUP = 16384
"""Rows that are read to find one utterance."""

REPEATED = ("corpus", "speaker", "session", "gender", "emotion", "view", "shard", "status")
"""Columns of few different texts, stored as codes; a dictionary of the others would only cost."""

_ORDER = ("utterance_id", "corpus", "view", "status", "key")
_METADATA = b"emostack"
_NAME = re.compile(r"^(\d{8})\.parquet$")


class GenerationError(OSError):
    """A generation is missing or cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One published generation.

    Attributes
    ----------
    number : 1, 2, 3, ...; 0 stands for the empty store before the first
    parent : number of the generation this one was made from
    recipe_id : recipe of the store
    created : ISO 8601 time, UTC
    shards : shard file name -> hexadecimal SHA-256 of the file, for all that rows name
    retired : shard files that earlier generations name and this one does not
    audio : corpus -> absolute folder that its files are relative to
    n_rows : how many rows there are
    file : where the rows are; None for the empty generation
    """

    number: int = 0
    parent: int = 0
    recipe_id: str = ""
    created: str = ""
    shards: Mapping[str, str] = field(default_factory=dict)
    retired: tuple[str, ...] = ()
    audio: Mapping[str, str] = field(default_factory=dict)
    n_rows: int = 0
    file: Path | None = None

    @functools.cached_property
    def rows(self) -> pd.DataFrame:
        """The manifest's columns and `PLACE_COLUMNS`, one row an utterance and view.

        Raises
        ------
        GenerationError
            The file is torn.
        """
        return empty_rows() if self.file is None else _frame(read_table(self.file))

    @property
    def live(self) -> pd.DataFrame:
        """The rows that have features and are in the manifest."""
        return self.rows[self.rows["status"] == LIVE]

    @property
    def quarantined(self) -> pd.DataFrame:
        """The rows whose audio gave no features."""
        return self.rows[self.rows["status"] == QUARANTINED]

    def live_column(self, name: str) -> pd.Series:
        """Read one column of the live rows, and not the others; empty texts where there is none.

        Raises
        ------
        GenerationError
            The file is torn.
        """
        if self.file is None:
            return empty_rows()[name if name in PLACE_COLUMNS else "utterance_id"]
        is_there = name in _schema(self.file).names
        table = read_table(self.file, columns=[name, "status"] if is_there else ["status"])
        rows = _frame(table.filter(pc.equal(table["status"], LIVE)))
        return rows[name] if is_there else rows["status"].str.slice(0, 0)

    def of_view(self, view: str, columns: Sequence[str]) -> pd.DataFrame:
        """Read some columns of one view's rows that are not gone, and not the others.

        Columns that are asked for one after the other are of the same rows.

        Raises
        ------
        GenerationError
            The file is torn.
        """
        if self.file is None:
            return empty_rows().reindex(columns=columns)
        filters = [("view", "==", view), ("status", "!=", GONE)]
        return _frame(read_table(self.file, columns=list(columns), filters=filters))

    def find(self, utterance_id: str) -> pd.DataFrame:
        """All rows of one name, without reading the others.

        Raises
        ------
        GenerationError
            The file is torn.
        """
        if self.file is None:
            return empty_rows()
        return _frame(read_table(self.file, filters=[("utterance_id", "==", utterance_id)]))


def empty_rows() -> pd.DataFrame:
    """Return a table of a generation's own columns without rows."""
    return pd.DataFrame(
        {
            name: pd.Series(dtype=kind)
            for name, kind in {"utterance_id": "str", "corpus": "str", **PLACE_COLUMNS}.items()
        }
    )


def numbers(folder: Path) -> list[int]:
    """Numbers of the generations in a folder, ascending."""
    return sorted(int(m[1]) for p in folder.iterdir() if (m := _NAME.match(p.name)))


def generation_path(folder: Path, number: int) -> Path:
    """File of one generation."""
    return folder / f"{number:08d}.parquet"


def as_table(rows: pd.DataFrame) -> pa.Table:
    """Turn rows into the table that a generation's file holds: one order, text without gaps."""
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata()
    for i, name in enumerate(table.column_names):
        kind = table.schema.field(name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            text = table[name].cast(pa.large_string()).fill_null("")
            table = table.set_column(i, name, text)
    order = [(name, "ascending") for name in _ORDER if name in table.column_names]
    return table.sort_by(order)


def publish_generation(
    folder: Path,
    table: pa.Table,
    *,
    parent: int,
    recipe_id: str,
    shards: Mapping[str, str],
    retired: tuple[str, ...] = (),
    audio: Mapping[str, str] | None = None,
) -> Generation:
    """Write the next generation, atomically.

    Parameters
    ----------
    folder : of the generations
    table : from `as_table`
    parent, recipe_id, shards, retired, audio : as in `Generation`

    Raises
    ------
    FileExistsError
        Somebody else published a generation of that number meanwhile.
    """
    number = (numbers(folder) or [0])[-1] + 1
    meta: dict[str, Any] = {
        "format": 1,
        "number": number,
        "parent": parent,
        "recipe_id": recipe_id,
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "shards": dict(sorted(shards.items())),
        "retired": sorted(retired),
        "audio": dict(sorted((audio or {}).items())),
    }
    path = generation_path(folder, number)
    with atomic_write(path, exclusive=True) as partial:
        pq.write_table(
            table.replace_schema_metadata({_METADATA: json.dumps(meta).encode()}),
            partial,
            compression="zstd",
            row_group_size=ROW_GROUP,
            use_dictionary=[name for name in REPEATED if name in table.column_names],
        )
    return _from_metadata(meta, path, table.num_rows)


def read_generation(folder: Path, number: int | None = None) -> Generation:
    """Open one generation, by default the newest; number 0 is the empty one before the first.

    Its rows are read when they are first asked for.

    Raises
    ------
    GenerationError
        The generation is not there or its file has no whole footer.
    """
    known = numbers(folder)
    if number is None:
        number = known[-1] if known else 0
    if number == 0:
        return Generation()
    path = generation_path(folder, number)
    if number not in known:
        message = f"{folder} has no generation {number}; expected one of {known}; look at 'emostack store ls'"
        raise GenerationError(message)
    try:
        footer = pq.read_metadata(path)
        return _from_metadata(json.loads(footer.metadata[_METADATA]), path, footer.num_rows)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise _torn(path, error) from error


def read_table(path: Path, **how: Any) -> pa.Table:  # noqa: ANN401 - columns, filters
    """Read a generation's rows as they are stored; `how` goes to ``pyarrow.parquet.read_table``.

    Raises
    ------
    GenerationError
        The file is torn.
    """
    try:
        return pq.read_table(path, **how)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _torn(path, error) from error


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _torn(path, error) from error


def _torn(path: Path, error: Exception) -> GenerationError:
    seen = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    message = (
        f"generation {path.stem} in {path.parent} cannot be read ({seen}); expected one of "
        f"{numbers(path.parent)}; run 'emostack store verify'"
    )
    return GenerationError(message)


def same_rows(table: pa.Table, generation: Generation) -> bool:
    """Tell whether a table from `as_table` says what a generation says."""
    if generation.file is None or table.num_rows != generation.n_rows:
        return False
    before = as_table(generation.rows)
    names = set(table.column_names)
    return names == set(before.column_names) and table.select(before.column_names).equals(before)


def _from_metadata(meta: Mapping[str, Any], path: Path, n_rows: int) -> Generation:
    return Generation(
        number=int(meta["number"]),
        parent=int(meta["parent"]),
        recipe_id=str(meta["recipe_id"]),
        created=str(meta["created"]),
        shards={str(k): str(v) for k, v in meta["shards"].items()},
        retired=tuple(map(str, meta.get("retired", ()))),
        audio={str(k): str(v) for k, v in meta.get("audio", {}).items()},
        n_rows=n_rows,
        file=path,
    )


def _frame(table: pa.Table) -> pd.DataFrame:
    """Turn a table into rows: text columns of pandas' own text type, which is compact."""
    rows = table.replace_schema_metadata().to_pandas(strings_to_categorical=False)
    texts = {name: "str" for name in rows.columns if not pd.api.types.is_numeric_dtype(rows[name])}
    return rows.astype(texts)
