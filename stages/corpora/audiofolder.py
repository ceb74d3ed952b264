"""Folders as Hugging Face's `audiofolder` reads them: the `audiofolder` reader.

Conventions
-----------
Beside the audio, or above it, lies `metadata.csv`, `.jsonl` or `.parquet`, with a column `file_name`
relative to that file; there may be one a split. The label is its column `emotion`, else `label`. Where
there is no metadata, or no such column in it, the label is the name of the folder that a file lies in.
The column `split` is the metadata's own, else what the folders' names say (train, validation, ...).
"""

import os
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa

from stages.corpora.folders import named_audio
from stages.corpora.foreign_table import as_texts, foreign_manifest, holdable
from stages.corpora.generic import Generic
from stages.corpora.label_files import read_json_lines, text_table, told_first
from stages.corpora.reader import CorpusError, corpus_folder
from stages.corpora.splits import split_of_name, split_of_path
from stages.manifest_table import read_table

LAYOUT = (
    "DIR with metadata.csv, .jsonl or .parquet (columns file_name, emotion or label, speaker) "
    "beside the audio, or audio in folders named by class; in folders train, test, ... or not"
)

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_LABELS = ("emotion", "label")
_SPEAKERS = ("speaker", "speaker_id")


def _read(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    files, problems = named_audio(corpus_folder(folder))
    metadata = _metadata(folder)
    if metadata:
        table, told = _by_metadata(metadata, folder, files)
    elif files:
        table, told = text_table([{"file": file} for file in files], source=str(folder)), []
    else:
        text = f"{folder} holds neither metadata nor audio; expected {LAYOUT}"
        raise CorpusError(text + "; check the path")
    table, label_told = _with_labels(table)
    manifest, table_told = foreign_manifest(_with_split(table), root=folder, source=str(folder))
    return manifest, problems + told + label_told + table_told


def _metadata(folder: Path) -> list[Path]:
    found = sorted(path for name in _METADATA for path in folder.rglob(name) if path.is_file())
    hidden = [p for p in found if any(q.startswith(".") for q in p.relative_to(folder).parts)]
    found = [path for path in found if path not in hidden]
    kinds = sorted({path.name for path in found})
    if len(kinds) > 1:
        text = f"{folder} holds metadata of several kinds, {kinds}; expected one kind"
        raise CorpusError(text + "; remove the others")
    return found


def _by_metadata(
    metadata: list[Path], folder: Path, files: list[str]
) -> tuple[pa.Table, list[str]]:
    tables, problems = [], []
    for path in metadata:
        table, told = _table(path, path.parent.relative_to(folder))
        tables.append(table)
        problems += told
    table = as_texts(pa.concat_tables(tables, promote_options="default"))
    unnamed = sorted(set(files) - set(table["file"].to_pylist()))
    problems = list(dict.fromkeys(problems))
    return table, problems + told_first(unnamed, "audio file(s) that no metadata names left out")


def _table(path: Path, place: Path) -> tuple[pa.Table, list[str]]:
    """Read one metadata file, all of it as text, its files relative to the whole folder."""
    if path.suffix == ".jsonl":
        table = text_table(read_json_lines(path), source=str(path))
    else:
        table = read_table(path)
    named = [n for n in table.column_names if n == "file_name" or n.endswith("_file_name")]
    if "file_name" not in named and len(named) != 1:
        text = f"{path} has the columns {table.column_names}; expected one called 'file_name'"
        raise CorpusError(text + "; rename the one that holds the audio paths")
    column = "file_name" if "file_name" in named else named[0]
    table, problems = holdable(table.select([n for n in table.column_names if n != "file"]))
    table = as_texts(table)
    names = [
        os.path.normpath(PurePosixPath(place.as_posix()) / name) if name else ""
        for name in table[column].to_pylist()
    ]
    table = table.drop_columns([column]).append_column("file", pa.array(names, type=pa.string()))
    return table, problems


def _with_labels(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Name the columns of labels and speakers as a manifest does; else ask the folders' names."""
    names = table.column_names
    speaker = next((name for name in _SPEAKERS if name in names), None)
    if speaker:
        table = table.rename_columns({speaker: "speaker"})
    label = next((name for name in _LABELS if name in names), None)
    if label:
        return table.rename_columns({label: "emotion"}), [
            f"labels are the column {label!r}, not {other!r}"
            for other in _LABELS
            if other in names and other != label
        ]
    folders = [PurePosixPath(file).parent.name for file in table["file"].to_pylist()]
    classes = {name for name in folders if name and not split_of_name(name)}
    if len(classes) < 2:
        return table, []
    cells = [name if name in classes else "" for name in folders]
    told = "labels are the names of the folders that files lie in"
    return table.append_column("emotion", pa.array(cells, type=pa.string())), [told]


def _with_split(table: pa.Table) -> pa.Table:
    if "split" in table.column_names:
        return table
    splits = [split_of_path(file) for file in table["file"].to_pylist()]
    return table.append_column("split", pa.array(splits, type=pa.string()))


AUDIOFOLDER = Generic(name="audiofolder", layout=LAYOUT, reading=_read)
