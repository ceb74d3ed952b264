"""Reading tables: CSV or Parquet to the columns of a manifest, each of its type.

Whole columns are converted at once, so that a million rows cost seconds.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from stages.manifest_checks import ManifestError, Problem

COLUMNS = (
    "utterance_id",
    "file",
    "start",
    "end",
    "speaker",
    "session",
    "gender",
    "emotion",
    "corpus",
)
REQUIRED = ("utterance_id", "file", "speaker", "emotion")
TIME_DEFAULTS = {"start": 0.0, "end": float("nan")}
SUFFIXES = (".csv", ".parquet")

_NUMBER = r"^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|nan|NaN|Inf)$"


def read_table(path: Path, *, suffixes: tuple[str, ...] = SUFFIXES) -> pa.Table:
    """Read a CSV or Parquet file as it is, without asking for any column.

    Parameters
    ----------
    path : of the file
    suffixes : what it may end in; a manifest never ends in `.tsv`, somebody's table may

    Returns
    -------
    pyarrow.Table
        From CSV and TSV all columns are text.

    Raises
    ------
    ManifestError
        The file is missing, is not what its suffix says, or names a column twice.
    """
    check_suffix(path, suffixes)
    if not path.is_file():
        text = f"{path} is not there or not a file; expected a manifest"
        raise ManifestError(text + "; make one with 'emostack manifest'")
    try:
        table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's trouble, not the file's
        seen = str(error).splitlines()[0] if str(error) else type(error).__name__
        text = f"{path} does not read as {path.suffix.lower()} ({seen})"
        raise ManifestError(text + "; expected a table with a header; write it anew") from error
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ManifestError(f"{path} names the column {twice} twice; expected each once; drop one")
    return table


def from_table(
    table: pa.Table, *, source: str = "the manifest"
) -> tuple[pd.DataFrame, list[Problem]]:
    """Make a manifest of a raw table.

    Parameters
    ----------
    table : pyarrow.Table with at least the `REQUIRED` columns
    source : what a message calls it

    Returns
    -------
    (DataFrame, list of Problem)
        The problems are times that are not numbers; such a cell holds its default.

    Raises
    ------
    ManifestError
        Required columns are missing (all of them are named), or one does not hold text.
    """
    names = table.column_names
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        text = f"{source} lacks the columns {missing} and has {names}; expected at least"
        raise ManifestError(f"{text} {list(REQUIRED)}; add them (speaker and emotion may be empty)")
    columns: dict[str, Any] = {}
    problems: list[Problem] = []
    for name in [*COLUMNS, *(extra for extra in names if extra not in COLUMNS)]:
        if name in TIME_DEFAULTS:
            columns[name], bad = _times(table, name)
            problems += _unreadable_times(table, name, bad)
        elif name in names:
            columns[name] = _text(table, name)
        else:
            columns[name] = pa.array([""] * table.num_rows, type=pa.string())
    frame = pa.table(columns).to_pandas()
    return frame, problems


def _read_text(path: Path) -> pa.Table:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(newline="", encoding="utf-8-sig") as lines:
        header = next(csv.reader(lines, delimiter=delimiter), [])
    return pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
    )


def _read_parquet(path: Path) -> pa.Table:
    table = pa.parquet.ParquetFile(path).read()
    # pandas stores an index that has no name under this one; it says nothing about an utterance.
    return table.select([n for n in table.column_names if not n.startswith("__index_level_")])


def check_suffix(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Refuse a path that is not named as a table of one of these kinds."""
    if path.suffix.lower() not in suffixes:
        text = f"{path} ends in {path.suffix!r}; expected a manifest ending in "
        raise ManifestError(f"{text}{' or '.join(suffixes)}; rename it")


def _text(table: pa.Table, name: str) -> pa.ChunkedArray:
    column = table[name]
    try:
        if pa.types.is_dictionary(column.type):
            column = pc.cast(column, column.type.value_type)
        return pc.fill_null(pc.cast(column, pa.string()), "")
    except pa.ArrowException as error:
        text = f"the manifest's column {name!r} holds {column.type}; expected text; convert it"
        raise ManifestError(text) from error


def _times(table: pa.Table, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read a column of seconds; the second array marks the cells that are not numbers."""
    if name not in table.column_names:
        n_rows = table.num_rows
        return np.full(n_rows, TIME_DEFAULTS[name]), np.zeros(n_rows, dtype=bool)
    column = table[name]
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        numbers, bad = column, np.zeros(table.num_rows, dtype=bool)
    else:
        text = pc.utf8_trim_whitespace(_text(table, name))
        is_number = pc.match_substring_regex(text, _NUMBER)
        numbers = pc.if_else(is_number, text, None)
        bad = ~(_numpy(is_number) | _numpy(pc.equal(text, "")))
    seconds = pc.fill_null(pc.cast(numbers, pa.float64()), TIME_DEFAULTS[name])
    return _numpy(seconds), bad


def _numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    values: NDArray[Any] = column.to_numpy()
    return values


def _unreadable_times(table: pa.Table, name: str, bad: NDArray[np.bool_]) -> list[Problem]:
    if not bad.any():
        return []
    cells, ids = _text(table, name), _text(table, "utterance_id")
    message = "{} {!r} is not a number; expected seconds, such as 1.25"
    return [
        Problem(
            row=int(i) + 1,
            utterance_id=ids[i].as_py(),
            code=f"bad_{name}",
            message=message.format(name, cells[i].as_py()),
        )
        for i in np.flatnonzero(bad).tolist()
    ]
