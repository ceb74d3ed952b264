"""A small store with labels, for tests of exports: made-up features, no network, no audio."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from features_cache.shard import ShardHeader, ShardWriter
from features_cache.store import Store
from stages.dataset import Selection, select
from stages.manifest import complete
from stages.recipe import Recipe, resolve, with_random_weights
from tests.small_store import key_of, publish

HOSTILE = (
    "a,b;c",
    'it\'s "quoted" %{}\\',
    "=cmd('x')!A1",
    "<script>alert(1)</script>",
    "ü\N{SNOWMAN}\N{GRINNING FACE}",
    "n" * 300,
    " padded ",
    "?",
)
"""Names that formats like to stumble over; those with line breaks are apart."""

BREAKING = ("line\nbreak", "carriage\rreturn", "tab\there")


def recipe() -> Recipe:
    """Return a recipe that needs no file."""
    return resolve(with_random_weights(Recipe()))


def rows_of(names: Sequence[str], **columns: object) -> pd.DataFrame:
    """Make a manifest: four speakers, three emotions, in turn."""
    n = range(len(names))
    frame = pd.DataFrame(
        {
            "utterance_id": list(names),
            "file": [f"audio/{name}.wav" for name in names],
            "speaker": [f"s{i % 4}" for i in n],
            "gender": [("male", "female")[i % 2] for i in n],
            "session": [f"day {i % 2}" for i in n],
            "emotion": [("anger", "fear", "neutral")[i % 3] for i in n],
            "corpus": "emodb",
        }
    )
    return complete(frame.assign(**columns))


def fill(
    folder: Path,
    manifest: pd.DataFrame,
    *,
    dim: int = 5,
    seed: int = 0,
    shift_s: float = 0.16,
    revision: int = 1,
) -> Store:
    """Make a store that holds a manifest's utterances, of one to six segments each."""
    made_by = replace(recipe(), revision=revision)
    store = Store.create(folder, made_by.to_json())
    rng = np.random.default_rng(seed)
    header = ShardHeader(
        recipe_id=made_by.recipe_id,
        recipe_json=store.recipe_json,
        versions_json="{}",
        engine="keras-test",
        dtype="float16",
        feature_dim=dim,
    )
    with ShardWriter(store.shards_folder, header) as writer:
        for i, row in enumerate(manifest.itertuples()):
            n = 1 + i % 6
            start = np.arange(n) * shift_s
            writer.append(rng.normal(0, 3, (n, dim)).astype(np.float16), start, start + 0.655)
            key = key_of(f"{row.corpus}/{row.utterance_id}")
            writer.end_utterance(key=key, utterance_id=row.utterance_id, view="clean")
        shard = writer.close()
    keys = [entry.key for entry in shard.entries]
    publish(store, manifest.assign(key=keys, status="live"), [shard], recipe_id=made_by.recipe_id)
    return store


def selection_of(folder: Path, names: Sequence[str], **columns: object) -> tuple[Selection, Store]:
    """Fill a store with these utterances and select all of them."""
    manifest = rows_of(names, **columns)
    store = fill(folder, manifest)
    return select(manifest, store), store
