"""Taking damage out of a store: what is healthy is kept, what is not is extracted again.

`damage` says what `verify` has found means, `salvage` acts on it. Damaged files are never deleted:
they are moved to the folder ``damaged``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features_cache.atomic import sync_file
from features_cache.catalogue import Catalogue
from features_cache.key_columns import Keys, from_arrow, keys_of
from features_cache.numbered import in_parts
from features_cache.rewrite import make_batches, rewrite
from features_cache.snapshot import DAMAGED, is_live
from features_cache.store import Store
from features_cache.verify import StoreProblem

DAMAGED_FOLDER = "damaged"

_WHOLLY_LOST = frozenset({"missing_shard", "torn_shard", "foreign_shard"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What the problems of a store amount to.

    Attributes
    ----------
    lost : (shard, key) of features that cannot be trusted; the key as hexadecimal digits
    lost_shards : shards of which nothing can be saved
    shards : all shards that have to go, lost ones included
    tables : torn snapshots and torn versions of the catalogue
    """

    lost: frozenset[tuple[str, str]]
    lost_shards: frozenset[str]
    shards: tuple[str, ...]
    tables: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """What was saved.

    Attributes
    ----------
    lost_keys : sorted, of the features that are there no more
    n_saved : utterances whose features were copied from damaged shards
    moved : damaged files, where they are now
    """

    lost_keys: Keys
    n_saved: int
    moved: tuple[Path, ...]


def damage(problems: Iterable[StoreProblem]) -> Damage:
    """Say what has to be done about the problems that a full `verify` found."""
    found = list(problems)
    return Damage(
        lost=frozenset((p.shard, key) for p in found for key in p.keys),
        lost_shards=frozenset(p.shard for p in found if p.code in _WHOLLY_LOST),
        shards=tuple(sorted({p.shard for p in found} - {""})),
        tables=tuple(sorted({p.table for p in found if p.table is not None})),
    )


def salvage(store: Store, damage: Damage) -> Salvage:
    """Copy what is healthy out of damaged shards, publish, and move what is damaged aside.

    Keys whose features are lost leave the catalogue; rows of the newest snapshot that had them get
    the status `DAMAGED` and keep their key: the next extraction makes them again.

    Parameters
    ----------
    store : holding its newest whole snapshot and catalogue, what killed runs have left included
        (`features_cache.store.Store.adopt`); the caller holds its lock
    damage : from `damage`

    Raises
    ------
    features_cache.shard.ShardError
        There is more damage than `damage` knows, or the disk is full: nothing has changed.
    """
    catalogue = store.catalogue
    is_hit = catalogue.in_shards(damage.shards)
    is_lost = is_hit & _is_lost(catalogue, damage)
    copied = catalogue.rows.filter(pa.array(is_hit & ~is_lost))
    kept = catalogue.only(~is_lost)
    store.publish_catalogue(rewrite(store, make_batches(store, copied), kept))
    store.supersede_torn()
    mark_damaged(store)
    store.show()
    files = [*(store.shards_folder / name for name in damage.shards), *damage.tables]
    return Salvage(
        lost_keys=catalogue.keys[is_lost],
        n_saved=len(copied),
        moved=tuple(set_aside(store.folder, path) for path in files if path.exists()),
    )


def mark_damaged(store: Store) -> None:
    """Publish a snapshot in which live rows without features are `DAMAGED`, if there are any."""
    rows = store.snapshot.table()
    places = store.catalogue.places(from_arrow(rows["key"]))
    is_lost = is_live(rows) & ~places.is_there
    if not is_lost.any():
        return
    message = "its features were damaged in the store"
    for name, text in (("status", DAMAGED), ("message", message)):
        texts = rows[name].cast(pa.large_string())
        told = pc.if_else(pa.chunked_array([is_lost]), text, texts)
        rows = rows.set_column(rows.column_names.index(name), name, told)
    store.publish_snapshot(in_parts(rows), store.recipe_id)


def set_aside(folder: Path, path: Path) -> Path:
    """Move a file of a store into its folder ``damaged``, under a name that is free there."""
    target = folder / DAMAGED_FOLDER / path.name
    target.parent.mkdir(exist_ok=True)
    n = 1
    while target.exists():
        target = target.with_name(f"{path.name}.{n}")
        n += 1
    path.rename(target)
    sync_file(target.parent)
    sync_file(path.parent)
    return target


def _is_lost(catalogue: Catalogue, damage: Damage) -> np.ndarray:
    is_lost = catalogue.in_shards(damage.lost_shards)
    keys = sorted({key for _, key in damage.lost})
    at = catalogue.find(keys_of(keys))
    shards = catalogue.texts("shard")
    for key, row in zip(keys, at, strict=True):
        if row >= 0 and (shards[row], key) in damage.lost:
            is_lost[row] = True
    return is_lost
