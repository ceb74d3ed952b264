"""What a night costs that has a million utterances behind it, and little or nothing to do.

The corpus is real to the file system: one file an utterance, of some bytes that take no block on the
disk. The store is real as well, one segment an utterance; the files' digests are made up, and
remembered as if the files had been hashed. New and changed files are true, short recordings.

Everything is done by processes of their own, as cron would: seconds are the whole command's, from
its start on, and memory is its peak RSS.

    python benchmarks/bench_plan.py --utterances 1000000
    python benchmarks/bench_plan.py --utterances 1000000 --views 3
"""

import argparse
import hashlib
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import soundfile

from benchmarks.child import cost_of
from features_cache.catalogue import catalogue_rows
from features_cache.key_columns import Keys, content_keys, hex_of, keys_of, to_arrow
from features_cache.keys import CLEAN
from features_cache.numbered import ROW_GROUP
from features_cache.shard import PublishedShard, ShardHeader, ShardWriter
from features_cache.snapshot import LIVE
from features_cache.store import Store
from pipeline.workdir import Workdir
from stages.frontend.decoder import DECODER
from stages.frontend.views.table import view
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
VIEWS = ("speed-0.9", "speed-1.1", "noise-20db")
N_READS = 50
SIZES = {"tiny": (300, 6, 3), "quick": (20_000, 200, 20)}
"""Utterances, and how many of them a night brings and changes."""


def main() -> None:
    """Measure a tenth of the utterances, then all, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="quick")
    parser.add_argument("--utterances", type=int, help="with 1000 new and 100 changed ones")
    parser.add_argument("--views", type=int, choices=range(len(VIEWS) + 1), default=0)
    given = parser.parse_args()
    n, n_new, n_changed = (given.utterances, 1000, 100) if given.utterances else SIZES[given.size]
    with tempfile.TemporaryDirectory() as scratch:
        found = [
            measure(Path(scratch) / name, size, n_new, n_changed, VIEWS[: given.views])
            for name, size in (("tenth", n // 10), ("whole", n))
        ]
    _print(n, found)


def measure(
    folder: Path, n: int, n_new: int, n_changed: int, views: Sequence[str]
) -> dict[str, float]:
    """Build a world of `n` utterances and let nights pass over it."""
    began = time.perf_counter()
    manifest, recipe = make_world(folder, n, views)
    results = {"making it, s": time.perf_counter() - began}
    night(folder, manifest, views)  # reads everything once
    results |= named(
        "a night without work", night(folder, manifest, views, skipped=n, to_extract=0)
    )
    grown = with_news(folder, manifest, n_new, n_changed)
    n_made = (n_new + n_changed) * (1 + len(views))
    results |= named(
        f"{n_new} new, {n_changed} changed",
        night(folder, grown, views, new=n_new, changed=n_changed, to_extract=n_made),
    )
    results |= named(
        "the night after", night(folder, grown, views, skipped=n + n_new, to_extract=0)
    )
    return results | reads(Workdir(folder / "runs").store_folder(recipe.recipe_id), n)


def make_world(folder: Path, n: int, views: Sequence[str]) -> tuple[pd.DataFrame, Recipe]:
    """Write a corpus of `n` files and the store that an extraction would have left."""
    names = [f"u{i:07d}" for i in range(n)]
    files = [f"{i // A_FOLDER:04d}/{name}.wav" for i, name in enumerate(names)]
    audio = folder / "audio"
    looks = [_touch(audio / file, 1000 + i % 1000) for i, file in enumerate(files)]
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    recipe = resolve(load_recipe(str(folder / "recipe.toml")))
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in names]
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
    keys = _keys(digests, views)
    rows, sums = [], {}
    for name, own in keys.items():
        shards = _write_shards(store, recipe, hex_of(own).tolist(), names, name)
        sums |= {shard.name: shard.sha256 for shard in shards}
        rows.append(_places(own, shards))
    store.publish_catalogue(store.catalogue.plus(pa.concat_tables(rows), sums), recipe.recipe_id)
    parts = _snapshot_parts(manifest, digests, keys)
    store.publish_snapshot(parts, recipe.recipe_id, audio={"bench": str(audio)})
    store.show()
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


def night(
    folder: Path, manifest: pd.DataFrame, views: Sequence[str], **expected: int
) -> tuple[float, float]:
    """Let a night pass: seconds, and peak RSS in MiB; it must have found what was expected."""
    write_manifest(manifest, folder / "m.parquet")
    config = {"manifest": folder / "m.parquet", "audio": folder / "audio"}
    lines = [f"{name} = {json.dumps(str(path))}" for name, path in config.items()]
    text = ["[nightly]", *lines, f"recipe = {json.dumps(str(folder / 'recipe.toml'))}"]
    text += [f"views = {json.dumps(','.join(views))}"] if views else []
    (folder / "night.toml").write_text("\n".join([*text, "train = false"]), encoding="utf-8")
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "nightly"]
    command += [str(folder / "night.toml"), "--workdir", str(folder / "runs"), "--json", "--quiet"]
    seconds, peak_mib, text = cost_of(command)
    fields = json.loads(text)
    found = {name: fields[f"n_{name}"] for name in expected}
    if found != expected:
        raise SystemExit(f"the night found {found}; expected {expected}")
    return seconds, peak_mib


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
    building = _seconds(lambda: store.show(again=True))
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


def _keys(digests: list[str], views: Sequence[str]) -> dict[str, Keys]:
    """Make the keys of every view, `clean` included."""
    span = np.zeros(len(digests)), np.full(len(digests), np.nan)
    files = keys_of(digests)
    return {name: content_keys(files, span, view(name).text) for name in (CLEAN, *views)}


def _places(keys: Keys, shards: list[PublishedShard]) -> pa.Table:
    at = np.arange(len(keys))
    return catalogue_rows(
        keys,
        shard=[shards[i // A_SHARD].name for i in range(len(keys))],
        row_start=at % A_SHARD,
        row_end=at % A_SHARD + 1,
        made_by=DECODER,
    )


def _snapshot_parts(
    manifest: pd.DataFrame, digests: list[str], keys: dict[str, Keys]
) -> Iterator[pa.Table]:
    """Make the rows of a snapshot, sorted as the manifest is, a row group at a time."""
    names = sorted(keys)
    own, files = pa.Table.from_pandas(manifest, preserve_index=False), keys_of(digests)
    every = np.stack([keys[name] for name in names], axis=1).reshape(-1)
    for first in range(0, len(every), ROW_GROUP):
        rows = np.arange(first, min(first + ROW_GROUP, len(every)))
        at = rows // len(names)
        columns = {
            "view": pa.array([names[i] for i in rows % len(names)], pa.large_string()),
            "key": to_arrow(every[rows]),
            "audio_sha256": to_arrow(files[at]),
            "status": pa.repeat(pa.scalar(LIVE, pa.large_string()), len(rows)),
            "message": pa.repeat(pa.scalar("", pa.large_string()), len(rows)),
        }
        taken = own.take(pa.array(at))
        yield pa.table({name: taken[name] for name in own.column_names} | columns)


def _write_shards(
    store: Store, recipe: Recipe, keys: list[str], names: list[str], view_name: str
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
                itertools.repeat(view_name),
            )
        )


def _write_shard(
    folder: Path, header: ShardHeader, keys: list[str], names: list[str], view_name: str
) -> PublishedShard:
    values, start, end = np.ones((1, FEATURE_DIM), np.float32), np.zeros(1), np.ones(1)
    with ShardWriter(folder, header) as shard:
        for key, name in zip(keys, names, strict=True):
            shard.append(values, start, end)
            shard.end_utterance(key=key, utterance_id=name, view=view_name)
        published = shard.close()
    return PublishedShard(name=published.name, sha256=published.sha256)


def _print(n: int, found: list[dict[str, float]]) -> None:
    tenth, whole = found
    print(f"{'utterances':<44} {n // 10:>12} {n:>12}   ratio")
    for name, value in whole.items():
        print(f"{name:<44} {tenth[name]:>12.2f} {value:>12.2f}   {value / tenth[name]:.2f}")


if __name__ == "__main__":
    main()
