"""The front end, as far as one of its stages; as a script, a child that times it.

Each stage includes those before it, so what one adds is the difference to its predecessor.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt

from benchmarks.by_librosa import librosa_logmel, librosa_windows
from benchmarks.child import Action, Numbers, serve
from benchmarks.extract_ways import utterances_of
from stages.frontend.audio import native_blocks, read_blocks
from stages.frontend.logmel import logmel_blocks, spectrum_of
from stages.frontend.segments import windows
from stages.manifest import read_manifest
from stages.recipe import Recipe, recipe_from_json
from stages.segment_features import Rows, window_events
from stages.utterance import Utterance

Arrays = Iterator[npt.NDArray[np.floating]]
Stage = Callable[[Utterance, Recipe], Arrays]


def decoded(utterance: Utterance, _: Recipe) -> Arrays:
    """Open and decode the file."""
    return (block.samples for block in native_blocks(utterance.path))


def samples(utterance: Utterance, recipe: Recipe) -> Arrays:
    """Check them, make them mono, and bring them to the recipe's rate."""
    return read_blocks(utterance.path, sample_rate=recipe.frontend.sample_rate)


def spectra(utterance: Utterance, recipe: Recipe) -> Arrays:
    """Fourier transforms of the windowed frames."""
    yield spectrum_of(np.concatenate(list(samples(utterance, recipe))), recipe.frontend)


def logmel(utterance: Utterance, recipe: Recipe) -> Arrays:
    """Powers, Mel bands and decibels."""
    return logmel_blocks(utterance.path, settings=recipe.frontend)


def cut(utterance: Utterance, recipe: Recipe) -> Arrays:
    """Overlapping windows."""
    return (values for values, _ in windows(logmel(utterance, recipe), recipe.segments))


def as_events(utterance: Utterance, recipe: Recipe) -> Arrays:
    """Place them in time, and look whether the file is still the same: what a worker takes."""
    return (event.values for event in window_events([utterance], recipe) if isinstance(event, Rows))


def by_librosa(utterance: Utterance, recipe: Recipe) -> Arrays:
    """Log-Mel as a script makes it."""
    return iter([librosa_logmel(utterance.path, recipe)])


def cut_by_librosa(utterance: Utterance, recipe: Recipe) -> Arrays:
    """Windows as a script makes them."""
    return iter([librosa_windows(utterance.path, recipe)])


OURS: dict[str, Stage] = {
    "open, decode": decoded,
    "check, mono, resample": samples,
    "Fourier transform": spectra,
    "Mel bands, decibels": logmel,
    "cut windows": cut,
    "times, file unchanged": as_events,
}
STAGES: dict[str, Stage] = {**OURS, "librosa": by_librosa, "librosa, windows": cut_by_librosa}
LOGMEL, WINDOWS = "Mel bands, decibels", "times, file unchanged"
"""Where our log-Mel is done, and our windows."""


def make_ready(fields: dict[str, Any]) -> Action:
    """Get ready to run a stage over a corpus: ``stage``, ``folder``, ``recipe_json``."""
    folder, stage = Path(fields["folder"]), STAGES[fields["stage"]]
    recipe = recipe_from_json(fields["recipe_json"])
    utterances = utterances_of(read_manifest(folder / "manifest.csv"), folder)
    audio_s = [librosa.get_duration(path=utterance.path) for utterance in utterances]

    def run(step: int) -> Numbers:
        n = sum(_count(stage(utterance, recipe)) for utterance in utterances[::step])
        return {"n": n, "audio_s": sum(audio_s[::step])}

    return run


def _count(arrays: Iterable[npt.NDArray[np.floating]]) -> int:
    return sum(len(array) for array in arrays)


if __name__ == "__main__":
    serve(make_ready)
