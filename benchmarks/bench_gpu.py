"""How busy does extraction keep a GPU? Utilisation: extraction's segments a second over the network's.

In one run, taking turns, on the same audio, each in a process of its own (`extract_ways`):

* network: the whole graph fed windows from memory, the next batch begun before the last is read back;
* extract: `emostack extract` whole, from files to published shards, one worker process a GPU;
* front end: files to windows, in one thread, as a worker has one: what it alone would allow.

For the default recipe and for ResNet50 at 224 pixels, random weights, whatever Keras' backend. Loading
and compiling are not timed. Without a GPU it runs on the CPU, in this process, and says so. What is
read is a small corpus again and again, from places a moment apart, so the disk is not timed.

    python benchmarks/bench_gpu.py --minutes 600 --batch-size 256     # on a GPU
    KERAS_BACKEND=jax python benchmarks/bench_gpu.py --minutes 600 --batch-size 256 --precision bfloat16
    python benchmarks/bench_gpu.py --quick                            # a CPU, in minutes
"""

import argparse
import dataclasses
import importlib.metadata
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from benchmarks.child import Numbers, children, print_table, ratio
from models.engines import KERAS
from models.gpus import visible_gpus
from models.networks import PRECISIONS
from stages.corpora.synthetic import write_corpus
from stages.manifest import write_manifest
from stages.recipe import DEFAULT, RECIPES, Recipe, resolve, with_random_weights

SCRIPT = Path(__file__).with_name("extract_ways.py")

SIZES = {"tiny": (0.2, 1), "quick": (1.5, 3), "whole": (30.0, 5)}
"""Minutes of audio, rounds."""

EVERY = {"ceiling": 8, "extract": 1, "front end": 8}
"""A way takes every so manieth utterance: all windows of the network's are in memory at once."""

STEP_S = 0.01
"""From one reading of a file to the next: enough to be another utterance to the store."""

RESNET = {
    "network": "resnet50",
    "layers": ("conv3_block4_out", "conv4_block6_out"),
    "input_size": 224,
}
TINY = {"network": "mobilenet-0.25", "layers": ("conv_pw_1_relu",), "input_size": 32}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="whole")
    parser.add_argument("--quick", action="store_const", const="quick", dest="size")
    parser.add_argument("--minutes", type=float, help="audio to extract; a GPU needs hundreds")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--workers", type=int, help="default: one a GPU; more share them")
    given = parser.parse_args()
    minutes, n_rounds = SIZES[given.size]
    gpus = visible_gpus()
    n_workers = len(gpus) if given.workers is None else given.workers
    print(describe(gpus), f"\nbatch size {given.batch_size}, {n_workers} worker processes\n")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        seconds = make_corpus(Path(scratch), 60 * (given.minutes or minutes))
        for name, recipe in recipes(given.size, given.precision).items():
            task = {
                "folder": scratch,
                "recipe_json": recipe.to_json(),
                "n_workers": n_workers,
                "batch_size": given.batch_size,
            }
            rows.append([name, *row(measure(task, n_rounds), max(1, len(gpus)))])
    print(f"{seconds / 60:.1f} minutes of audio, rounds: {n_rounds}")
    heads = ["segments/s", "network alone", "extract", "utilisation (ratio)", "front end, a thread"]
    print_table(heads, rows)


def recipes(size: str, precision: str) -> dict[str, Recipe]:
    """Name and recipe of what is measured; a small network alone for the smoke test."""
    changes = {DEFAULT: {}, "resnet50 at 224": RESNET} if size != "tiny" else {"tiny": TINY}
    base = with_random_weights(RECIPES[DEFAULT])
    networks = {
        name: dataclasses.replace(base.network, precision=precision, **change)
        for name, change in changes.items()
    }
    return {
        name: resolve(dataclasses.replace(base, network=network))
        for name, network in networks.items()
    }


def make_corpus(folder: Path, seconds: float) -> float:
    """Write a small corpus and a manifest that reads it until it has given so many seconds.

    Returns
    -------
    float
        Seconds that the manifest has.
    """
    spoken = write_corpus(folder, n_speakers=2, n_takes=1 if seconds < 60 else 4)
    lengths = [soundfile.info(folder / file).duration for file in spoken["file"]]
    n_readings = max(1, round(seconds / sum(lengths)))
    readings = [
        spoken.assign(
            utterance_id=spoken["utterance_id"] + f"-{i}",
            start=STEP_S * (i % 100),
            end=np.array(lengths) - STEP_S * (i // 100),
        )
        for i in range(n_readings)
    ]
    manifest = pd.concat(readings, ignore_index=True)
    write_manifest(manifest, folder / "manifest.csv")
    return float((manifest["end"] - manifest["start"]).sum())


def measure(task: dict[str, object], n_rounds: int) -> dict[str, list[float]]:
    """Segments a second of each way in each round."""
    with children() as start:
        team = {
            way: start(SCRIPT, {"way": way, "every": every, **task}) for way, every in EVERY.items()
        }
        runs: list[dict[str, Numbers]] = [
            {way: child.run() for way, child in team.items()} for _ in range(n_rounds)
        ]
    return {way: [each[way]["n_segments"] / each[way]["seconds"] for each in runs] for way in EVERY}


def row(found: dict[str, list[float]], n_gpus: int) -> list[str]:
    """Give medians, and the utilisation of all GPUs."""
    ceilings = [n_gpus * rate for rate in found["ceiling"]]
    network, extract, front_end = (f"{np.median(found[way]):.0f}" for way in EVERY)
    return [network, extract, ratio(found["extract"], ceilings), front_end]


def describe(gpus: list[str]) -> str:
    """Device and versions, one line each."""
    from models.backend import backend_name

    packages = ("emostack", "keras", backend_name(), "numpy", "librosa")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return f"{_device(gpus)}\n{versions}; engine {KERAS}"


def _device(gpus: list[str]) -> str:
    tool = shutil.which("nvidia-smi")
    if gpus and tool:
        asked = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        return subprocess.run([tool, *asked], check=True, stdout=subprocess.PIPE, text=True).stdout
    if gpus:
        return f"GPUs {', '.join(gpus)}"
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"no GPU: {len(models)} cores of {models[0] if models else 'a CPU without a name'}"


if __name__ == "__main__":
    main()
