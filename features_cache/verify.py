"""Is the store whole? Quick: files, attributes and index. Full: every byte that a reader gets."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from features_cache.catalogue import read_catalogue
from features_cache.examiner import Examiner, ExaminerError
from features_cache.index_file import index_numbers, index_shards
from features_cache.key_columns import Keys, from_arrow, hex_of, keys_of
from features_cache.keys import file_sha256
from features_cache.numbered import TableError, numbers, read_metadata, read_table, table_path
from features_cache.shard_reading import ShardContent, examine
from features_cache.snapshot import is_live, newest_whole
from features_cache.store import Store

N_NAMES = 3
"""Utterances that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreProblem:
    """One thing that is wrong with a store.

    Attributes
    ----------
    code : ``torn_snapshot``, ``torn_catalogue``, ``missing_shard``, ``torn_shard``,
        ``foreign_shard``, ``wrong_rows``, ``changed_shard``, ``damaged_utterance``, ``no_place`` (a
        live row whose features are nowhere) or ``stale_index``
    message : what was seen, in words
    shard : the shard file's name, if it is about one
    utterance_ids : all who are hit, by the names that the newest whole snapshot gives them
    keys : their keys, hexadecimal, as the catalogue has them
    table : file of the snapshot or of the catalogue's version, if it is about one
    """

    code: str
    message: str
    shard: str = ""
    utterance_ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    table: Path | None = None


def verify(
    folder: Path, *, full: bool = False, examiner: Examiner | None = None
) -> Iterator[StoreProblem]:
    """Yield everything that is wrong with a store.

    Retired shards are passed over. Those of a run that was killed before it could publish are looked
    at, but are nothing wrong in themselves.

    Parameters
    ----------
    folder : the store's folder; its newest snapshot and catalogue that can be read are the measure
    full : read every row of every table and shard and compare checksums, too
    examiner : who looks into shards that may be damaged; one of its own by default

    Raises
    ------
    features_cache.store.StoreError
        There is no store.
    features_cache.examiner.ExaminerError
        The process that looks into damaged shards cannot be started.
    """
    before = _newest(folder)
    index = folder / "store.h5"
    shown = index_numbers(index) if index.exists() else (0, 0)
    store = open_whole(folder)
    for problem in _problems(store, examiner, full=full):
        if _is_still_there(store, problem):
            yield problem
    if _newest(folder) == before:  # else a writer was at work, and is none of these
        yield from _without_place(store)
        yield from _stale_index(index, shown, store)


def _newest(folder: Path) -> tuple[list[int], ...]:
    """Numbers of the newest snapshot and version of the catalogue on disk."""
    return tuple(numbers(folder / part)[-1:] for part in ("snapshots", "catalogue"))


def _is_still_there(store: Store, problem: StoreProblem) -> bool:
    """Whether a missing file is one that a writer has not removed meanwhile, as it may."""
    if problem.table is not None:
        return problem.table.exists()
    is_there = (store.shards_folder / problem.shard).exists()
    if store.format == 1 or not problem.shard or is_there:
        return True
    return problem.shard in read_catalogue(store.catalogue_folder).shards


def _problems(store: Store, examiner: Examiner | None, *, full: bool) -> Iterator[StoreProblem]:
    """Yield what is wrong with tables and shards, as far as nobody writes meanwhile."""
    yield from torn_tables(store, full=full)
    names = _Names(store)
    with ExitStack() as stack:
        examiner = examiner or stack.enter_context(Examiner())
        rows, none = store.catalogue.by_shard(), np.zeros(0, np.int64)
        for name in sorted({*store.catalogue.shards, *store.unknown_shards()}):
            check = _ShardCheck(store, name, rows.get(name, none), names, full=full)
            yield from check.problems(examiner)


def _without_place(store: Store) -> Iterator[StoreProblem]:
    rows = store.snapshot.table(["utterance_id", "key", "status"])
    rows = rows.filter(pa.array(is_live(rows)))
    keys = from_arrow(rows["key"])
    lost = np.flatnonzero(~store.catalogue.places(keys).is_there)
    if len(lost):
        ids = rows["utterance_id"].take(lost).to_pylist()
        who = list(zip(ids, hex_of(keys[lost]), strict=True))
        yield _problem("no_place", "no shard has their features", who)


def _stale_index(index: Path, shown: tuple[int, int], store: Store) -> Iterator[StoreProblem]:
    """Tell if ``store.h5`` is of no use.

    A run that is killed after it published leaves it at what was before: behind, but whole, since
    nothing that it names is deleted before it is rewritten; the next run brings it up.

    Parameters
    ----------
    index, shown : the file, and the numbers it shows: of a snapshot and a catalogue, zeros if it
        cannot be read
    store : as it is now
    """
    snapshot, catalogue = store.snapshot.number, store.catalogue.number
    if not snapshot or (store.snapshot.parent == 0 and not index.exists()):
        return
    if not (0 < shown[0] <= snapshot and shown[1] <= catalogue):
        seen = f"it shows snapshot {shown[0]} and catalogue {shown[1]}"
        message = f"{seen}, the newest whole ones are {snapshot} and {catalogue}"
        yield StoreProblem(code="stale_index", message=f"store.h5: {message}")
        return
    known = store.shards | {*store.catalogue.shards}
    gone = [name for name in index_shards(index) if name not in known]
    if gone:
        message = f"store.h5 names {len(gone)} shards that are not there (first: {gone[0]})"
        yield StoreProblem(code="stale_index", message=message)


def open_whole(folder: Path) -> Store:
    """Open a store by its newest snapshot and catalogue whose rows can be read."""
    store = Store(folder, snapshot=0)
    store.snapshot = newest_whole(store.snapshots_folder, store.read_snapshot)
    if store.format > 1:
        store.catalogue = read_catalogue(store.catalogue_folder, whole=True)
    return store


def torn_tables(store: Store, *, full: bool) -> Iterator[StoreProblem]:
    """Yield the tables whose footer cannot be read; nor rows: the newest's, or in full all."""
    for code, folder in (
        ("torn_snapshot", store.snapshots_folder),
        ("torn_catalogue", store.catalogue_folder),
    ):
        known = numbers(folder)
        for number in known:
            path = table_path(folder, number)
            try:
                read_metadata(path)
                if full or number == known[-1]:
                    read_table(path)
            except TableError as error:
                yield StoreProblem(code=code, message=str(error), table=path)


class _Names:
    """What the snapshot calls the utterances that have some key."""

    def __init__(self, store: Store) -> None:
        rows = store.snapshot.table(["key", "utterance_id"])
        keys = from_arrow(rows["key"])
        order = np.argsort(keys, kind="stable")
        self._keys, self._ids = keys[order], rows["utterance_id"].take(order)

    def of(self, keys: Keys) -> Iterator[list[str]]:
        """Yield the names of each key, sorted."""
        spans = (np.searchsorted(self._keys, keys, side) for side in ("left", "right"))
        for first, last in zip(*spans, strict=True):
            yield sorted(set(self._ids.slice(first, last - first).to_pylist()))


class _ShardCheck:
    """One shard against what the catalogue says of it."""

    def __init__(
        self, store: Store, name: str, rows: np.ndarray, names: _Names, *, full: bool
    ) -> None:
        self._store, self._name, self._full = store, name, full
        self._path = store.shards_folder / name
        keys = store.catalogue.keys[rows]
        columns = (store.catalogue.rows[c].take(rows).to_pylist() for c in ("row_start", "row_end"))
        self._places = list(zip(hex_of(keys), *columns, strict=True))
        self._names = names

    def problems(self, examiner: Examiner) -> Iterator[StoreProblem]:
        if not self._path.exists():
            yield self._all("missing_shard", "the file is not there")
            return
        recorded = self._store.catalogue.shards.get(self._name, "")
        try:
            as_recorded = bool(self._full and recorded and file_sha256(self._path) == recorded)
            look = examine if as_recorded else examiner.examine
            content = look(self._path, full=self._full)
        except ExaminerError:
            raise
        except OSError as error:
            yield self._all("torn_shard", str(error))
            return
        is_changed = bool(self._full and recorded) and not as_recorded
        if not is_changed and self._is_foreign(content):
            yield self._all("foreign_shard", f"made by recipe {content.header.recipe_id}")
            return
        found = [*self._damaged(content)]
        yield from found
        if is_changed and not found:
            message = "the file's bytes are not those that the catalogue recorded"
            yield StoreProblem(code="changed_shard", shard=self._name, message=message)

    def _is_foreign(self, content: ShardContent) -> bool:
        header, store = content.header, self._store
        is_of_another = store.recipe_id not in ("", header.recipe_id)
        return is_of_another or header.recipe_json != store.recipe_json

    def _damaged(self, content: ShardContent) -> Iterator[StoreProblem]:
        """Tell whose features are not what the catalogue and the checksums say."""
        at = {(entry.row_start, entry.row_end): i for i, entry in enumerate(content.entries)}
        damaged, wrong, told = [], [], set()
        for key, *place in self._places:
            i = at.get((place[0], place[1]), -1)
            if i in content.damaged:
                damaged.append(key)
                told.add(i)
            elif i < 0 or content.entries[i].key != key:
                wrong.append(key)
        rest = [content.entries[i] for i in sorted(content.damaged - told)]
        others = [entry for entry in rest if entry.key not in wrong]
        hints = {entry.key: entry.utterance_id for entry in others}
        if damaged or others:
            who = [*damaged, *hints]
            yield self._about("damaged_utterance", "not what was written (checksum)", who, hints)
        if wrong:
            yield self._about("wrong_rows", "not where the catalogue says", wrong)

    def _all(self, code: str, message: str) -> StoreProblem:
        return self._about(code, message, [key for key, *_ in self._places])

    def _about(
        self, code: str, message: str, keys: Sequence[str], hints: Mapping[str, str] | None = None
    ) -> StoreProblem:
        """Make a problem of some keys; `hints` name those of which the snapshot has no name."""
        found = zip(keys, self._names.of(keys_of(list(keys))), strict=True)
        names = [(n, key) for key, ids in found for n in ids or [(hints or {}).get(key, "")]]
        return _problem(code, message, names, self._name)


def _problem(
    code: str, message: str, who: Sequence[tuple[str, str]], shard: str = ""
) -> StoreProblem:
    """Make a problem of some (utterance_id, key)."""
    ids = tuple(sorted({name for name, _ in who if name}))
    names = ", ".join(map(repr, ids[:N_NAMES])) + (", ..." if len(ids) > N_NAMES else "")
    count = f"{len(ids)} utterance{'s' * (len(ids) != 1)}"
    return StoreProblem(
        code=code,
        shard=shard,
        utterance_ids=ids,
        keys=tuple(dict.fromkeys(key for _, key in who)),
        message=f"{message}; {count}{': ' * bool(ids)}{names}",
    )
