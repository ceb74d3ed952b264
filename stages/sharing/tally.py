"""What is seen of the features while they go out: lengths, and the largest value."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from features_cache.consolidated import TimedStack
from stages.sharing.content import Content


@dataclass(slots=True)
class Tally:
    """Figures for the data card.

    Attributes
    ----------
    seconds : float64 (n_utterances,), where each utterance's last segment ends; NaN until it is read
    largest : largest magnitude of all values
    """

    seconds: NDArray[np.float64]
    largest: float = field(default=0.0)


def watched(content: Content) -> tuple[Content, Tally]:
    """Return the same content, and a tally that fills as its stacks are read."""
    tally = Tally(np.full(content.n_utterances, np.nan))

    def stack(number: int) -> TimedStack:
        features, start, end = content.stack(number)
        tally.seconds[number] = end[-1]
        tally.largest = max(tally.largest, float(np.abs(features).max()))
        return features, start, end

    return replace(content, stack=stack), tally
