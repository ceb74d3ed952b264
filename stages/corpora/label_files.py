"""Label files as corpora ship them: text in whatever encoding, tables, lines of JSON."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from stages.corpora.reader import CorpusError
from stages.manifest import complete
from stages.manifest_checks import raise_for, validate


def read_text(path: Path) -> str:
    """Read a text file, line ends as they are: UTF-8, or else what Windows wrote (cp1252)."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Read the lines of a text file that are not empty, with their numbers, counted from 1."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line.removesuffix("\r")) for number, line in lines if line.strip()]


def read_rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV file with a header, strictly.

    Raises
    ------
    CorpusError
        A needed column is missing, or a row has not as many cells as the header.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    rows = []
    try:
        seen = list(reader.fieldnames or [])
        missing = [name for name in needed if name not in seen]
        if missing:
            text = f"{path} lacks the columns {missing} and has {seen}; expected {list(needed)}"
            raise CorpusError(f"{text}; is it the file that came with the corpus?")
        for row in reader:
            if None in row or None in row.values():
                text = f"{path} has a row of another length than its header at line"
                text = f"{text} {reader.line_num}; expected {len(seen)} cells"
                raise CorpusError(text + "; is the file cut off?")
            rows.append(row)
    except csv.Error as error:
        text = f"{path} is no CSV file at line {reader.reader.line_num} ({error}); expected one"
        raise CorpusError(text + "; is the file cut off?") from error
    return rows


def read_json_lines(path: Path) -> list[dict[str, str]]:
    """Read a file with one JSON object a line; values become text, and null becomes empty.

    Lists and objects inside an object say nothing that a manifest can hold, and are left out.

    Raises
    ------
    CorpusError
        A line is no JSON object, or the file is only a pointer to one.
    """
    rows = []
    for number, line in read_lines(path):
        if number == 1 and line.startswith("version https://git-lfs"):
            text = f"{path} is a Git LFS pointer; expected the file itself"
            raise CorpusError(text + "; fetch it with 'git lfs pull'")
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            text = f"{path} has no JSON at line {number} ({error}); expected an object a line"
            raise CorpusError(text + "; is the file cut off?") from error
        if not isinstance(value, dict):
            text = f"{path} has a {type(value).__name__} at line {number}; expected an object"
            raise CorpusError(text + "; is it the right file?")
        rows.append({name: _text(cell) for name, cell in value.items() if _is_plain(cell)})
    return rows


def _is_plain(cell: object) -> bool:
    return not isinstance(cell, list | dict)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def text_table(rows: Sequence[dict[str, str]], *, source: str) -> pa.Table:
    """Make a table of rows that may have different columns; what a row lacks is empty.

    Raises
    ------
    CorpusError
        A text is no Unicode.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    try:
        columns = {
            name: pa.array([row.get(name, "") for row in rows], type=pa.string()) for name in names
        }
        return pa.table(columns)
    except UnicodeEncodeError as error:
        text = f"{source} holds text that is no Unicode ({error.object!r}); expected UTF-8"
        raise CorpusError(text + "; rename or mend it") from error


def manifest_of(rows: Iterable[dict[str, str]], *, root: Path, source: str) -> pd.DataFrame:
    """Make a manifest of a published corpus' rows, sorted by file.

    Raises
    ------
    CorpusError
        A text is no Unicode.
    ManifestError
        Rows that no manifest may have; all are listed.
    """
    table = text_table(sorted(rows, key=lambda row: row["file"]), source=source)
    manifest = complete(table.to_pandas())
    raise_for(validate(manifest, root=root), source=source)
    return manifest


def told_first(items: Sequence[str], what: str) -> list[str]:
    """Say in one line how many things are odd, and name the first; nothing where there are none."""
    return [f"{len(items)} {what}, the first: {items[0]!r}"] if items else []


def told_counts(counts: dict[str, int], what: str) -> list[str]:
    """Say in one line how often each of several things was seen.

    Examples
    --------
    >>> told_counts({"xxx": 7, "fru": 1}, "utterance(s) left out for their label")
    ['8 utterance(s) left out for their label: fru 1, xxx 7']
    """
    listed = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
    return [f"{sum(counts.values())} {what}: {listed}"] if counts else []
