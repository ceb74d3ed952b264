"""Small stores for tests: made-up features, no network, no audio."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.generation import GONE
from features_cache.shard import PublishedShard, ShardHeader, ShardWriter
from features_cache.store import Place, Store

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
    """Rows of a generation for everything in a shard."""
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
            "shard": shard.name,
            "row_start": e.row_start,
            "row_end": e.row_end,
            "status": "live",
            "reason": "",
            "message": "",
            **columns,
        }
        for e in shard.entries
    ]
    return pd.DataFrame(rows)


def add(store: Store, *shards: PublishedShard, **columns: object) -> None:
    """Publish a generation with these shards' utterances as well."""
    rows = [store.generation.rows] if store.generation.number else []
    rows += [table(shard, **columns) for shard in shards]
    store.publish(pd.concat(rows, ignore_index=True), RECIPE_ID, shards)


def bury(store: Store, *names: str) -> None:
    """Publish a generation in which these utterances are gone."""
    rows = store.generation.rows
    is_gone = rows["utterance_id"].isin(names)
    store.publish(rows.assign(status=rows["status"].mask(is_gone, GONE)), RECIPE_ID)


def make_store(folder: Path, *shards: Sequence[str]) -> Store:
    """Make a store with one generation a shard."""
    store = Store.create(folder, RECIPE_JSON)
    for names in shards:
        add(store, new_shard(store, names))
    return store


def contents(folder: Path, generation: int | None = None) -> dict[tuple[str, ...], bytes]:
    """Return (corpus, name, status) -> all bytes that a reader gets for it."""
    store = Store(folder, generation=generation)
    found = {}
    for row in store.generation.rows.itertuples():
        if row.shard:
            place = Place(shard=row.shard, row_start=row.row_start, row_end=row.row_end)
            parts = (store.read(place), *store.read_times(place))
            found[row.corpus, row.utterance_id, row.status] = b"".join(p.tobytes() for p in parts)
    store.close()
    return found


def shard_names(store: Store) -> set[str]:
    return {path.name for path in store.shards_folder.iterdir()}
