"""Any corpus that comes with a table: the `csv` reader."""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from stages.corpora.reader import CorpusError, Sharing, corpus_folder
from stages.manifest_checks import ManifestError, raise_for, validate
from stages.manifest_table import REQUIRED, SUFFIXES, from_table, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class GenericCsv:
    """Reader of a CSV or Parquet table that names the audio files."""

    name: str = "csv"
    layout: str = (
        "DIR with one .csv or .parquet that has a column 'file', or that table itself; "
        "'utterance_id', 'speaker', 'emotion' and the manifest's other columns where known"
    )
    classes: tuple[str, ...] = ()
    licence: str = "that of your corpus"
    sharing: Sharing = "unclear"
    language: str = ""
    citation: str = "that of your corpus"

    def read(self, folder: Path) -> tuple[pd.DataFrame, list[str]]:
        """Read the table; see `Reader.read`.

        Parameters
        ----------
        folder : the folder, or the table in it; files are relative to the folder either way

        Returns
        -------
        (DataFrame, list of str)
            Where there is no column `utterance_id`, names are made from the file's path without its
            suffix, numbered `#1, #2, ...` where rows share it. Told are absent columns, files that
            are not there and files elsewhere.

        Raises
        ------
        CorpusError
            No table, more than one, or one without a column `file`.
        ManifestError
            Rows that no manifest may have; all are listed.
        """
        path = folder if folder.is_file() else _only_table(corpus_folder(folder))
        table = read_table(path)
        if "file" not in table.column_names:
            text = f"{path} has the columns {table.column_names}; expected one called 'file'"
            raise CorpusError(text + "; rename the one that holds the audio paths")
        table, problems = _with_required(table)
        manifest, row_problems = from_table(table, source=str(path))
        row_problems += validate(manifest, root=path.parent, allow_absolute=True)
        raise_for(row_problems, source=str(path))
        return manifest, problems + _file_problems(manifest, path.parent)


def _only_table(folder: Path) -> Path:
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    fitting = [path for path in tables if _has_files(path)]
    if len(fitting) == 1:
        return fitting[0]
    seen = [path.name for path in fitting or tables] or "none"
    which = "more than one table with a column 'file'" if fitting else "no such table"
    text = f"{folder} holds {which} (seen: {seen}); expected exactly one .csv or .parquet"
    raise CorpusError(text + "; name the file itself")


def _has_files(path: Path) -> bool:
    try:
        return "file" in read_table(path).column_names
    except ManifestError:
        return False


def _with_required(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Add the required columns that are absent: names made from files, the others empty."""
    absent = [name for name in REQUIRED if name not in table.column_names]
    problems = []
    for name in absent:
        made = name == "utterance_id"
        cells = _names(table["file"].to_pandas()) if made else [""] * table.num_rows
        table = table.append_column(name, pa.array(cells, type=pa.string()))
        problems.append(f"no column {name!r}: {'made from file' if made else 'left empty'}")
    return table, problems


def _names(files: pd.Series) -> list[str]:
    stems = files.fillna("").astype(str).str.replace(r"(?<=[^/.])\.[^/.]*$", "", regex=True)
    shared = stems.duplicated(keep=False) & (stems != "")
    numbers = stems.groupby(stems).cumcount() + 1
    names: list[str] = stems.where(~shared, stems + "#" + numbers.astype(str)).tolist()
    return names


def _file_problems(manifest: pd.DataFrame, root: Path) -> list[str]:
    files = pd.unique(manifest["file"]).tolist()
    missing = [file for file in files if not (root / file).is_file()]
    problems = []
    if missing:
        text = f"{len(missing)} of {len(files)} files are not there, the first: {missing[0]!r}"
        problems.append(text)
    base = os.path.normpath(root.absolute()).rstrip("/") + "/"
    elsewhere = [file for file in files if file.startswith("/") and not file.startswith(base)]
    if elsewhere:
        text = f"{len(elsewhere)} files are absolute and outside {root}; such a manifest is read"
        problems.append(text + f" only where that is allowed, the first: {elsewhere[0]!r}")
    return problems
