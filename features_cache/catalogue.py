"""The catalogue: what exists.

One row per key, sorted by it: either a *place*, which is some rows of a shard, or the *reason* why
there are no features, which lies in the audio's bytes. What is wanted is another matter, and a
snapshot's (`features_cache.snapshot`). Nothing in a catalogue is lost with it: it can be made again
from the shards.

A catalogue is immutable. Its versions are numbered; the newest whole one counts.
"""

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features_cache.key_columns import KEY, Keys, find_keys, from_arrow, to_arrow
from features_cache.lookup import coded, plain
from features_cache.numbered import in_parts, numbers, read_metadata, table_path, torn, write_table
from features_cache.places import Places

_CODES = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        ("key", pa.binary(KEY.itemsize)),
        ("shard", _CODES),
        ("row_start", pa.int64()),
        ("row_end", pa.int64()),
        ("reason", _CODES),
        ("message", _CODES),
        ("made_by", _CODES),
    ]
)
"""Columns of a catalogue. `shard` is empty where there is a `reason`; `made_by` where nobody knows."""

KEPT = 2
"""Versions that stay on disk: the newest, and one to fall back on."""

UNTOLD = 10**8
"""`Catalogue.for_snapshot` of what a killed run has left: above the number of any snapshot."""

FEW = 64
"""So few keys are looked up in the file, without reading all of it."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What exists, by key.

    Attributes
    ----------
    number : of this version; 0 for none
    recipe_id : of the store
    shards : shard file name -> hexadecimal SHA-256 of the file, of every shard that a row names;
        empty where it has not been hashed yet
    retired : names of shards on disk that no row names any more
    for_snapshot : number of the snapshot that was to be published next, by whoever added to it; while
        there is none of that number, that run was killed, and nobody knows what it wanted. `UNTOLD`
        once somebody else has published since
    """

    number: int = 0
    recipe_id: str = ""
    shards: Mapping[str, str] = field(default_factory=dict)
    retired: tuple[str, ...] = ()
    for_snapshot: int = 0
    _rows: pa.Table | None = None
    _file: pq.ParquetFile | None = None
    _folder: str = ""

    @functools.cached_property
    def rows(self) -> pa.Table:
        """The rows: `SCHEMA`, sorted by key, each key once.

        Raises
        ------
        features_cache.numbered.TableError
            The file is torn.
        """
        if self._rows is not None:
            return self._rows
        if self._file is None:
            return SCHEMA.empty_table()
        return self._read(range(self._file.num_row_groups))

    @functools.cached_property
    def keys(self) -> Keys:
        """The rows' keys, sorted."""
        return from_arrow(self.rows["key"])

    @property
    def is_place(self) -> Mask:
        """Marks the rows that are places."""
        return ~_is_in(self.rows["shard"], ("",))

    def texts(self, name: str) -> NDArray[np.object_]:
        """One of the text columns, as an array of str."""
        return np.asarray(self.rows[name].combine_chunks().cast(pa.string()).to_numpy(False))

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Tell which row each key has; -1 for none."""
        return find_keys(keys, self.keys)

    def places(self, keys: Keys) -> Places:
        """Give the place of each key; where there is none, no rows of a shard without a name."""
        if self._is_unread and len(keys) <= FEW:
            rows = self._rows_of(keys)
            at = find_keys(keys, from_arrow(rows["key"]))
        else:
            rows, at = self.rows, self.find(keys)
        columns = ["shard", "row_start", "row_end"]
        found = rows.select(columns).take(pa.array(at[at >= 0]))
        if len(found) < len(at):
            # One row more, for those that are nowhere.
            nowhere = catalogue_rows(np.zeros(1, KEY)).select(columns)
            rank = np.where(at < 0, len(found), np.cumsum(at >= 0) - 1)
            both = pa.concat_tables([found, nowhere]).unify_dictionaries()
            found = both.take(pa.array(rank))
        found = found.combine_chunks()
        return Places(
            shard=pd.Categorical.from_codes(*coded(found["shard"])),
            row_start=np.asarray(found["row_start"]),
            row_end=np.asarray(found["row_end"]),
            keys=keys,
        )

    @property
    def is_published(self) -> bool:
        """Whether it is as a version on disk has it, as far as anybody has changed it here."""
        return self._file is not None

    @property
    def _is_unread(self) -> bool:
        return self._file is not None and "rows" not in vars(self)

    def _rows_of(self, keys: Keys) -> pa.Table:
        """Read the row groups that may hold some keys."""
        assert self._file is not None
        sought = np.sort(keys)
        groups = []
        for group in range(self._file.num_row_groups):
            span = self._file.metadata.row_group(group).column(0).statistics
            if span is not None and span.has_min_max:
                low, high = (np.array(each, KEY) for each in (span.min, span.max))
                if np.searchsorted(sought, low) == np.searchsorted(sought, high, "right"):
                    continue
            groups.append(group)
        return self._read(groups)

    def _read(self, groups: Iterable[int]) -> pa.Table:
        assert self._file is not None
        try:
            table = self._file.read_row_groups(
                list(groups), columns=SCHEMA.names, use_threads=False
            )
            return (
                table.replace_schema_metadata().cast(SCHEMA).unify_dictionaries().combine_chunks()
            )
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise torn(table_path(Path(self._folder), self.number), error) from error

    def only(self, mask: Mask) -> "Catalogue":
        """Leave out rows."""
        if mask.all():
            return self
        return replace(self, _rows=self.rows.filter(pa.array(mask)), _file=None)

    def without(self, keys: Keys) -> "Catalogue":
        """Leave out some keys."""
        mask = np.ones(len(self.keys), bool)
        at = self.find(keys)
        mask[at[at >= 0]] = False
        return self.only(mask)

    def with_retired(self, names: Collection[str]) -> "Catalogue":
        """Let it know of shards that no row names."""
        shards = {name: sha256 for name, sha256 in self.shards.items() if name not in names}
        retired = (*self.retired, *names)
        return replace(self, shards=shards, retired=retired, _rows=self.rows, _file=None)

    def plus(self, rows: pa.Table, shards: Mapping[str, str] | None = None) -> "Catalogue":
        """Add rows; of a key that is there already, the new row counts, of a doubled one the last.

        Parameters
        ----------
        rows : `SCHEMA`, in any order
        shards : name -> SHA-256 of shards that are new
        """
        if not len(rows):
            return self
        added = from_arrow(rows["key"])
        last = np.argsort(added, kind="stable")
        last = last[np.append(added[last][1:] != added[last][:-1], True)]
        n = len(self.keys)
        order = np.insert(np.arange(n), np.searchsorted(self.keys, added[last]), n + last)
        at = self.find(added[last])
        is_replaced = np.zeros(n + len(added), bool)
        is_replaced[at[at >= 0]] = True
        both = pa.concat_tables([self.rows, rows]).unify_dictionaries()
        return replace(
            self,
            shards={**self.shards, **(shards or {})},
            _rows=both.take(pa.array(order[~is_replaced[order]])).combine_chunks(),
            _file=None,
        )

    def made_by(self, decoders: Collection[str]) -> Mask:
        """Mark rows that one of some decoders' revisions has made."""
        return _is_in(self.rows["made_by"], decoders)

    def in_shards(self, names: Collection[str]) -> Mask:
        """Mark places in some shards."""
        return _is_in(self.rows["shard"], names)

    def has_rows_of(self, other: "Catalogue") -> bool:
        """Whether the rows of another one say the same."""
        pairs = zip(in_parts(self.rows), in_parts(other.rows), strict=False)
        is_same = (plain(mine).equals(plain(theirs)) for mine, theirs in pairs)
        return len(self.rows) == len(other.rows) and all(is_same)

    def by_shard(self) -> dict[str, NDArray[np.int64]]:
        """Say which rows, ascending, name each shard."""
        codes, names = coded(self.rows["shard"])
        order = np.argsort(codes, kind="stable")
        parts = np.split(order, np.searchsorted(codes[order], np.arange(1, max(1, len(names)))))
        return {name: part for name, part in zip(names, parts, strict=False) if name and len(part)}

    def named_shards(self) -> set[str]:
        """Names of the shards that rows name."""
        return set(self.rows["shard"].unique().to_pylist()) - {""}


def catalogue_rows(
    keys: Keys,
    *,
    shard: Sequence[str] | str = "",
    row_start: Sequence[int] | int = 0,
    row_end: Sequence[int] | int = 0,
    reason: Sequence[str] | str = "",
    message: Sequence[str] | str = "",
    made_by: Sequence[str] | str = "",
) -> pa.Table:
    """Make rows of a catalogue; what all of them share may be given once."""
    given = {
        "shard": shard,
        "row_start": row_start,
        "row_end": row_end,
        "reason": reason,
        "message": message,
        "made_by": made_by,
    }
    columns: dict[str, Any] = {"key": to_arrow(keys)}
    for name, values in given.items():
        kind = SCHEMA.field(name).type
        is_one = isinstance(values, str | int)
        plain = pa.string() if kind == _CODES else kind
        column = (
            pa.repeat(pa.scalar(values, plain), len(keys)) if is_one else pa.array(values, plain)
        )
        columns[name] = column.dictionary_encode().cast(_CODES) if kind == _CODES else column
    return pa.table(columns, schema=SCHEMA)


def read_catalogue(folder: Path, *, whole: bool = False) -> Catalogue:
    """Open the newest version in a folder whose footer is whole; without one, nothing is known.

    Its rows are read when they are first asked for, even if a writer has removed the file by then.

    Parameters
    ----------
    folder : of the versions
    whole : read the rows now, and pass over a version whose rows are torn
    """
    known = numbers(folder)
    for number in reversed(known):
        path = table_path(folder, number)
        try:
            meta, _ = read_metadata(path)
            found = Catalogue(
                number=int(meta["number"]),
                recipe_id=str(meta["recipe_id"]),
                shards={str(k): str(v) for k, v in meta["shards"].items()},
                retired=tuple(map(str, meta["retired"])),
                for_snapshot=int(meta.get("for_snapshot", 0)),
                _file=pq.ParquetFile(path),
                _folder=str(folder),
            )
            if whole:
                assert found.rows is not None
            return found
        except (OSError, KeyError, TypeError, AttributeError, pa.ArrowException):
            continue  # `verify` tells of it
    # A writer may have removed all that were there: then there are newer ones.
    return Catalogue() if numbers(folder) == known else read_catalogue(folder, whole=whole)


def publish_catalogue(folder: Path, catalogue: Catalogue) -> Catalogue:
    """Write the next version, atomically, and remove those that are older than the one before it.

    Parameters
    ----------
    folder : of the versions
    catalogue : whose `shards` are exactly those that its rows name
    """
    known = numbers(folder)
    number = max(known, default=0) + 1
    meta = {
        "format": 2,
        "number": number,
        "recipe_id": catalogue.recipe_id,
        "shards": dict(sorted(catalogue.shards.items())),
        "retired": sorted(catalogue.retired),
        "for_snapshot": catalogue.for_snapshot,
    }
    codes = [each.name for each in SCHEMA if each.type == _CODES]
    write_table(table_path(folder, number), in_parts(catalogue.rows), meta, repeated=codes)
    for old in known[: len(known) + 1 - KEPT]:
        table_path(folder, old).unlink(missing_ok=True)
    return replace(catalogue, number=number)


def _is_in(column: pa.ChunkedArray, texts: Collection[str]) -> Mask:
    codes, known = coded(column)
    return np.array([text in texts for text in known], bool)[codes]
