"""Snapshots: what is wanted, as it was when each was published.

One row per (corpus, utterance, view): the manifest's columns, the key of what is wanted, and the
*status* it was in: `LIVE` (its features were there), `PENDING` (they have yet to be made), or the
reason why there were none, with a message in words. Where features are is not a snapshot's matter but
the catalogue's (`features_cache.catalogue`), so that moving them changes no snapshot.

Rows are sorted by utterance_id, corpus and view, in groups of `ROW_GROUP`, so that one utterance is
found without reading the others.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features_cache.key_columns import KEY, from_arrow, hex_of, keys_of, to_arrow
from features_cache.numbered import (
    TableError,
    numbers,
    open_table,
    read_columns,
    read_metadata,
    read_table,
    table_path,
    torn,
    write_table,
)

LIVE, PENDING = "live", "pending"

TRANSIENT = frozenset(
    {
        "io",
        "memory",
        "changed_during_run",
        "missing",
        "permission",
        "not_a_file",
        "empty",
        "damaged",
    }
)
"""Reasons that are not in the bytes and may have passed by the next run: tried again then.

A file that could be hashed and then not be opened was there, whatever the reason says.
"""

DAMAGED = "damaged"
"""State of a row whose features were lost in the store."""

KEY_COLUMNS = ("key", "audio_sha256")

OWN_COLUMNS = ("view", "key", "audio_sha256", "status", "message")
"""Columns that a snapshot adds to the manifest's."""

NOT_LABELS = frozenset({*OWN_COLUMNS, "utterance_id", "corpus", "file", "start", "end"})
"""Columns that are no label: who, where, and what has become of it."""

ORDER = ("utterance_id", "corpus", "view")

REPEATED = ("corpus", "speaker", "session", "gender", "emotion", "view", "status", "message")
"""Columns of few different texts, stored as codes."""

_NUMBERS = ("start", "end")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One published snapshot.

    Attributes
    ----------
    number : 1, 2, 3, ...; 0 stands for the empty store before the first
    parent : number of the snapshot that this one was made from
    recipe_id : recipe of the store
    created : ISO 8601 time, UTC
    audio : corpus -> absolute folder that its files are relative to
    forgotten : how many rows have been taken out since, because a consent was withdrawn
    n_rows : how many rows there are
    file : where the rows are; None for the empty snapshot
    """

    number: int = 0
    parent: int = 0
    recipe_id: str = ""
    created: str = ""
    audio: Mapping[str, str] = field(default_factory=dict)
    forgotten: int = 0
    n_rows: int = 0
    file: Path | None = None

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the rows' columns: the manifest's, and `OWN_COLUMNS`."""
        names = (
            ("utterance_id", "corpus") if self.file is None else read_columns(self.file, self._open)
        )
        return tuple(dict.fromkeys((*names, *OWN_COLUMNS)))

    @functools.cached_property
    def _open(self) -> pa.NativeFile:
        """The file, from the first read on: `forget` replaces it under its number, `gc` removes it."""
        assert self.file is not None
        return open_table(self.file)

    def held(self) -> Self:
        """Open the file now; whatever happens to it, this snapshot can be read."""
        if self.file is not None:
            assert self._open
        return self

    def table(
        self,
        columns: Sequence[str] | None = None,
        *,
        view: str | None = None,
        utterance_id: str | None = None,
    ) -> pa.Table:
        """Read some columns, in the rows' order; a column that is not there reads as empty texts.

        Parameters
        ----------
        columns : names; all by default
        view, utterance_id : only rows of this view, or of this name, without reading all others

        Returns
        -------
        pyarrow.Table
            ``key`` and ``audio_sha256`` as 32 bytes, null for unknown; `start` and `end` as float64;
            repeated texts as dictionaries, other texts as large strings.

        Raises
        ------
        features_cache.numbered.TableError
            The file is torn.
        """
        wanted = self.columns if columns is None else tuple(columns)
        if self.file is None:
            return pa.table({name: pa.array([], kind_of(name)) for name in wanted})
        pairs = (("view", view), ("utterance_id", utterance_id))
        found = self._read(wanted, [(n, "==", value) for n, value in pairs if value is not None])
        return pa.table({name: _column(found, name) for name in wanted})

    def rows(self, columns: Sequence[str] | None = None, **which: str | None) -> pd.DataFrame:
        """Read some columns as `table` does, keys as hexadecimal digits and texts as texts."""
        return as_frame(self.table(columns, **which))

    def _read(self, columns: Sequence[str], filters: list[tuple[str, str, str]]) -> pa.Table:
        assert self.file is not None
        here = read_columns(self.file, self._open)
        return read_table(
            self.file,
            self._open,
            columns=[name for name in columns if name in here] or ["utterance_id"],
            filters=filters or None,
            read_dictionary=[name for name in REPEATED if name in columns],
        )


def is_live(table: pa.Table) -> NDArray[np.bool_]:
    """Mark rows of a snapshot's table whose features were there when it was published."""
    return np.asarray(pc.equal(table["status"].cast(pa.large_string()), LIVE), bool)


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Turn a snapshot's table into a data frame: keys as hexadecimal digits, compact texts."""
    columns: dict[str, pd.Series] = {}
    for name in table.column_names:
        column = table[name]
        if name in KEY_COLUMNS:
            columns[name] = hex_of(from_arrow(column))
        elif name in _NUMBERS:
            columns[name] = pd.Series(column.to_numpy(), dtype="float64")
        else:
            texts = column.cast(pa.large_string()).combine_chunks()
            columns[name] = pd.Series(texts, dtype="str")
    return pd.DataFrame(columns)


def as_table(rows: pd.DataFrame) -> pa.Table:
    """Turn a data frame into a snapshot's table, sorted: text without gaps, keys as bytes.

    Parameters
    ----------
    rows : a manifest's columns, ``key`` and ``status``; without ``view`` they are of `clean`, without
        ``audio_sha256`` nobody knows the files, without ``message`` there is none
    """
    rows = rows.assign(**{n: "" for n in ("audio_sha256", "message") if n not in rows})
    rows = rows if "view" in rows else rows.assign(view="clean")
    columns = {}
    for name in rows.columns:
        if name in KEY_COLUMNS:
            columns[name] = to_arrow(keys_of(rows[name].fillna("")))
        elif name in _NUMBERS:
            columns[name] = pa.array(rows[name].to_numpy("float64"))
        else:
            columns[name] = pa.array(rows[name].astype("str").fillna(""), pa.large_string())
    table = pa.table(columns)
    return table.sort_by([(name, "ascending") for name in ORDER if name in columns])


def read_snapshot(
    folder: Path, number: int | None = None, kind: type[Snapshot] = Snapshot
) -> Snapshot:
    """Open one snapshot, by default the newest; number 0 is the empty one before the first.

    Its rows are read when they are asked for.

    Parameters
    ----------
    folder : of the snapshots
    number : of the one to open
    kind : how its file is read

    Raises
    ------
    features_cache.numbered.TableError
        The snapshot is not there or its file has no whole footer.
    """
    known = numbers(folder)
    if number is None:
        number = max(known, default=0)
    if number == 0:
        return Snapshot()
    path = table_path(folder, number)
    if number not in known:
        message = f"{folder} has no snapshot {number}; expected one of {known}; look at 'emostack store ls'"
        raise TableError(message)
    meta, n_rows = read_metadata(path)
    try:
        return kind(
            number=int(meta["number"]),
            parent=int(meta["parent"]),
            recipe_id=str(meta["recipe_id"]),
            created=str(meta["created"]),
            audio={str(k): str(v) for k, v in meta.get("audio", {}).items()},
            forgotten=int(meta.get("forgotten", 0)),
            n_rows=n_rows,
            file=path,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise torn(path, error) from error


def newest_whole(folder: Path, read: Callable[[int], Snapshot]) -> Snapshot:
    """Open the newest snapshot in a folder whose rows can be read, by `read`; else the empty one."""
    for number in reversed(numbers(folder)):
        try:
            read_table(table_path(folder, number))
            return read(number).held()
        except TableError:  # `verify` tells of it
            continue
    return Snapshot()


def publish_snapshot(folder: Path, parts: Iterable[pa.Table], snapshot: Snapshot) -> Snapshot:
    """Write the next snapshot, atomically.

    Parameters
    ----------
    folder : of the snapshots
    parts : its rows, sorted, `ROW_GROUP` rows each but for the last; at least one part
    snapshot : what it says of itself; its number, time, rows and file are filled in

    Raises
    ------
    FileExistsError
        Somebody else published a snapshot of that number meanwhile.
    """
    number = max(numbers(folder), default=0) + 1
    created = datetime.now(UTC).isoformat(timespec="microseconds")
    return write_snapshot(folder, parts, replace(snapshot, number=number, created=created))


def write_snapshot(
    folder: Path, parts: Iterable[pa.Table], snapshot: Snapshot, *, exclusive: bool = True
) -> Snapshot:
    """Write a snapshot under its own number; see `publish_snapshot`."""
    meta = {
        "format": 2,
        "number": snapshot.number,
        "parent": snapshot.parent,
        "recipe_id": snapshot.recipe_id,
        "created": snapshot.created,
        "audio": dict(sorted(snapshot.audio.items())),
        **({"forgotten": snapshot.forgotten} if snapshot.forgotten else {}),
    }
    path = table_path(folder, snapshot.number)
    write_table(path, parts, meta, repeated=REPEATED, exclusive=exclusive)
    return read_snapshot(folder, snapshot.number)


def kind_of(name: str) -> pa.DataType:
    """Say how a snapshot holds a column, but for texts that are stored as codes."""
    if name in KEY_COLUMNS:
        return pa.binary(KEY.itemsize)
    return pa.float64() if name in _NUMBERS else pa.large_string()


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        return pa.chunked_array([pa.repeat(pa.scalar("", pa.large_string()), len(table))])
    column = table[name]
    is_text = name not in KEY_COLUMNS and name not in _NUMBERS
    if is_text and not pa.types.is_dictionary(column.type):
        return column.cast(pa.large_string())
    return column.unify_dictionaries() if is_text else column
