"""Speed: the recording played slower or faster, pitch and formants with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from stages.frontend.views.view import Blocks, View, ViewError, check_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed(View):
    """Resampled: ``factor`` times as fast, every frequency times ``factor``.

    Parameters
    ----------
    factor : 0.5 to 2, not 1
        The view lasts ``1 / factor`` times as long; times of its segments are its own.
    """

    kind: ClassVar[str] = "speed"
    pattern: ClassVar[re.Pattern[str] | None] = re.compile(r"speed-(?P<factor>\d+(\.\d+)?)")
    examples: ClassVar[tuple[str, ...]] = ("speed-0.9", "speed-1.1")
    what: ClassVar[str] = "played slower or faster; pitch and formants move along"

    factor: float

    def __post_init__(self) -> None:
        check_range("the factor", self.factor, 0.5, 2.0)
        if self.factor == 1.0:
            raise ViewError("a factor of 1 changes nothing; expected another, or 'clean'")

    @property
    def name(self) -> str:
        """Such as ``speed-0.9``."""
        return f"speed-{self.factor:g}"

    @classmethod
    def of(cls, match: re.Match[str]) -> Self:
        """Make the view of a name."""
        return cls(factor=float(match["factor"]))

    def length_s(self, seconds: float) -> float:
        """Length of the view of an utterance of so many seconds."""
        return seconds / self.factor

    def sound(self, samples: Blocks, sample_rate: int, seed: int) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Resample (soxr, HQ) as if the samples had been taken at ``factor`` times their rate."""
        import soxr

        stream = soxr.ResampleStream(
            sample_rate * self.factor, sample_rate, 1, dtype="float32", quality="HQ"
        )
        for block in samples():
            resampled = stream.resample_chunk(block)
            if len(resampled):
                yield resampled
        rest = stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        if len(rest):
            yield rest
