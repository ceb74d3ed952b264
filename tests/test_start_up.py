"""A verb imports only what it needs: what of the heavy modules is there when it ends."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from features_cache.keys import CLEAN, content_key, file_sha256
from features_cache.shard import PublishedShard, ShardHeader, ShardWriter
from features_cache.store import Store
from pipeline.cli import emostack
from pipeline.workdir import Workdir
from stages.manifest import write_manifest
from tests.command_line import write_voices
from tests.fake_run import write_fake_run
from tests.small_job import ROOT, tiny_recipe, write_corpus
from tests.small_store import publish, table

HEAVY = {
    "dask", "distributed", "h5py", "jax", "jinja2", "keras", "librosa", "matplotlib", "numpy",
    "openvino", "opensmile", "pandas", "pyarrow", "scipy", "sklearn", "soundfile", "tensorflow",
    "torch",
}  # fmt: skip

PROGRAM = f"""
import sys
from pipeline.cli import main
try:
    main()
finally:
    print(*({HEAVY} & sys.modules.keys()), file=sys.stderr)
"""

TABLES = {"numpy", "pandas", "pyarrow"}
SOUND = {"numpy", "librosa", "scipy", "soundfile"}
STORES = TABLES | SOUND | {"h5py"}
KERAS = {"tensorflow", "keras"}
BROUGHT_BY_KERAS = {"jax", "h5py", "matplotlib", "pandas", "pyarrow", "scipy", "sklearn"}
"""What Keras and TensorFlow import where it is installed."""

EXTRACTED = "{home}/m.csv --audio {home}/wav --recipe {home}/tiny.toml"

TAKES = {
    "corpora": TABLES,
    "manifest emodb {home}/emodb -o {home}/emodb.csv": TABLES,
    "check {home}/m.csv --audio {home}/wav": TABLES | SOUND,
    "preview {home}/wav/u0.wav -o {home}/u0.png": SOUND | {"matplotlib"},
    f"extract {EXTRACTED} --dry-run": STORES,
    f"extract {EXTRACTED}": STORES,
    "nightly {home}/night.toml": STORES | {"jinja2"},
    "export {home}/m.csv --recipe {home}/tiny.toml --to csv -o {home}/csv": STORES
    | {"jinja2", "sklearn"},
    "store ls": STORES,
    "store verify --full": STORES,
    "store explain u0": STORES,
    "report a": TABLES | {"jinja2", "matplotlib"},
    "compare a b": TABLES | {"jinja2", "matplotlib"},
}
"""What a verb may import; everything else in `HEAVY` it must not. An export folds its speakers."""

MARKS = {"preview": pytest.mark.slow}
"""It draws, which no other verb waits for."""

NIGHT = """
workdir = "{home}/runs"
[nightly]
manifest = "{home}/m.csv"
audio = "{home}/wav"
recipe = "{home}/tiny.toml"
train = false
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, its features, and two trainings; nothing of it by a network."""
    folder = tmp_path_factory.mktemp("home")
    write_manifest(write_corpus(folder / "wav", n=8), folder / "m.csv")
    write_voices(folder / "emodb", ["03a01Fa", "08a01Wa"])
    (folder / "night.toml").write_text(NIGHT.format(home=folder), encoding="utf-8")
    _fill(folder)
    for draw, name in enumerate("ab"):
        write_fake_run(folder / "runs" / "runs" / name, counts=(20,) * 7, draw=draw)
    return folder


def _fill(folder: Path) -> None:
    """Make the store that an extraction of the folder's recordings would find up to date."""
    recipe = tiny_recipe(folder)
    store = Store.create(Workdir(folder / "runs").store_folder(recipe.recipe_id), recipe.to_json())
    header = ShardHeader(
        recipe_id=recipe.recipe_id,
        recipe_json=store.recipe_json,
        versions_json="{}",
        engine="keras-test",
        dtype=recipe.dtype,
        feature_dim=3,
    )
    shard = _shard(store.shards_folder, header, sorted((folder / "wav").iterdir()))
    publish(store, table(shard, corpus="small"), [shard], recipe_id=recipe.recipe_id)
    store.close()


def _shard(folder: Path, header: ShardHeader, paths: list[Path]) -> PublishedShard:
    with ShardWriter(folder, header) as writer:
        for path in paths:
            start = np.arange(2, dtype=np.float64)
            writer.append(np.ones((2, 3), header.dtype), start, start + 1)
            key = content_key(file_sha256(path), 0.0, float("nan"))
            writer.end_utterance(key=key, utterance_id=path.stem, view=CLEAN)
        return writer.close()


def imported_by(*words: object, statuses: tuple[int, ...] = (0,)) -> set[str]:
    """Run the command line in a process of its own; what of the heavy modules it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in statuses, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def _all_verbs(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    yield before
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _all_verbs(command, *before, name)
        else:
            yield (*before, name)


@pytest.mark.parametrize(
    "verb", list(_all_verbs(emostack)), ids=lambda verb: " ".join(verb) or "emostack"
)
def test_help_comes_before_anything_heavy(verb: tuple[str, ...]) -> None:
    assert imported_by(*verb, "--help") == set()


@pytest.mark.parametrize(
    "words", [pytest.param(words, marks=MARKS.get(words.split()[0], ())) for words in TAKES]
)
def test_a_verb_imports_only_what_it_needs(words: str, home: Path) -> None:
    given = [word.format(home=home) for word in words.split()]
    given += [] if given[0] == "nightly" else ["--workdir", str(home / "runs")]
    assert imported_by(*given) <= TAKES[words]


@pytest.mark.slow
def test_the_doctor_imports_keras_and_leaves_clusters_and_other_engines_alone() -> None:
    # Status 1: it has found a problem, such as a machine that has no weights.
    found = imported_by("doctor", statuses=(0, 1))
    assert KERAS <= found <= STORES | KERAS | BROUGHT_BY_KERAS


@pytest.mark.slow
def test_a_small_job_needs_one_engine_and_no_cluster(home: Path) -> None:
    takes = STORES | KERAS | BROUGHT_BY_KERAS
    extracted = [word.format(home=home) for word in EXTRACTED.split()]
    there = ["--workdir", home / "small"]
    assert KERAS <= imported_by("extract", *extracted, "--engine", "keras", *there) <= takes
    # Dask is asked how much memory a container has.
    asked = {"jinja2", "dask", "distributed"}
    assert KERAS <= imported_by("train", *extracted, *there) <= takes | asked
    (bundle,) = (home / "small" / "runs").glob("*/bundle")
    assert KERAS <= imported_by("predict", bundle, home / "wav" / "u0.wav") <= takes
