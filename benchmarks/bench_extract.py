"""How much of the network's own speed does extraction keep?

In one run, alternating, on the same audio:

* ceiling: the whole graph fed windows from memory;
* extract: `emostack extract --workers 0` whole, from files to published shards;
* loop: what people write, one `model.predict` an utterance, features kept in memory.

Prints segments a second and ratios with their range; the machine may be shared, so only the ratios
mean much. ``python benchmarks/bench_extract.py --size tiny`` takes seconds and is run as a test.
"""

import argparse
import dataclasses
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.frozen_cnn import FrozenCNN, WindowShape, build_graph
from models.weights import weights_file
from pipeline.extraction import ExtractOptions, Job, extract_features
from pipeline.session import Session
from pipeline.workdir import Workdir
from stages.corpora.synthetic import write_corpus
from stages.frontend.logmel import logmel_blocks
from stages.frontend.segments import windows
from stages.manifest import audio_paths
from stages.recipe import DEFAULT, RECIPES, Recipe, resolve, with_random_weights

SIZES = {"tiny": (2, 1, 1), "quick": (2, 4, 3), "full": (6, 8, 5)}
"""Speakers, takes an emotion and rounds."""


def tiny(recipe: Recipe) -> Recipe:
    """Shrink a recipe's network, for the smoke test."""
    network = dataclasses.replace(
        recipe.network, network="mobilenet-0.25", layers=("conv_pw_1_relu",), input_size=32
    )
    return dataclasses.replace(recipe, network=network)


def timed(action: Callable[[], int]) -> float:
    """Segments a second of an action that returns how many it made."""
    began = time.perf_counter()
    return action() / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="quick")
    size = parser.parse_args().size
    n_speakers, n_takes, n_rounds = SIZES[size]
    recipe = with_random_weights(RECIPES[DEFAULT])
    recipe = resolve(tiny(recipe) if size == "tiny" else recipe)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        manifest = write_corpus(folder / "audio", n_speakers=n_speakers, n_takes=n_takes)
        paths = [Path(path) for path in audio_paths(manifest, folder / "audio")]
        ways = _ways(recipe, folder, manifest, paths)
        for way in ways.values():  # compile
            way()
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(n_rounds):
            for name, way in ways.items():
                rates[name].append(timed(way))
    _print(rates)


def _ways(recipe, folder, manifest, paths) -> dict[str, Callable[[], int]]:  # noqa: ANN001
    window = WindowShape(
        n_mels=recipe.frontend.n_mels,
        n_frames=recipe.segments.n_frames,
        delta_width=recipe.segments.delta_width,
    )
    file = weights_file(recipe.network, download=False)
    network = FrozenCNN(recipe.network, window, file)
    graph = build_graph(recipe.network, window, file)

    def cut(path: Path) -> np.ndarray:
        blocks = logmel_blocks(path, settings=recipe.frontend)
        return np.concatenate([values for values, _ in windows(blocks, recipe.segments)])

    in_memory = np.concatenate([cut(path) for path in paths])

    def ceiling() -> int:
        for first in range(0, len(in_memory), network.batch_size):
            network(in_memory[first : first + network.batch_size])
        return len(in_memory)

    def extract() -> int:
        with tempfile.TemporaryDirectory(dir=folder) as workdir:
            done = extract_features(
                Session(quiet=True),
                Workdir(Path(workdir)),
                Job(manifest=manifest, root=folder / "audio", recipe=recipe),
                ExtractOptions(n_workers=0),
            )
        return int(done.fields["n_segments"])

    def loop() -> int:
        return sum(len(graph.predict(cut(path), verbose=0)) for path in paths)

    return {"ceiling": ceiling, "extract": extract, "loop": loop}


def _print(rates: dict[str, list[float]]) -> None:
    ceiling = np.asarray(rates["ceiling"])
    print(f"{'way':<10} {'segments/s':>10}   ratio to the ceiling (range over rounds)")
    for name, values in rates.items():
        ratios = np.asarray(values) / ceiling
        print(
            f"{name:<10} {np.median(values):10.0f}   {np.median(ratios):.2f} "
            f"({ratios.min():.2f} to {ratios.max():.2f})"
        )
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak RSS of this process: {peak_mib:.0f} MiB")


if __name__ == "__main__":
    main()
