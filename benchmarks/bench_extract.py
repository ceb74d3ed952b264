"""How much of the network's own speed does extraction keep?

In one run, alternating, on the same audio, for every ``--engine``:

* ceiling: the whole graph fed windows from memory;
* extract: `emostack extract --workers 0` whole, from files to published shards;
* loop: what people write, one `model.predict` an utterance, features kept in memory; Keras only.

Prints segments a second, and a second of CPU, with the ratios of each way to its engine's ceiling and
to the first engine's same way, and their range. The machine may be shared: only the ratios mean
much, and on a busy one those of CPU time alone.
``python benchmarks/bench_extract.py --size tiny`` takes seconds and is run as a test.
``--engine keras,openvino --input-size 224 --precision bfloat16 --size quick`` compares the engines.
"""

import argparse
import dataclasses
import functools
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.engines import Engine
from models.frozen_graph import WindowShape, build_graph
from models.networks import PRECISIONS
from models.weights import weights_file
from pipeline.extraction import ExtractOptions, Job, extract_features
from pipeline.session import Session
from pipeline.workdir import Workdir
from stages import shard_work
from stages.corpora.synthetic import write_corpus
from stages.frontend.logmel import logmel_blocks
from stages.frontend.segments import windows
from stages.manifest import audio_paths
from stages.recipe import DEFAULT, RECIPES, Recipe, resolve, with_random_weights

Way = tuple[str, str]
"""An engine, and what is done with it."""

SIZES = {"tiny": (2, 1, 1), "quick": (2, 4, 3), "full": (6, 8, 5)}
"""Speakers, takes an emotion and rounds."""


def changed(recipe: Recipe, size: str, input_size: int, precision: str) -> Recipe:
    """Give the recipe's network what was asked for, and a small one for the smoke test."""
    network = dataclasses.replace(recipe.network, input_size=input_size, precision=precision)
    if size == "tiny":
        network = dataclasses.replace(
            network, network="mobilenet-0.25", layers=("conv_pw_1_relu",), input_size=32
        )
    return dataclasses.replace(recipe, network=network)


def timed(action: Callable[[], int]) -> tuple[float, float]:
    """Segments a second, and a second of CPU, of an action that returns how many it made."""
    began, cpu_began = time.perf_counter(), time.process_time()
    n = action()
    return n / (time.perf_counter() - began), n / (time.process_time() - cpu_began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="quick")
    parser.add_argument("--engine", default="keras", help="one or more, such as keras,openvino")
    parser.add_argument("--input-size", type=int, default=RECIPES[DEFAULT].network.input_size)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    asked = parser.parse_args()
    n_speakers, n_takes, n_rounds = SIZES[asked.size]
    recipe = with_random_weights(RECIPES[DEFAULT])
    recipe = resolve(changed(recipe, asked.size, asked.input_size, asked.precision))
    engines = asked.engine.split(",")
    # A process keeps one network; here it has to keep every engine's, or loading would be timed.
    shard_work.load_network = functools.cache(shard_work.load_network.__wrapped__)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        manifest = write_corpus(folder / "audio", n_speakers=n_speakers, n_takes=n_takes)
        paths = [Path(path) for path in audio_paths(manifest, folder / "audio")]
        ways = _ways(recipe, folder, manifest, paths, engines)
        for way in ways.values():  # compile
            way()
        rates: dict[Way, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(n_rounds):
            for name, way in ways.items():
                rates[name].append(timed(way))
    _print(rates, engines[0])


def _ways(recipe, folder, manifest, paths, engines) -> dict[Way, Callable[[], int]]:  # noqa: ANN001
    def cut(path: Path) -> np.ndarray:
        blocks = logmel_blocks(path, settings=recipe.frontend)
        return np.concatenate([values for values, _ in windows(blocks, recipe.segments)])

    in_memory = np.concatenate([cut(path) for path in paths])

    def ceiling(network: Engine) -> int:
        for first in range(0, len(in_memory), network.batch_size):
            network(in_memory[first : first + network.batch_size])
        return len(in_memory)

    def extract(engine: str) -> int:
        with tempfile.TemporaryDirectory(dir=folder) as workdir:
            done = extract_features(
                Session(quiet=True),
                Workdir(Path(workdir)),
                Job(manifest=manifest, root=folder / "audio", recipe=recipe),
                ExtractOptions(n_workers=0, engine=engine),
            )
        return int(done.fields["n_segments"])

    ways: dict[Way, Callable[[], int]] = {}
    for engine in engines:
        network = shard_work.load_network(recipe.to_json(), 32, engine)
        ways[engine, "ceiling"] = functools.partial(ceiling, network)
    for engine in engines:
        ways[engine, "extract"] = functools.partial(extract, engine)
    if "keras" in engines:
        ways["keras", "loop"] = _loop(recipe, paths, cut)
    return ways


def _loop(recipe, paths, cut) -> Callable[[], int]:  # noqa: ANN001
    window = WindowShape(
        n_mels=recipe.frontend.n_mels,
        n_frames=recipe.segments.n_frames,
        delta_width=recipe.segments.delta_width,
    )
    graph = build_graph(recipe.network, window, weights_file(recipe.network, download=False))
    return lambda: sum(len(graph.predict(cut(path), verbose=0)) for path in paths)


def _print(rates: dict[Way, list[tuple[float, float]]], first: str) -> None:
    for unit, clock in (("second", 0), ("second of CPU", 1)):
        print(f"segments a {unit}; ratios to the engine's ceiling, and to {first}")
        taken = {name: [pair[clock] for pair in pairs] for name, pairs in rates.items()}
        for (engine, way), values in taken.items():
            to_ceiling = _ratio(values, taken[engine, "ceiling"])
            to_first = _ratio(values, taken[first, way]) if (first, way) in taken else ""
            print(f"{engine:<9} {way:<8} {np.median(values):7.0f}  {to_ceiling:<21} {to_first}")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak RSS of this process: {peak_mib:.0f} MiB")


def _ratio(values: list[float], others: list[float]) -> str:
    ratios = np.asarray(values) / np.asarray(others)
    return f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"


if __name__ == "__main__":
    main()
