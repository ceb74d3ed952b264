"""Copying utterances from published shards into new ones, checksum by checksum.

What `compact`, `gc` and `repair` do to shards, which never change: new ones are written, and a
generation that names them is published. Nothing is deleted here.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd

from features_cache.generation import LIVE
from features_cache.shard import (
    SHARD_BYTES,
    PublishedShard,
    ShardError,
    ShardHeader,
    ShardWriter,
    open_shard,
)
from features_cache.shard_checksums import TORN
from features_cache.shard_reading import blocks, examine, index_of
from features_cache.store import Store

PLACE = ["shard", "row_start", "row_end"]
_NEW = {"shard": "new_shard", "row_start": "new_start", "row_end": "new_end"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one new shard will hold.

    Attributes
    ----------
    header : what it will say of itself; all its utterances come from shards that say the same
    places : columns ``key, utterance_id, shard, row_start, row_end``, in the order of the rows
    """

    header: ShardHeader
    places: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """What was copied.

    Attributes
    ----------
    shards : the new shards
    moved : one row an utterance: ``shard, row_start, row_end`` as they were, and ``new_shard,
        new_start, new_end``
    """

    shards: list[PublishedShard]
    moved: pd.DataFrame


def make_batches(
    store: Store, wanted: pd.DataFrame, *, shard_bytes: int = SHARD_BYTES
) -> list[Batch]:
    """Distribute utterances over new shards, in the order of (shard, row_start).

    Parameters
    ----------
    store : whose shards to copy from
    wanted : columns ``key, shard, row_start, row_end``; a place that stands twice is copied once
    shard_bytes : bytes of features that a shard may hold; more only where one utterance has more

    Returns
    -------
    list of Batch
        Those of one header side by side.

    Raises
    ------
    ShardError
        A shard cannot be read.
    """
    places = wanted[["key", *PLACE]].drop_duplicates(PLACE).sort_values(PLACE)
    places = _with_names(store, places)
    names: dict[ShardHeader, list[str]] = {}
    for name in places["shard"].unique():
        names.setdefault(_header(store, name), []).append(name)
    return [
        Batch(header=header, places=part)
        for header, of_header in names.items()
        for part in _portions(places[places["shard"].isin(of_header)], header, shard_bytes)
    ]


def rewrite(store: Store, batches: Sequence[Batch]) -> Rewritten:
    """Write new shards; if one cannot be written or read, none stays.

    Parameters
    ----------
    store : whose lock the caller holds
    batches : from `make_batches`

    Returns
    -------
    Rewritten
        The new shards are on disk; no generation names them yet.

    Raises
    ------
    ShardError
        An utterance does not match its checksum, a shard cannot be read, or the disk is full.
    """
    written = []
    with ExitStack() as undo:
        for batch in batches:
            written.append(_write(store, batch))
            undo.callback((store.shards_folder / written[-1].name).unlink)
        undo.pop_all()
    moved = [_moved(batch, shard) for batch, shard in zip(batches, written, strict=True)]
    empty = pd.DataFrame(columns=[*PLACE, *_NEW.values()])
    return Rewritten(shards=written, moved=pd.concat(moved) if moved else empty)


def moved_rows(rows: pd.DataFrame, moved: pd.DataFrame) -> pd.DataFrame:
    """Give rows their new places; rows whose place did not move stay as they are."""
    if moved.empty:
        return rows
    found = rows[PLACE].merge(moved, on=PLACE, how="left")
    is_moved = found["new_shard"].notna().to_numpy()
    return rows.assign(
        **{
            old: np.where(is_moved, found[new], found[old]).astype(
                object if old == "shard" else np.int64
            )
            for old, new in _NEW.items()
        }
    ).astype({"shard": "str"})


def _with_names(store: Store, places: pd.DataFrame) -> pd.DataFrame:
    """Say what the generation calls each utterance, a live name first; empty if it has none."""
    rows = store.generation.rows
    rows = rows.loc[rows["shard"].isin(places["shard"]), [*PLACE, "utterance_id", "status"]]
    is_live = rows.pop("status") == LIVE
    names = pd.concat([rows[is_live], rows[~is_live]]).drop_duplicates(PLACE)
    return places.merge(names, on=PLACE, how="left").fillna({"utterance_id": ""})


def _header(store: Store, name: str) -> ShardHeader:
    """Read what a shard says of itself; the recipe is the store's."""
    header = examine(store.shards_folder / name, full=False).header
    recipe_id = store.generation.recipe_id or header.recipe_id
    return dataclasses.replace(header, recipe_id=recipe_id, recipe_json=store.recipe_json)


def _portions(
    places: pd.DataFrame, header: ShardHeader, shard_bytes: int
) -> Iterator[pd.DataFrame]:
    row_bytes = header.feature_dim * np.dtype(header.dtype).itemsize
    first, room = 0, shard_bytes
    sizes = ((places["row_end"] - places["row_start"]) * row_bytes).tolist()
    for i, size in enumerate(sizes):
        if size > room and i > first:
            yield places.iloc[first:i]
            first, room = i, shard_bytes
        room -= size
    yield places.iloc[first:]


def _write(store: Store, batch: Batch) -> PublishedShard:
    with ShardWriter(store.shards_folder, batch.header) as writer:
        for name, places in batch.places.groupby("shard", sort=False):
            path = store.shards_folder / str(name)
            try:
                with open_shard(path) as source:
                    _copy(source, places, writer)
            except ShardError:
                raise
            except TORN as error:
                message = (
                    f"{path} cannot be copied from ({error}); expected a whole shard; run "
                    "'emostack store repair'"
                )
                raise ShardError(message) from error
        return writer.close()


def _copy(file: h5py.File, places: pd.DataFrame, writer: ShardWriter) -> None:
    at = {(e.row_start, e.row_end): (i, e) for i, e in enumerate(index_of(file))}
    digests = file["utterance_sha256"][:]
    columns = ("key", "utterance_id", "row_start", "row_end")
    for key, name, first, last in zip(*(places[c].tolist() for c in columns), strict=True):
        i, entry = at[first, last]
        for block in blocks(file, first, last):
            rows = slice(first, first := first + len(block))
            writer.append(block, file["segment_start"][rows], file["segment_end"][rows])
        writer.end_utterance(
            key=key,
            utterance_id=name or entry.utterance_id,
            view=entry.view,
            expected=digests[i].tobytes(),
        )


def _moved(batch: Batch, shard: PublishedShard) -> pd.DataFrame:
    return batch.places[PLACE].assign(
        new_shard=shard.name,
        new_start=[entry.row_start for entry in shard.entries],
        new_end=[entry.row_end for entry in shard.entries],
    )
