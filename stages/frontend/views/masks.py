"""Masks: stretches of time and bands of frequency blotted out of the log-Mel spectrogram."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from stages.frontend.views.view import Blocks, View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks(View):
    """Rectangles of the utterance's mean level, after SpecAugment (Park et al. 2019).

    Some bands are masked from the first frame to the last; and one stretch of time in each
    ``every_frames``, so that long recordings are masked as densely as short ones. A first pass finds
    the mean level.

    Parameters
    ----------
    n_bands : masks in frequency
    band_share : largest share of the Mel bands that one of them covers
    every_frames, most_frames : frames
        A mask in time covers 1 to ``most_frames`` frames out of every ``every_frames``.
    """

    kind: ClassVar[str] = "masks"
    pattern: ClassVar[re.Pattern[str] | None] = re.compile(r"masks")
    examples: ClassVar[tuple[str, ...]] = ("masks",)
    what: ClassVar[str] = "bands and moments blotted out of the log-Mel spectrogram"

    n_bands: int = 2
    band_share: float = 0.15
    every_frames: int = 100
    most_frames: int = 20

    @classmethod
    def of(cls, match: re.Match[str]) -> Self:  # noqa: ARG003 - there is one name
        """Make the view of a name."""
        return cls()

    def picture(self, levels: Blocks, seed: int) -> Iterator[NDArray[np.float32]]:
        """Mask what the seed decides; what is not masked keeps its bytes."""
        fill, n_mels = _mean(levels())
        rng = np.random.default_rng(seed)
        bands = self._bands(n_mels, rng)
        first, last, end = 0, 0, 0  # of the mask in this stretch, and of the stretch
        at = 0
        for block in levels():
            masked = block.copy()
            masked[bands] = fill
            for i in range(masked.shape[1]):
                if at == end:
                    first, last = self._moment(end, rng)
                    end += self.every_frames
                if first <= at < last:
                    masked[:, i] = fill
                at += 1
            yield masked

    def _bands(self, n_mels: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        is_masked = np.zeros(n_mels, bool)
        for _ in range(self.n_bands):
            width = int(rng.integers(1, max(1, int(self.band_share * n_mels)), endpoint=True))
            start = int(rng.integers(0, n_mels - width, endpoint=True))
            is_masked[start : start + width] = True
        return is_masked

    def _moment(self, start: int, rng: np.random.Generator) -> tuple[int, int]:
        width = int(rng.integers(1, self.most_frames, endpoint=True))
        first = start + int(rng.integers(0, self.every_frames - width, endpoint=True))
        return first, first + width


def _mean(blocks: Iterator[NDArray[np.float32]]) -> tuple[np.float32, int]:
    total, n, n_mels = 0.0, 0, 0
    for block in blocks:
        total += float(block.sum(dtype=np.float64))
        n += block.size
        n_mels = len(block)
    return np.float32(total / max(1, n)), n_mels
