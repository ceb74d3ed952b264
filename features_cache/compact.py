"""Many small nightly shards into few; no snapshot changes, and no reader is disturbed."""

from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from features_cache.rewrite import Batch, make_batches, rewrite
from features_cache.shard import SHARD_BYTES
from features_cache.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """What compacting did.

    Attributes
    ----------
    n_before, n_after : shards that the store's catalogue named before and names now
    n_bytes : bytes of the new shard files
    """

    n_before: int
    n_after: int
    n_bytes: int = 0


def compact(store: Store, *, shard_bytes: int = SHARD_BYTES) -> Compaction:
    """Copy small shards together and publish a catalogue that names the new ones.

    The old files stay, retired, until `features_cache.gc.collect`. Nothing is done where there would
    not be fewer shards afterwards.

    Parameters
    ----------
    store : the caller holds its lock
    shard_bytes : bytes of features in a full shard; a file of less than half is small

    Raises
    ------
    features_cache.shard.ShardError
        A small shard is damaged, or the disk is full: nothing has changed.
    """
    catalogue = store.catalogue
    n_before = len(catalogue.shards)
    small = [
        path.name
        for path in (store.shards_folder / name for name in catalogue.shards)
        if path.exists() and path.stat().st_size < shard_bytes // 2
    ]
    wanted = catalogue.rows.filter(pa.array(catalogue.in_shards(small)))
    batches = _worthwhile(make_batches(store, wanted, shard_bytes=shard_bytes))
    if not batches:
        return Compaction(n_before=n_before, n_after=n_before)
    store.publish_catalogue(rewrite(store, batches, catalogue))
    store.show()
    new = store.catalogue.shards.keys() - catalogue.shards.keys()
    return Compaction(
        n_before=n_before,
        n_after=len(store.catalogue.shards),
        n_bytes=sum((store.shards_folder / name).stat().st_size for name in new),
    )


def _worthwhile(batches: list[Batch]) -> list[Batch]:
    """Leave out the headers whose shards would not become fewer."""
    chosen: list[Batch] = []
    for _, group in groupby(batches, key=lambda batch: batch.header):
        of_header = list(group)
        old = {name for batch in of_header for name in batch.places["shard"].unique()}
        if len(of_header) < len(old):
            chosen += of_header
    return chosen
