"""The demo's corpus: made by rule, not spoken by anyone.

Its only purpose is to try the pipeline where no corpus is at hand. A source-filter synthesiser
(`stages.corpora.voice`) speaks nonsense sentences (`stages.corpora.phones`) with prosody by rule
(`stages.corpora.prosody`). It is not real speech: what a classifier scores on it says nothing about
emotions in people's voices, and no number from it is a result.
"""

import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from stages.corpora.phones import sentence
from stages.corpora.prosody import (
    STYLES,
    Speaker,
    draw_habit,
    draw_speaker,
    draw_style,
    perform,
    phonation,
)
from stages.corpora.reader import CorpusError
from stages.corpora.voice import SAMPLE_RATE, Float, speak
from stages.manifest import complete, write_manifest

EMOTIONS = tuple(STYLES)
CORPUS = "synthetic"
# A neutral utterance is then about 29 dB under full scale (RMS), most anger still inside it.
_GAIN = 0.5
_FLOOR = 10 ** (-66 / 20)
_PEAK = 0.95


def write_corpus(
    folder: Path, *, n_speakers: int = 6, n_takes: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Speak a corpus of four emotions into `folder/wav` and write `folder/manifest.csv`.

    Every speaker says the same `n_takes` sentences in every emotion. The same arguments give the
    same bytes; each utterance depends on the seed, its speaker, emotion and take alone.

    Parameters
    ----------
    folder : made if need be; files of the same names are replaced
    n_speakers : 2 to 99, women and men in turn
    n_takes : utterances an emotion, 1 to 99
    seed : 0 or more

    Returns
    -------
    DataFrame
        The manifest; `file` is relative to `folder`. The audio is 16 kHz, mono, 16 bit.

    Raises
    ------
    CorpusError
        A number is out of its range.
    """
    for name, value, least, most in [
        ("n_speakers", n_speakers, 2, 99),
        ("n_takes", n_takes, 1, 99),
        ("seed", seed, 0, 2**32 - 1),
    ]:
        if not least <= value <= most:
            raise CorpusError(f"{name} is {value}; expected {least} to {most}; choose another")
    (folder / "wav").mkdir(parents=True, exist_ok=True)
    speakers = [draw_speaker(i, _rng(seed, "speaker", i)) for i in range(n_speakers)]
    rows = []
    for i, emotion, take in itertools.product(range(n_speakers), EMOTIONS, range(n_takes)):
        name = f"{speakers[i].name}-{emotion}-{take + 1:02d}"
        _write_wav(folder / "wav" / f"{name}.wav", utterance(speakers[i], i, emotion, take, seed))
        rows.append(_row(name, speakers[i], emotion))
    manifest = complete(pd.DataFrame(rows))
    write_manifest(manifest, folder / "manifest.csv")
    return manifest


def utterance(speaker: Speaker, index: int, emotion: str, take: int, seed: int) -> Float:
    """Speak one utterance.

    Parameters
    ----------
    speaker, index : a voice, and the number that its habits are drawn by
    emotion : one of `EMOTIONS`
    take : the sentence's number
    seed : the corpus's

    Returns
    -------
    float64, shape (n_samples,), in [-0.95, 0.95]
        At 16 kHz, one to three seconds.
    """
    number = EMOTIONS.index(emotion)
    habit = draw_habit(_rng(seed, "habit", index, number))
    rng = _rng(seed, "utterance", index, number, take)
    style = draw_style(emotion, habit, rng)
    tracks = perform(sentence(_rng(seed, "sentence", take)), speaker, style, rng)
    samples = _GAIN * speak(tracks, phonation(speaker, style), rng)
    samples += _FLOOR * rng.standard_normal(samples.size)
    return samples * min(1.0, _PEAK / float(np.abs(samples).max()))


def _rng(seed: int, role: str, *numbers: int) -> np.random.Generator:
    # Always five numbers: NumPy takes [1, 2] and [1, 2, 0] for the same seed.
    roles = ("speaker", "habit", "sentence", "utterance")
    return np.random.default_rng([roles.index(role), seed, *numbers, *[0] * (3 - len(numbers))])


def _row(name: str, speaker: Speaker, emotion: str) -> dict[str, str]:
    return {
        "utterance_id": name,
        "file": f"wav/{name}.wav",
        "speaker": speaker.name,
        "gender": speaker.gender,
        "emotion": emotion,
        "corpus": CORPUS,
    }


def _write_wav(path: Path, samples: Float) -> None:
    partial = path.with_name(path.name + ".partial")
    pcm = np.round(samples * 32767).astype(np.int16)
    try:
        soundfile.write(partial, pcm, SAMPLE_RATE, subtype="PCM_16", format="WAV")
        os.replace(partial, path)  # noqa: PTH105 (the word that says: atomic)
    finally:
        partial.unlink(missing_ok=True)
