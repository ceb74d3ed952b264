"""A database in audformat, such as audb delivers: the `audformat` reader.

Conventions
-----------
`db.yaml` says which tables there are; `db.TABLE.csv` or `.parquet` hold them, one row a file or a
segment of one. Labels are the columns called `emotion`, or whose scheme is. If there is a table
`emotion`, it is the one that is read; else all tables with such a column are read as one, and the column
`split` tells them apart. Speakers stand in the same table, or in a table of files; their gender in the
same table, or with the scheme `speaker`. Pickled tables are never opened.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from stages.corpora.foreign_table import as_texts, foreign_manifest
from stages.corpora.generic import Generic
from stages.corpora.label_files import read_text, told_first
from stages.corpora.reader import CorpusError, corpus_folder
from stages.corpora.splits import split_of_name
from stages.manifest_table import read_table

LAYOUT = (
    "DIR/db.yaml and DIR/db.TABLE.csv or .parquet, one of the tables with a column 'emotion', or "
    "with one whose scheme is 'emotion'"
)
_INDEX = ["file", "start", "end"]
_GENDERS = ("gender", "sex")

Header = Mapping[str, Any]


def _read(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    path = corpus_folder(folder) / "db.yaml"
    if not path.is_file():
        raise CorpusError(f"{folder} holds no db.yaml; expected {LAYOUT}; check the path")
    header = _header(path)
    chosen, problems = _chosen(header, path)
    frames = [_labelled(folder, header, table, column) for table, column in chosen.items()]
    rows = pd.concat(frames, ignore_index=True).fillna("")
    again = rows.duplicated(subset=_INDEX)
    problems += told_first(rows.loc[again, "file"].tolist(), "row(s) labelled twice, taken once")
    rows = _with_people(rows.loc[~again], folder, header)
    table = pa.Table.from_pandas(rows, preserve_index=False)
    manifest, told = foreign_manifest(table, root=folder, source=str(folder))
    return manifest, problems + told


def _header(path: Path) -> Header:
    try:
        header = yaml.load(read_text(path), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        seen = " ".join(str(error).split())
        text = f"{path} is no YAML ({seen}); expected the header of a database"
        raise CorpusError(text + "; mend it") from error
    if not isinstance(header, dict) or not isinstance(header.get("tables"), dict):
        text = f"{path} names no tables; expected the header of a database"
        raise CorpusError(text + "; is it audformat's?")
    return header


def _section(header: Header, name: str) -> dict[str, dict[str, Any]]:
    """Give one part of the header, by name; what is not of audformat's form is not there."""
    section = header.get(name)
    entries = section.items() if isinstance(section, dict) else ()
    return {str(key): value for key, value in entries if isinstance(value, dict)}


def _word(value: object) -> str:
    """Give a plain value as text: a few bytes of YAML can stand for lists that fill the memory."""
    return str(value) if isinstance(value, str | int | float) else ""


def _columns(entry: Mapping[str, Any]) -> dict[str, str]:
    """Column -> its scheme, empty if it has none."""
    columns = _section(entry, "columns")
    given = entry.get("columns")
    names = [str(name) for name in given] if isinstance(given, dict) else []
    return {name: _word(columns.get(name, {}).get("scheme_id")) for name in names}


def _chosen(header: Header, path: Path) -> tuple[dict[str, str], list[str]]:
    """Choose the tables with labels, and the column of each."""
    tables = _section(header, "tables")
    found = {
        table: columns
        for table, entry in tables.items()
        if (columns := _of_scheme(_columns(entry), "emotion"))
    }
    if not found:
        seen = ", ".join(f"{name} ({', '.join(_columns(tables[name]))})" for name in tables)
        text = f"{path} has no column of emotions; its tables are: {seen or 'none'}"
        raise CorpusError(f"{text}; expected a column or scheme 'emotion'; use the reader 'csv'")
    names = ["emotion"] if "emotion" in found else list(found)
    problems = []
    if len(found) > 1 or len(found[names[0]]) > 1:
        others = [f"{t}/{c}" for t in found for c in found[t] if t not in names or c != found[t][0]]
        read = ", ".join(f"{table}/{found[table][0]}" for table in names)
        problems.append(f"labels are {read}" + (f"; not read: {others}" if others else ""))
    return {table: found[table][0] for table in names}, problems


def _of_scheme(columns: Mapping[str, str], scheme: str) -> list[str]:
    """Give the columns of a scheme, the one that is called like it first."""
    fitting = [name for name, its in columns.items() if scheme in (name, its)]
    return sorted(fitting, key=lambda name: name != scheme)


def _labelled(folder: Path, header: Header, name: str, column: str) -> pd.DataFrame:
    """Read a table, its labels as `emotion`, its speakers as `speaker`."""
    entry = _section(header, "tables")[name]
    frame = _table(folder, name, ["file", column])
    speakers = _of_scheme(_columns(entry), "speaker")
    named = {column: "emotion", **({speakers[0]: "speaker"} if speakers else {})}
    clash = [new for old, new in named.items() if old != new and new in frame.columns]
    frame = frame.drop(columns=clash).rename(columns=named)
    split_id = _word(entry.get("split_id"))
    split = _word(_section(header, "splits").get(split_id, {}).get("type")) or split_id
    if "split" not in frame.columns:
        frame["split"] = split or split_of_name(name)
    for time in _INDEX[1:]:
        if time not in frame.columns:
            frame[time] = ""
    return frame


def _table(folder: Path, name: str, needed: list[str]) -> pd.DataFrame:
    """Read a table as text."""
    paths = [folder / f"db.{name}{suffix}" for suffix in (".csv", ".parquet")]
    path = next((path for path in paths if path.is_file()), None)
    if path is None or "/" in name:
        is_pickled = (folder / f"db.{name}.pkl").is_file()
        remedy = "save it as CSV: a pickle may run code" if is_pickled else "is it whole?"
        text = f"{folder} lacks the table {name!r}; expected {paths[0].name} or .parquet"
        raise CorpusError(f"{text}; {remedy}")
    frame: pd.DataFrame = as_texts(read_table(path)).to_pandas()
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        text = f"{path} lacks the columns {missing} and has {list(frame.columns)}"
        raise CorpusError(text + "; expected those that db.yaml names; is it whole?")
    return frame


def _with_people(rows: pd.DataFrame, folder: Path, header: Header) -> pd.DataFrame:
    """Add who speaks, and their gender, from where the database has it."""
    if "speaker" not in rows.columns:
        speakers = _speakers(folder, header)
        rows = rows.assign(speaker=[speakers.get(file, "") for file in rows["file"]])
    given = next((name for name in _GENDERS if name in rows.columns), None)
    if given:
        return rows.rename(columns={given: "gender"})
    genders = _genders(folder, header)
    return rows.assign(gender=[genders.get(speaker, "") for speaker in rows["speaker"]])


def _speakers(folder: Path, header: Header) -> dict[str, str]:
    """File -> speaker, from the first table of files that has such a column."""
    for name, entry in _section(header, "tables").items():
        columns = _of_scheme(_columns(entry), "speaker")
        if columns and entry.get("type") == "filewise":
            frame = _table(folder, name, ["file", columns[0]])
            return dict(zip(frame["file"], frame[columns[0]], strict=True))
    return {}


def _genders(folder: Path, header: Header) -> dict[str, str]:
    """Speaker -> gender, from the labels of the scheme `speaker`: a list in place, or a table."""
    labels = _section(header, "schemes").get("speaker", {}).get("labels")
    if isinstance(labels, dict):
        return {
            str(speaker): _word(says[name])
            for speaker, says in labels.items()
            if isinstance(says, dict)
            for name in _GENDERS
            if says.get(name)
        }
    name = labels if isinstance(labels, str) else "speaker"
    entry = _section(header, "misc_tables").get(name)
    gender = next((n for n in _GENDERS if n in _columns(entry)), None) if entry else None
    if entry is None or gender is None or not isinstance(entry.get("levels"), dict | list):
        return {}
    level = _word(next(iter(entry["levels"]), "")) or "speaker"
    frame = _table(folder, name, [level, gender])
    return dict(zip(frame[level], frame[gender], strict=True))


AUDFORMAT = Generic(name="audformat", layout=LAYOUT, reading=_read)
