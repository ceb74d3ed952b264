"""Gain: louder or softer."""

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
class Gain(View):
    """Every sample times one factor; nothing is clipped.

    Parameters
    ----------
    gain_db : dB, -60 to 60, not 0
    """

    kind: ClassVar[str] = "gain"
    pattern: ClassVar[re.Pattern[str] | None] = re.compile(r"gain(?P<gain>[+-]\d+(\.\d+)?)db")
    examples: ClassVar[tuple[str, ...]] = ("gain-6db", "gain+6db")
    what: ClassVar[str] = "softer or louder"

    gain_db: float

    def __post_init__(self) -> None:
        check_range("the gain", self.gain_db, -60.0, 60.0, " dB")
        if self.gain_db == 0.0:
            raise ViewError("a gain of 0 dB changes nothing; expected another, or 'clean'")

    @property
    def name(self) -> str:
        """Such as ``gain-6db``."""
        return f"gain{self.gain_db:+g}db"

    @classmethod
    def of(cls, match: re.Match[str]) -> Self:
        """Make the view of a name."""
        return cls(gain_db=float(match["gain"]))

    def sound(self, samples: Blocks, sample_rate: int, seed: int) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Scale the samples."""
        factor = np.float32(10.0 ** (self.gain_db / 20.0))
        for block in samples():
            yield block * factor
