"""Pitch: the voice higher or lower, as long as before, formants moved along or kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from stages.frontend.views.envelope import envelope_ratio
from stages.frontend.views.view import Blocks, View, ViewError, check_range
from stages.frontend.views.vocoder import stretched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Pitch(View):
    """Stretched in time by a phase vocoder, then resampled to the old length.

    Parameters
    ----------
    semitones : -12 to 12, not 0
    formants : {"moved", "kept"}
        "kept" gives each frame the spectral envelope that it had.
    window_s : seconds
        The vocoder's window, to the nearest power of two in samples.
    """

    kind: ClassVar[str] = "pitch"
    pattern: ClassVar[re.Pattern[str] | None] = re.compile(
        r"pitch(?P<semitones>[+-]\d+(\.\d+)?)(?P<kept>-formants)?"
    )
    examples: ClassVar[tuple[str, ...]] = ("pitch+2", "pitch-2-formants")
    what: ClassVar[str] = "so many semitones higher or lower; -formants keeps the formants"

    semitones: float
    formants: str = "moved"
    window_s: float = 0.064

    def __post_init__(self) -> None:
        check_range("the shift", self.semitones, -12.0, 12.0, " semitones")
        if self.semitones == 0.0:
            raise ViewError("a shift of 0 semitones changes nothing; expected another, or 'clean'")

    @property
    def name(self) -> str:
        """Such as ``pitch+2`` or ``pitch+2-formants``."""
        return f"pitch{self.semitones:+g}" + ("-formants" if self.formants == "kept" else "")

    @classmethod
    def of(cls, match: re.Match[str]) -> Self:
        """Make the view of a name."""
        formants = "kept" if match["kept"] else "moved"
        return cls(semitones=float(match["semitones"]), formants=formants)

    def sound(self, samples: Blocks, sample_rate: int, seed: int) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Stretch, then resample to the old length."""
        import soxr

        n_fft = 2 ** round(np.log2(self.window_s * sample_rate))
        ratio = 2.0 ** (self.semitones / 12.0)
        n_given = n_made = 0

        def counted() -> Iterator[NDArray[np.float32]]:
            nonlocal n_given
            for block in samples():
                n_given += len(block)
                yield block

        def kept(spectra: NDArray[np.complex64]) -> NDArray[np.complex64]:
            if self.formants == "moved":
                return spectra
            return spectra * envelope_ratio(np.abs(spectra), sample_rate, ratio)

        stream = soxr.ResampleStream(ratio, 1.0, 1, dtype="float32", quality="HQ")
        for block in stretched(counted(), ratio, n_fft, kept):
            shorter = stream.resample_chunk(block)[: n_given - n_made]
            n_made += len(shorter)
            if len(shorter):
                yield shorter
        rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)[: n_given - n_made]
        if n_made < n_given:
            yield np.pad(rest, (0, n_given - n_made - len(rest)))
