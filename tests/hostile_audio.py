"""The files that break extractors: twenty inputs, each with what must become of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 16000


def voice_like(duration_s: float = 1.0, rate: int = RATE, seed: int = 0) -> NDArray[np.float32]:
    """A buzz that rises and falls over a little noise: float32, within +-0.6."""
    time_s = np.arange(round(duration_s * rate)) / rate
    pitch_hz = 150 + 30 * np.sin(2 * np.pi * 0.7 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, 12))
    noise = np.random.default_rng(seed).standard_normal(len(time_s))
    loudness = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s)
    return (0.2 * loudness * buzz + 0.003 * noise).astype(np.float32)


def write_hostile_corpus(folder: Path, *, long_s: float = 3600.0) -> dict[str, tuple[Path, str]]:
    """Write the files below ``folder``; name -> (path, "ok" or the reason code to expect).

    ``long_s`` is the length of the long recording (8 kHz, mu-law, 8 kB a second).
    "no permission" is left out for a user who may read everything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, tuple[Path, str]] = {}
    for name, make, code in (
        ("empty file", _empty, "empty"),
        ("text named wav", _text, "unreadable"),
        ("truncated header", _truncated_header, "truncated"),
        ("NaN samples", _nan, "non_finite"),
        ("all zeros", _zeros, "silent"),
        ("10 ms long", _short, "too_short"),
        ("missing file", lambda folder: folder / "missing.wav", "missing"),
        ("directory", _directory, "not_a_file"),
    ):
        made[name] = (make(folder), code)
    odd = (
        ("8 kHz", "8khz.wav", 8000, {}),
        ("96 kHz", "96khz.wav", 96000, {}),
        ("24-bit", "24bit.wav", RATE, {"subtype": "PCM_24"}),
        ("float", "float.wav", RATE, {"subtype": "FLOAT"}),
        ("FLAC", "a.flac", RATE, {}),
        ("OGG", "a.ogg", RATE, {}),
        ("MP3", "a.mp3", RATE, {}),
        ("non-ASCII name", "Größe ü 你好.wav", RATE, {}),
        ("newline in the name", "two\nlines.wav", RATE, {}),
    )
    for seed, (name, file, rate, options) in enumerate(odd):  # no two hold the same sound
        soundfile.write(folder / file, voice_like(rate=rate, seed=seed), rate, **options)
        made[name] = (folder / file, "ok")
    made["6 channels"] = (_six_channels(folder), "ok")
    made["1 h long"] = (_long(folder, long_s), "ok")
    if os.geteuid() != 0:
        made["no permission"] = (_no_permission(folder), "permission")
    return made


def _empty(folder: Path) -> Path:
    path = folder / "empty.wav"
    path.write_bytes(b"")
    return path


def _text(folder: Path) -> Path:
    path = folder / "text.wav"
    path.write_text("This is a note about a recording, not the recording.\n" * 40)
    return path


def _truncated_header(folder: Path) -> Path:
    path = folder / "header.wav"
    soundfile.write(path, voice_like(), RATE)
    path.write_bytes(path.read_bytes()[:30])
    return path


def _nan(folder: Path) -> Path:
    samples = voice_like()
    samples[5000:5003] = np.nan
    path = folder / "nan.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


def _zeros(folder: Path) -> Path:
    path = folder / "zeros.wav"
    soundfile.write(path, np.zeros(RATE, np.float32), RATE)
    return path


def _short(folder: Path) -> Path:
    path = folder / "short.wav"
    soundfile.write(path, voice_like(0.010), RATE)
    return path


def _directory(folder: Path) -> Path:
    path = folder / "directory.wav"
    path.mkdir(exist_ok=True)
    return path


def _six_channels(folder: Path) -> Path:
    path = folder / "six.wav"
    channels = np.stack([voice_like(seed=seed) for seed in range(6)], axis=1)
    soundfile.write(path, channels, RATE)
    return path


def _long(folder: Path, long_s: float) -> Path:
    path = folder / "long.wav"
    stretch = voice_like(10.0, rate=8000)
    with soundfile.SoundFile(path, "w", 8000, 1, subtype="ULAW") as file:
        n_left = round(long_s * 8000)
        while n_left > 0:
            file.write(stretch[:n_left])
            n_left -= len(stretch)
    return path


def _no_permission(folder: Path) -> Path:
    path = folder / "secret.wav"
    soundfile.write(path, voice_like(), RATE)
    path.chmod(0)
    return path
