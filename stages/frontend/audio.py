"""Audio files as blocks of mono samples at one rate, and a reason code for each that is no good.

Any format libsndfile reads.  A file is opened here, not by its name, so that the system's own word
on a missing or unreadable file is heard, and so that neither its name nor its suffix matters.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from stages.frontend.riff import OpenEnded, Promise, promised_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CODES = (
    "missing", "not_a_file", "permission", "empty", "unreadable", "truncated",
    "non_finite", "silent", "too_short", "bad_range", "io",
)  # fmt: skip

END_TOLERANCE_S = 0.05  # a range may end, and a file may stop short, by this much
SAMPLE_RATES_HZ = (1000, 1_000_000)  # of files
MAX_LEVEL = 2.0**31  # float files hold whole numbers at times; beyond this it is not sound
_BLOCK_FRAMES = 65536
_MAX_BLOCK_SAMPLES = 8 * _BLOCK_FRAMES  # over all channels
_MP3_RUN_UP = 10 * 1152  # an MP3 frame borrows bits from up to nine before it
_UNKNOWN_FRAMES = 2**62  # libsndfile says 2**63 - 1 where the header does not tell
_NOT_A_FILE = "{!r} is not a regular file; expected an audio file; correct the manifest"
_SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM


class AudioError(ValueError):
    """An utterance that cannot be used, and why.

    Parameters
    ----------
    message : one line
    code : one of `CODES`
    """

    def __init__(self, message: str, *, code: str = "unreadable") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeBlock:
    """Samples as the file holds them.

    Parameters
    ----------
    samples : float32, shape (n, n_channels), full scale is 1
    sample_rate : Hz, the file's own
    subtype : libsndfile's word for the sample format, such as ``PCM_16``
    """

    samples: NDArray[np.float32]
    sample_rate: int
    subtype: str


def read_blocks(
    path: Path,
    *,
    start: float = 0.0,
    end: float = math.nan,
    sample_rate: int,
    block_frames: int = _BLOCK_FRAMES,
) -> Iterator[NDArray[np.float32]]:
    """Read the samples of one utterance, mono and at ``sample_rate``, in bounded memory.

    Channels are averaged.  A range is cut at the file's own rate, from sample ``round(start *
    rate)`` up to ``round(end * rate)``, without decoding what lies before, and only then resampled
    (soxr, HQ): nothing outside the range has any influence.

    Parameters
    ----------
    path : audio file
    start, end : seconds
        An ``end`` of NaN is the end of the file.
    sample_rate : Hz
    block_frames : frames read at a time
        At most; fewer for files of many channels.

    Yields
    ------
    float32, shape (n,), n >= 1

    Raises
    ------
    AudioError
        Its ``code`` says why.  Silence (every sample zero) and a file that ends early are only
        known after the last block: what was yielded before is then to be thrown away.
    """
    resampler: soxr.ResampleStream | None = None
    is_silent = True
    for block in native_blocks(path, start=start, end=end, block_frames=block_frames):
        mono = _mono(block.samples, path)
        is_silent = is_silent and not mono.any()
        if block.sample_rate == sample_rate:
            yield mono
            continue
        if resampler is None:
            resampler = soxr.ResampleStream(
                block.sample_rate, sample_rate, 1, dtype="float32", quality="HQ"
            )
        resampled = resampler.resample_chunk(mono)
        if len(resampled):
            yield resampled
    if is_silent:
        raise AudioError(
            f"every sample of {_name(path)} is zero in the range; expected sound; "
            "leave it out or mend the recording",
            code="silent",
        )
    if resampler is not None:
        rest = resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        if len(rest):
            yield rest


def native_blocks(
    path: Path, *, start: float = 0.0, end: float = math.nan, block_frames: int = _BLOCK_FRAMES
) -> Iterator[NativeBlock]:
    """Read the samples of one utterance as the file holds them: own rate, all channels.

    Parameters, bounds and errors are those of `read_blocks`, but for silence and for samples that
    are not finite: these are passed on.
    """
    with _opened(path) as file:
        first, n_wanted = _frame_range(path, file, start, end)
        if first:
            _seek(path, file, first)
        step = max(1, min(block_frames, _MAX_BLOCK_SAMPLES // file.channels))
        n_read = 0
        while n_read < n_wanted:
            samples = _read(path, file, min(step, n_wanted - n_read))
            if not len(samples):
                break
            n_read += len(samples)
            yield NativeBlock(
                samples=samples, sample_rate=file.samplerate, subtype=str(file.subtype)
            )
        _check_end(path, file, n_read, n_wanted, end)


def duration_s(path: Path) -> float:
    """Length of a file in seconds.

    Raises
    ------
    AudioError
        When it cannot be opened or is cut short.
    """
    with _opened(path) as file:
        if file.frames < _UNKNOWN_FRAMES:
            return float(file.frames / file.samplerate)
        rate = file.samplerate
    return sum(len(block.samples) for block in native_blocks(path)) / float(rate)


class _SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A file read on from where it stands.

    After every read `SoundFile` seeks to where it already is.  An MP3 decoder loses what it
    remembers of the frames before and stumbles, audibly, once a block.
    """

    def seekable(self) -> bool:
        """Say no, which spares the seek; `seek` itself still works."""
        return False


def _name(path: Path) -> str:
    # Quoted: a file name may hold a newline, a message must not.
    return repr(Path(path).name)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    descriptor = _descriptor(path)
    try:
        with _system_errors(path):
            promise = promised_bytes(descriptor)
        with _sound_file(path, descriptor, promise) as file:
            _check_promise(path, file, promise)
            _check_header(path, file)
            yield file
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors into codes."""
    try:
        yield
    except FileNotFoundError as error:
        raise AudioError(
            f"there is no file {str(path)!r}; expected an audio file; "
            "correct the manifest or the audio folder",
            code="missing",
        ) from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise AudioError(_NOT_A_FILE.format(str(path)), code="not_a_file") from error
    except PermissionError as error:
        raise AudioError(
            f"{_name(path)} may not be read by this user; expected read permission; "
            "change the file's permissions",
            code="permission",
        ) from error
    except OSError as error:
        raise AudioError(
            f"{_name(path)} could not be read: {error.strerror}; expected a working disk; try again",
            code="io",
        ) from error


def _descriptor(path: Path) -> int:
    """Open a regular, non-empty file."""
    with _system_errors(path):
        # A pipe or device would keep the open call waiting, so look first.
        status = _status(path)
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(_NOT_A_FILE.format(str(path)), code="not_a_file")
        if status.st_size == 0:
            raise AudioError(
                f"{_name(path)} is empty (0 bytes); expected an audio file; copy it again",
                code="empty",
            )
        return os.open(path, os.O_RDONLY)


def _status(path: Path) -> os.stat_result:
    try:
        return Path(path).stat()
    except ValueError as error:  # a null byte or a lone surrogate
        raise AudioError(
            f"no file can be named {str(path)!r}; expected an audio file; correct the manifest",
            code="missing",
        ) from error


def _sound_file(path: Path, descriptor: int, promise: Promise | None) -> soundfile.SoundFile:
    if promise is not None and promise.is_cut:
        raise AudioError(
            f"{_name(path)} ends within its header; expected samples; copy it again",
            code="truncated",
        )
    is_zero_open = promise is not None and promise.is_zero_open
    source = OpenEnded(descriptor, promise.size_at) if promise and is_zero_open else descriptor
    try:
        return _SequentialFile(source, closefd=False)
    except soundfile.LibsndfileError as error:
        raise _library_error(path, error) from error


def _library_error(path: Path, error: soundfile.LibsndfileError) -> AudioError:
    # Its text carries the descriptor's number; error_string does not.
    said = " ".join(str(error.error_string).split()).rstrip(".")
    if error.code == _SYSTEM_ERROR:
        return AudioError(
            f"{_name(path)} could not be read: {said}; expected a working disk; try again",
            code="io",
        )
    return AudioError(
        f"{_name(path)} cannot be decoded: {said}; expected audio that libsndfile reads; "
        "convert it or leave it out",
        code="unreadable",
    )


def _check_header(path: Path, file: soundfile.SoundFile) -> None:
    if file.frames == 0:
        raise AudioError(
            f"{_name(path)} holds no samples; expected sound; copy it again or leave it out",
            code="empty",
        )
    lowest, highest = SAMPLE_RATES_HZ
    if not lowest <= file.samplerate <= highest:
        raise AudioError(
            f"{_name(path)} says {file.samplerate} Hz; expected {lowest} to {highest} Hz; "
            "mend its header or leave it out",
            code="unreadable",
        )


def _check_promise(path: Path, file: soundfile.SoundFile, promise: Promise | None) -> None:
    if promise is None or not promise.n_missing:
        return
    # Bytes a second, from what is there: holds for compressed samples too.
    missing_s = promise.n_missing * (file.frames / file.samplerate) / max(promise.n_held, 1)
    if file.frames == 0 or missing_s > END_TOLERANCE_S:
        raise AudioError(
            f"{_name(path)} holds {promise.n_held} of the {promise.n_promised} bytes of samples "
            "that its header promises; expected all of them; copy it again",
            code="truncated",
        )


def _frame_range(
    path: Path, file: soundfile.SoundFile, start: float, end: float
) -> tuple[int, int]:
    """First frame and number of frames of a range; more than there can be when the end is open."""
    if not (math.isfinite(start) and start >= 0.0) or end <= start or math.isinf(end):
        raise AudioError(
            f"the range of {_name(path)} is {start:g} to {end:g} s; expected 0 <= start < end; "
            "correct the manifest",
            code="bad_range",
        )
    rate, n_frames = file.samplerate, file.frames
    first = round(start * rate)
    stop = n_frames if math.isnan(end) else round(end * rate)
    if first >= n_frames or stop - n_frames > END_TOLERANCE_S * rate:
        raise AudioError(
            f"the range of {_name(path)} is {start:g} to {end:g} s; expected it within the file's "
            f"{n_frames / rate:.3f} s; correct the manifest",
            code="bad_range",
        )
    if stop <= first:
        raise AudioError(
            f"the range of {_name(path)}, {start:g} to {end:g} s, is less than one sample at "
            f"{rate} Hz; expected at least one analysis window; correct the manifest",
            code="bad_range",
        )
    return first, min(stop, n_frames) - first


def _seek(path: Path, file: soundfile.SoundFile, first: int) -> None:
    run_up = min(first, _MP3_RUN_UP if file.format == "MPEG" else 0)
    try:
        file.seek(first - run_up)
        file.read(run_up, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise _library_error(path, error) from error


def _read(path: Path, file: soundfile.SoundFile, n_frames: int) -> NDArray[np.float32]:
    try:
        samples: NDArray[np.float32] = file.read(n_frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _library_error(path, error) from error
    return samples


def _check_end(
    path: Path, file: soundfile.SoundFile, n_read: int, n_wanted: int, end: float
) -> None:
    """Refuse a file whose decoding stopped before the end that its header or the range names."""
    is_open = n_wanted >= _UNKNOWN_FRAMES
    if n_read == 0 or (not is_open and n_wanted - n_read > END_TOLERANCE_S * file.samplerate):
        named = "its header" if math.isnan(end) else "its header or the range"
        raise AudioError(
            f"{_name(path)} ends after {n_read} of the {n_wanted} samples that {named} "
            "promises; expected all of them; copy it again",
            code="truncated",
        )


def _mono(samples: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    level = float(np.abs(samples).max())
    if not level <= MAX_LEVEL:  # also where it is not a number
        raise AudioError(
            f"{_name(path)} has a sample of {level:g}; expected finite samples, full scale 1; "
            "mend the file or leave it out",
            code="non_finite",
        )
    if samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0])
    mono: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    return mono
