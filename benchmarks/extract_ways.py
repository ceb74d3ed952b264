"""The ways from audio to features that `bench_extract` compares; as a script, a child that does one.

Ceiling, extraction and loop make the same features, by the same graph. The plots are other pictures of
the same segments, for the same network and layers.
"""

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.by_librosa import librosa_windows, plotted
from benchmarks.child import Action, Numbers, serve
from features_cache.keys import CLEAN
from models.engines import KERAS, Engine
from models.weights import weights_file
from pipeline import extraction
from pipeline.extraction import ExtractOptions, Job, extract_features
from pipeline.session import Session
from pipeline.workdir import Workdir
from stages.extract import Workers
from stages.frontend.audio import duration_s
from stages.manifest import audio_paths, read_manifest
from stages.overlap import one_behind
from stages.recipe import Recipe, recipe_from_json
from stages.segment_features import Rows, window_events
from stages.utterance import Utterance

BATCH_SIZE = 32


@dataclass(frozen=True)
class Task:
    """What is to be done: plain enough to travel as JSON.

    Attributes
    ----------
    way : one of `WAYS`
    folder : of a corpus, its ``manifest.csv`` included
    recipe_json : resolved
    every : takes every so manieth utterance
    engine : what runs the network, where the way leaves a choice
    n_workers : of an extraction: processes, on as many cores; 0 for this process alone
    batch_size : segments a call of the network
    """

    way: str
    folder: str
    recipe_json: str
    every: int = 1
    engine: str = KERAS
    n_workers: int = 0
    batch_size: int = BATCH_SIZE

    @property
    def recipe(self) -> Recipe:
        return recipe_from_json(self.recipe_json)

    @property
    def root(self) -> Path:
        return Path(self.folder)

    @property
    def manifest(self) -> pd.DataFrame:
        rows = read_manifest(self.root / "manifest.csv")
        return rows.iloc[:: self.every].reset_index(drop=True)

    @property
    def paths(self) -> list[Path]:
        return [Path(path) for path in audio_paths(self.manifest, self.root)]


def front_end(task: Task) -> Action:
    """Files to windows, as a worker does it, and no network."""
    manifest, recipe = task.manifest, task.recipe
    utterances = utterances_of(manifest, task.root)

    def run(step: int) -> Numbers:
        events = window_events(utterances[::step], recipe)
        return {"n_segments": sum(len(e.values) for e in events if isinstance(e, Rows))}

    return run


def ceiling(task: Task) -> Action:
    """Run the whole graph on windows that are in memory."""
    recipe, network, size = task.recipe, _network(task), task.batch_size
    events = window_events(utterances_of(task.manifest, task.root), recipe)
    in_memory = np.concatenate([event.values for event in events if isinstance(event, Rows)])

    def run(step: int) -> Numbers:
        given = in_memory[: -(-len(in_memory) // step)]
        batches = (given[i : i + size] for i in range(0, len(given), size))
        for features in one_behind(network.start(batch) for batch in batches):
            features()
        return {"n_segments": len(given)}

    return run


def extract(task: Task) -> Action:
    """Run `emostack extract` from files to published shards, into a new workdir below the corpus.

    Workers, and the network in each, are kept from one run to the next: starting is not timed.
    """
    manifest, recipe = task.manifest, task.recipe
    options = ExtractOptions(
        n_workers=task.n_workers, engine=task.engine, batch_size=task.batch_size
    )
    audio_s = seconds_of(manifest, task.root)
    _keep_workers()

    def run(step: int) -> Numbers:
        # Each worker has to have loaded its network before anything is timed.
        rows = manifest if task.n_workers else manifest.iloc[::step].reset_index(drop=True)
        job = Job(manifest=rows, root=task.root, recipe=recipe)
        workdir = Workdir(Path(tempfile.mkdtemp(dir=task.root)))
        done = extract_features(Session(quiet=True), workdir, job, options).done
        assert done is not None
        if done.n_left or done.quarantined:
            message = f"{done.n_left} utterances were left, and {done.quarantined} quarantined"
            raise RuntimeError(message)
        shards = workdir.store_folder(recipe.recipe_id) / "shards"
        n_bytes = sum(path.stat().st_size for path in shards.glob("*.h5"))
        return {"n_segments": done.n_segments, "bytes_a_second": n_bytes / audio_s}

    return run


def loop(task: Task) -> Action:
    """Do what people write: librosa's log-Mel, then `model.predict`, utterance by utterance."""
    recipe, paths = task.recipe, task.paths
    graph = _graph_of(recipe)

    def run(step: int) -> Numbers:
        found = [
            graph.predict(librosa_windows(path, recipe), batch_size=BATCH_SIZE, verbose=0)
            for path in paths[::step]
        ]
        return {"n_segments": sum(map(len, found))}

    return run


def plots(task: Task) -> Action:
    """Do as DeepSpectrum does: each segment is plotted, and the network looks at the plot's pixels."""
    from models.frozen_graph import build_feature_graph
    from models.quiet_keras import keras

    recipe, paths = task.recipe, task.paths
    graph = build_feature_graph(recipe.network, weights_file(recipe.network, download=False))
    module = getattr(keras.applications, recipe.network.entry.module)
    context = recipe.segments.context_frames

    def run(step: int) -> Numbers:
        n = 0
        for path in paths[::step]:
            cuts = librosa_windows(path, recipe)[:, :, context:-context]
            pixels = np.stack([plotted(cut, recipe.network.input_size) for cut in cuts])
            pictures = module.preprocess_input(pixels.astype(np.float32))
            n += len(graph.predict(pictures, batch_size=BATCH_SIZE, verbose=0))
        return {"n_segments": n}

    return run


WAYS: dict[str, Callable[[Task], Action]] = {
    "front end": front_end,
    "ceiling": ceiling,
    "extract": extract,
    "loop": loop,
    "plots": plots,
}


def make_ready(fields: dict[str, Any]) -> Action:
    """Get ready for a task that has travelled as JSON."""
    task = Task(**fields)
    return WAYS[task.way](task)


def seconds_of(manifest: pd.DataFrame, root: Path) -> float:
    """Seconds of audio that a manifest names."""
    lengths_s = [duration_s(Path(path)) for path in audio_paths(manifest, root)]
    ends_s = manifest["end"].fillna(pd.Series(lengths_s, manifest.index))
    return float((ends_s - manifest["start"]).sum())


def utterances_of(manifest: pd.DataFrame, root: Path) -> list[Utterance]:
    """Say of every utterance what a worker is told of it."""
    places = manifest[["utterance_id", "start", "end"]].assign(path=audio_paths(manifest, root))
    utterances = []
    for about in places.to_dict("records"):
        about["path"] = Path(about["path"])
        found = about["path"].stat()
        file = {"size": found.st_size, "mtime_ns": found.st_mtime_ns}
        utterances.append(Utterance(key=about["utterance_id"], view=CLEAN, **about, **file))
    return utterances


def _network(task: Task) -> Engine:
    from stages.shard_work import load_network

    return load_network(task.recipe_json, task.batch_size, task.engine)


def _graph_of(recipe: Recipe) -> Any:  # noqa: ANN401 - a Keras model
    """Build the whole graph as a script has it: for batches of any size."""
    from models.frozen_graph import WindowShape, build_graph

    window = WindowShape(
        n_mels=recipe.frontend.n_mels,
        n_frames=recipe.segments.n_frames,
        delta_width=recipe.segments.delta_width,
    )
    return build_graph(recipe.network, window, weights_file(recipe.network, download=False))


def _keep_workers() -> None:
    """Have an extraction find the workers of the one before, and the machine no larger than allowed."""
    open_workers, kept = extraction.open_workers, ExitStack()
    atexit.register(kept.close)

    @functools.cache
    def opened(n_workers: int, engine: str) -> Workers:
        here = Path(tempfile.mkdtemp(prefix="bench-"))
        kept.callback(shutil.rmtree, here)
        places = {"store": here, "audio": here, "scratch": here}
        return kept.enter_context(open_workers(n_workers, None, engine=engine, **places))

    def find_workers(
        n_workers: int, *_: object, engine: str, **__: object
    ) -> AbstractContextManager[Workers]:
        return nullcontext(opened(n_workers, engine))

    os.cpu_count = lambda: len(os.sched_getaffinity(0))  # what the threads of a worker are cut by
    extraction.open_workers = find_workers


if __name__ == "__main__":
    serve(make_ready)
