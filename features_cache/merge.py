"""Stores of one recipe into one: what several machines have extracted, without copying twice.

The store that is merged into comes first: where two disagree, it stays as it is, and the disagreement
is told. What exists is united by key, what is wanted by name. Nothing is removed.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features_cache.atomic import partial_path, publish
from features_cache.catalogue import UNTOLD, Catalogue
from features_cache.key_columns import hex_of, keys_of
from features_cache.keys import file_sha256
from features_cache.lookup import coded, joined, positions
from features_cache.numbered import in_parts
from features_cache.shard import PublishedShard, ShardError, new_shard_name
from features_cache.shard_reading import read_checksums
from features_cache.snapshot import LIVE, NOT_LABELS, ORDER, PENDING, as_table
from features_cache.store import Store, StoreError

_WORDS = {
    "other_audio": "the other store has it from other audio; this store's stays",
    "other_features": "the other store has other features of the same audio; this store's stay",
    "other_labels": "the other store has other labels; this store's stay",
}

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Something that two stores do not agree about.

    Attributes
    ----------
    utterance_id, corpus : who it is about
    code : ``other_audio``, ``other_features`` or ``other_labels``
    message : the same in words
    """

    utterance_id: str
    corpus: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """What merging did.

    Attributes
    ----------
    n_added : rows that came in
    n_shards : shard files that came in
    conflicts : what the stores do not agree about
    """

    n_added: int
    n_shards: int
    conflicts: tuple[Conflict, ...]


def merge(store: Store, others: Sequence[Store], recipe_id: str) -> Merge:
    """Take over what other stores of the same recipe hold.

    Of a key, the receiver's place counts, and a place counts more than a reason. Of a row (corpus,
    utterance, view) the receiver's counts, but one that is live counts more than one with a reason,
    and that more than one that is pending. Of the others' snapshots, the newest is taken.

    Parameters
    ----------
    store : to merge into, holding its newest snapshot; the caller holds its lock
    others : to take from, with what killed runs have left (`Store.adopt`); they are only read
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
    rows, catalogue = store.snapshot.rows(), store.catalogue
    is_changed = False
    conflicts: list[Conflict] = []
    audio: dict[str, str] = {}
    n_added, n_shards = 0, 0
    with ExitStack() as undo:
        for other in others:
            places = _Places(store, other, catalogue)
            adopted = {
                name: _adopt(store, other, name, undo) for name in sorted(places.new_shards())
            }
            catalogue = places.united(adopted)
            names = _Names(rows, _with_places(other))
            conflicts += [*names.conflicts(), *names.of_keys(places.differing)]
            is_changed |= names.n_added > 0
            n_added, n_shards = n_added + names.n_added, n_shards + len(adopted)
            rows = names.united()
            audio = {**other.snapshot.audio, **audio}
        undo.pop_all()
    is_untold = any(each.is_untold for each in (store, *others))
    told = store.next_snapshot if is_changed else 0
    store.publish_catalogue(catalogue, recipe_id, for_snapshot=UNTOLD if is_untold else told)
    if is_changed:
        store.publish_snapshot(
            in_parts(as_table(rows)), recipe_id, audio={**audio, **store.snapshot.audio}
        )
    store.show()
    return Merge(n_added=n_added, n_shards=n_shards, conflicts=tuple(conflicts))


def _with_places(store: Store) -> pd.DataFrame:
    """Rows of the newest snapshot, but for live ones whose features nobody knows."""
    rows = store.snapshot.rows()
    is_there = store.catalogue.places(keys_of(rows["key"])).is_there
    return rows[is_there | (rows["status"] != LIVE).to_numpy()].reset_index(drop=True)


def _check_recipe(other: Store, store: Store, recipe_id: str) -> None:
    if other.recipe_json != store.recipe_json:
        theirs = other.recipe_id or other.folder.name
        message = (
            f"{other.folder} holds features of recipe {theirs}; expected recipe {recipe_id}, that "
            f"of {store.folder}; merge stores of one recipe only"
        )
        raise StoreError(message)


class _Places:
    """Their catalogue beside mine, key by key.

    Attributes
    ----------
    differing : their keys that have other features here
    """

    def __init__(self, store: Store, other: Store, mine: Catalogue) -> None:
        self._mine, self._theirs = mine, other.catalogue
        gone = mine.named_shards() - store.shards
        theirs = self._theirs
        # What their shards are called whose bytes are here already.
        here = {sha256: name for name, sha256 in mine.shards.items() if sha256 and name not in gone}
        self._here = {n: here[sha256] for n, sha256 in theirs.shards.items() if sha256 in here}
        at = mine.find(theirs.keys)
        is_mine = at >= 0
        is_mine[is_mine] = (mine.is_place & ~mine.in_shards(gone))[at[is_mine]]
        self._comes = ~is_mine & (theirs.is_place | (at < 0))
        both = np.flatnonzero(is_mine & theirs.is_place)
        their_sums, my_sums = map(_Checksums, (other.shards_folder, store.shards_folder))
        differs = np.zeros(len(both), bool)
        for i, (t, m) in enumerate(zip(_spans(theirs, both), _spans(mine, at[both]), strict=True)):
            is_one = (self._here.get(t[0]), *t[1:]) == m
            differs[i] = not is_one and their_sums.of(*t) != my_sums.of(*m)
        self.differing = theirs.keys[both[differs]]

    def new_shards(self) -> set[str]:
        """Names of their shards that have to come in."""
        return self._theirs.only(self._comes).named_shards() - {*self._here}

    def united(self, adopted: Mapping[str, PublishedShard]) -> Catalogue:
        """Mine, with what comes in, under the names that the shards have here."""
        rows = self._theirs.only(self._comes).rows
        names = self._here | {name: shard.name for name, shard in adopted.items()}
        codes, shards = coded(rows["shard"])
        texts = pa.array([names.get(name, name) for name in shards], pa.string())
        renamed = pa.DictionaryArray.from_arrays(pa.array(codes), texts)
        rows = rows.set_column(rows.column_names.index("shard"), "shard", renamed)
        return self._mine.plus(rows, {each.name: each.sha256 for each in adopted.values()})


class _Checksums:
    """Checksums of places in a folder, read shard by shard; of a place that is not there, nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, dict[tuple[int, int], bytes]] = {}

    def of(self, shard: str, start: int, end: int) -> bytes:
        """Checksum of one place."""
        if shard not in self._read:
            self._read[shard] = read_checksums(self._folder / shard)
        return self._read[shard].get((start, end), b"")


def _spans(catalogue: Catalogue, at: NDArray[np.int64]) -> list[tuple[str, int, int]]:
    rows = catalogue.rows.select(["shard", "row_start", "row_end"]).take(pa.array(at))
    return list(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))


class _Names:
    """Their rows beside mine, name by name.

    Attributes
    ----------
    n_added : their rows that come in
    """

    def __init__(self, mine: pd.DataFrame, theirs: pd.DataFrame) -> None:
        self._mine, self._theirs = mine, theirs
        self._at = positions(_names(theirs), _names(mine))
        is_known = self._at >= 0
        known = mine["status"].iloc[self._at[is_known]]
        self._comes = ~is_known
        self._comes[is_known] = _rank(theirs["status"][is_known]) < _rank(known)
        self.n_added = int(self._comes.sum())

    def united(self) -> pd.DataFrame:
        """Mine, with their rows that come in, in place of those that give way."""
        if not self.n_added:
            return self._mine
        stays = np.ones(len(self._mine), bool)
        stays[self._at[self._comes & (self._at >= 0)]] = False
        parts = [each for each in (self._mine[stays], self._theirs[self._comes]) if len(each)]
        return pd.concat(parts, ignore_index=True)

    def conflicts(self) -> Iterator[Conflict]:
        """Tell which names are live in both, of other audio or with other labels."""
        both = np.flatnonzero((self._at >= 0) & ~self._comes)
        theirs, mine = self._theirs.iloc[both], self._mine.iloc[self._at[both]]
        is_live = (theirs["status"] == LIVE).to_numpy() & (mine["status"] == LIVE).to_numpy()
        is_other = theirs["key"].to_numpy() != mine["key"].to_numpy()
        yield from _told(theirs[is_live & is_other], "other_audio")
        yield from _told(theirs[is_live & ~is_other & _differ(theirs, mine)], "other_labels")

    def of_keys(self, keys: NDArray[np.bytes_]) -> Iterator[Conflict]:
        """Tell whose features differ."""
        live = self._theirs[self._theirs["status"] == LIVE]
        yield from _told(live[live["key"].isin(hex_of(np.asarray(keys)))], "other_features")


def _rank(status: pd.Series) -> NDArray[np.int64]:
    """Rank rows: live ones before those with a reason, and pending ones last."""
    return np.select([status == LIVE, status == PENDING], [0, 2], 1)


def _told(rows: pd.DataFrame, code: str) -> Iterator[Conflict]:
    for name, corpus in zip(rows["utterance_id"], rows["corpus"], strict=True):
        yield Conflict(utterance_id=name, corpus=corpus, code=code, message=_WORDS[code])


def _names(rows: pd.DataFrame) -> pd.Series:
    return joined(*(rows[name] for name in ORDER))


def _differ(theirs: pd.DataFrame, mine: pd.DataFrame) -> Mask:
    """Rows of which a label differs; a column that only one side has says nothing."""
    labels = [name for name in theirs.columns if name in mine and name not in NOT_LABELS]
    differ = np.zeros(len(theirs), bool)
    for name in labels:
        differ |= theirs[name].to_numpy() != mine[name].to_numpy()
    return differ


def _adopt(store: Store, other: Store, name: str, undo: ExitStack) -> PublishedShard:
    """Take a shard file over, as a second name of the same file where the disk can do that."""
    source, final = other.shards_folder / name, store.shards_folder / name
    # Of what a killed run has left, nobody has taken the sum yet.
    expected = other.catalogue.shards[name] or file_sha256(source)
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
            f"shard {source} is missing; its store's catalogue names it; run 'emostack store "
            "repair' there, then merge again"
        )
        raise ShardError(message) from error
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
