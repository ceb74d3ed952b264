"""Vocal-tract-length perturbation: the speaker's throat made longer or shorter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from stages.frontend.views.view import View, ViewError, check_range


@dataclass(frozen=True, slots=True, kw_only=True)
class VocalTract(View):
    """The Mel filters see every frequency times ``factor``: Jaitly & Hinton 2013.

    Near the upper edge the warp bends, so that half the sample rate stays where it is; see
    `stages.frontend.logmel.warped_hz`. Pitch moves with the formants, time stays.

    Parameters
    ----------
    factor : 0.7 to 1.4, not 1
    """

    kind: ClassVar[str] = "vtlp"
    pattern: ClassVar[re.Pattern[str] | None] = re.compile(r"vtlp-(?P<factor>\d+(\.\d+)?)")
    examples: ClassVar[tuple[str, ...]] = ("vtlp-0.9", "vtlp-1.1")
    what: ClassVar[str] = "a longer or shorter vocal tract: the Mel filters' frequencies warped"

    factor: float

    def __post_init__(self) -> None:
        check_range("the factor", self.factor, 0.7, 1.4)
        if self.factor == 1.0:
            raise ViewError("a factor of 1 changes nothing; expected another, or 'clean'")

    @property
    def name(self) -> str:
        """Such as ``vtlp-0.9``."""
        return f"vtlp-{self.factor:g}"

    @property
    def warp(self) -> float:
        """Factor by which the Mel filters see frequencies moved."""
        return self.factor

    @classmethod
    def of(cls, match: re.Match[str]) -> Self:
        """Make the view of a name."""
        return cls(factor=float(match["factor"]))
