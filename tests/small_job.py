"""A small real job for tests: a few utterances, a tiny frozen network with random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from pipeline import extraction
from pipeline.extraction import ExtractOptions, extract_features, plan_features
from pipeline.session import Session
from pipeline.workdir import Workdir
from stages.manifest import complete
from stages.recipe import Recipe, load_recipe, resolve
from tests.hostile_audio import voice_like

RECIPE = """
dtype = "float32"
[network]
network = "mobilenet-0.25"
weights = "random:0"
layers = ["conv_pw_1_relu"]
input_size = 32
pooling = "bands:4"
"""


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


class Job:
    """One store below a folder, extracted into by hand."""

    def __init__(self, folder: Path) -> None:
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

    def stacks(self) -> dict[str, np.ndarray]:
        from features_cache.store import Store

        store = Store(self.store_folder)
        return {name: store.stack(name) for name in store.generation.live["utterance_id"]}

    def _what(self) -> tuple[Session, Workdir, extraction.Job]:
        job = extraction.Job(manifest=self.manifest, root=self.audio, recipe=self.recipe)
        return Session(quiet=True), self.workdir, job
