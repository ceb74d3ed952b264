"""Extraction takes no more memory for ten times the utterances."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from features_cache.store import Store
from stages.manifest import complete
from stages.recipe import load_recipe, resolve
from tests.hostile_audio import RATE, voice_like
from tests.small_job import RECIPE, Job

WIDE = RECIPE.replace("bands:4", "flatten")
"""Features of 16 KiB, so that keeping them, or the windows, could not be overlooked."""

FEW = 150
"""Utterances: enough batches for the network's own memory to have settled."""


def job_of(folder: Path, n_utterances: int) -> Job:
    job = Job(folder)
    (folder / "tiny.toml").write_text(WIDE)
    job.recipe = resolve(load_recipe(str(folder / "tiny.toml")))
    job.store_folder = job.workdir.store_folder(job.recipe.recipe_id)
    files = [f"{i}.wav" for i in range(n_utterances)]
    sound = voice_like(1.5)
    for i, file in enumerate(files):
        soundfile.write(job.audio / file, np.roll(sound, i), RATE)
    rows = {"utterance_id": files, "file": files, "speaker": "s", "emotion": "", "corpus": "many"}
    job.manifest = complete(pd.DataFrame(rows))
    return job


def bytes_of_features(job: Job) -> int:
    stack = Store(job.store_folder).stack("0.wav")
    return len(job.manifest) * stack.nbytes


@pytest.mark.slow
def test_ten_times_the_utterances_take_at_most_five_percent_more_memory(tmp_path: Path) -> None:
    few, many = (job_of(tmp_path / str(n), n) for n in (FEW, 10 * FEW))
    peak_of_few, peak_of_many = few.peak_bytes(), many.peak_bytes()
    assert peak_of_many <= 1.05 * peak_of_few
    # To keep what was made would have shown.
    assert bytes_of_features(many) - bytes_of_features(few) > 0.1 * peak_of_few
