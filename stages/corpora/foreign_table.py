"""From a table that somebody else made to a manifest: columns, names, times, files.

What every generic reader has in common: each brings its own layout into the form of a table with a
column `file`, and this module does the rest.
"""

import os
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stages.manifest import RESERVED
from stages.manifest_checks import raise_for, validate
from stages.manifest_table import COLUMNS, REQUIRED, from_table

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
AUDIO_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64",
    ".sph", ".snd",
)  # fmt: skip

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CLOCK = re.compile(
    r"(?:(?P<days>\d+) days?,?)?(?:(?:^| |\+)(?P<h>\d{1,2}):(?P<min>\d\d):(?P<s>\d\d(?:\.\d+)?))?"
)
_ISO = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<min>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)


def foreign_manifest(table: pa.Table, *, root: Path, source: str) -> tuple[pd.DataFrame, list[str]]:
    """Make a manifest of somebody's table.

    Parameters
    ----------
    table : with a column `file`; `start` and `end` in any form that `seconds` knows
    root : the folder that files are relative to
    source : what a message calls the table

    Returns
    -------
    (DataFrame, list of str)
        Where there is no column `utterance_id`, names are made from the file's path without its
        suffix, numbered `#1, #2, ...` where rows share it. Told are absent columns, columns that no
        manifest can hold, files that are not there and files elsewhere.

    Raises
    ------
    ManifestError
        Rows that no manifest may have; all are listed.
    """
    table, problems = holdable(table)
    table, absent = _with_required(_with_seconds(table))
    manifest, row_problems = from_table(table, source=source)
    row_problems += validate(manifest, root=root, allow_absolute=True)
    raise_for(row_problems, source=source)
    return manifest, problems + absent + _file_problems(manifest, root)


def as_texts(table: pa.Table) -> pa.Table:
    """Make text of every column that can be text; null is empty, and times become seconds."""
    table = _with_seconds(table.replace_schema_metadata(None))  # which may speak of other types
    for i, name in enumerate(table.column_names):
        if _is_textual(table[name]):
            column = _plain(table[name])
            texts = pc.fill_null(pc.cast(column, pa.string()), "")
            table = table.set_column(i, name, texts)
    return table


def holdable(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Leave out columns that a manifest cannot hold, and those without a name; they are told."""
    problems = []
    for name in table.column_names:
        if not name:
            table = table.drop_columns([name])
            problems.append("a column without a name is left out")
        elif name in RESERVED:
            table = table.drop_columns([name])
            problems.append(f"column {name!r} is left out: a store keeps that name for itself")
        elif name not in COLUMNS and not _is_textual(table[name]):
            problems.append(f"column {name!r} is left out: it holds {table[name].type}")
            table = table.drop_columns([name])
    return table, problems


def utterance_names(files: pd.Series) -> list[str]:
    """Name utterances after their files, without suffix; `#1, #2, ...` where files share a name."""
    stems = files.fillna("").astype(str).str.replace(r"(?<=[^/.])\.[^/.]*$", "", regex=True)
    shared = stems.duplicated(keep=False) & (stems != "")
    numbers = stems.groupby(stems).cumcount() + 1
    names: list[str] = stems.where(~shared, stems + "#" + numbers.astype(str)).tolist()
    return names


def seconds(text: str) -> str:
    """Bring a time to plain seconds; what is no time stays as it is, for a later check to tell.

    Examples
    --------
    >>> seconds("0 days 00:01:02.500000"), seconds("PT1M2.5S"), seconds(" 7 "), seconds("NaT")
    ('62.5', '62.5', '7', '')
    >>> seconds("1 days"), seconds("01:00:00"), seconds("soon")
    ('86400.0', '3600.0', 'soon')
    """
    text = text.strip()
    if not text or _NUMBER.fullmatch(text):
        return text
    if text in ("NaT", "None", "nan"):
        return ""
    match = _CLOCK.fullmatch(text) or _ISO.fullmatch(text)
    if match is None or not any(match.groups()):
        return text
    days, hours, minutes, rest = (float(match[name] or 0) for name in ("days", "h", "min", "s"))
    return repr(days * 86400 + hours * 3600 + minutes * 60 + rest)


def _with_seconds(table: pa.Table) -> pa.Table:
    for name in {"start", "end"} & set(table.column_names):
        column, index = table[name], table.column_names.index(name)
        if pa.types.is_duration(column.type):
            whole = pc.cast(pc.cast(column, pa.duration("ns")), pa.int64())
            column = pc.divide(pc.cast(whole, pa.float64()), 1e9)
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            cells = pd.Series(pc.fill_null(column, "").to_pylist(), dtype=object)
            meaning = {text: seconds(text) for text in cells.unique()}
            column = pa.array(cells.map(meaning), type=pa.string())
        table = table.set_column(index, name, column)
    return table


def _is_textual(column: pa.ChunkedArray) -> bool:
    try:
        column = _plain(column)
        if not pa.types.is_nested(column.type) and not pa.types.is_duration(column.type):
            pc.cast(column, pa.string())
            return True
    except pa.ArrowException:
        pass
    return False


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Undo what tables do to save space: codes for a few different values."""
    kind = column.type
    return pc.cast(column, kind.value_type) if pa.types.is_dictionary(kind) else column


def _with_required(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Add the required columns that are absent: names made from files, the others empty."""
    absent = [name for name in REQUIRED if name not in table.column_names]
    problems = []
    for name in absent:
        made = name == "utterance_id"
        cells = utterance_names(table["file"].to_pandas()) if made else [""] * table.num_rows
        table = table.append_column(name, pa.array(cells, type=pa.string()))
        problems.append(f"no column {name!r}: {'made from file' if made else 'left empty'}")
    return table, problems


def _file_problems(manifest: pd.DataFrame, root: Path) -> list[str]:
    files = pd.unique(manifest["file"]).tolist()
    missing = [file for file in files if not _is_file(root, file)]
    problems = []
    if missing:
        text = f"{len(missing)} of {len(files)} files are not there, the first: {missing[0]!r}"
        problems.append(text + _where(missing[0], root))
    base = os.path.normpath(root.absolute()).rstrip("/") + "/"
    elsewhere = [file for file in files if file.startswith("/") and not file.startswith(base)]
    if elsewhere:
        text = f"{len(elsewhere)} files are absolute and outside {root}; such a manifest is read"
        problems.append(text + f" only where that is allowed, the first: {elsewhere[0]!r}")
    return problems


def _is_file(folder: Path, file: str) -> bool:
    return os.path.isfile(folder / file)  # noqa: PTH113 (Path raises where a name is too long)


def _where(file: str, root: Path) -> str:
    """Say which folder above a relative path is meant from: tables often lie beside the audio."""
    for folder in root.absolute().parents:
        if _is_file(folder, file):
            return f"; it lies below {folder}: pass --audio {folder} along"
    return ""
