import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.frontend.audio import AudioError
from stages.frontend.logmel import (
    FrontEnd,
    FrontEndError,
    logmel_blocks,
    logmel_of,
    mel_centres_hz,
    mel_filters,
)
from tests.hostile_audio import voice_like, write_hostile_corpus

RATE = 16000
VOICE = voice_like(7.0)
EMODB = Path(__file__).parents[2] / "shared" / "emodb" / "wav"


def at_once(samples: NDArray[np.float32], frontend: FrontEnd) -> NDArray[np.float64]:
    """What librosa says in one go, in decibels."""
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=frontend.sample_rate,
        n_fft=frontend.n_fft,
        hop_length=frontend.hop_length,
        win_length=frontend.window_length,
        window=frontend.window,
        center=False,
        n_mels=frontend.n_mels,
        fmin=frontend.fmin_hz,
        fmax=frontend.fmax_hz,
    )
    return 10 * np.log10(np.maximum(power.astype(np.float64), frontend.floor))


def joined(blocks: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(list(blocks), axis=1)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "voice.wav"
    soundfile.write(path, VOICE, RATE, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    "frontend",
    [
        FrontEnd(),
        FrontEnd(window="hann", n_fft=1024, n_mels=128, window_s=0.032, hop_s=0.008),
        FrontEnd(n_fft=400, n_mels=40, fmin_hz=0.0, fmax_hz=4000.0, floor=1e-6),
    ],
    ids=["default", "fine", "coarse"],
)
def test_blocks_equal_librosas_one_shot_computation(wav: Path, frontend: FrontEnd) -> None:
    found = joined(logmel_blocks(wav, settings=frontend))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, at_once(VOICE, frontend), rtol=1e-6, atol=3e-5)


@pytest.mark.skipif(not EMODB.is_dir(), reason="needs EMO-DB beside the repository")
def test_blocks_equal_librosa_on_real_speech() -> None:
    for path in sorted(EMODB.glob("*.wav"))[::60]:
        samples, _ = soundfile.read(path, dtype="float32")
        found = joined(logmel_blocks(path, settings=FrontEnd()))
        np.testing.assert_allclose(found, at_once(samples, FrontEnd()), rtol=1e-6, atol=3e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(400, len(VOICE)), st.lists(st.integers(0, len(VOICE)), max_size=6))
def test_neither_the_blocks_nor_what_follows_changes_a_byte_of_a_frame(
    n: int, borders: list[int]
) -> None:
    whole = joined(logmel_of([VOICE], FrontEnd()))
    in_pieces = joined(logmel_of(np.split(VOICE[:n], sorted(borders)), FrontEnd()))
    n_frames = 1 + (n - 512) // 160 if n >= 512 else 1
    assert in_pieces.shape == (64, n_frames)
    if n >= 512:
        np.testing.assert_array_equal(in_pieces, whole[:, :n_frames])


def test_the_container_does_not_matter(tmp_path: Path) -> None:
    found = []
    samples = (VOICE * 32767).astype(np.int16)
    for suffix in ("wav", "flac", "aiff"):
        soundfile.write(tmp_path / f"a.{suffix}", samples, RATE)
        found.append(joined(logmel_blocks(tmp_path / f"a.{suffix}", settings=FrontEnd())))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_range_equals_a_file_of_its_own(tmp_path: Path, wav: Path) -> None:
    soundfile.write(tmp_path / "part.wav", VOICE[RATE : 3 * RATE], RATE, subtype="FLOAT")
    alone = joined(logmel_blocks(tmp_path / "part.wav", settings=FrontEnd()))
    part = joined(logmel_blocks(wav, start=1.0, end=3.0, settings=FrontEnd()))
    np.testing.assert_array_equal(alone, part)


def test_preemphasis_equals_librosas(wav: Path) -> None:
    filtered = librosa.effects.preemphasis(VOICE, coef=0.97, zi=np.array([-0.97 * VOICE[0]]))
    found = joined(logmel_blocks(wav, settings=FrontEnd(preemphasis=0.97)))
    np.testing.assert_allclose(found, at_once(filtered, FrontEnd()), atol=2e-3)


@given(st.lists(st.integers(0, 3000), max_size=4))
def test_preemphasis_goes_on_across_blocks(borders: list[int]) -> None:
    frontend, samples = FrontEnd(preemphasis=0.9), VOICE[:3000]
    whole = joined(logmel_of([samples], frontend))
    in_pieces = joined(logmel_of(np.split(samples, sorted(borders)), frontend))
    np.testing.assert_array_equal(whole, in_pieces)


def test_utterance_scaling_gives_mean_zero_and_deviation_one(wav: Path) -> None:
    found = joined(logmel_blocks(wav, settings=FrontEnd(scaling="utterance"))).astype(np.float64)
    assert found.mean() == pytest.approx(0.0, abs=1e-5)
    assert found.std() == pytest.approx(1.0, abs=1e-5)
    level_db = joined(logmel_blocks(wav, settings=FrontEnd())).astype(np.float64)
    expected = (level_db - level_db.mean()) / level_db.std()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_utterance_scaling_of_a_flat_spectrogram_stays_finite(tmp_path: Path) -> None:
    samples = np.full(RATE, 1e-12, np.float32)
    soundfile.write(tmp_path / "flat.wav", samples, RATE, subtype="FLOAT")
    found = joined(logmel_blocks(tmp_path / "flat.wav", settings=FrontEnd(scaling="utterance")))
    assert not found.any()


@pytest.mark.parametrize(("n_samples", "n_frames"), [(400, 1), (511, 1), (512, 1), (672, 2)])
def test_a_short_utterance_is_padded_with_zeros(n_samples: int, n_frames: int) -> None:
    found = joined(logmel_of([VOICE[:n_samples]], FrontEnd()))
    assert found.shape == (64, n_frames)
    padded = np.pad(VOICE[:n_samples], (0, max(0, 512 - n_samples)))
    np.testing.assert_allclose(found, at_once(padded, FrontEnd()), rtol=1e-6, atol=3e-5)


def test_less_than_one_window_is_too_short(tmp_path: Path) -> None:
    path, code = write_hostile_corpus(tmp_path, long_s=1.0)["10 ms long"]
    with pytest.raises(
        AudioError, match="has 160 samples at 16000 Hz; expected at least"
    ) as caught:
        joined(logmel_blocks(path, settings=FrontEnd()))
    assert caught.value.code == code == "too_short"


def test_row_0_is_the_lowest_frequency() -> None:
    centres = mel_centres_hz(FrontEnd())
    assert centres.shape == (64,)
    for band in (3, 20, 50):
        tone = np.sin(2 * np.pi * centres[band] * np.arange(RATE) / RATE).astype(np.float32)
        assert np.argmax(joined(logmel_of([tone], FrontEnd())).mean(axis=1)) == band


def test_ten_times_the_level_is_twenty_decibels() -> None:
    quiet, loud = (joined(logmel_of([g * VOICE], FrontEnd())) for g in (np.float32(0.1), 1.0))
    np.testing.assert_allclose(loud - quiet, 20.0, atol=1e-3)


def peak_mib(path: Path, frontend: FrontEnd) -> tuple[float, int]:
    next(logmel_blocks(path, settings=frontend))  # what is imported or cached on first use
    tracemalloc.start()
    try:
        n_frames = sum(block.shape[1] for block in logmel_blocks(path, settings=frontend))
        return tracemalloc.get_traced_memory()[1] / 2**20, n_frames
    finally:
        tracemalloc.stop()


def test_an_hour_goes_through_in_little_memory(tmp_path: Path) -> None:
    path, _ = write_hostile_corpus(tmp_path)["1 h long"]
    mib, n_frames = peak_mib(path, FrontEnd())
    assert n_frames == 359997
    assert mib < 24


@pytest.mark.slow
def test_an_hour_of_16_bit_sound_goes_through_in_little_memory_twice_read(tmp_path: Path) -> None:
    stretch = voice_like(10.0)
    with soundfile.SoundFile(tmp_path / "hour.wav", "w", RATE, 1) as file:
        for samples in itertools.repeat(stretch, 360):
            file.write(samples)
    mib, n_frames = peak_mib(tmp_path / "hour.wav", FrontEnd(scaling="utterance"))
    assert n_frames == 359997
    assert mib < 24


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"sample_rate": 10}, "sample_rate is 10; expected 1000 to 384000 Hz"),
        ({"preemphasis": 1.0}, "preemphasis is 1.0; expected 0"),
        ({"preemphasis": float("nan")}, "preemphasis is nan"),
        ({"window": "kaiser"}, "window is 'kaiser'; expected one of hamming"),
        ({"scaling": "corpus"}, "scaling is 'corpus'; expected one of fixed, utterance"),
        ({"n_mels": 0}, "n_mels is 0"),
        ({"n_fft": 256}, "n_fft is 256; expected at least the window's 400 samples"),
        ({"floor": 0.0}, "floor is 0.0"),
        ({"window_s": 0.0}, "window_s is 0.0; expected more than 0"),
        ({"hop_s": float("inf")}, "hop_s is inf"),
        ({"hop_s": 1e-6}, "expected at least 2 and 1; lengthen them"),
        ({"hop_s": 0.05}, "hop_s is 800 samples; expected at most n_fft = 512"),
        ({"fmax_hz": 8001.0}, r"expected 0 <= fmin_hz < fmax_hz <= 8000 \(half of sample_rate\)"),
        ({"fmin_hz": 8000.0}, "fmin_hz and fmax_hz are 8000.0 and 8000.0"),
        ({"fmin_hz": float("nan")}, "fmin_hz and fmax_hz are nan"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    wrong: dict[str, object], match: str
) -> None:
    with pytest.raises(FrontEndError, match=match):
        FrontEnd(**wrong)  # type: ignore[arg-type]


def test_mel_bands_without_a_bin_are_refused() -> None:
    with pytest.raises(FrontEndError, match="Mel bands lie between two bins of an n_fft of 512"):
        mel_filters(FrontEnd(n_mels=256))
