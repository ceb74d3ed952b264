"""A recording of three hours: little memory, and the features of one that is read whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from features_cache.store import Store
from stages.frontend.logmel import logmel_of
from stages.frontend.segments import windows
from stages.manifest import complete
from stages.recipe import Recipe, load_recipe, resolve
from stages.shard_work import load_network
from tests.hostile_audio import RATE, voice_like
from tests.small_job import RECIPE, Job

KERAS = ("--engine", "keras")
"""What `read_whole` reads by; another engine's last bits are others."""

SPARSE = RECIPE + "[segments]\nshift_frames = 64\n"
"""Every frame once: a quarter of the default's segments, of the same audio."""

MP3_TOLERANCE = 1e-5
"""Of a feature; they are about 1. A decoder may round otherwise from block to block."""


def write_recording(path: Path, minutes: int) -> None:
    """Write sound that never repeats within seven minutes."""
    stretches = [voice_like(60.0, seed=seed) for seed in range(min(7, minutes))]
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for minute in range(minutes):
            file.write(stretches[minute % len(stretches)])


def job_of(folder: Path, files: list[str]) -> Job:
    job = Job(folder)
    (folder / "tiny.toml").write_text(SPARSE)
    job.recipe = resolve(load_recipe(str(folder / "tiny.toml")))
    job.store_folder = job.workdir.store_folder(job.recipe.recipe_id)
    rows = {"utterance_id": files, "file": files, "speaker": "s", "emotion": "", "corpus": "long"}
    job.manifest = complete(pd.DataFrame(rows))
    return job


def read_whole(path: Path, recipe: Recipe) -> NDArray[np.float32]:
    """Features of a recording that is decoded, transformed and cut in one piece."""
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    frames = np.concatenate(list(logmel_of([samples], recipe.frontend)), axis=1)
    cuts = np.concatenate([cut for cut, _ in windows([frames], recipe.segments)])
    network = load_network(recipe.to_json(), 32)
    return np.concatenate([network(cuts[i : i + 32]) for i in range(0, len(cuts), 32)])


@pytest.mark.slow
def test_three_hours_take_as_little_memory_as_seconds_and_give_the_features_of_the_whole(
    tmp_path: Path,
) -> None:
    short = job_of(tmp_path / "short", [f"{i}.wav" for i in range(10)])
    for i in range(10):
        soundfile.write(short.audio / f"{i}.wav", voice_like(3.0, seed=i), RATE)
    long = job_of(tmp_path / "long", ["long.wav"])
    write_recording(long.audio / "long.wav", 180)
    above = long.peak_bytes(*KERAS) - short.peak_bytes(*KERAS)
    assert above < 300 * 2**20
    found = Store(long.store_folder).stack("long.wav")
    assert len(found) > 10_000
    assert found.tobytes() == read_whole(long.audio / "long.wav", long.recipe).tobytes()


@pytest.mark.slow
def test_twenty_minutes_of_flac_and_mp3_give_the_features_of_the_whole(tmp_path: Path) -> None:
    job = job_of(tmp_path / "job", ["long.flac", "long.mp3"])
    for file in job.manifest["file"]:
        write_recording(job.audio / file, 20)
    job.extract(engine="keras")
    flac, mp3 = (Store(job.store_folder).stack(file) for file in job.manifest["file"])
    assert flac.tobytes() == read_whole(job.audio / "long.flac", job.recipe).tobytes()
    np.testing.assert_allclose(
        mp3, read_whole(job.audio / "long.mp3", job.recipe), atol=MP3_TOLERANCE
    )
