"""Noise: added at a signal-to-noise ratio of the whole utterance."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from stages.frontend.views.view import Blocks, View, ViewError, check_range, in_blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BLOCK = 65536  # samples; one division for all, so that a sum has one order
COLOURS = ("white", "pink")
_PINK = (
    (0.049922035, -0.095993537, 0.050612699, -0.004408786),
    (1.0, -2.494956002, 2.017265875, -0.522189400),
)
"""A filter of third order whose power falls by 3 dB an octave (J. O. Smith, Spectral Audio Signal
Processing): numerator, denominator."""
_PINK_SETTLED = 1430
"""Samples after which what the filter does no longer depends on how it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise(View):
    """Gaussian noise, as much weaker than the utterance's mean level as ``snr_db`` says.

    The level is the samples' deviation over the whole utterance, its pauses included: a first pass
    finds it.

    Parameters
    ----------
    snr_db : dB, 0 to 60
    colour : {"white", "pink"}
        Pink noise has equal power in every octave.
    """

    kind: ClassVar[str] = "noise"
    pattern: ClassVar[re.Pattern[str] | None] = re.compile(
        r"noise-(?P<snr>\d+(\.\d+)?)db(-(?P<colour>[a-z]+))?"
    )
    examples: ClassVar[tuple[str, ...]] = ("noise-20db", "noise-20db-pink")
    what: ClassVar[str] = "white or pink noise, so many dB below the utterance's level"

    snr_db: float
    colour: str = "white"

    def __post_init__(self) -> None:
        check_range("the signal-to-noise ratio", self.snr_db, 0.0, 60.0, " dB")
        if self.colour not in COLOURS:
            raise ViewError(f"there is no {self.colour} noise; expected {' or '.join(COLOURS)}")

    @property
    def name(self) -> str:
        """Such as ``noise-20db`` or ``noise-20db-pink``."""
        return f"noise-{self.snr_db:g}db" + ("" if self.colour == "white" else f"-{self.colour}")

    @classmethod
    def of(cls, match: re.Match[str]) -> Self:
        """Make the view of a name."""
        return cls(snr_db=float(match["snr"]), colour=match["colour"] or "white")

    def sound(self, samples: Blocks, sample_rate: int, seed: int) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Add noise that only the seed and the utterance's level decide."""
        level = _deviation(in_blocks_of(_BLOCK, samples())) * 10.0 ** (-self.snr_db / 20.0)
        rng = np.random.default_rng(seed)
        draw = _white(rng) if self.colour == "white" else _pink(rng)
        next(draw)
        for block in samples():
            yield block + np.float32(level) * draw.send(len(block))


def _deviation(blocks: Iterator[NDArray[np.float32]]) -> float:
    n, total, squares = 0, 0.0, 0.0
    for block in blocks:
        values = block.astype(np.float64)
        n += len(values)
        total += float(values.sum())
        squares += float((values * values).sum())  # no BLAS: threads may change no byte
    return math.sqrt(max(0.0, squares / n - (total / n) ** 2)) if n else 0.0


def _white(rng: np.random.Generator) -> _Draw:
    """Give as many samples of unit power as are asked for, on and on."""
    n = yield np.zeros(0, np.float32)
    while True:
        n = yield rng.standard_normal(n, dtype=np.float32)


def _pink(rng: np.random.Generator) -> _Draw:
    from scipy.signal import lfilter  # a second that a night without work need not spend

    numerator, denominator = (np.array(part) for part in _PINK)
    answer = lfilter(numerator, denominator, np.eye(1, 2**16)[0])
    numerator = numerator / math.sqrt(float(answer @ answer))  # noise of unit power comes out
    state = np.zeros(len(denominator) - 1)
    _, state = lfilter(numerator, denominator, rng.standard_normal(_PINK_SETTLED), zi=state)
    n = yield np.zeros(0, np.float32)
    while True:
        sound, state = lfilter(numerator, denominator, rng.standard_normal(n), zi=state)
        n = yield sound.astype(np.float32)


if TYPE_CHECKING:
    from collections.abc import Generator

    _Draw = Generator[NDArray[np.float32], int, None]
