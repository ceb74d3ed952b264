"""Forgetting utterances whose consent was withdrawn: nothing of them stays in a store.

A recording is forgotten, under every name that it has: its keys leave the catalogue, its features the
shards, its rows every snapshot. Other features of the same shards are copied. What goes first is what
matters most, the features; the rows, by which the rest is found, go last, so that forgetting that was
killed is finished by asking for it again.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features_cache.atomic import sync_file
from features_cache.key_columns import (
    NO_KEY,
    Keys,
    content_keys,
    find_keys,
    from_arrow,
    hex_of,
    keys_of,
)
from features_cache.numbered import in_parts, numbers, table_path
from features_cache.repair import DAMAGED_FOLDER
from features_cache.rewrite import make_batches, rewrite
from features_cache.shard import ShardEntry, ShardError
from features_cache.shard_reading import examine
from features_cache.snapshot import Snapshot, write_snapshot
from features_cache.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a store holds of some utterances.

    Attributes
    ----------
    keys : sorted, of all their audio and views
    audio_sha256 : sorted, of their files, and of those that once bore one of their names
    names : (corpus, utterance_id) of all that goes: who was asked for, and who has the same audio
    snapshots : numbers of the snapshots that have rows of theirs
    shards : names of shards with their features, or with their names
    damaged : files that were put aside, and torn ones that nobody needs: what is in them, nobody knows
    ids, corpus : who was asked for
    paths : of their audio
    """

    keys: Keys
    audio_sha256: Keys
    names: tuple[tuple[str, str], ...]
    snapshots: tuple[int, ...]
    shards: tuple[str, ...]
    damaged: tuple[Path, ...]
    ids: Collection[str]
    corpus: str | None
    paths: frozenset[str]

    @property
    def is_empty(self) -> bool:
        """Whether the store knows nothing of them."""
        return not (len(self.keys) or self.names or self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """Ranges of audio files, whatever they are called.

    Attributes
    ----------
    audio_sha256 : sorted, of the files
    keys : sorted, of the ranges as `clean`
    """

    audio_sha256: Keys
    keys: Keys


def recordings(stores: Iterable[Store], ids: Collection[str], corpus: str | None) -> Recordings:
    """Say which recordings some utterances are, by what any snapshot of some stores says of them."""
    every = (_rows(store.read_snapshot(n)) for store in stores for n in store.snapshots)
    named = [rows.filter(_is_named(rows, ids, corpus)) for rows in every]
    files = _distinct([from_arrow(rows["audio_sha256"]) for rows in named])
    return Recordings(
        audio_sha256=files,
        keys=_distinct([*map(_recordings, named), *(from_arrow(rows["key"]) for rows in named)]),
    )


def remembered(
    store: Store,
    ids: Collection[str],
    corpus: str | None = None,
    known: Recordings | None = None,
) -> Memory:
    """Say what a store holds of some utterances.

    Parameters
    ----------
    store : with what killed runs have left (`features_cache.store.Store.adopt`)
    ids : utterance ids
    corpus : only of this corpus; by default of any
    known : which recordings they are; by default as this store alone says

    Raises
    ------
    features_cache.numbered.TableError
        A snapshot is torn: repair the store first.
    """
    tables = {n: _rows(store.read_snapshot(n)) for n in store.snapshots}
    entries, torn = _entries(store)
    known = known or recordings([store], ids, corpus)
    keys = []
    for rows in tables.values():  # other names and views of the same recordings, too
        keys.append(from_arrow(rows.filter(_is_named(rows, ids, corpus))["key"]))
        every = from_arrow(rows["key"])  # of rows whose file nobody knows, too
        keys.append(every[find_keys(every, known.keys) >= 0])
        is_near = find_keys(from_arrow(rows["audio_sha256"]), known.audio_sha256) >= 0
        twins = rows.filter(pa.array(is_near))
        keys.append(from_arrow(twins["key"])[find_keys(_recordings(twins), known.keys) >= 0])
    # Of what no snapshot knows, the shards have the names, but no corpus: it may be the one asked for.
    wanted = _distinct([from_arrow(rows["key"]) for rows in tables.values()])
    called = np.unique(
        keys_of([e.key for each in entries.values() for e in each if e.utterance_id in ids])
    )
    keys.append(np.setdiff1d(called, wanted))
    lost = _distinct(keys)
    found = {n: rows.filter(_is_hit(rows, lost, ids, corpus)) for n, rows in tables.items()}
    names = {
        pair: None
        for rows in found.values()
        for pair in zip(*(rows[n].to_pylist() for n in ("corpus", "utterance_id")), strict=True)
    }
    sought = {*hex_of(lost)}
    named_so = {name for _, name in names}
    # A name that only a shard still has for somebody goes, too; with --corpus, if its features do.
    left = {
        e.utterance_id
        for each in entries.values()
        for e in each
        if corpus is None or e.key in sought
    }
    names |= {("", name): None for name in (left & {*ids}) - named_so}
    called_so = {name for _, name in names} | ({*ids} if corpus is None else set())
    return Memory(
        keys=lost,
        audio_sha256=_distinct(
            [
                *(from_arrow(rows["audio_sha256"]) for rows in found.values()),
                *(_files(rows, called) for rows in tables.values() if corpus is None),
            ]
        ),
        names=tuple(sorted(names)),
        snapshots=tuple(
            # Those with the names that were asked for come last: by them the others are found again.
            sorted(
                (number for number, rows in found.items() if len(rows)),
                key=lambda n: bool(pc.any(_is_named(found[n], ids, corpus)).as_py()),
            )
        ),
        shards=tuple(
            name
            for name, each in entries.items()
            if any(e.key in sought or e.utterance_id in called_so for e in each)
        ),
        damaged=(*torn, *sorted((store.folder / DAMAGED_FOLDER).glob("*"))),
        ids=ids,
        corpus=corpus,
        paths=frozenset(
            str(Path(store.read_snapshot(n).audio.get(c, "")) / f)
            for n, rows in found.items()
            for c, f in zip(rows["corpus"].to_pylist(), rows["file"].to_pylist(), strict=True)
        ),
    )


def forget(store: Store, memory: Memory) -> None:
    """Take out of a store all that it holds of some utterances.

    Parameters
    ----------
    store : the one that was asked; the caller holds its lock
    memory : from `remembered`

    Raises
    ------
    features_cache.shard.ShardError
        A shard to copy from is damaged, or the disk is full: nothing has changed.
    """
    kept = store.catalogue.without(memory.keys)
    copied = kept.rows.filter(pa.array(kept.in_shards(memory.shards)))
    store.publish_catalogue(rewrite(store, make_batches(store, copied), kept))
    store.show(again=True)
    for name in memory.shards:
        (store.shards_folder / name).unlink(missing_ok=True)
    sync_file(store.shards_folder)
    for path in memory.damaged:
        path.unlink(missing_ok=True)
    for number in numbers(store.catalogue_folder)[:-1]:
        table_path(store.catalogue_folder, number).unlink()
    sync_file(store.catalogue_folder)
    for number in memory.snapshots:
        _without_rows(store, number, memory)
    store.snapshot = store.read_snapshot(store.snapshot.number)
    store.show(again=True)


def _without_rows(store: Store, number: int, memory: Memory) -> None:
    """Write a snapshot again, without the rows of what is forgotten."""
    snapshot = store.read_snapshot(number)
    rows = snapshot.table()
    is_hit = np.asarray(_is_hit(rows, memory.keys, memory.ids, memory.corpus), bool)
    kept = rows.filter(pa.array(~is_hit))
    corpora = {*kept["corpus"].unique().to_pylist()}
    about = replace(
        snapshot,
        forgotten=snapshot.forgotten + int(is_hit.sum()),
        audio={each: root for each, root in snapshot.audio.items() if each in corpora},
    )
    write_snapshot(store.snapshots_folder, in_parts(kept), about, exclusive=False)


def _entries(store: Store) -> tuple[dict[str, tuple[ShardEntry, ...]], list[Path]]:
    """Look into every shard on disk; one that is torn may only be one that nobody needs."""
    found, torn = {}, []
    for path in sorted(store.shards_folder.glob("*.h5")):
        try:
            found[path.name] = examine(path, full=False).entries
        except ShardError:
            if path.name not in store.catalogue.retired:
                raise
            torn.append(path)
    return found, torn


def _rows(snapshot: Snapshot) -> pa.Table:
    return snapshot.table(["corpus", "utterance_id", "file", "start", "end", "key", "audio_sha256"])


def _files(rows: pa.Table, keys: Keys) -> Keys:
    """Digests of the files of rows that have one of some sorted keys."""
    return from_arrow(rows["audio_sha256"])[find_keys(from_arrow(rows["key"]), keys) >= 0]


def _recordings(rows: pa.Table) -> Keys:
    """Key what each row's audio is, whatever the view; none where the file is not known."""
    span = rows["start"].to_numpy(), rows["end"].to_numpy()
    return content_keys(from_arrow(rows["audio_sha256"]), span)


def _is_named(rows: pa.Table, ids: Collection[str], corpus: str | None) -> pa.ChunkedArray:
    names = pa.array([*ids], pa.large_string())
    is_named = pc.is_in(rows["utterance_id"].cast(pa.large_string()), value_set=names)
    if corpus is None:
        return is_named
    corpora = pa.array([corpus, ""], pa.large_string())  # a rebuilt store may not know
    return pc.and_(is_named, pc.is_in(rows["corpus"].cast(pa.large_string()), value_set=corpora))


def _is_hit(
    rows: pa.Table, keys: Keys, ids: Collection[str], corpus: str | None
) -> pa.ChunkedArray:
    """Mark rows of some names, and those of the same audio."""
    is_same = pa.chunked_array([find_keys(from_arrow(rows["key"]), keys) >= 0])
    return pc.or_(is_same, _is_named(rows, ids, corpus))


def _distinct(keys: list[Keys]) -> Keys:
    found = np.unique(np.concatenate([keys_of([]), *keys]))
    return np.asarray(found[found != NO_KEY])
