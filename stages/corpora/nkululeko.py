"""CSV files as nkululeko reads and writes them: the `nkululeko` reader.

Conventions
-----------
The header is `file,speaker,gender,emotion`, with further columns, or `file,start,end,...` with times
as `0 days 00:00:01.500000`. A corpus may come as several tables, one a split
(`x_train.csv, x_dev.csv, x_test.csv`): they are read as one, and the column `split` keeps them apart.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from stages.corpora.foreign_table import as_texts, foreign_manifest
from stages.corpora.generic import Generic
from stages.corpora.generic_csv import has_files, table_with_files
from stages.corpora.reader import CorpusError, corpus_folder
from stages.corpora.splits import split_of_name

LAYOUT = (
    "a .csv with the columns file, emotion, and where known speaker, gender, start, end; or DIR "
    "with one such table, or with one a split (x_train.csv, x_dev.csv, x_test.csv)"
)


def _read(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    if folder.is_file():
        table = table_with_files(folder)
        return foreign_manifest(table, root=folder.parent, source=str(folder))
    paths = _tables(corpus_folder(folder))
    if len(paths) == 1:
        return foreign_manifest(table_with_files(paths[0]), root=folder, source=str(paths[0]))
    parts = []
    for path in paths:
        part = as_texts(table_with_files(path))
        split = pa.array([split_of_name(path.stem)] * part.num_rows, type=pa.string())
        parts.append(part if "split" in part.column_names else part.append_column("split", split))
    table = as_texts(pa.concat_tables(parts, promote_options="default"))
    manifest, problems = foreign_manifest(table, root=folder, source=str(folder))
    return manifest, [f"read as one: {', '.join(path.name for path in paths)}", *problems]


def _tables(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".csv" and has_files(p))
    splits = [split_of_name(path.stem) for path in paths]
    if len(paths) == 1 or (paths and all(splits) and len(set(splits)) == len(splits)):
        return paths
    seen = [path.name for path in paths] or "none"
    text = f"{folder} holds these tables with a column 'file': {seen}; expected {LAYOUT}"
    raise CorpusError(text + "; name the file itself")


NKULULEKO = Generic(name="nkululeko", layout=LAYOUT, reading=_read)
