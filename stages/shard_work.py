"""The work of one task: some utterances in, one shard out. Runs wherever a worker is.

The frozen network is loaded once a process; what comes in and goes out is a few hundred bytes.
"""

import functools
import importlib.metadata
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from features_cache.shard import PublishedShard, ShardHeader, ShardWriter, versions_json
from models.backend import backend_name
from models.frozen_cnn import FrozenCNN, WindowShape
from models.weights import weights_file
from stages.plan import Item
from stages.recipe import Recipe, recipe_from_json
from stages.segment_features import (
    Done,
    Event,
    Failed,
    Rows,
    feature_events,
    storable,
    window_events,
)

SHARD_BYTES = 64 * 2**20
"""Features in a shard after which no further utterance is begun."""

SHARD_SECONDS = 60.0
"""Work on a shard after which no further utterance is begun."""

PACKAGES = ("emostack", "keras", "librosa", "numpy", "scipy", "soundfile", "soxr", "h5py")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """What one worker is asked to do: small, and plain enough to travel.

    Attributes
    ----------
    store : folder of the store, as the worker sees it
    recipe_json : the resolved recipe
    items : utterances, in order
    batch_size : segments a call of the network, at least 8
    """

    store: str
    recipe_json: str
    items: tuple[Item, ...]
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """What a worker has done.

    Attributes
    ----------
    shard : the published shard, or None if no utterance gave features
    failures : utterances that gave none
    left : utterances not begun, because the shard was full
    n_segments : segments in the shard
    """

    shard: PublishedShard | None
    failures: tuple[Failed, ...]
    left: tuple[Item, ...]
    n_segments: int


def extract_shard(task: ShardTask) -> ShardResult:
    """Extract a task's utterances into one shard, until it is full.

    Raises
    ------
    models.weights.WeightsError
        The worker cannot find the weights that the recipe names.
    features_cache.shard.ShardError
        The shard did not read back as it was written.
    """
    recipe = recipe_from_json(task.recipe_json)
    network = load_network(task.recipe_json, task.batch_size)
    events = feature_events(window_events(task.items, recipe), network, network.batch_size)
    failures: list[Failed] = []
    n_ended = 0
    began = time.monotonic()
    with ShardWriter(Path(task.store) / "shards", _header(recipe, network)) as shard:
        for event in storable(events, recipe.dtype):
            _write(shard, event)
            if isinstance(event, Failed):
                failures.append(event)
            n_ended += not isinstance(event, Rows)
            is_full = shard.n_bytes >= SHARD_BYTES or time.monotonic() - began >= SHARD_SECONDS
            if is_full and not isinstance(event, Rows):
                break
        published = shard.close() if shard.n_utterances else None
    return ShardResult(
        shard=published,
        failures=tuple(failures),
        left=task.items[n_ended:],
        n_segments=published.entries[-1].row_end if published else 0,
    )


@functools.lru_cache(maxsize=1)
def load_network(recipe_json: str, batch_size: int) -> FrozenCNN:
    """Load the recipe's frozen network, once a process."""
    recipe = recipe_from_json(recipe_json)
    window = WindowShape(
        n_mels=recipe.frontend.n_mels,
        n_frames=recipe.segments.n_frames,
        delta_width=recipe.segments.delta_width,
    )
    file = weights_file(recipe.network, download=False)
    return FrozenCNN(recipe.network, window, file, batch_size=batch_size)


def package_versions() -> dict[str, str]:
    """Versions of everything that has a hand in a feature."""
    packages = (*PACKAGES, backend_name())
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {**versions, "python": platform.python_version()}


def _header(recipe: Recipe, network: FrozenCNN) -> ShardHeader:
    return ShardHeader(
        recipe_id=recipe.recipe_id,
        recipe_json=recipe.to_json(),
        versions_json=versions_json(package_versions()),
        engine=f"keras-{backend_name()}",
        dtype=recipe.dtype,
        feature_dim=network.feature_dim,
    )


def _write(shard: ShardWriter, event: Event) -> None:
    match event:
        case Rows():
            shard.append(event.values, event.start, event.end)
        case Done(item=item):
            shard.end_utterance(key=item.key, utterance_id=item.utterance_id, view=item.view)
        case Failed():
            shard.rollback()
