"""Label files as DeepSpectrum reads them: the `deepspectrum` reader.

Conventions
-----------
Tabs part the columns of a `.tsv`, commas those of any other file; the first line is a header. The
first column is the audio's path, relative to the folder of the label file. A further column is numeric
if all its cells are numbers, else nominal; the label is the nominal column called `emotion`, `label` or
`class`, else the first nominal one.
"""

import csv
import io
import os
from pathlib import Path

import pandas as pd

from stages.corpora.foreign_table import foreign_manifest
from stages.corpora.generic import Generic
from stages.corpora.label_files import read_text, text_table
from stages.corpora.reader import CorpusError, corpus_folder
from stages.manifest import COLUMNS

LAYOUT = (
    "a label file (.csv or .tsv) whose first column is the audio's path and another one its class, "
    "or DIR with exactly one; paths start from the label file's folder"
)
_LABELS = ("emotion", "label", "class")
_TIMES = ("timestamp", "time", "timecode")


def _read(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    path = folder if folder.is_file() else _only(corpus_folder(folder))
    header, rows = _cells(path)
    if len(header) > 1 and header[1].strip().lower() in _TIMES:
        text = f"{path} is a time-continuous label file ({header[1]!r}); expected one row a file"
        raise CorpusError(text + "; such labels are not for whole utterances")
    columns = dict(zip(header[1:], zip(*(row[1:] for row in rows), strict=True), strict=True))
    nominal = [name for name, cells in columns.items() if not all(map(_is_number, cells))]
    label = _label(nominal)
    if label is None:
        text = f"{path} has the columns {header} and no class; expected a column of labels"
        raise CorpusError(text + "; are all labels numbers?")
    kept = {_name(name, label): cells for name, cells in columns.items()}
    paths = [row[0].strip(" ") for row in rows]
    files = [os.path.normpath(path) if path else "" for path in paths]
    table = text_table(
        [
            {"file": file, **{name: cells[i] for name, cells in kept.items()}}
            for i, file in enumerate(files)
        ],
        source=str(path),
    )
    manifest, told = foreign_manifest(table, root=path.parent, source=str(path))
    others = [name for name in nominal if name not in (label, *COLUMNS)]
    chosen = f"labels are the column {label!r}; there are {others} as well"
    return manifest, [*([chosen] if others else []), *told]


def _only(folder: Path) -> Path:
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".csv", ".tsv"))
    if len(found) == 1:
        return found[0]
    seen = [path.name for path in found] or "none"
    text = f"{folder} holds these tables: {seen}; expected {LAYOUT}"
    raise CorpusError(text + "; name the file itself")


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        header, *rows = [row for row in reader if row]
    except (csv.Error, ValueError) as error:
        text = f"{path} is no label file ({error}); expected {LAYOUT}"
        raise CorpusError(text + "; is it empty or cut off?") from error
    wrong = [i for i, row in enumerate(rows, start=1) if len(row) != len(header)]
    if wrong or not rows or len(set(header)) != len(header):
        text = f"{path} has the columns {header}"
        seen = f"and row {wrong[0]} of another length" if wrong else f"and {len(rows)} rows"
        raise CorpusError(f"{text} {seen}; expected {LAYOUT}; mend the file")
    return header, rows


def _label(nominal: list[str]) -> str | None:
    by_name = {name.strip().lower(): name for name in nominal}
    for word in _LABELS:
        if word in by_name:
            return by_name[word]
    return next((name for name in nominal if name not in COLUMNS), None)


def _name(column: str, label: str) -> str:
    """Name a column as a manifest does, and keep others from taking the names that it needs."""
    if column == label:
        return "emotion"
    return f"{column}_given" if column in ("file", "emotion") else column


def _is_number(text: str) -> bool:
    try:
        complex(text)
    except ValueError:
        return False
    return True


DEEPSPECTRUM = Generic(name="deepspectrum", layout=LAYOUT, reading=_read)
