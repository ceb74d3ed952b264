"""What does it cost to train on features that stay on the disk?

Stores of made-up features, as many and as long as EMO-DB's with two views, and several times as many. In
one run, taking turns, each in a process of its own: all features in memory, or streamed from the store
as `emostack train --memory 0` does. One fold, all other settings as they are; both come to the same.

    python benchmarks/bench_stream.py --quick
    python benchmarks/bench_stream.py --times 1,4,16      # as large as 16 EMO-DBs: 8 GiB as float32
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.bench_store import VIEWS, make_store
from benchmarks.child import peak_mib_of, print_table, ratio
from features_cache.store import Store
from models.blstm_attention_dnn import ClassifierSettings
from stages.crossvalidate import cross_validate
from stages.manifest import read_manifest, write_manifest
from stages.train import make_networks
from stages.train_options import TrainOptions
from stages.training_features import read_features
from stages.training_task import make_task

SIZES = {"tiny": ([1], 60, 12, 1), "quick": ([1, 4], 535, 3648, 1), "whole": ([1, 4], 535, 3648, 3)}
"""How many times as large, utterances, values a segment, rounds."""

MEMORY = {"in memory": math.inf, "streamed": 0.0}
"""Bytes that the features may take."""

N_SPEAKERS, EMOTIONS = 10, ("anger", "boredom", "fear", "joy", "neutral", "sadness")
TINY = ClassifierSettings(lstm_units=4, attention_units=2, dnn_units=(3,), epochs=2)


def main() -> None:
    """Make the stores, let both ways run by turns, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="whole")
    parser.add_argument("--quick", action="store_const", const="quick", dest="size")
    parser.add_argument("--times", help="such as 1,4,16")
    parser.add_argument("--way", choices=MEMORY, help="run this one alone, once, and print JSON")
    parser.add_argument("--store", type=Path, help="for --way: a folder that this has made")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.store, given.way, is_tiny=given.size == "tiny")))
        return
    times, n_utterances, dim, n_rounds = SIZES[given.size]
    rows = []
    for n in map(int, given.times.split(",")) if given.times else times:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "store"
            write(folder, n * n_utterances, dim)
            found = compare(folder, given.size, n_rounds)
            rows += [told(f"{n} times, {way}", found, way) for way in MEMORY]
    heads = [
        "features",
        "MiB as float32",
        "seconds",
        "ratio",
        "CPU seconds",
        "ratio",
        "peak RSS, MiB",
    ]
    print_table(heads, rows)


def write(folder: Path, n_utterances: int, dim: int) -> None:
    """Make a store, and beside it a manifest with speakers and emotions."""
    store, manifest = make_store(folder, np.random.default_rng(0), n_utterances, dim)
    store.close()
    rows = np.arange(n_utterances)
    labels = {
        "speaker": [f"s{row % N_SPEAKERS}" for row in rows],
        "emotion": [EMOTIONS[row // N_SPEAKERS % len(EMOTIONS)] for row in rows],
    }
    write_manifest(manifest.assign(**labels), folder / "manifest.csv")


def compare(folder: Path, size: str, n_rounds: int) -> dict[str, pd.DataFrame]:
    """Run both ways by turns; a row a round of each."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in MEMORY}
    for _ in range(n_rounds):
        for way, results in found.items():
            command = [
                sys.executable,
                __file__,
                "--size",
                size,
                "--way",
                way,
                "--store",
                str(folder),
            ]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results.append(json.loads(done.stdout))
    tables = {way: pd.DataFrame(results) for way, results in found.items()}
    one, other = (table.pop("checksum") for table in tables.values())
    if not one.equals(other):
        message = f"the ways came to {one.tolist()} and {other.tolist()}; expected the same"
        raise RuntimeError(message)
    return tables


def told(name: str, found: dict[str, pd.DataFrame], way: str) -> list[str]:
    """Say what one way took, and how it stands to the one in memory."""
    own, other = found[way], found["in memory"]
    cells = [name, f"{own['mib'].iloc[0]:.0f}"]
    for clock in ("seconds", "cpu_s"):
        cells += [f"{own[clock].median():.1f}", ratio(own[clock].tolist(), other[clock].tolist())]
    return [*cells, f"{own['peak_mib'].median():.0f}"]


def measure(folder: Path, way: str, *, is_tiny: bool) -> dict[str, float]:
    """Train and test one fold; what it took, from opening the store on."""
    options = TrainOptions(views=VIEWS[1:], own_svm=False)
    if is_tiny:
        options = dataclasses.replace(options, classifier=TINY, n_components=4)
    began, cpu_began = time.perf_counter(), time.process_time()
    with closing(Store(folder)) as store, tempfile.TemporaryDirectory(dir=folder) as scratch:
        dataset, _ = read_features(
            read_manifest(folder / "manifest.csv", allow_absolute=True),
            [store],
            options.views,
            memory_bytes=MEMORY[way],
        )
        task = make_task(dataset, options, scratch=Path(scratch) if way == "streamed" else None)
        task = dataclasses.replace(task, folds=task.folds[:1])
        whole, *_ = cross_validate(task, make_networks(task, options), "speaker", options, ignore)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
        peak_mib = peak_mib_of(os.getpid())
    probabilities = whole.predictions.filter(like="p:").to_numpy()
    return {
        "seconds": seconds,
        "cpu_s": cpu_s,
        "peak_mib": peak_mib,
        "mib": dataset.n_bytes / 2**20,
        "checksum": float(np.square(probabilities).sum()),
    }


def ignore(_: str) -> None:
    """Tell nobody."""


if __name__ == "__main__":
    main()
