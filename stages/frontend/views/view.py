"""What a view is: one deterministic change of an utterance, made before the network sees it.

Conventions
-----------
A view has a *name*, by which people and stores know it, and a canonical *text* that holds every
parameter, its kind's revision and the rule for random draws. The text is part of a feature's key.
Constants beside a kind stand under its revision: whoever changes what a kind computes raises that
number, and features are made anew where they are asked for.

Random draws come from one seed a (content, view): the feature's key read as a number. So they are
the same on every machine, in any order and however often they are drawn.

A view changes the samples (`View.sound`), the Mel filters (`View.warp`), or the finished spectrogram
(`View.picture`), each in blocks, in bounded memory. It knows neither the recipe nor the network.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from features_cache.keys import CLEAN

if TYPE_CHECKING:
    import re

Blocks = Callable[[], Iterator[NDArray[np.float32]]]
"""Blocks from the first on, at every call anew: so a view may look at the whole of it first."""

SEED_RULE = "key"
"""How a seed is found: the feature's key, a hexadecimal number."""


class ViewError(ValueError):
    """A view that there is not, or a parameter out of its range."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The utterance as it is; the kinds derive from it.

    Attributes
    ----------
    kind : first word of the names
    revision : what the kind computes; another number makes its features anew
    pattern : what names look like
    examples : some names
    what : what it does, in a few words
    """

    kind: ClassVar[str] = CLEAN
    revision: ClassVar[int] = 1
    pattern: ClassVar[re.Pattern[str] | None] = None
    examples: ClassVar[tuple[str, ...]] = (CLEAN,)
    what: ClassVar[str] = "the utterance as it is"

    @property
    def name(self) -> str:
        """What people and stores call it."""
        return self.kind

    @property
    def text(self) -> str:
        """Everything that decides what it does, as canonical JSON; of `clean` its name."""
        if self.kind == CLEAN:
            return CLEAN
        facts = {"kind": self.kind, "revision": self.revision, "seed": SEED_RULE}
        facts |= dataclasses.asdict(self)
        return json.dumps(facts, sort_keys=True, separators=(",", ":"))

    @property
    def warp(self) -> float:
        """Factor by which the Mel filters see frequencies moved."""
        return 1.0

    @classmethod
    def of(cls, match: re.Match[str]) -> Self:
        """Make the view of a name that `pattern` has matched."""
        raise NotImplementedError

    def length_s(self, seconds: float) -> float:
        """Length of the view of an utterance of so many seconds."""
        return seconds

    def sound(self, samples: Blocks, sample_rate: int, seed: int) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Change the samples.

        Parameters
        ----------
        samples : of the utterance, mono: blocks of float32, shape (n,)
        sample_rate : Hz, of the recipe
        seed : decides every random draw

        Yields
        ------
        float32, shape (n,)
        """
        return samples()

    def picture(self, levels: Blocks, seed: int) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Change the log-Mel spectrogram: blocks of float32, shape (n_mels, n), in time order."""
        return levels()


def seed_of(key: str) -> int:
    """Give the seed of a (content, view): its key, a hexadecimal number."""
    return int(key, 16)


def check_range(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Refuse a parameter out of its range.

    Raises
    ------
    ViewError
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise ViewError(
            f"{name} {value:g}{unit} is out of range; expected {low:g} to {high:g}{unit}"
        )


def in_blocks_of(n: int, blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Cut blocks anew, `n` samples each, the last one shorter: however they were cut before."""
    held: list[NDArray[np.float32]] = []
    n_held = 0
    for block in blocks:
        held.append(block)
        n_held += len(block)
        while n_held >= n:
            joined = np.concatenate(held)
            yield joined[:n]
            held, n_held = [joined[n:]], n_held - n
    if n_held:
        yield np.concatenate(held)
