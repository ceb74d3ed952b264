"""What one pass over an utterance's samples tells: how long, how loud, clipped or not, and which.

Which sound it is says a digest over what extraction hears: the samples of the utterance's own time
range, its channels averaged, and their rate. So one recording has one digest as WAV and as FLAC, with
16 bits or 24, under any header, alone in a file or within a longer one. What has been through a lossy
codec, another rate or another gain is another sound.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.frontend.audio import MAX_LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.frontend.audio import NativeBlock

CLIPPED_SHARE = 0.001  # of the utterance's samples
# The largest magnitude that a coarse sample format can hold falls short of 1.
_FULL_SCALE = {"PCM_U8": 0.992, "PCM_S8": 0.992, "ULAW": 0.98, "ALAW": 0.984}
_FULL_SCALE_16_BIT = 0.99996


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """An utterance's audio in a few words.

    Attributes
    ----------
    seconds : length
    sample_rate : Hz, the file's own
    n_channels : in the file
    sample_format : libsndfile's word, such as ``PCM_16``
    digest : 64 hexadecimal digits, equal where the samples and their rate are
    """

    seconds: float
    sample_rate: int
    n_channels: int
    sample_format: str
    digest: str


class Listening:
    """What has been heard of an utterance so far, a channel at a time.

    Attributes
    ----------
    is_finite : whether every sample is a number, and one that can be sound
    peak : largest magnitude, full scale is 1
    n_in_runs : places where three samples in a row are at full scale: a wave that merely touches
        it has none such
    """

    def __init__(self) -> None:
        self.is_finite = True
        self.peak = 0.0
        self.n_in_runs = 0
        self._n_samples = 0
        self._n_full: NDArray[np.int64] | int = 0
        self._before: NDArray[np.bool_] | None = None
        self._digest = hashlib.sha256()
        self._last: NativeBlock | None = None

    def add(self, block: NativeBlock) -> None:
        """Count a block; runs go on from the one before."""
        level = np.abs(block.samples)
        peak = float(level.max())
        self.is_finite = self.is_finite and peak <= MAX_LEVEL
        self.peak = max(self.peak, peak)
        self._n_samples += len(level)
        self._last = block
        is_full = level >= _FULL_SCALE.get(block.subtype, _FULL_SCALE_16_BIT)
        self._n_full = self._n_full + is_full.sum(axis=0)
        if self._before is not None:
            is_full = np.concatenate([self._before, is_full])
        if is_full.any():
            self.n_in_runs += int((is_full[:-2] & is_full[1:-1] & is_full[2:]).sum())
        self._before = is_full[-2:]
        if self.is_finite:  # the mean of what is not would only warn
            self._digest.update(_heard(block.samples).data)

    @property
    def seconds(self) -> float:
        """Length so far."""
        return self._n_samples / self._last.sample_rate if self._last else 0.0

    @property
    def clipped_share(self) -> float:
        """Share of samples at full scale in the channel that has most."""
        return float(np.max(self._n_full)) / max(self._n_samples, 1)

    def sound(self) -> Sound:
        """Sum up what was heard; at least one block was."""
        if self._last is None:
            raise ValueError("no block was heard; expected one at least; add it first")
        digest = self._digest.copy()
        digest.update(f"{self._last.sample_rate} Hz".encode("ascii"))
        return Sound(
            seconds=self.seconds,
            sample_rate=self._last.sample_rate,
            n_channels=self._last.samples.shape[1],
            sample_format=self._last.subtype,
            digest=digest.hexdigest(),
        )


def _heard(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average channels, as extraction does, into bytes that equal sound has in common."""
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    return np.ascontiguousarray(mono + np.float32(0.0), dtype="<f4")  # -0.0 is 0.0
