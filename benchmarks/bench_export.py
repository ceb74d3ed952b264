"""What an export of a million segments costs in each format: seconds, bytes, and memory.

The store is real, its features are chance: positive float16, as a rectified layer gives them. Each
export is a process of its own, as the user would start it: seconds are the whole command's, memory is
its peak RSS. A tenth of the segments goes first; the ratio says what grows with the store.

    python benchmarks/bench_export.py --segments 1000000 --dim 256
    python benchmarks/bench_export.py --segments 1000000 --dim 16 --an-utterance 1 --formats hdf5
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.child import cost_of
from features_cache.keys import content_key
from features_cache.numbered import in_parts
from features_cache.shard import SHARD_BYTES, PublishedShard, ShardHeader, ShardWriter
from features_cache.snapshot import LIVE, as_table
from features_cache.store import Store, rows_of_shards
from pipeline.workdir import Workdir
from stages.manifest import complete, write_manifest
from stages.recipe import load_recipe, resolve
from stages.sharing.table import FORMATS

RECIPE = """
[network]
network = "mobilenet-0.25"
weights = "random:0"
layers = ["conv_pw_1_relu"]
input_size = 32
pooling = "bands:1"
"""
AN_UTTERANCE = 20
"""Segments of an utterance: some four seconds at the default shift."""

A_SHARD = 4000
"""Utterances of a shard at most."""

SIZES = {"tiny": (2000, ["csv"]), "whole": (1_000_000, list(FORMATS))}
"""Segments, and the formats they are exported to."""


@dataclass(frozen=True)
class World:
    """A store and its manifest, with the command line that knows both."""

    folder: Path
    n_segments: int

    def command(self, to: str, output: Path) -> list[str]:
        given = {"--to": to, "-o": output, "--workdir": self.folder / "runs"}
        given["--recipe"] = self.folder / "recipe.toml"
        words = [str(word) for pair in given.items() for word in pair]
        start = [sys.executable, "-c", "from pipeline.cli import main; main()"]
        return [*start, "export", str(self.folder / "m.parquet"), *words, "--json", "--quiet"]


@dataclass(frozen=True)
class Cost:
    """What one export took."""

    seconds: float
    n_bytes: int
    peak_mib: float


def main() -> None:
    """Measure every format with a tenth of the segments, then with all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="whole")
    parser.add_argument("--segments", type=int)
    parser.add_argument("--an-utterance", type=int, default=AN_UTTERANCE, help="segments of one")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--formats", nargs="+", choices=FORMATS)
    given = parser.parse_args()
    n_segments, formats = SIZES[given.size]
    n_segments, formats = given.segments or n_segments, given.formats or formats
    found: list[dict[str, Cost]] = []
    for n in (n_segments // 10, n_segments):
        with tempfile.TemporaryDirectory() as scratch:
            began = time.perf_counter()
            world = make_world(Path(scratch), n, dim=given.dim, an_utterance=given.an_utterance)
            print(f"{n} segments of {given.dim}: made in {time.perf_counter() - began:.0f} s")
            found.append({to: measure(world, to) for to in formats})
    _print(n_segments, *found)


def make_world(folder: Path, n_segments: int, *, dim: int, an_utterance: int) -> World:
    """Write the store that an extraction would have left, shard by shard, and its manifest."""
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    recipe = resolve(load_recipe(str(folder / "recipe.toml")))
    manifest = _manifest(max(1, n_segments // an_utterance))
    store = Store.create(Workdir(folder / "runs").store_folder(recipe.recipe_id), recipe.to_json())
    header = ShardHeader(
        recipe_id=recipe.recipe_id,
        recipe_json=recipe.to_json(),
        versions_json="{}",
        engine="none",
        dtype="float16",
        feature_dim=dim,
    )
    shards = list(_write_shards(store, header, manifest["utterance_id"].tolist(), an_utterance))
    sums = {shard.name: shard.sha256 for shard in shards}
    store.publish_catalogue(store.catalogue.plus(rows_of_shards(shards), sums), recipe.recipe_id)
    keys = [entry.key for shard in shards for entry in shard.entries]
    rows = manifest.assign(key=keys, audio_sha256=keys, status=LIVE)
    store.publish_snapshot(in_parts(as_table(rows)), recipe.recipe_id)
    write_manifest(manifest, folder / "m.parquet")
    return World(folder, len(manifest) * an_utterance)


def _manifest(n: int) -> pd.DataFrame:
    names = [f"speaker{i % 997:03d}-{i:07d}" for i in range(n)]
    return complete(
        pd.DataFrame(
            {
                "utterance_id": names,
                "file": [f"audio/{i % 997:03d}/{name}.wav" for i, name in enumerate(names)],
                "speaker": [f"s{i % 997:03d}" for i in range(n)],
                "emotion": [("joy", "fear", "anger")[i % 3] for i in range(n)],
                "corpus": "bench",
            }
        )
    )


def _write_shards(
    store: Store, header: ShardHeader, names: list[str], an_utterance: int
) -> Iterator[PublishedShard]:
    rng = np.random.default_rng(0)
    size = (an_utterance, header.feature_dim)
    step = max(1, min(A_SHARD, SHARD_BYTES // (2 * an_utterance * header.feature_dim)))
    start = 0.16 * np.arange(an_utterance)
    for first in range(0, len(names), step):
        with ShardWriter(store.shards_folder, header) as shard:
            for name in names[first : first + step]:
                values = np.abs(rng.standard_normal(size, np.float32)).astype(np.float16)
                shard.append(values, start, start + 0.655)
                key = content_key(name.encode().hex().zfill(64)[-64:], 0.0, float("nan"))
                shard.end_utterance(key=key, utterance_id=name, view="clean")
            yield shard.close()


def measure(world: World, to: str) -> Cost:
    """Export in a process of its own, and look at what is there then."""
    output = world.folder / "exported"
    seconds, peak_mib, _ = cost_of(world.command(to, output))
    n_bytes = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    shutil.rmtree(output)
    return Cost(seconds, n_bytes, peak_mib)


def _print(n_segments: int, tenth: dict[str, Cost], whole: dict[str, Cost]) -> None:
    heads = ("seconds", "segments/s", "MB", "peak MiB", "of a tenth", "ratio")
    print(f"{'format':<12}" + "".join(f"{head:>12}" for head in heads))
    for to, cost in whole.items():
        before = tenth[to].peak_mib
        print(
            f"{to:<12}{cost.seconds:>12.1f}{n_segments / cost.seconds:>12.0f}"
            f"{cost.n_bytes / 1e6:>12.1f}{cost.peak_mib:>12.0f}{before:>12.0f}"
            f"{cost.peak_mib / before:>12.2f}"
        )


if __name__ == "__main__":
    main()
