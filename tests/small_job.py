"""A small real job for tests: a few utterances, a tiny frozen network with random weights."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from features_cache.shard import read_entries
from features_cache.verify import verify
from pipeline import extraction
from pipeline.extraction import ExtractOptions, extract_features, plan_features
from pipeline.session import Session
from pipeline.workdir import Workdir
from stages.manifest import complete, write_manifest
from stages.recipe import Recipe, load_recipe, resolve
from tests.hostile_audio import voice_like

ROOT = Path(__file__).parent.parent

RECIPE = """
dtype = "float32"
[network]
network = "mobilenet-0.25"
weights = "random:0"
layers = ["conv_pw_1_relu"]
input_size = 32
pooling = "bands:4"
"""

MEASURE = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, "-c", *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small process between the test and the command: a child's peak counts what forked it."""


def write_recipe(folder: Path) -> Path:
    path = folder / "tiny.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def tiny_recipe(folder: Path) -> Recipe:
    return resolve(load_recipe(str(write_recipe(folder))))


def write_corpus(folder: Path, n: int = 8) -> pd.DataFrame:
    """Write `n` wav files of different lengths and sounds; return their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        soundfile.write(folder / f"u{i}.wav", voice_like(0.5 + 0.2 * i, seed=i), 16000)
    names = [f"u{i}" for i in range(n)]
    return complete(
        pd.DataFrame(
            {
                "utterance_id": names,
                "file": [f"{name}.wav" for name in names],
                "speaker": [f"s{i % 4}" for i in range(n)],
                "emotion": [("joy", "fear")[i // 4 % 2] for i in range(n)],
                "corpus": "small",
            }
        )
    )


def write_short_corpus(folder: Path, n: int, shortest_s: float = 0.4) -> pd.DataFrame:
    """Write `n` wav files of about a second each, long ago; return their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        path = folder / f"u{i}.wav"
        soundfile.write(path, voice_like(shortest_s + 0.07 * (i % 20), seed=i), 16000)
        os.utime(path, ns=(10**18 + i, 10**18 + i))  # so that its hash is remembered at once
    names = [f"u{i}" for i in range(n)]
    files = [f"{name}.wav" for name in names]
    rows = {"utterance_id": names, "file": files, "speaker": "s", "emotion": "joy"}
    return complete(pd.DataFrame({**rows, "corpus": "small"}))


@contextmanager
def running(*words: object, **how: Any) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401
    """Run the command line in a session of its own, none of which outlives the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **how,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wholeness(store_folder: Path) -> list[str]:
    """Everything that a full verify has to say; nothing if there is no store yet."""
    if not (store_folder / "recipe.json").exists():
        return []
    return [f"{p.code}: {p.message}" for p in verify(store_folder, full=True)]


def times_on_disk(store_folder: Path) -> Counter[str]:
    """How many published shards hold each key."""
    shards = (store_folder / "shards").glob("*.h5")
    return Counter(entry.key for path in shards for entry in read_entries(path))


class Job:
    """One store below a folder, extracted into by hand."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.audio = folder / "audio"
        self.workdir = Workdir(folder / "runs")
        self.recipe = tiny_recipe(folder)
        self.manifest = write_corpus(self.audio)
        self.store_folder = self.workdir.store_folder(self.recipe.recipe_id)

    def plan(self) -> dict[str, Any]:
        return plan_features(*self._what(), ExtractOptions()).fields

    def extract(self, n_workers: int | None = 0, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        return extract_features(
            *self._what(), ExtractOptions(n_workers=n_workers, **options)
        ).fields

    def words(self, n_workers: int = 0) -> list[object]:
        """Words that extract this job on the command line."""
        write_manifest(self.manifest, self.folder / "m.csv")
        return [
            *("extract", self.folder / "m.csv", "--audio", self.audio, "--quiet", "--json"),
            *("--recipe", self.folder / "tiny.toml", "--workdir", self.workdir.root),
            *("--workers", n_workers),
        ]

    def peak_bytes(self, *more: str) -> int:
        """Extract in a process of its own; the most memory it had."""
        program = "from pipeline.cli import main; main()"
        command = [sys.executable, "-c", MEASURE, program, *map(str, self.words()), *more]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["n_left"] == 0
        return 1024 * int(done.stderr.split()[-1])

    def extract_part(self, i: int, n: int) -> dict[str, Any]:
        session, workdir, job = self._what()
        options = ExtractOptions(n_workers=0)
        return extract_features(session, workdir, job.part(i, n), options).fields

    def stacks(self) -> dict[str, np.ndarray]:
        from features_cache.store import Store

        store = Store(self.store_folder)
        return {name: store.stack(name) for name in store.live(["utterance_id"])["utterance_id"]}

    def features(self) -> dict[str, bytes]:
        """The bytes of all features that readers see."""
        return {name: stack.tobytes() for name, stack in self.stacks().items()}

    def _what(self) -> tuple[Session, Workdir, extraction.Job]:
        job = extraction.Job(manifest=self.manifest, root=self.audio, recipe=self.recipe)
        return Session(quiet=True), self.workdir, job
