"""Taking damage out of a store: what is healthy is kept, what is not is extracted again.

`damage` says what `verify` has found means, `salvage` acts on it. Damaged files are never deleted:
they are moved to the folder ``damaged``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features_cache.atomic import sync_file
from features_cache.examiner import Examiner
from features_cache.generation import GONE, LIVE, QUARANTINED, Generation, generation_path
from features_cache.rewrite import make_batches, moved_rows, rewrite
from features_cache.store import Store
from features_cache.verify import StoreProblem

DAMAGED = "damaged"
"""Reason of a row whose features were damaged, and the folder of what was damaged."""

_WHOLLY_LOST = frozenset({"missing_shard", "torn_shard", "foreign_shard"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What the problems of a store amount to.

    Attributes
    ----------
    lost : (shard, key) of features that cannot be trusted
    lost_shards : shards of which nothing can be saved
    shards : all shards that have to go, lost ones included
    generations : numbers of torn generations
    """

    lost: frozenset[tuple[str, str]]
    lost_shards: frozenset[str]
    shards: tuple[str, ...]
    generations: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """What was saved.

    Attributes
    ----------
    lost_ids : utterances whose features have to be made again; tombstones not among them
    n_saved : utterances whose features were copied from damaged shards
    moved : damaged files, where they are now
    generation : the store's generation afterwards
    """

    lost_ids: tuple[str, ...]
    n_saved: int
    moved: tuple[Path, ...]
    generation: Generation


def damage(problems: Iterable[StoreProblem]) -> Damage:
    """Say what has to be done about the problems that a full `verify` found."""
    found = list(problems)
    return Damage(
        lost=frozenset((p.shard, key) for p in found for key in p.keys),
        lost_shards=frozenset(p.shard for p in found if p.code in _WHOLLY_LOST),
        shards=tuple(sorted({p.shard for p in found} - {""})),
        generations=tuple(sorted({p.generation for p in found} - {0})),
    )


def salvage(store: Store, recipe_id: str, damage: Damage) -> Salvage:
    """Copy what is healthy out of damaged shards, publish, and move what is damaged aside.

    Rows whose features are lost become quarantined with the reason ``damaged`` and keep their key:
    the next extraction makes them again. Tombstones whose features are lost are dropped. Healthy
    utterances of a shard that no generation names are copied into a shard of the same kind.

    Parameters
    ----------
    store : holding its newest whole generation (`features_cache.verify.newest_whole`); the caller
        holds its lock
    recipe_id : identity of the recipe
    damage : from `damage`

    Raises
    ------
    features_cache.shard.ShardError
        There is more damage than `damage` knows, or the disk is full: nothing has changed.
    """
    rows = store.generation.rows
    is_hit = rows["shard"].isin(damage.shards)
    is_lost = is_hit & _is_lost(rows, damage)
    wanted = pd.concat([rows[is_hit & ~is_lost], _orphaned(store, damage)])
    done = rewrite(store, make_batches(store, wanted))
    rows_after = moved_rows(without_features(rows, is_lost), done.moved)
    generation = store.publish(rows_after, recipe_id, done.shards)
    files = [store.shards_folder / name for name in damage.shards]
    files += [generation_path(store.generations_folder, number) for number in damage.generations]
    return Salvage(
        lost_ids=tuple(rows.loc[is_lost & (rows["status"] != GONE), "utterance_id"]),
        n_saved=len(done.moved),
        moved=tuple(set_aside(store.folder, path) for path in files if path.exists()),
        generation=generation,
    )


def without_features(rows: pd.DataFrame, is_lost: pd.Series) -> pd.DataFrame:
    """Take the places of lost features out of rows; `is_lost` is a mask over them."""
    was_live = is_lost & (rows["status"] == LIVE)
    changed = rows.assign(
        shard=rows["shard"].mask(is_lost, ""),
        row_start=rows["row_start"].mask(is_lost, 0),
        row_end=rows["row_end"].mask(is_lost, 0),
        status=rows["status"].mask(was_live, QUARANTINED),
        reason=rows["reason"].mask(was_live, DAMAGED),
        message=rows["message"].mask(was_live, "its features were damaged in the store"),
    )
    return changed[~(is_lost & (rows["status"] == GONE))]


def set_aside(folder: Path, path: Path) -> Path:
    """Move a file of a store into its folder ``damaged``, under a name that is free there."""
    target = folder / DAMAGED / path.name
    target.parent.mkdir(exist_ok=True)
    n = 1
    while target.exists():
        target = target.with_name(f"{path.name}.{n}")
        n += 1
    path.rename(target)
    sync_file(target.parent)
    sync_file(path.parent)
    return target


def _is_lost(rows: pd.DataFrame, damage: Damage) -> pd.Series:
    pairs = zip(rows["shard"].tolist(), rows["key"].tolist(), strict=True)
    return pd.Series(
        [shard in damage.lost_shards or (shard, key) in damage.lost for shard, key in pairs],
        index=rows.index,
        dtype=bool,
    )


def _orphaned(store: Store, damage: Damage) -> pd.DataFrame:
    """Places of what is healthy in damaged shards that no generation names."""
    names = set(store.orphans()) & set(damage.shards) - damage.lost_shards
    places = []
    with Examiner() as examiner:
        for name in sorted(names):
            content = examiner.examine(store.shards_folder / name, full=True)
            places += [
                (entry.key, name, entry.row_start, entry.row_end)
                for i, entry in enumerate(content.entries)
                if i not in content.damaged
            ]
    return pd.DataFrame(places, columns=["key", "shard", "row_start", "row_end"])
