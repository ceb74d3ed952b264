"""How should features lie on the disk? Storage type, chunks and filters, weighed; and EMO-DB read whole.

First, one file a choice, all with the same features: bytes a segment; segments written a second, an
utterance at a time as a worker does, until the disk has them; segments read a second, an utterance
at a time as a training does, as float32 (from memory, where the disk's pages then are). Choices take
turns, and ratios are to what a shard is now: float16, 256 KiB, no filter. Then what float16 costs of
a feature's value. Features are made up like a rectifying layer's; `--features FOLDER` takes those of a
store's ``shards``, whose recipe should say float32, or float16's error will be nothing.

Then a store as large as EMO-DB's with three views, read as `emostack train` reads it.

    python benchmarks/bench_store.py --quick
    python benchmarks/bench_store.py --features runs/features/RECIPE_ID/shards
"""

import argparse
import dataclasses
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.child import print_table, ratio
from features_cache.keys import CLEAN, content_key
from features_cache.numbered import in_parts
from features_cache.shard import CHUNK_BYTES, SHARD_BYTES, PublishedShard, ShardHeader, ShardWriter
from features_cache.shard_file import ShardFile
from features_cache.snapshot import LIVE, as_table
from features_cache.store import Store, rows_of_shards
from stages.dataset import load_dataset, select
from stages.frontend.views.table import view
from stages.manifest import complete
from stages.recipe import DEFAULT, RECIPES, resolve, with_random_weights
from stages.view_stacks import view_stacks

VIEWS = (CLEAN, "speed-0.9", "speed-1.1")
FILTERS = {
    "none": {},
    "lzf": {"compression": "lzf"},
    "shuffle, lzf": {"shuffle": True, "compression": "lzf"},
    "shuffle, gzip 1": {"shuffle": True, "compression": "gzip", "compression_opts": 1},
    "shuffle, gzip 4": {"shuffle": True, "compression": "gzip", "compression_opts": 4},
}
"""What every HDF5 has, gzip and shuffle, and what h5py brings along, lzf."""

SIZES = {"tiny": (60, 32, 12, 1), "quick": (3000, 3648, 535, 3), "whole": (9000, 3648, 535, 5)}
"""Segments a file, values a segment, utterances of the store that is read whole, rounds."""

Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Choice:
    """How a file's features are kept."""

    dtype: str = "float16"
    chunk_kib: int = CHUNK_BYTES // 1024
    filters: str = "none"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a choice came to."""

    bytes_a_segment: float
    written: float
    read: float


def main() -> None:
    """Weigh the choices, then read a store whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="whole")
    parser.add_argument("--quick", action="store_const", const="quick", dest="size")
    parser.add_argument("--features", type=Path, help="folder of shards, or one of them")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    given = parser.parse_args()
    n_segments, dim, n_utterances, n_rounds = SIZES[given.size]
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        real = read_features(given.features, n_segments) if given.features else None
        features = made_up(rng, n_segments, dim) if real is None else real
        stacks = np.split(features, cuts(rng, len(features)))
        print(f"{len(features)} segments of {features.shape[1]}, rounds: {n_rounds}\n")
        weigh(Path(scratch), stacks, n_rounds)
        tell_error(features)
        store, manifest = make_store(Path(scratch) / "store", rng, n_utterances, dim)
        tell_reading(store, manifest, n_rounds)


def made_up(rng: np.random.Generator, n: int, dim: int) -> Features:
    """Draw means over rectified values: some columns nearly always nothing, none above 6."""
    levels = rng.normal(-0.3, 0.7, dim).astype(np.float32)
    drawn = rng.standard_normal((n, 4, dim), np.float32) * 0.6 + levels
    values: Features = np.clip(drawn, 0.0, 6.0).mean(axis=1)
    return values


def read_features(path: Path, n: int) -> Features:
    """Read the first `n` rows of a store's shards, as float32."""
    paths = sorted(path.glob("*.h5")) if path.is_dir() else [path]
    found: list[Features] = []
    for shard in paths:
        with h5py.File(shard) as file:
            found.append(file["features"][: n - sum(map(len, found))].astype(np.float32))
        if sum(map(len, found)) >= n:
            break
    return np.concatenate(found)


def cuts(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Say where one utterance ends and the next one begins, as long as EMO-DB's are."""
    lengths = np.clip(rng.lognormal(3.06, 0.45, n), 5, 90).astype(int)
    ends = lengths.cumsum()
    return ends[ends < n]


def weigh(folder: Path, stacks: list[Features], n_rounds: int) -> None:
    """Write and read every choice, by turns, and print what it costs."""
    choices = [Choice(dtype, filters=name) for dtype in ("float16", "float32") for name in FILTERS]
    choices += [
        Choice(chunk_kib=kib, filters=name)
        for kib, name in itertools.product((64, 1024), ("none", "shuffle, gzip 1"))
    ]
    found: dict[Choice, list[Cost]] = {choice: [] for choice in choices}
    for _ in range(n_rounds):
        for choice, costs in found.items():
            costs.append(cost_of(choice, folder / "file.h5", stacks))
    now = found[Choice()]
    heads = ["type, chunk, filters", "bytes/segment", "ratio", "written/s", "ratio", "read/s"]
    rows = []
    for choice, costs in found.items():
        cells = [f"{choice.dtype}, {choice.chunk_kib} KiB, {choice.filters}"]
        for name in ("bytes_a_segment", "written", "read"):
            mine, theirs = ([getattr(cost, name) for cost in each] for each in (costs, now))
            cells += [f"{np.median(mine):.0f}", ratio(mine, theirs)]
        rows.append(cells)
    print_table([*heads, "ratio"], rows)


def cost_of(choice: Choice, path: Path, stacks: list[Features]) -> Cost:
    """Write one file and read it back."""
    n = sum(map(len, stacks))
    ready = [stack.astype(choice.dtype) for stack in stacks]
    began = time.perf_counter()
    write(choice, path, ready)
    written = n / (time.perf_counter() - began)
    began = time.perf_counter()
    n_read = sum(len(stack) for stack in read(path, [len(stack) for stack in stacks]))
    assert n_read == n
    return Cost(path.stat().st_size / n, written, n / (time.perf_counter() - began))


def write(choice: Choice, path: Path, stacks: list[NDArray[np.floating]]) -> None:
    """Write utterance by utterance, as `ShardWriter` does, and have the disk take it."""
    dim, itemsize = stacks[0].shape[1], stacks[0].itemsize
    rows = max(1, choice.chunk_kib * 1024 // (dim * itemsize))
    disk = ShardFile(path)
    with h5py.File(disk, "w", libver="v110") as file:
        features = file.create_dataset(
            "features",
            shape=(0, dim),
            maxshape=(None, dim),
            chunks=(rows, dim),
            dtype=choice.dtype,
            **FILTERS[choice.filters],
        )
        for stack in stacks:
            first = len(features)
            features.resize(first + len(stack), axis=0)
            features[first:] = stack
    disk.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def read(path: Path, lengths: list[int]) -> Iterator[Features]:
    """Read utterance by utterance, as float32."""
    first = 0
    with h5py.File(path) as file:
        features = file["features"]
        for length in lengths:
            yield features[first : first + length].astype(np.float32)
            first += length


def tell_error(features: Features) -> None:
    """Print what float16 takes away: of a single value, and of all of them together."""
    error = np.abs(features.astype(np.float16).astype(np.float32) - features)
    there = features != 0.0
    relative = error[there] / np.abs(features[there])
    whole = np.sqrt(np.square(error, dtype=np.float64).sum() / np.square(features).sum())
    lost = np.mean((features.astype(np.float16) == 0)[there])
    spread = error.max(axis=0) / np.maximum(features.std(axis=0), np.finfo(np.float32).tiny)
    print("float16 against float32:")
    print(f"  of a value: median {np.median(relative):.1e}, 99.9 % below "
          f"{np.quantile(relative, 0.999):.1e}; {100 * lost:.3f} % became nothing")  # fmt: skip
    print(f"  of all values, root mean square: {whole:.1e}")
    print(f"  of a column's deviation, at most: median column {np.median(spread):.1e}\n")


def make_store(
    folder: Path, rng: np.random.Generator, n_utterances: int, dim: int
) -> tuple[Store, pd.DataFrame]:
    """Write what an extraction with views would have left, and the corpus' manifest."""
    recipe = with_random_weights(RECIPES[DEFAULT])
    recipe = resolve(dataclasses.replace(recipe, dtype="float16"))
    folder.mkdir()
    store = Store.create(folder, recipe.to_json())
    header = ShardHeader(
        recipe_id=recipe.recipe_id,
        recipe_json=recipe.to_json(),
        versions_json="{}",
        engine="none",
        dtype="float16",
        feature_dim=dim,
    )
    names = [f"u{i:04d}" for i in range(n_utterances)]
    about = {"speaker": "s", "emotion": "joy", "corpus": "bench"}
    files = [f"{name}.wav" for name in names]
    manifest = complete(pd.DataFrame({"utterance_id": names, "file": files, **about}))
    digests = [f"{i:064x}" for i in range(n_utterances)]
    tables, shards = [], []
    for name in VIEWS:
        text = view(name).text
        keys = [content_key(digest, 0.0, float("nan"), text) for digest in digests]
        shards += write_shards(store, header, rng, names, keys, name)
        tables.append(manifest.assign(view=name, key=keys, audio_sha256=digests, status=LIVE))
    sums = {shard.name: shard.sha256 for shard in shards}
    store.publish_catalogue(store.catalogue.plus(rows_of_shards(shards), sums), recipe.recipe_id)
    rows = pd.concat(tables, ignore_index=True)
    store.publish_snapshot(in_parts(as_table(rows)), recipe.recipe_id)
    store.close()
    return store, manifest


def write_shards(
    store: Store,
    header: ShardHeader,
    rng: np.random.Generator,
    names: list[str],
    keys: list[str],
    view_name: str,
) -> Iterator[PublishedShard]:
    """Write the utterances of one view, a new shard whenever one is full."""
    lengths = np.clip(rng.lognormal(3.06, 0.45, len(names)), 5, 90).astype(int).tolist()
    waiting = list(zip(names, keys, lengths, strict=True))
    while waiting:
        with ShardWriter(store.shards_folder, header) as shard:
            while waiting and shard.n_bytes < SHARD_BYTES:
                name, key, n = waiting.pop(0)
                values = made_up(rng, n, header.feature_dim).astype(np.float16)
                start = 0.16 * np.arange(n)
                shard.append(values, start, start + 0.655)
                shard.end_utterance(key=key, utterance_id=name, view=view_name)
            yield shard.close()


def tell_reading(made: Store, manifest: pd.DataFrame, n_rounds: int) -> None:
    """Read a store as a training does, and print how long it took."""
    taken: dict[str, list[float]] = {"places": [], CLEAN: [], "all views": []}
    n_segments = n_bytes = 0
    for _ in range(n_rounds):
        began = time.perf_counter()
        store = Store(made.folder)
        selection = select(manifest, store)
        taken["places"].append(time.perf_counter() - began)
        dataset = load_dataset(selection, store, made.recipe_id)
        taken[CLEAN].append(time.perf_counter() - began)
        lazy = view_stacks(selection, store, VIEWS[1:], dataset.stacks)
        views = {name: list(own) for name, own in lazy.items()}
        taken["all views"].append(time.perf_counter() - began)
        store.close()
        every = [dataset.stacks, *views.values()]
        n_segments = sum(len(stack) for stacks in every for stack in stacks)
        n_bytes = sum(stack.nbytes for stacks in every for stack in stacks)
    print(
        f"{len(manifest)} utterances in {len(VIEWS)} views, {n_segments} segments, "
        f"{n_bytes / 2**20:.0f} MiB as float32: seconds from opening the store until it is read"
    )
    rows = [[f"{np.median(s):.3f}", f"{min(s):.3f} to {max(s):.3f}"] for s in taken.values()]
    print_table(["until", "median", "range"], [[k, *r] for k, r in zip(taken, rows, strict=True)])


if __name__ == "__main__":
    main()
