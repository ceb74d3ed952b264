"""Freeing space, on request only: what nobody needs any more is named first, then deleted.

A snapshot is needed if it is the newest or somebody holds it, such as a training that must be
repeatable. Features are needed that a needed snapshot wants. Everything else is waste.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features_cache.atomic import sync_file
from features_cache.catalogue import Catalogue
from features_cache.key_columns import from_arrow, hex_of, keys_of
from features_cache.numbered import table_path
from features_cache.repair import DAMAGED_FOLDER
from features_cache.rewrite import make_batches, rewrite
from features_cache.shard import ShardEntry
from features_cache.snapshot import Snapshot
from features_cache.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """What could be freed.

    Attributes
    ----------
    snapshots : numbers of snapshots that nobody holds
    shards : names of shard files that would be deleted
    rewritten : those of them whose other utterances are copied into new shards first
    utterance_ids : whose features would go, by the names that their shards have for them
    n_held : features that the newest snapshot does not want, but another one that is kept
    n_untold : features that no snapshot wants, and that stay since a run was killed before it could
        say what it wanted
    n_damaged : files that `repair` and `rebuild` have put aside
    n_bytes : estimate of the bytes that the disk gets back
    """

    snapshots: tuple[int, ...]
    shards: tuple[str, ...]
    rewritten: tuple[str, ...]
    utterance_ids: tuple[str, ...]
    n_held: int
    n_untold: int
    n_damaged: int
    n_bytes: int


def waste(store: Store, keep: Collection[int] = ()) -> Waste:
    """Say what `collect` would free.

    Parameters
    ----------
    store : holding its newest snapshot
    keep : numbers of snapshots that somebody holds; the newest is kept in any case; numbers that are
        not there are passed over

    Raises
    ------
    features_cache.numbered.TableError
        A snapshot to keep is torn.
    """
    return _Sorting(store, keep).waste()


def collect(store: Store, keep: Collection[int] = ()) -> int:
    """Free what `waste` names: copy, publish, then delete.

    Parameters
    ----------
    store : holding its newest snapshot; the caller holds its lock
    keep : numbers of snapshots that somebody holds

    Returns
    -------
    int
        Bytes that the disk got back; less than nothing if new files took more.

    Raises
    ------
    features_cache.shard.ShardError
        A shard to copy from is damaged, or the disk is full: nothing has changed.
    features_cache.numbered.TableError
        A snapshot to keep is torn.
    """
    sorting = _Sorting(store, keep)
    before = _disk_bytes(store.folder.rglob("*"))
    kept = sorting.kept
    copied = kept.rows.filter(pa.array(kept.in_shards(sorting.rewritten)))
    store.publish_catalogue(rewrite(store, make_batches(store, copied), kept))
    store.show()
    for number in sorting.snapshots:
        table_path(store.snapshots_folder, number).unlink()
    sync_file(store.snapshots_folder)
    for name in sorting.deleted:
        (store.shards_folder / name).unlink(missing_ok=True)
    sync_file(store.shards_folder)
    for path in sorting.damaged:
        path.unlink(missing_ok=True)
    return before - _disk_bytes(store.folder.rglob("*"))


class _Sorting:
    """What stays and what goes.

    Attributes
    ----------
    snapshots : numbers of those that go
    kept : the catalogue without what nobody wants, places as they are now
    n_held : places that are kept for an older snapshot alone
    n_untold : places that are kept since nobody knows who wanted them
    utterance_ids : whose features go, in order
    rewritten : shards that hold wanted and other features -> bytes of the others
    deleted : names of shard files that nobody will need
    damaged : files that were put aside
    """

    def __init__(self, store: Store, keep: Collection[int]) -> None:
        self._store, catalogue = store, store.catalogue
        held = [n for n in store.snapshots if n in keep and n != store.snapshot.number]
        self.snapshots = [n for n in store.snapshots if n < store.snapshot.number and n not in held]
        is_newest = _wanted(catalogue, [store.snapshot])
        is_wanted = is_newest | _wanted(catalogue, map(store.read_snapshot, held))
        self.n_held = int((is_wanted & ~is_newest & catalogue.is_place).sum())
        self.n_untold = 0
        if store.is_untold:  # the next extraction knows what it wanted
            self.n_untold = int((~is_wanted & catalogue.is_place).sum())
            is_wanted[:] = True
        self.kept = catalogue.only(is_wanted)
        self.utterance_ids: dict[str, None] = {}
        named = self.kept.named_shards()
        there = store.shards
        self.rewritten = self._partly_dead(named & there)
        for name in sorted(({*catalogue.shards} - named) & there):
            content = store.content(name)
            self._note(content.entries if content else ())
        unnamed = {*catalogue.shards, *catalogue.retired, *self._doubles()} - named
        self.deleted = sorted((unnamed | set(self.rewritten)) & there)
        self.damaged = sorted((store.folder / DAMAGED_FOLDER).glob("*"))

    def waste(self) -> Waste:
        """Say it in numbers and names."""
        folder = self._store.snapshots_folder
        whole = [self._store.shards_folder / n for n in self.deleted if n not in self.rewritten]
        files = [*whole, *(table_path(folder, number) for number in self.snapshots), *self.damaged]
        return Waste(
            snapshots=tuple(self.snapshots),
            shards=tuple(self.deleted),
            rewritten=tuple(sorted(self.rewritten)),
            utterance_ids=tuple(self.utterance_ids),
            n_held=self.n_held,
            n_untold=self.n_untold,
            n_damaged=len(self.damaged),
            n_bytes=_disk_bytes(files) + sum(self.rewritten.values()),
        )

    def _partly_dead(self, names: Collection[str]) -> dict[str, int]:
        """Shards with features that nobody wants, and how many bytes of those there are."""
        keys, rows = self.kept.keys, self.kept.by_shard()
        found = {}
        for name in sorted(names):
            content = self._store.content(name)
            alive = set(hex_of(keys[rows[name]]))
            dead = [each for each in content.entries if each.key not in alive] if content else []
            if content and dead:
                row_bytes = content.header.feature_dim * np.dtype(content.header.dtype).itemsize
                found[name] = sum(each.row_end - each.row_start for each in dead) * row_bytes
                self._note(dead)
        return found

    def _doubles(self) -> list[str]:
        """Shards of killed runs whose every key has its features elsewhere."""
        known = self.kept
        is_there = known.in_shards(self._store.shards)
        found = []
        for name in self._store.unknown_shards():
            content = self._store.content(name)
            if content is None or content.header.recipe_json != self._store.recipe_json:
                continue
            at = known.find(keys_of([entry.key for entry in content.entries]))
            if (at >= 0).all() and is_there[at].all():
                found.append(name)
        return found

    def _note(self, dead: Sequence[ShardEntry]) -> None:
        """Name those whose features are nowhere else."""
        is_kept = self.kept.places(keys_of([entry.key for entry in dead])).is_there
        gone = (entry.utterance_id for entry, kept in zip(dead, is_kept, strict=True) if not kept)
        self.utterance_ids.update(dict.fromkeys(gone))


def _wanted(catalogue: Catalogue, snapshots: Iterable[Snapshot]) -> NDArray[np.bool_]:
    """Mark the catalogue's rows that snapshots want."""
    is_wanted = np.zeros(len(catalogue.keys), bool)
    for snapshot in snapshots:
        at = catalogue.find(from_arrow(snapshot.table(["key"])["key"]))
        is_wanted[at[at >= 0]] = True
    return is_wanted


def _disk_bytes(files: Iterable[Path]) -> int:
    """Bytes on disk of files that have no other name: deleting a second name frees nothing."""
    found = (path.stat() for path in files if path.is_file())
    return sum(each.st_blocks * 512 for each in found if each.st_nlink == 1)
