"""Any corpus that comes with a table: the `csv` reader, for CSV, TSV and Parquet."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from stages.corpora.foreign_table import TABLE_SUFFIXES, foreign_manifest
from stages.corpora.generic import Generic
from stages.corpora.reader import CorpusError, corpus_folder
from stages.manifest_checks import ManifestError
from stages.manifest_table import read_table


def _read(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read a folder's only table with a column `file`, or that table; files are relative to it."""
    path = folder if folder.is_file() else only_table(corpus_folder(folder))
    return foreign_manifest(table_with_files(path), root=path.parent, source=str(path))


def only_table(folder: Path) -> Path:
    """Find the one table in a folder that has a column `file`.

    Raises
    ------
    CorpusError
        There is none, or more than one.
    """
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    fitting = [path for path in tables if has_files(path)]
    if len(fitting) == 1:
        return fitting[0]
    seen = [path.name for path in fitting or tables] or "none"
    which = "more than one table with a column 'file'" if fitting else "no such table"
    text = f"{folder} holds {which} (seen: {seen}); expected exactly one .csv, .tsv or .parquet"
    raise CorpusError(text + "; name the file itself")


def table_with_files(path: Path) -> pa.Table:
    """Read a table and see that it names files.

    Raises
    ------
    CorpusError
        It has no column `file`.
    """
    table = read_table(path, suffixes=TABLE_SUFFIXES)
    if "file" not in table.column_names:
        text = f"{path} has the columns {table.column_names}; expected one called 'file'"
        raise CorpusError(text + "; rename the one that holds the audio paths")
    return table


def has_files(path: Path) -> bool:
    """Tell whether a path is that of a table with a column `file`."""
    try:
        return "file" in read_table(path, suffixes=TABLE_SUFFIXES).column_names
    except ManifestError:
        return False


CSV = Generic(
    name="csv",
    layout=(
        "DIR with one .csv, .tsv or .parquet that has a column 'file', or that table itself; "
        "'utterance_id', 'speaker', 'emotion' and the manifest's other columns where known"
    ),
    reading=_read,
)
