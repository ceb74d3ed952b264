"""Export to audformat: a database of labels and features that `audformat.Database.load` opens.

Conventions
-----------
audformat knows an utterance by its file and its place in it. Where every file is one utterance the
tables `emotion` and `files` are filewise, else segmented. Files that several utterances share without
saying where (times are left out of an export without names) get the form ``file/utterance_id``; files
of several corpora stand below the corpus' name.

The tables `features` and `segments` have one row a segment: its numbers, a column each, and the
utterance that it is of. Parquet's footer, which is in memory until a file is whole, has an entry for each
column of each group of rows: of many segments there are several tables of features, one after the other.
Tables are Parquet, since CSV cannot tell an empty name from a missing one.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.sharing import audformat_header as header
from stages.sharing.content import Content
from stages.sharing.format import ExportError, Format

AUDFORMAT = {"audformat-version": "1.4.0"}
"""The version whose types these tables have; they carry no hash, so that their bytes count."""

GROUP_BYTES, GROUP_ROWS = 64 * 1024 * 1024, 65_536
"""Bounds of one row group, held in memory at once: bytes of features, and rows."""

TABLE_ENTRIES = 65_536
"""Columns times groups of rows in one table of features; each costs two kilobytes of memory."""

_WHERE = [("file", pa.string()), ("start", pa.duration("ns")), ("end", pa.duration("ns"))]
_TEXTS = ("utterance_id", "corpus", "speaker", "session", "gender")


def write(content: Content, folder: Path) -> None:
    """Write ``db.yaml`` and one Parquet file a table.

    Raises
    ------
    ExportError
        Two utterances are the same part of one file.
    """
    places = _places(content.manifest)
    is_filewise = bool((places["start"] == 0).all() and places["end"].isna().all())
    features = _feature_tables(content)
    text = header.header(content, files=places["file"], is_filewise=is_filewise, features=features)
    (folder / "db.yaml").write_text(text, encoding="utf-8")
    for name, columns in (("emotion", ("emotion",)), ("files", _TEXTS)):
        where = _WHERE[: 1 if is_filewise else 3]
        cells = [_times(places[key]) if key != "file" else places[key] for key, _ in where]
        cells += [content.manifest[c].mask(content.manifest[c] == "") for c in columns]
        schema = pa.schema([*where, *((c, pa.string()) for c in columns)], metadata=AUDFORMAT)
        arrays = [_array(cell, kind) for cell, kind in zip(cells, schema.types, strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), _path(folder, name))
    _write_segments(content, places, folder, features)


def _group_rows(content: Content) -> int:
    return min(GROUP_ROWS, 1 + GROUP_BYTES // (4 * content.feature_dim))


def _groups_a_table(content: Content) -> int:
    return max(1, TABLE_ENTRIES // content.feature_dim)


def _feature_tables(content: Content) -> list[str]:
    """Name the tables of features, in the order of their rows and of their names alike."""
    n_groups = -(-int(content.n_rows.sum()) // _group_rows(content))
    n = -(-n_groups // _groups_a_table(content))
    return ["features"] if n == 1 else [f"features-{i:0{len(str(n - 1))}}" for i in range(n)]


def _path(folder: Path, table: str) -> Path:
    return folder / f"db.{table}.parquet"


def _places(manifest: pd.DataFrame) -> pd.DataFrame:
    """Give each utterance a file, a start and an end that no other has."""
    places = manifest[["file", "start", "end"]].assign(file=_files(manifest))
    is_whole = (places["start"] == 0) & places["end"].isna()
    again = is_whole & places.duplicated(["file", "start", "end"], keep=False)
    named = places["file"] + "/" + manifest["utterance_id"]
    places["file"] = places["file"].where(~again, named)
    _refuse_twice(places, manifest["utterance_id"])
    return places


def _refuse_twice(places: pd.DataFrame, names: pd.Series) -> None:
    twice = names[places.duplicated()]
    if twice.empty:
        return
    comparable = places.fillna({"end": -1.0})
    place = comparable.loc[twice.index[0]]
    first = names[(comparable == place).all(axis=1)].iloc[0]
    message = (
        f"utterances {first!r} and {twice.iloc[0]!r} would be the same part of {place['file']!r}; "
        "expected each part of a file once, since audformat has no other name for an utterance; "
        "leave one out"
    )
    raise ExportError(message)


def _files(manifest: pd.DataFrame) -> pd.Series:
    """Keep files of several corpora apart: two of them may name their files alike."""
    files, corpus = manifest["file"], manifest["corpus"]
    return files if corpus.nunique() < 2 else files.mask(corpus != "", corpus + "/" + files)


def _times(seconds: NDArray[np.float64] | pd.Series) -> NDArray[np.timedelta64]:
    """Seconds to nanoseconds; NaN to "not a time"."""
    seconds = np.asarray(seconds)
    whole = np.rint(np.nan_to_num(seconds) * 1e9).astype("timedelta64[ns]")
    return np.where(np.isnan(seconds), np.timedelta64("NaT", "ns"), whole)


def _write_segments(
    content: Content, places: pd.DataFrame, folder: Path, tables: Sequence[str]
) -> None:
    narrow = pa.schema([*_WHERE, ("utterance_id", pa.string())], metadata=AUDFORMAT)
    names = content.manifest["utterance_id"]
    blocks = _blocks(content, places)
    with pq.ParquetWriter(_path(folder, "segments"), narrow) as segments:
        for table in tables:
            with _writer(content, _path(folder, table)) as features:
                for where, owners, columns in islice(blocks, _groups_a_table(content)):
                    own = _array(names.iloc[owners], pa.string())
                    rows = pa.Table.from_arrays([*where, *columns], schema=features.schema)
                    features.write_table(rows)
                    segments.write_table(pa.Table.from_arrays([*where, own], schema=narrow))


def _writer(content: Content, path: Path) -> pq.ParquetWriter:
    numbers = [(name, pa.float32()) for name in content.feature_names]
    return pq.ParquetWriter(
        path,
        pa.schema([*_WHERE, *numbers], metadata=AUDFORMAT),
        compression="zstd",
        use_dictionary=["file"],
        # Numbers of features hardly repeat, but their bytes do, taken apart by place.
        use_byte_stream_split=list(content.feature_names),
        write_statistics=False,
    )


def _blocks(
    content: Content, places: pd.DataFrame
) -> Iterator[tuple[list[pa.Array], NDArray[np.int64], list[pa.Array]]]:
    """Gather rows into groups: where they are, whose they are, and their features by column."""
    size = min(int(content.n_rows.sum()), _group_rows(content))
    values = np.empty((content.feature_dim, size), np.float32)
    owners, times, filled = np.empty(size, np.int64), np.empty((2, size)), 0
    for number, (features, *own_times) in enumerate(content.stacks()):
        done = 0
        while done < len(features):
            n = min(size - filled, len(features) - done)
            own, block = slice(done, done + n), slice(filled, filled + n)
            values[:, block] = features[own].T
            times[:, block] = [each[own] for each in own_times]
            owners[block] = number
            done, filled = done + n, filled + n
            if filled == size:
                yield _block(places, owners, times, values)
                filled = 0
    if filled:
        yield _block(places, owners[:filled], times[:, :filled], values[:, :filled])


def _block(
    places: pd.DataFrame,
    owners: NDArray[np.int64],
    times: NDArray[np.float64],
    values: NDArray[np.float32],
) -> tuple[list[pa.Array], NDArray[np.int64], list[pa.Array]]:
    files, begins = places["file"].iloc[owners], places["start"].to_numpy()[owners]
    where = [_array(files, pa.string()), *(pa.array(_times(begins + each)) for each in times)]
    return where, owners, [pa.array(column) for column in values]


def _array(cells: pd.Series | NDArray[np.timedelta64], kind: pa.DataType) -> pa.Array:
    """Make a column of one piece; what is missing is null."""
    array = pa.array(cells, kind, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


FORMAT = Format(
    name="audformat",
    files=(
        "An audformat database: db.yaml, the tables emotion and files, and features, a row a segment "
        "and a column a number; segments says which utterance each row of it is of. Of many segments "
        "there are several tables, features-0, features-1 and so on, whose rows follow each other."
    ),
    snippet="""\
import audformat
import pandas as pd

database = audformat.Database.load(".")
owners = database["segments"]["utterance_id"].get().to_numpy()
rows = pd.concat([database[name].get() for name in database.tables if name.startswith("features")])
features = rows[owners == owners[0]].to_numpy()
""",
    write=write,
    numbers="float32",
)
