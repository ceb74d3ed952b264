"""Small stores for tests: made-up features, no network, no audio."""

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features_cache.catalogue import catalogue_rows
from features_cache.key_columns import hex_of, keys_of
from features_cache.numbered import in_parts
from features_cache.places import Place
from features_cache.shard import PublishedShard, ShardHeader, ShardWriter
from features_cache.snapshot import as_table
from features_cache.store import Store, rows_of_shards

RECIPE_ID = "0123456789abcdef"
RECIPE_JSON = "{}"


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def values(name: str, dim: int = 3, seed: int = 0) -> NDArray[np.float32]:
    """Features of an utterance: its name decides."""
    rng = np.random.default_rng([seed, *name.encode()])
    return rng.standard_normal((2 + len(name), dim)).astype(np.float32)


def new_shard(
    store: Store,
    names: Iterable[str],
    *,
    dim: int = 3,
    versions: str = "{}",
    seed: int = 0,
    ids: dict[str, str] | None = None,
) -> PublishedShard:
    """Write a shard; `names` decide keys and features, `ids` what they are called (by default so)."""
    header = ShardHeader(
        recipe_id=RECIPE_ID,
        recipe_json=store.recipe_json,
        versions_json=versions,
        engine="keras-test",
        dtype="float32",
        feature_dim=dim,
    )
    with ShardWriter(store.shards_folder, header) as shard:
        for name in names:
            rows = values(name, dim, seed)
            start = np.arange(len(rows), dtype=np.float64)
            shard.append(rows, start, start + 1)
            called = (ids or {}).get(name, name)
            shard.end_utterance(key=key_of(name), utterance_id=called, view="clean")
        return shard.close()


def table(shard: PublishedShard, **columns: object) -> pd.DataFrame:
    """Rows of a snapshot for everything in a shard."""
    rows = [
        {
            "utterance_id": e.utterance_id,
            "file": f"{e.utterance_id}.wav",
            "start": 0.0,
            "end": float("nan"),
            "speaker": "s",
            "session": "",
            "gender": "",
            "emotion": "joy",
            "corpus": "c",
            "view": "clean",
            "key": e.key,
            "audio_sha256": "",
            "status": "live",
            "message": "",
            **columns,
        }
        for e in shard.entries
    ]
    return pd.DataFrame(rows)


def publish(
    store: Store,
    rows: pd.DataFrame,
    shards: Sequence[PublishedShard] = (),
    *,
    recipe_id: str = RECIPE_ID,
    audio: dict[str, str] | None = None,
) -> None:
    """Publish shards, then a snapshot of these rows alone, then what shows both, as a run does."""
    sums = {shard.name: shard.sha256 for shard in shards}
    exists = store.catalogue.plus(rows_of_shards(shards), sums)
    store.publish_catalogue(exists, recipe_id, for_snapshot=store.next_snapshot)
    store.publish_snapshot(in_parts(as_table(rows)), recipe_id, audio=audio)
    store.show()


def add(store: Store, *shards: PublishedShard, **columns: object) -> None:
    """Publish a snapshot with these shards' utterances as well."""
    rows = [store.snapshot.rows()] if store.snapshot.n_rows else []
    rows += [table(shard, **columns) for shard in shards]
    publish(store, pd.concat(rows, ignore_index=True), shards)


def drop(store: Store, *names: str) -> None:
    """Publish a snapshot that does not want these utterances any more."""
    rows = store.snapshot.rows()
    publish(store, rows[~rows["utterance_id"].isin(names)])


def mark(store: Store, status: str, *names: str) -> None:
    """Publish a snapshot in which these utterances are in another state."""
    rows = store.snapshot.rows()
    is_named = rows["utterance_id"].isin(names)
    publish(store, rows.assign(status=rows["status"].mask(is_named, status)))


def lose(store: Store, *names: str) -> None:
    """Publish a catalogue that knows nothing of these utterances' keys."""
    store.publish_catalogue(store.catalogue.without(keys_of(list(map(key_of, names)))))


def misplace(store: Store, name: str) -> None:
    """Publish a catalogue that has one utterance a row too far."""
    place = store.place(name)
    row = catalogue_rows(
        keys_of([key_of(name)]),
        shard=place.shard,
        row_start=place.row_start,
        row_end=place.row_end + 1,
    )
    store.publish_catalogue(store.catalogue.plus(row))


def reopened(store: Store) -> Store:
    """Open a store for writing, with what killed runs have left."""
    again = Store.for_writing(store.folder)
    again.adopt()
    return again


def make_store(folder: Path, *shards: Sequence[str]) -> Store:
    """Make a store with one snapshot per shard."""
    store = Store.create(folder, RECIPE_JSON)
    for names in shards:
        add(store, new_shard(store, names))
    return store


def tear_rows(path: Path, groups: Iterable[int] = (0,)) -> None:
    """Let a table's footer stay whole, and no row of some of its row groups."""
    data, footer = bytearray(path.read_bytes()), pq.read_metadata(path)
    for group in groups:
        first = footer.row_group(group).column(0)
        start = first.dictionary_page_offset or first.data_page_offset
        data[start : start + first.total_compressed_size] = bytes(first.total_compressed_size)
    path.write_bytes(data)


def old_store(folder: Path) -> Path:
    """Copy the archived store of format 1, of three generations, below a folder."""
    (source,) = (Path(__file__).parent / "archives/0.1/runs/features").glob("*/")
    return Path(shutil.copytree(source, folder / source.name))


def contents(folder: Path, snapshot: int | None = None) -> dict[tuple[str, str], bytes]:
    """Return (corpus, name) -> all bytes that a reader gets for it."""
    store = Store(folder, snapshot=snapshot)
    found = {}
    for row in store.live().itertuples():
        place = Place(shard=row.shard, row_start=row.row_start, row_end=row.row_end)
        parts = (store.read(place), *store.read_times(place))
        found[row.corpus, row.utterance_id] = b"".join(p.tobytes() for p in parts)
    store.close()
    return found


def places(store: Store) -> dict[str, str]:
    """Return key -> shard of everything that the held catalogue knows a place of."""
    catalogue = store.catalogue
    pairs = zip(hex_of(catalogue.keys), catalogue.texts("shard"), strict=True)
    return {key: shard for key, shard in pairs if shard}


def shard_names(store: Store) -> set[str]:
    return {path.name for path in store.shards_folder.iterdir()}
