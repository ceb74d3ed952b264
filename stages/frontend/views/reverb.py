"""Reverberation: the utterance in a room that is made up for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from stages.frontend.views.view import Blocks, View, check_range, in_blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BLOCK = 65536  # samples; one division for all, so that a block has one length


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverb(View):
    """Convolved with the direct sound and a tail of noise that decays (Polack's model).

    Each utterance gets its own room of the same reverberation time. The view is as long as the
    utterance, and about as loud.

    Parameters
    ----------
    rt60_s : seconds, 0.05 to 5
        Time in which the tail falls by 60 dB.
    direct_db : dB
        Energy of the direct sound over that of the tail.
    delay_s : seconds
        From the direct sound to the first reflection.
    """

    kind: ClassVar[str] = "reverb"
    pattern: ClassVar[re.Pattern[str] | None] = re.compile(r"reverb-(?P<rt60>\d+(\.\d+)?)s")
    examples: ClassVar[tuple[str, ...]] = ("reverb-0.3s", "reverb-0.6s")
    what: ClassVar[str] = "in a made-up room of so many seconds' reverberation time"

    rt60_s: float
    direct_db: float = 0.0
    delay_s: float = 0.003

    def __post_init__(self) -> None:
        check_range("the reverberation time", self.rt60_s, 0.05, 5.0, " s")

    @property
    def name(self) -> str:
        """Such as ``reverb-0.5s``."""
        return f"reverb-{self.rt60_s:g}s"

    @classmethod
    def of(cls, match: re.Match[str]) -> Self:
        """Make the view of a name."""
        return cls(rt60_s=float(match["rt60"]))

    def sound(self, samples: Blocks, sample_rate: int, seed: int) -> Iterator[NDArray[np.float32]]:
        """Convolve, block by block, with the room that the seed decides."""
        from scipy.signal import oaconvolve  # a second that a night without work need not spend

        room = self.room(sample_rate, np.random.default_rng(seed))
        tail = np.zeros(len(room) - 1, np.float32)
        for block in in_blocks_of(_BLOCK, samples()):
            wet = oaconvolve(block, room).astype(np.float32)
            wet[: len(tail)] += tail
            yield wet[: len(block)]
            tail = wet[len(block) :]

    def room(self, sample_rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw an impulse response: float32 (n,), of unit energy, the direct sound first."""
        n = max(2, round(self.rt60_s * sample_rate))
        first = min(n - 1, max(1, round(self.delay_s * sample_rate)))
        decay = 10.0 ** (-3.0 * np.arange(n) / (self.rt60_s * sample_rate))
        tail = rng.standard_normal(n) * decay
        tail[:first] = 0.0
        tail *= 10.0 ** (-self.direct_db / 20.0) / np.sqrt(float(tail @ tail))
        tail[0] = 1.0
        room: NDArray[np.float32] = (tail / np.sqrt(float(tail @ tail))).astype(np.float32)
        return room
