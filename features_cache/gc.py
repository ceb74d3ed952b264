"""Freeing space, on request only: what nobody needs any more is named first, then deleted.

A generation is needed if it is the newest or somebody holds it, such as a training that must be
repeatable; what it names is needed with it. Everything else that rows no longer name is waste.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features_cache.atomic import sync_file
from features_cache.generation import GONE, generation_path, numbers, read_generation
from features_cache.repair import DAMAGED
from features_cache.rewrite import PLACE, make_batches, moved_rows, rewrite
from features_cache.shard import ShardError
from features_cache.shard_reading import examine
from features_cache.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """What could be freed.

    Attributes
    ----------
    generations : numbers of generations that nobody holds
    shards : names of shard files that would be deleted
    rewritten : those of them whose other utterances are copied into new shards first
    utterance_ids : whose tombstones and features would go
    held_ids : whose tombstones stay, because a generation that is kept names their shard
    n_damaged : files that `repair` and `rebuild` have put aside
    n_bytes : estimate of the bytes that the disk gets back
    """

    generations: tuple[int, ...]
    shards: tuple[str, ...]
    rewritten: tuple[str, ...]
    utterance_ids: tuple[str, ...]
    held_ids: tuple[str, ...]
    n_damaged: int
    n_bytes: int


def waste(store: Store, keep: Collection[int] = ()) -> Waste:
    """Say what `collect` would free.

    Parameters
    ----------
    store : holding its newest generation
    keep : numbers of generations that somebody holds; the newest is kept in any case, but its
        tombstones are held only if it is among these; numbers that are not there are passed over

    Raises
    ------
    features_cache.generation.GenerationError
        A generation to keep is torn.
    """
    return _Sorting(store, keep).waste()


def collect(store: Store, recipe_id: str, keep: Collection[int] = ()) -> int:
    """Free what `waste` names: copy, publish, then delete.

    Parameters
    ----------
    store : holding its newest generation; the caller holds its lock
    recipe_id : identity of the recipe
    keep : numbers of generations that somebody holds

    Returns
    -------
    int
        Bytes that the disk got back; less than nothing if new files took more.

    Raises
    ------
    features_cache.shard.ShardError
        A shard to copy from is damaged, or the disk is full: nothing has changed.
    features_cache.generation.GenerationError
        A generation to keep is torn.
    """
    sorting = _Sorting(store, keep)
    before = _disk_bytes(store.folder.rglob("*"))
    wanted = sorting.rows[sorting.rows["shard"].isin(sorting.rewritten)]
    done = rewrite(store, make_batches(store, wanted))
    newest = store.publish(moved_rows(sorting.rows, done.moved), recipe_id, done.shards)
    folder = store.generations_folder
    for number in numbers(folder):
        if number < newest.number and number not in keep:
            generation_path(folder, number).unlink()
    sync_file(folder)
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
    rows : of the next generation, places as they are now
    rewritten : shards that rows name and that hold other features as well -> bytes of those
    deleted : names of shard files that nobody will need
    damaged : files that were put aside
    """

    def __init__(self, store: Store, keep: Collection[int]) -> None:
        self._store, self._keep = store, keep
        folder = store.generations_folder
        kept = [read_generation(folder, n) for n in numbers(folder) if n in keep]
        held = {name for generation in kept for name in generation.shards}
        rows = store.generation.rows
        self._is_gone = rows["status"] == GONE
        self._is_held = self._is_gone & rows["shard"].isin(held)
        self.rows = rows[~self._is_gone | self._is_held]
        named = set(self.rows["shard"]) - {""}
        self.rewritten = self._partly_dead(named - held)
        unnamed = {*store.generation.shards, *store.generation.retired, *self._doubles()} - named
        there = {path.name for path in store.shards_folder.glob("*.h5")}
        self.damaged = sorted((store.folder / DAMAGED).glob("*"))
        self.deleted = sorted((unnamed | set(self.rewritten)) & there - held)

    def waste(self) -> Waste:
        """Say it in numbers and names."""
        rows, store = self._store.generation.rows, self._store
        here = store.generation.number
        is_followed = bool(self.rewritten) or len(self.rows) < len(rows)
        old = [
            number
            for number in numbers(store.generations_folder)
            if number < here + is_followed and number not in self._keep
        ]
        whole = [store.shards_folder / n for n in self.deleted if n not in self.rewritten]
        files = [*whole, *(generation_path(store.generations_folder, number) for number in old)]
        files += self.damaged
        return Waste(
            generations=tuple(old),
            shards=tuple(self.deleted),
            rewritten=tuple(sorted(self.rewritten)),
            utterance_ids=tuple(rows.loc[self._is_gone & ~self._is_held, "utterance_id"].unique()),
            held_ids=tuple(rows.loc[self._is_held, "utterance_id"].unique()),
            n_damaged=len(self.damaged),
            n_bytes=_disk_bytes(files) + sum(self.rewritten.values()),
        )

    def _partly_dead(self, names: Collection[str]) -> dict[str, int]:
        """Shards with features that no row names, and how many bytes of those there are."""
        places = self.rows[PLACE].drop_duplicates()
        n_alive = (places["row_end"] - places["row_start"]).groupby(places["shard"]).sum()
        found = {}
        for name in sorted(names):
            try:
                content = examine(self._store.shards_folder / name, full=False)
            except ShardError:  # `verify` tells of it; there is nothing to free
                continue
            n_rows = content.entries[-1].row_end if content.entries else 0
            if n_rows > n_alive[name]:
                row_bytes = content.header.feature_dim * np.dtype(content.header.dtype).itemsize
                found[name] = int(n_rows - n_alive[name]) * row_bytes
        return found

    def _doubles(self) -> list[str]:
        """Shards of killed runs whose every key has its features elsewhere."""
        known = set(self.rows.loc[self.rows["shard"] != "", "key"])
        found = []
        for name in self._store.orphans():
            try:
                content = examine(self._store.shards_folder / name, full=False)
            except ShardError:
                continue
            is_ours = content.header.recipe_json == self._store.recipe_json
            if is_ours and known.issuperset(entry.key for entry in content.entries):
                found.append(name)
        return found


def _disk_bytes(files: Iterable[Path]) -> int:
    """Bytes on disk of files that have no other name: deleting a second name frees nothing."""
    found = (path.stat() for path in files if path.is_file())
    return sum(each.st_blocks * 512 for each in found if each.st_nlink == 1)
