"""The work of one task: some utterances in, one shard out. Runs wherever a worker is.

The frozen network is loaded once a process; what comes in and goes out is a few hundred bytes. One
thread decodes ahead of the network, one runs the network ahead of what is written. Where a process
has two tasks at hand, one has the network while the other's shard is verified and published.
"""

import functools
import importlib.metadata
import math
import platform
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from features_cache.atomic import PARTIAL
from features_cache.keys import file_sha256
from features_cache.lock import may_go_on
from features_cache.shard import (
    SHARD_BYTES,
    PublishedShard,
    ShardHeader,
    ShardWriter,
    read_entries,
    versions_json,
)
from models.engines import KERAS, OPENVINO, Engine
from models.weights import weights_file
from stages.frontend.decoder import DECODER
from stages.in_progress import InProgress
from stages.overlap import made_ahead
from stages.recipe import Recipe, recipe_from_json
from stages.segment_features import (
    Done,
    Event,
    Failed,
    Rows,
    feature_lists,
    storable,
    window_batches,
    window_events,
)
from stages.utterance import Utterance

SHARD_SECONDS = 60.0
"""Work on a shard after which no further utterance is begun."""

AHEAD_BYTES = 64 << 20
"""Batches of windows that wait for the network, or of features to be written, take so much at most."""

WINDOWS_AHEAD, FEATURES_AHEAD = 32, 4
"""And so many batches: a file may take long to read; writing only has to be out of the network's way."""

ASK_S = 0.05
"""Between two questions whether to go on: a file is read for it, and nobody notices so short a time."""

_TURN = threading.Lock()
"""Held by the task that has this process's network."""

PACKAGES = ("emostack", "keras", "librosa", "numpy", "scipy", "soundfile", "soxr", "h5py")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """What one worker is asked to do: small, and plain enough to travel.

    Attributes
    ----------
    store : folder of the store, as the worker sees it
    lock_token : of the run that hands the task out
    recipe_json : the resolved recipe
    batch_size : segments a call of the network, at least 8
    engine : what runs the network, one of `models.engines.ENGINES`
    utterances : in order
    shard : name of the shard to write, so that it is found even if the worker dies on its way back
    """

    store: str
    lock_token: str
    recipe_json: str
    batch_size: int
    engine: str = KERAS
    utterances: tuple[Utterance, ...] = ()
    shard: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """What a worker has done.

    Attributes
    ----------
    shard : the published shard, or None if no utterance gave features
    failures : utterances that gave none
    left : utterances not done, because the shard was full or the run was asked to stop
    n_segments : segments in the shard
    audio_s : seconds of audio in the shard
    """

    shard: PublishedShard | None = None
    failures: tuple[Failed, ...] = ()
    left: tuple[Utterance, ...] = ()
    n_segments: int = 0
    audio_s: float = 0.0


def extract_shard(task: ShardTask) -> ShardResult:
    """Extract a task's utterances into one shard, until it is full or the run is asked to stop.

    Raises
    ------
    models.weights.WeightsError
        The worker cannot find the weights that the recipe names.
    models.engines.EngineError
        The worker has no such engine.
    features_cache.shard.ShardError
        The disk is full, or the shard did not read back as it was written.
    """
    folder = Path(task.store)
    done = published_result(task)  # a cluster may run a task again whose worker it lost sight of
    if done is not None or not may_go_on(folder, task.lock_token):
        return done or ShardResult(left=task.utterances)
    recipe = recipe_from_json(task.recipe_json)
    with _TURN:
        network = load_network(task.recipe_json, task.batch_size, task.engine)
    header = _header(recipe, network, task.engine)
    with ShardWriter(folder / "shards", header, task.shard) as shard:
        work = _Work(shard, functools.partial(may_go_on, folder, task.lock_token))
        with _TURN, InProgress(folder / "shards", task.shard, task.utterances) as progress:
            # Asked once the unfinished file is there: whoever takes over after this deletes it
            # before looking at what is published, and what is deleted cannot be published any more.
            if not may_go_on(folder, task.lock_token):
                return ShardResult(left=task.utterances)
            work.extract(progress, recipe, network)
        try:
            published = shard.close() if shard.n_utterances else None
        except FileExistsError:  # another worker was given the task as well, and was faster
            twin = published_result(task)
            if twin is None:
                raise
            return twin
    ended = {id(utterance) for utterance in work.ended} | {
        id(failure.utterance) for failure in work.failures
    }
    return ShardResult(
        shard=published,
        failures=tuple(work.failures),
        left=tuple(utterance for utterance in task.utterances if id(utterance) not in ended),
        n_segments=published.entries[-1].row_end if published else 0,
        audio_s=work.audio_s,
    )


class _Work:
    """Fills a shard until there is no more room or time, or nobody wants it any more."""

    def __init__(self, shard: ShardWriter, may_go_on: Callable[[], bool]) -> None:
        self._shard, self._may_go_on = shard, may_go_on
        self._began, self._asked = 0.0, -math.inf
        self.ended: list[Utterance] = []
        self.failures: list[Failed] = []
        self.audio_s = 0.0

    def extract(self, progress: InProgress, recipe: Recipe, network: Engine) -> None:
        """Take a task's utterances from audio file to shard."""
        self._began = time.monotonic()
        windows = window_batches(window_events(progress.passing(), recipe), network.batch_size)
        n_windows, n_features = batches_ahead(
            recipe, batch_size=network.batch_size, feature_dim=network.feature_dim
        )
        # The network's thread takes from the decoding one, so it has to have ended before that.
        with (
            closing(made_ahead(windows, n_windows)) as ready,
            closing(made_ahead(feature_lists(ready, network), n_features)) as made,
        ):
            try:
                self._write(storable(chain.from_iterable(made), recipe.dtype))
            except MemoryError:
                message = "not enough memory to make its features"
                utterance = progress.utterances[len(self.ended) + len(self.failures)]
                self.failures.append(Failed(utterance=utterance, code="memory", message=message))

    def _write(self, events: Iterable[Event]) -> None:
        end_s = 0.0
        for event in events:
            match event:
                case Rows():
                    self._shard.append(event.values, event.start, event.end)
                    end_s = float(event.end[-1])
                case Done(utterance=utterance):
                    self._shard.end_utterance(
                        key=utterance.key, utterance_id=utterance.utterance_id, view=utterance.view
                    )
                    self.ended.append(utterance)
                    self.audio_s += end_s
                case Failed():
                    self._shard.rollback()
                    self.failures.append(event)
            if self._has_to_stop() or (self._is_full() and not isinstance(event, Rows)):
                return

    def _has_to_stop(self) -> bool:
        now = time.monotonic()
        if now - self._asked < ASK_S:
            return False
        self._asked = now
        return not self._may_go_on()

    def _is_full(self) -> bool:
        seconds = time.monotonic() - self._began
        return self._shard.n_bytes >= SHARD_BYTES or seconds >= SHARD_SECONDS


def batches_ahead(recipe: Recipe, *, batch_size: int, feature_dim: int) -> tuple[int, int]:
    """Say how many batches of windows, and how many of features, are made ahead: at least one."""

    def at_most(n: int, values: int) -> int:
        return max(1, min(n, AHEAD_BYTES // (4 * values * batch_size)))

    window_values = recipe.frontend.n_mels * recipe.segments.window_frames
    return at_most(WINDOWS_AHEAD, window_values), at_most(FEATURES_AHEAD, feature_dim)


def withdraw(task: ShardTask) -> None:
    """Make sure that a task which is given to somebody else is not published after all.

    The worker that is taken for dead may only have been out of reach.
    """
    for path in (Path(task.store) / "shards").glob(f".{task.shard}.*{PARTIAL}"):
        path.unlink(missing_ok=True)


def published_result(task: ShardTask) -> ShardResult | None:
    """Say what a task has come to whose shard is published; None if it is not.

    Which utterances failed is not in the shard: they are left, with those that were not begun.
    """
    path = Path(task.store) / "shards" / task.shard
    if not path.exists():
        return None
    entries = read_entries(path)
    made = {entry.key for entry in entries}
    return ShardResult(
        shard=PublishedShard(name=path.name, sha256=file_sha256(path), entries=entries),
        left=tuple(utterance for utterance in task.utterances if utterance.key not in made),
        n_segments=entries[-1].row_end,
    )


@functools.lru_cache(maxsize=1)
def load_network(recipe_json: str, batch_size: int, engine: str = KERAS) -> Engine:
    """Load the recipe's frozen network into an engine, once a process."""
    # Keras takes seconds and a third of a GiB: not in the process that only hands tasks to workers.
    from models.frozen_cnn import FrozenCNN
    from models.frozen_graph import WindowShape

    recipe = recipe_from_json(recipe_json)
    window = WindowShape(
        n_mels=recipe.frontend.n_mels,
        n_frames=recipe.segments.n_frames,
        delta_width=recipe.segments.delta_width,
    )
    file = weights_file(recipe.network, download=False)
    if engine == OPENVINO:
        from models.openvino_cnn import OpenvinoCNN

        return OpenvinoCNN(recipe.network, window, file, batch_size=batch_size)
    return FrozenCNN(recipe.network, window, file, batch_size=batch_size)


def package_versions(engine: str = KERAS) -> dict[str, str]:
    """Versions of everything that has a hand in a feature that an engine makes, and of our decoding."""
    from models.backend import backend_name

    packages = (*PACKAGES, backend_name(), *([OPENVINO] if engine == OPENVINO else []))
    versions = {name: _version(name) for name in packages}
    return {**versions, "decoder": DECODER, "python": platform.python_version()}


_version = functools.cache(importlib.metadata.version)


def _header(recipe: Recipe, network: Engine, engine: str) -> ShardHeader:
    return ShardHeader(
        recipe_id=recipe.recipe_id,
        recipe_json=recipe.to_json(),
        versions_json=versions_json(package_versions(engine)),
        engine=network.name,
        dtype=recipe.dtype,
        feature_dim=network.feature_dim,
    )
