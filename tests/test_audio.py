import errno
import math
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.frontend.audio import CODES, AudioError, duration_s, native_blocks, read_blocks
from tests.hostile_audio import voice_like, write_hostile_corpus

RATE = 16000
VOICE = voice_like(2.0)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    return write_hostile_corpus(tmp_path_factory.mktemp("hostile"), long_s=60.0)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "voice.wav"
    soundfile.write(path, VOICE, RATE)
    return path


def read(
    path: Path, *, start: float = 0.0, end: float = math.nan, block_frames: int = 65536
) -> NDArray[np.float32]:
    blocks = read_blocks(path, start=start, end=end, sample_rate=RATE, block_frames=block_frames)
    return np.concatenate(list(blocks))


def stored(path: Path) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = soundfile.read(path, dtype="float32")[0]
    return samples


def write_wav(path: Path, samples: NDArray[np.float32], *, data_size: int, riff_size: int) -> None:
    """A 16-bit mono file by hand, with sizes in its header that need not be true."""
    data = (samples * 32767).astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE") + form
    path.write_bytes(head + struct.pack("<4sI", b"data", data_size) + data)


@pytest.mark.parametrize(
    "name",
    [
        "empty file", "text named wav", "truncated header", "NaN samples", "all zeros",
        "missing file", "directory", "no permission",
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_with_its_own_code(
    hostile: dict[str, tuple[Path, str]], name: str
) -> None:
    if name not in hostile:
        pytest.skip("this user may read everything")
    path, code = hostile[name]
    with pytest.raises(AudioError, match=r"; expected .*; ") as caught:
        read(path)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "8 kHz", "96 kHz", "24-bit", "float", "FLAC", "OGG", "MP3", "6 channels",
        "non-ASCII name", "newline in the name", "1 h long",
    ],
)  # fmt: skip
def test_an_odd_but_sound_file_is_read_as_mono_at_the_rate_asked_for(
    hostile: dict[str, tuple[Path, str]], name: str
) -> None:
    path, code = hostile[name]
    assert code == "ok"
    samples = read(path)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(duration_s(path) * RATE, abs=2)
    assert 0.1 < np.abs(samples).max() < 1.0


def test_a_file_without_permission_is_refused_as_such(
    wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path), flags)

    monkeypatch.setattr("stages.frontend.audio.os.open", refuse)
    with pytest.raises(AudioError, match="may not be read by this user") as caught:
        read(wav)
    assert caught.value.code == "permission"


def test_a_failing_disk_is_told_from_a_bad_file(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, length: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), descriptor, length, offset)

    monkeypatch.setattr("stages.frontend.riff.os.pread", fail)
    with pytest.raises(AudioError, match="Input/output error") as caught:
        read(wav)
    assert caught.value.code == "io"


def test_a_named_pipe_does_not_keep_the_reader_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="not a regular file") as caught:
        read(tmp_path / "pipe.wav")
    assert caught.value.code == "not_a_file"


@pytest.mark.parametrize("name", ["nul\0byte.wav", "surrogate\ud800.wav"])
def test_a_name_that_no_file_can_have_is_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioError, match="no file can be named") as caught:
        read(tmp_path / name)
    assert caught.value.code == "missing"


def test_the_suffix_does_not_matter(wav: Path) -> None:
    raw = wav.rename(wav.with_suffix(".raw"))
    np.testing.assert_array_equal(read(raw), stored_at(raw))


def stored_at(path: Path) -> NDArray[np.float32]:
    with path.open("rb") as file:
        samples: NDArray[np.float32] = soundfile.read(
            file.fileno(), dtype="float32", closefd=False
        )[0]
    return samples


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "AIFF", "FLAC", "MP3"])
def test_a_file_cut_in_half_is_refused(tmp_path: Path, container: str) -> None:
    path = tmp_path / "cut"
    soundfile.write(path, VOICE, RATE, format=container)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"promises|cannot be decoded") as caught:
        read(path)
    assert caught.value.code == ("unreadable" if container == "FLAC" else "truncated")


def test_a_file_cut_right_after_its_header_is_truncated_and_not_empty(wav: Path) -> None:
    wav.write_bytes(wav.read_bytes()[:44])
    with pytest.raises(AudioError, match="holds 0 of the 64000 bytes") as caught:
        duration_s(wav)
    assert caught.value.code == "truncated"


def test_a_file_with_a_header_and_no_samples_is_empty(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), RATE)
    with pytest.raises(AudioError, match="holds no samples") as caught:
        read(tmp_path / "none.wav")
    assert caught.value.code == "empty"


def test_a_few_missing_milliseconds_are_forgiven(wav: Path) -> None:
    wav.write_bytes(wav.read_bytes()[:-320])
    np.testing.assert_array_equal(read(wav), stored(wav))
    assert len(read(wav)) == len(VOICE) - 160


@pytest.mark.parametrize("riff_size", [0, 36, 0xFFFFFFFF])
@pytest.mark.parametrize("data_size", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_streamed_wav_whose_header_leaves_the_length_open_is_read_whole(
    tmp_path: Path, data_size: int, riff_size: int
) -> None:
    path = tmp_path / "streamed.wav"
    write_wav(path, VOICE, data_size=data_size, riff_size=riff_size)
    np.testing.assert_array_equal(read(path), np.trunc(VOICE * 32767).astype("f4") / 32768)
    assert duration_s(path) == 2.0


@pytest.mark.parametrize("rate_hz", [1, 4_000_000])
def test_an_absurd_sample_rate_is_refused_before_anything_is_resampled(
    tmp_path: Path, rate_hz: int
) -> None:
    soundfile.write(tmp_path / "absurd.wav", VOICE, rate_hz)
    with pytest.raises(AudioError, match=f"says {rate_hz} Hz; expected 1000 to 1000000 Hz"):
        read(tmp_path / "absurd.wav")


@pytest.mark.parametrize("level", [math.inf, -math.inf, math.nan, 1e30])
def test_one_sample_that_is_no_sound_spoils_the_file(tmp_path: Path, level: float) -> None:
    samples = np.stack([VOICE, VOICE], axis=1)
    samples[-1, 1] = level
    soundfile.write(tmp_path / "spoilt.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="expected finite samples") as caught:
        read(tmp_path / "spoilt.wav")
    assert caught.value.code == "non_finite"


def test_what_lies_outside_the_range_does_not_matter(tmp_path: Path) -> None:
    samples = np.concatenate([np.zeros(RATE, np.float32), VOICE, np.full(99, np.nan, np.float32)])
    soundfile.write(tmp_path / "mixed.wav", samples, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "mixed.wav", start=1.0, end=3.0), VOICE)
    with pytest.raises(AudioError, match=r"every sample .* is zero in the range"):
        read(tmp_path / "mixed.wav", end=1.0)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_range_holds_exactly_the_samples_it_names(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "ranges.flac"
    if not path.exists():
        soundfile.write(path, VOICE, RATE)
    start = data.draw(st.floats(0.0, 1.9))
    end = data.draw(st.floats(start + 0.01, 2.0))
    expected = stored(path)[round(start * RATE) : round(end * RATE)]
    np.testing.assert_array_equal(read(path, start=start, end=end), expected)


@pytest.mark.parametrize(
    ("start", "end"),
    [(2.0, math.nan), (5.0, 6.0), (0.0, 2.06), (1.0, 1.0), (1.0, 0.5), (-0.1, 1.0),
     (math.nan, 1.0), (math.inf, math.nan), (0.0, math.inf), (1.0, 1.00001)],
)  # fmt: skip
def test_a_range_that_is_not_in_the_file_is_refused(wav: Path, start: float, end: float) -> None:
    with pytest.raises(AudioError, match="correct the manifest") as caught:
        read(wav, start=start, end=end)
    assert caught.value.code == "bad_range"


def test_a_range_may_end_a_little_after_the_file(wav: Path) -> None:
    np.testing.assert_array_equal(read(wav, start=1.0, end=2.04), stored(wav)[RATE:])


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 96000])
@pytest.mark.parametrize("block_frames", [65536, 1000])
def test_resampling_in_blocks_gives_the_bytes_of_resampling_at_once(
    tmp_path: Path, rate: int, block_frames: int
) -> None:
    path = tmp_path / "rate.wav"
    soundfile.write(path, voice_like(3.0, rate=rate), rate)
    expected = soxr.resample(stored(path), rate, RATE, quality="HQ")
    np.testing.assert_array_equal(read(path, block_frames=block_frames), expected)


def test_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.stack([VOICE, np.zeros_like(VOICE), -0.5 * VOICE], axis=1)
    soundfile.write(tmp_path / "three.wav", channels, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "three.wav"), VOICE / 6, atol=1e-7)


@pytest.mark.parametrize(
    ("container", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_24")]
)
def test_block_reads_of_compressed_audio_equal_the_whole(
    tmp_path: Path, container: str, subtype: str
) -> None:
    path = tmp_path / "compressed"
    soundfile.write(path, voice_like(6.0), RATE, format=container, subtype=subtype)
    whole = stored(path)
    np.testing.assert_allclose(read(path, block_frames=1000), whole, atol=2e-7)
    part = read(path, start=2.123, end=3.5)
    np.testing.assert_allclose(part, whole[round(2.123 * RATE) : round(3.5 * RATE)], atol=2e-7)


def test_native_blocks_keep_rate_and_channels(hostile: dict[str, tuple[Path, str]]) -> None:
    blocks = list(native_blocks(hostile["6 channels"][0], block_frames=5000))
    assert [block.samples.shape for block in blocks] == [(5000, 6)] * 3 + [(1000, 6)]
    assert {(block.sample_rate, block.subtype) for block in blocks} == {(RATE, "PCM_16")}


def test_no_descriptor_is_left_open(hostile: dict[str, tuple[Path, str]]) -> None:
    def n_open() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    before = n_open()
    for path, _ in hostile.values():
        try:
            for _block in read_blocks(path, sample_rate=RATE):
                break
        except AudioError:
            pass
    assert n_open() == before


@pytest.mark.parametrize("make", [pickle.dumps, lambda error: pickle.dumps(error, protocol=2)])
def test_an_audio_error_survives_pickling(make: Callable[[AudioError], bytes]) -> None:
    error = pickle.loads(make(AudioError("seen; expected; do", code="silent")))
    assert (str(error), error.code) == ("seen; expected; do", "silent")
    assert error.code in CODES
