"""How far apart two recipes' features are said to be."""

import numpy as np
import pytest

from benchmarks.compare_features import apart


def test_features_that_are_the_same_are_not_apart() -> None:
    stacks = [np.array([[1.0, 2.0], [3.0, 2.0]], np.float32)]
    assert set(apart(stacks, stacks).values()) == {0.0}


def test_distances_are_in_parts_of_size_and_of_deviation() -> None:
    stacks = [np.array([[1.0], [3.0]], np.float32), np.array([[1.0], [3.0]], np.float32)]
    whole, middle, most, largest = apart(stacks, [own + 0.5 for own in stacks]).values()
    assert whole == pytest.approx(0.5 / np.sqrt(5))
    assert middle == most == pytest.approx(0.5)  # the deviation is 1
    assert largest == pytest.approx(0.5 / 3)


def test_stacks_of_other_utterances_are_not_compared() -> None:
    one = np.zeros((1, 1), np.float32)
    with pytest.raises(ValueError, match="zip"):
        apart([one], [one, one])
