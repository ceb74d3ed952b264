"""Export to Parquet: one table, one row a segment (or an utterance, where they are pooled)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.sharing.content import Content
from stages.sharing.format import Format

FILE = "features.parquet"
GROUP_BYTES, GROUP_ROWS = 16 * 1024 * 1024, 65_536
"""Bounds of one row group, held in memory at once: bytes of features, and rows."""


def write(content: Content, folder: Path) -> None:
    """Write `FILE`: the manifest's columns, times, and a list of float32 of fixed size.

    A missing end is null; other texts that are not known are empty.
    """
    schema = _schema(content)
    with pq.ParquetWriter(folder / FILE, schema, compression="zstd") as writer:
        for table in _tables(content, schema):
            writer.write_table(table)


def _schema(content: Content) -> pa.Schema:
    texts = [(name, pa.string()) for name in _columns(content)]
    numbers = [
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("segment", pa.int32()),
        ("segment_start", pa.float64()),
        ("segment_end", pa.float64()),
        ("features", pa.list_(pa.float32(), content.feature_dim)),
    ]
    return pa.schema([*texts, *numbers], metadata=content.origin())


def _columns(content: Content) -> list[str]:
    return [name for name in content.manifest if name not in ("start", "end")]


def _tables(content: Content, schema: pa.Schema) -> Iterator[pa.Table]:
    """Make one table a row group; a long utterance may be in several."""
    group_rows = min(GROUP_ROWS, 1 + GROUP_BYTES // (4 * content.feature_dim))
    waiting: list[_Piece] = []
    n_rows = 0
    for piece in _pieces(content, group_rows):
        waiting.append(piece)
        n_rows += len(piece.features)
        if n_rows >= group_rows:
            yield _table(content, waiting, schema)
            waiting, n_rows = [], 0
    if waiting:
        yield _table(content, waiting, schema)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some rows of one utterance: its number, the number of the first row, and what is in them."""

    utterance: int
    segment: int
    features: NDArray[np.floating]
    start: NDArray[np.float64]
    end: NDArray[np.float64]


def _pieces(content: Content, size: int) -> Iterator[_Piece]:
    for utterance, (features, start, end) in enumerate(content.stacks()):
        for first in range(0, len(features), size):
            rows = slice(first, first + size)
            yield _Piece(utterance, first, features[rows], start[rows], end[rows])


def _table(content: Content, pieces: list[_Piece], schema: pa.Schema) -> pa.Table:
    first = pieces[0].utterance
    rows = content.manifest.iloc[first : pieces[-1].utterance + 1]
    row_of = np.repeat([p.utterance - first for p in pieces], [len(p.features) for p in pieces])
    values = np.concatenate([p.features.astype(np.float32, copy=False) for p in pieces])
    segments = [np.arange(p.segment, p.segment + len(p.features)) for p in pieces]
    columns = {
        **{name: pa.array(rows[name], from_pandas=True).take(pa.array(row_of)) for name in rows},
        "segment": np.concatenate(segments).astype(np.int32),
        "segment_start": np.concatenate([p.start for p in pieces]),
        "segment_end": np.concatenate([p.end for p in pieces]),
        "features": pa.FixedSizeListArray.from_arrays(values.ravel(), content.feature_dim),
    }
    return pa.table(columns, schema)


FORMAT = Format(
    name="parquet",
    files="features.parquet is a table; its column features holds a list of numbers a row.",
    snippet="""\
import numpy as np
import pandas as pd

table = pd.read_parquet("features.parquet")
first = table[table["utterance_id"] == table["utterance_id"][0]]
features = np.stack(first["features"].to_list())
""",
    write=write,
    numbers="float32",
)
