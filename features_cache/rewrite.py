"""Copying utterances from published shards into new ones, checksum by checksum.

What `compact`, `gc`, `repair` and `forget` do to shards, which never change: new ones are written, and
a catalogue that names them is published. Nothing is deleted here.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features_cache.catalogue import Catalogue
from features_cache.key_columns import from_arrow, hex_of
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
from features_cache.snapshot import is_live
from features_cache.store import Store, rows_of_shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one new shard will hold.

    Attributes
    ----------
    header : what it will say of itself; all its utterances come from shards that say the same
    places : columns ``key, utterance_id, shard, row_start, row_end, made_by``, in the order of the
        rows
    """

    header: ShardHeader
    places: pd.DataFrame


def make_batches(store: Store, wanted: pa.Table, *, shard_bytes: int = SHARD_BYTES) -> list[Batch]:
    """Distribute utterances over new shards, in the order of (shard, row_start).

    Parameters
    ----------
    store : whose shards to copy from
    wanted : rows of its catalogue, places only
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
    places = _with_names(store, wanted).sort_values(["shard", "row_start"])
    names: dict[ShardHeader, list[str]] = {}
    for name in places["shard"].unique():
        names.setdefault(_header(store, name), []).append(name)
    return [
        Batch(header=header, places=part)
        for header, of_header in names.items()
        for part in _portions(places[places["shard"].isin(of_header)], header, shard_bytes)
    ]


def rewrite(store: Store, batches: Sequence[Batch], catalogue: Catalogue) -> Catalogue:
    """Write new shards; if one cannot be written or read, none stays.

    Parameters
    ----------
    store : whose lock the caller holds
    batches : from `make_batches`
    catalogue : whose rows are to point at the copies

    Returns
    -------
    Catalogue
        The new shards are on disk; it names them, and has yet to be published.

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
    makers = [name for batch in batches for name in batch.places["made_by"]]
    rows = rows_of_shards(written, makers)
    return catalogue.plus(rows, {shard.name: shard.sha256 for shard in written})


def _with_names(store: Store, wanted: pa.Table) -> pd.DataFrame:
    """Say what the snapshot calls each utterance, a live name first; empty if it has none."""
    keys = from_arrow(wanted["key"])
    names = store.snapshot.table(["key", "utterance_id", "status"])
    names = names.filter(pc.is_in(names["key"].combine_chunks(), value_set=pa.array(wanted["key"])))
    known = pd.DataFrame(
        {
            "key": hex_of(from_arrow(names["key"])),
            "utterance_id": names["utterance_id"].to_pandas().astype("str"),
            "is_live": is_live(names),
        }
    ).sort_values("is_live", ascending=False, kind="stable")
    known = known.drop_duplicates("key").drop(columns="is_live")
    columns = {n: wanted[n].cast(pa.string()).to_pandas() for n in ("shard", "made_by")}
    numbers = {n: wanted[n].to_numpy() for n in ("row_start", "row_end")}
    places = pd.DataFrame({"key": hex_of(keys), **columns, **numbers})
    return places.merge(known, on="key", how="left").fillna({"utterance_id": ""})


def _header(store: Store, name: str) -> ShardHeader:
    """Read what a shard says of itself; the recipe is the store's."""
    header = examine(store.shards_folder / name, full=False).header
    recipe_id = store.recipe_id or header.recipe_id
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
