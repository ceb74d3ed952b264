"""Stores of one recipe into one: what several machines have extracted, without copying twice.

The store that is merged into always comes first: where two disagree, it stays as it is, and the
disagreement is told.
"""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.atomic import partial_path, publish
from features_cache.generation import Generation
from features_cache.keys import file_sha256
from features_cache.rewrite import PLACE
from features_cache.shard import PublishedShard, ShardError, new_shard_name
from features_cache.shard_reading import read_checksums
from features_cache.store import Store, StoreError
from features_cache.union import Conflict, Union, unite


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """What merging did.

    Attributes
    ----------
    n_added : rows that came in, tombstones included
    n_shards : shard files that came in
    conflicts : what the stores do not agree about
    generation : the store's generation afterwards
    """

    n_added: int
    n_shards: int
    conflicts: tuple[Conflict, ...]
    generation: Generation


def merge(store: Store, others: Sequence[Store], recipe_id: str) -> Merge:
    """Take over what other stores of the same recipe hold.

    Parameters
    ----------
    store : to merge into, holding its newest generation; the caller holds its lock
    others : to take from; they are only read
    recipe_id : identity of the recipe

    Returns
    -------
    Merge
        Merging the same again adds nothing and publishes nothing.

    Raises
    ------
    StoreError
        A store has another recipe.
    features_cache.shard.ShardError
        A shard of another store is damaged or missing, or the disk is full: nothing has changed.
    """
    for other in others:
        _check_recipe(other, store, recipe_id)
    rows = store.generation.rows
    conflicts: list[Conflict] = []
    audio: dict[str, str] = {}
    shards: list[PublishedShard] = []
    n_added = 0
    with ExitStack() as undo:
        for other in others:
            names = {sha256: name for name, sha256 in store.generation.shards.items()}
            names.update((shard.sha256, shard.name) for shard in shards)
            union = unite(rows, _their_rows(other, names), _Features(store, other))
            wanted = union.added.loc[union.added["is_theirs"], "shard"].unique()
            adopted = {name: _adopt(store, other, name, undo) for name in sorted(wanted)}
            rows = _all_rows(union, adopted)
            n_added += len(union.added)
            conflicts += union.conflicts
            shards += adopted.values()
            audio = {**other.generation.audio, **audio}
        undo.pop_all()
    audio = {c: folder for c, folder in audio.items() if c not in store.generation.audio}
    return Merge(
        n_added=n_added,
        n_shards=len(shards),
        conflicts=tuple(conflicts),
        generation=store.publish(rows, recipe_id, shards, audio=audio),
    )


def _check_recipe(other: Store, store: Store, recipe_id: str) -> None:
    if other.recipe_json != store.recipe_json:
        theirs = other.generation.recipe_id or other.folder.name
        message = (
            f"{other.folder} holds features of recipe {theirs}; expected recipe {recipe_id}, that "
            f"of {store.folder}; merge stores of one recipe only"
        )
        raise StoreError(message)


def _their_rows(other: Store, names: Mapping[str, str]) -> pd.DataFrame:
    """Rows of the other store; shards whose bytes are here already by the names they have here."""
    here = {
        name: names[sha256] for name, sha256 in other.generation.shards.items() if sha256 in names
    }
    rows = other.generation.rows
    is_here = rows["shard"].isin(here)
    return rows.assign(
        shard=rows["shard"].mask(is_here, rows["shard"].map(here)),
        is_theirs=~is_here & (rows["shard"] != ""),
    )


class _Features:
    """Tells whether two places hold the same features, by their checksums."""

    def __init__(self, store: Store, other: Store) -> None:
        self._store, self._other = store, other

    def __call__(self, theirs: pd.DataFrame, mine: pd.DataFrame) -> NDArray[np.bool_]:
        """Compare places row by row; `theirs` has a column `is_theirs`."""
        here = self._checksums(self._store, mine)
        there = self._checksums(self._other, theirs[theirs["is_theirs"]])
        there |= self._checksums(self._store, theirs[~theirs["is_theirs"]])
        pairs = zip(_places(theirs), _places(mine), strict=True)
        return np.array([there[t] == here[m] for t, m in pairs], bool)

    def _checksums(self, store: Store, rows: pd.DataFrame) -> dict[tuple[str, int, int], bytes]:
        """Read the checksums of the places; of a place that a shard does not hold, nothing."""
        found = dict.fromkeys(_places(rows), b"")
        for name in rows["shard"].unique():
            for place, checksum in read_checksums(store.shards_folder / name).items():
                found[name, *place] = checksum
        return found


def _places(rows: pd.DataFrame) -> list[tuple[str, int, int]]:
    return list(zip(*(rows[c].tolist() for c in PLACE), strict=True))


def _adopt(store: Store, other: Store, name: str, undo: ExitStack) -> PublishedShard:
    """Take a shard file over, as a second name of the same file where the disk can do that."""
    source, final = other.shards_folder / name, store.shards_folder / name
    expected = other.generation.shards[name]
    if final.exists():
        if file_sha256(final) == expected:  # a merge was killed before it could publish
            return PublishedShard(name=name, sha256=expected)
        final = store.shards_folder / new_shard_name()
    partial = partial_path(final)
    try:
        _link_or_copy(source, partial)
        if file_sha256(partial) != expected:
            message = (
                f"{source} is not what its store recorded; expected SHA-256 {expected}; run "
                "'emostack store repair' there, then merge again"
            )
            raise ShardError(message)
        publish(partial, final, exclusive=True)
    finally:
        partial.unlink(missing_ok=True)
    undo.callback(final.unlink)
    return PublishedShard(name=final.name, sha256=expected)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError as error:
        message = (
            f"shard {source} is missing; its store's generation names it; run 'emostack store "
            "repair' there, then merge again"
        )
        raise ShardError(message) from error
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _all_rows(union: Union, adopted: Mapping[str, PublishedShard]) -> pd.DataFrame:
    """Rows that stay and rows that come, shards by the names they have here."""
    added = union.added
    names = added["shard"].map({name: shard.name for name, shard in adopted.items()})
    added = added.assign(shard=added["shard"].mask(added["is_theirs"], names))
    return pd.concat([union.kept, added.drop(columns="is_theirs")], ignore_index=True)
