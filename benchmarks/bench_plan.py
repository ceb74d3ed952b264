"""What a night costs that has a million utterances behind it, and little or nothing to do.

The corpus is real to the file system: one file an utterance, of some bytes that take no block on the
disk. The store is real as well, one segment an utterance; the files' digests are made up, and
remembered as if the files had been hashed. New and changed files are true, short recordings.

Everything is done by processes of their own, as cron would: seconds are the whole command's, from
its start on, and memory is its peak RSS.

    python benchmarks/bench_plan.py --utterances 1000000
"""

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import soundfile

from features_cache.index_file import write_index_file
from features_cache.keys import content_key
from features_cache.shard import PublishedShard, ShardHeader, ShardWriter
from features_cache.store import Store
from pipeline.workdir import Workdir
from stages.manifest import complete, write_manifest
from stages.recipe import Recipe, load_recipe, resolve

RECIPE = """
dtype = "float32"
[network]
network = "mobilenet-0.25"
weights = "random:0"
layers = ["conv_pw_1_relu"]
input_size = 32
pooling = "bands:1"
"""
FEATURE_DIM = 16
A_FOLDER, A_SHARD = 1000, 4000
N_READS = 50
SIZES = {"tiny": (300, 6, 3), "quick": (20_000, 200, 20)}
"""Utterances, and how many of them a night brings and changes."""


def main() -> None:
    """Measure a tenth of the utterances, then all, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="quick")
    parser.add_argument("--utterances", type=int, help="with 1000 new and 100 changed ones")
    given = parser.parse_args()
    n, n_new, n_changed = (given.utterances, 1000, 100) if given.utterances else SIZES[given.size]
    with tempfile.TemporaryDirectory() as scratch:
        found = [
            measure(Path(scratch) / name, size, n_new, n_changed)
            for name, size in (("tenth", n // 10), ("whole", n))
        ]
    _print(n, found)


def measure(folder: Path, n: int, n_new: int, n_changed: int) -> dict[str, float]:
    """Build a world of `n` utterances and let nights pass over it."""
    began = time.perf_counter()
    manifest, recipe = make_world(folder, n)
    results = {"making it, s": time.perf_counter() - began}
    night(folder, manifest)  # reads everything once
    results |= named("a night without work", night(folder, manifest, skipped=n))
    grown = with_news(folder, manifest, n_new, n_changed)
    results |= named(
        f"{n_new} new, {n_changed} changed", night(folder, grown, new=n_new, changed=n_changed)
    )
    results |= named("the night after", night(folder, grown, skipped=n + n_new))
    return results | reads(Workdir(folder / "runs").store_folder(recipe.recipe_id), n)


def make_world(folder: Path, n: int) -> tuple[pd.DataFrame, Recipe]:
    """Write a corpus of `n` files and the store that an extraction would have left."""
    names = [f"u{i:07d}" for i in range(n)]
    files = [f"{i // A_FOLDER:04d}/{name}.wav" for i, name in enumerate(names)]
    audio = folder / "audio"
    looks = [_touch(audio / file, 1000 + i % 1000) for i, file in enumerate(files)]
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    recipe = resolve(load_recipe(str(folder / "recipe.toml")))
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in names]
    keys = [content_key(digest, 0.0, float("nan")) for digest in digests]
    manifest = complete(
        pd.DataFrame(
            {
                "utterance_id": names,
                "file": files,
                "speaker": [f"s{i % 997:03d}" for i in range(n)],
                "emotion": [("joy", "fear", "anger")[i % 3] for i in range(n)],
                "corpus": "bench",
            }
        )
    )
    workdir = Workdir(folder / "runs")
    store = Store.create(workdir.store_folder(recipe.recipe_id), recipe.to_json())
    shards = _write_shards(store, recipe, keys, names)
    in_shard = np.arange(n) % A_SHARD
    rows = manifest.assign(
        view="clean",
        key=keys,
        audio_sha256=digests,
        shard=[shards[i // A_SHARD].name for i in range(n)],
        row_start=in_shard,
        row_end=in_shard + 1,
        status="live",
        reason="",
        message="",
    )
    store.publish(rows, recipe.recipe_id, shards, audio={"bench": str(audio)})
    known = pd.DataFrame(looks, columns=["path", "size", "mtime_ns"]).assign(sha256=digests)
    known.to_parquet(workdir.hashes_file, index=False)
    return manifest, recipe


def with_news(folder: Path, manifest: pd.DataFrame, n_new: int, n_changed: int) -> pd.DataFrame:
    """Write some new files among the old, and others over old ones."""
    fresh = [f"n{i:07d}" for i in range(n_new)]
    for i, name in enumerate(fresh):
        _record(folder / "audio" / "new" / f"{name}.wav", seed=i)
    step = len(manifest) // n_changed
    for i, file in enumerate(manifest["file"].iloc[::step].iloc[:n_changed]):
        _record(folder / "audio" / file, seed=n_new + i)
    rows = manifest.head(n_new).assign(
        utterance_id=fresh, file=[f"new/{name}.wav" for name in fresh]
    )
    return pd.concat([manifest, rows], ignore_index=True)


def night(folder: Path, manifest: pd.DataFrame, **expected: int) -> tuple[float, float]:
    """Let a night pass: seconds, and peak RSS in MiB; it must have found what was expected."""
    write_manifest(manifest, folder / "m.parquet")
    config = {"manifest": folder / "m.parquet", "audio": folder / "audio"}
    lines = [f"{name} = {json.dumps(str(path))}" for name, path in config.items()]
    text = ["[nightly]", *lines, f"recipe = {json.dumps(str(folder / 'recipe.toml'))}"]
    (folder / "night.toml").write_text("\n".join([*text, "train = false"]), encoding="utf-8")
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "nightly"]
    command += [str(folder / "night.toml"), "--workdir", str(folder / "runs"), "--json", "--quiet"]
    seconds, peak_mib, text = timed(command)
    fields = json.loads(text)
    found = {name: fields[f"n_{name}"] for name in expected}
    if found != expected:
        raise SystemExit(f"the night found {found}; expected {expected}")
    return seconds, peak_mib


def timed(command: list[str]) -> tuple[float, float, str]:
    """Run a command: seconds, peak RSS in MiB, and what it printed."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        text = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024, text


def reads(folder: Path, n: int) -> dict[str, float]:
    """Open the store and read one utterance, warm; build and open ``store.h5``."""
    chance = np.random.default_rng(0)
    names = [f"u{i:07d}" for i in chance.integers(0, n, N_READS + 1)]

    def read(name: str) -> None:
        store = Store(folder)
        store.stack(name)
        store.close()

    read(names[0])
    slowest = max(_seconds(lambda name=name: read(name)) for name in names[1:])
    store = Store(folder)
    index = folder / "again.h5"
    building = _seconds(lambda: write_index_file(index, store.generation))
    index.unlink()
    return {
        f"open and read one, slowest of {N_READS}, ms": 1000 * slowest,
        "building store.h5, s": building,
        "opening store.h5 with h5py, ms": 1000 * _seconds(lambda: _open_index(folder)),
    }


def named(what: str, measured: tuple[float, float]) -> dict[str, float]:
    """Name a night's two numbers."""
    return {f"{what}, s": measured[0], f"{what}, peak MiB": measured[1]}


def _open_index(folder: Path) -> None:
    with h5py.File(folder / "store.h5") as file:
        row = file["key"].shape[0] // 2
        shard = file["shard"].asstr()[row]
        file["shards"][shard]["features"][file["row_start"][row]]


def _seconds(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _touch(path: Path, size: int) -> tuple[str, int, int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns


def _record(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    sound = 0.1 * np.random.default_rng(seed).standard_normal(4800)
    soundfile.write(path, sound, 16000)
    os.utime(path, ns=(10**18 + seed, 10**18 + seed))  # long enough ago to be remembered


def _write_shards(
    store: Store, recipe: Recipe, keys: list[str], names: list[str]
) -> list[PublishedShard]:
    header = ShardHeader(
        recipe_id=recipe.recipe_id,
        recipe_json=recipe.to_json(),
        versions_json="{}",
        engine="none",
        dtype="float32",
        feature_dim=FEATURE_DIM,
    )
    parts = [slice(first, first + A_SHARD) for first in range(0, len(keys), A_SHARD)]
    with ProcessPoolExecutor() as pool:
        return list(
            pool.map(
                _write_shard,
                itertools.repeat(store.shards_folder),
                itertools.repeat(header),
                [keys[part] for part in parts],
                [names[part] for part in parts],
            )
        )


def _write_shard(
    folder: Path, header: ShardHeader, keys: list[str], names: list[str]
) -> PublishedShard:
    values, start, end = np.ones((1, FEATURE_DIM), np.float32), np.zeros(1), np.ones(1)
    with ShardWriter(folder, header) as shard:
        for key, name in zip(keys, names, strict=True):
            shard.append(values, start, end)
            shard.end_utterance(key=key, utterance_id=name, view="clean")
        published = shard.close()
    return PublishedShard(name=published.name, sha256=published.sha256)


def _print(n: int, found: list[dict[str, float]]) -> None:
    tenth, whole = found
    print(f"{'utterances':<44} {n // 10:>12} {n:>12}   ratio")
    for name, value in whole.items():
        print(f"{name:<44} {tenth[name]:>12.2f} {value:>12.2f}   {value / tenth[name]:.2f}")


if __name__ == "__main__":
    main()
