"""Numbered tables: immutable Parquet files called ``00000001.parquet``, ``00000002.parquet``, ...

A store keeps two kinds of them, its snapshots and the versions of its catalogue. Each is published
whole, under a number that nobody else has, with what it says of itself as JSON in the file's schema.
"""

import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features_cache.atomic import atomic_write

ROW_GROUP = 16384
"""Rows that are read to find one of them."""

_METADATA = b"emostack"
_NAME = re.compile(r"^(\d{8})\.parquet$")

_READABLE = (OSError, KeyError, TypeError, ValueError, AttributeError, pa.ArrowException)
"""What reading a damaged file has been seen to raise."""


class TableError(OSError):
    """A snapshot or a version of the catalogue is missing or cannot be read."""


def numbers(folder: Path) -> list[int]:
    """Numbers of the tables in a folder, ascending; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(int(m[1]) for p in folder.iterdir() if (m := _NAME.match(p.name)))


def table_path(folder: Path, number: int) -> Path:
    """File of one table."""
    return folder / f"{number:08d}.parquet"


def read_metadata(path: Path) -> tuple[dict[str, Any], int]:
    """Read what a table says of itself, and how many rows it has.

    Raises
    ------
    TableError
        The file has no whole footer.
    """
    try:
        footer = pq.read_metadata(path)
        return json.loads(footer.metadata[_METADATA]), footer.num_rows
    except _READABLE as error:
        raise torn(path, error) from error


def open_table(path: Path) -> pa.NativeFile:
    """Open a table's file: it stays what it is, whoever replaces or removes it meanwhile.

    Raises
    ------
    TableError
        It cannot be opened.
    """
    try:
        return pa.OSFile(str(path))
    except OSError as error:
        raise torn(path, error) from error


def read_columns(path: Path, file: pa.NativeFile) -> list[str]:
    """Names of a table's columns; see `read_table`.

    Raises
    ------
    TableError
        The file is torn.
    """
    try:
        return list(pq.read_schema(file).names)
    except _READABLE as error:
        raise torn(path, error) from error


def read_table(
    path: Path,
    file: pa.NativeFile | None = None,
    **how: Any,  # noqa: ANN401 - columns, filters
) -> pa.Table:
    """Read a table's rows.

    Parameters
    ----------
    path : of the table
    file : the same, where it is open already
    how : goes to ``pyarrow.parquet.read_table``

    Raises
    ------
    TableError
        The file is torn.
    """
    try:
        return pq.read_table(file or path, **how).replace_schema_metadata()
    except _READABLE as error:
        raise torn(path, error) from error


def write_table(
    path: Path,
    parts: Iterable[pa.Table],
    metadata: Mapping[str, Any],
    *,
    repeated: Iterable[str] = (),
    exclusive: bool = True,
) -> None:
    """Write a table, atomically, a row group a part.

    Parameters
    ----------
    path : from `table_path`
    parts : at least one, of one schema, of `ROW_GROUP` rows each but for the last
    metadata : what the table says of itself
    repeated : columns of few different texts, stored as codes; a dictionary of others would only cost
    exclusive : whether nobody may have published under that number; else it is replaced

    Raises
    ------
    FileExistsError
        Somebody else published a table of that number meanwhile.
    """
    parts = iter(parts)
    first = next(parts)
    about = {_METADATA: json.dumps(metadata).encode()}
    schema = first.schema.with_metadata(about)
    codes = [name for name in repeated if name in schema.names]
    path.parent.mkdir(exist_ok=True)
    with (
        atomic_write(path, exclusive=exclusive) as partial,
        pq.ParquetWriter(partial, schema, compression="zstd", use_dictionary=codes) as writer,
    ):
        for part in chain([first], parts):
            part = _without_unused_words(part).replace_schema_metadata(about)
            writer.write_table(part, row_group_size=ROW_GROUP)


def in_parts(table: pa.Table) -> Iterable[pa.Table]:
    """Cut a sorted table into the parts that are written at a time; an empty one is one part."""
    return (table.slice(i, ROW_GROUP) for i in range(0, max(1, len(table)), ROW_GROUP))


def _without_unused_words(part: pa.Table) -> pa.Table:
    """Leave out words that no row has any more: a dictionary would keep them in the file."""
    for i, column in enumerate(part.columns):
        if pa.types.is_dictionary(column.type):
            words = column.cast(column.type.value_type).dictionary_encode()
            part = part.set_column(i, part.schema.field(i), words.cast(column.type))
    return part


def torn(path: Path, error: Exception) -> TableError:
    """Make the error that says that a table cannot be read."""
    seen = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    message = (
        f"{path} cannot be read ({seen}); expected one of {numbers(path.parent)}; run 'emostack "
        "store verify'"
    )
    return TableError(message)
