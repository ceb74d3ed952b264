"""Stacks that are made when they are asked for are the stacks that were meant."""

import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.stacks import LazyStacks, ScratchError, chained, in_file, lengths_of, picked

LENGTHS = st.lists(st.integers(0, 5), max_size=8)


def make(lengths: list[int], width: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(len(lengths))
    return [rng.standard_normal((n, width), np.float32) for n in lengths]


def assert_same(found: LazyStacks, expected: list[np.ndarray]) -> None:
    assert found.lengths.tolist() == [len(own) for own in expected]
    assert len(found) == len(expected)
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.dtype == np.float32
        assert np.array_equal(one, other)
        assert np.array_equal(found[number], other)


@given(lengths=LENGTHS, data=st.data())
def test_picked_stacks_are_those_of_the_numbers(lengths: list[int], data: st.DataObject) -> None:
    stacks = make(lengths)
    numbers = st.lists(st.integers(0, len(stacks) - 1)) if stacks else st.just([])
    rows = data.draw(numbers)
    assert_same(picked(stacks, np.array(rows, np.int64)), [stacks[row] for row in rows])


@given(st.lists(LENGTHS, min_size=1, max_size=4))
def test_chained_stacks_follow_one_another(parts: list[list[int]]) -> None:
    stacks = [make(lengths) for lengths in parts]
    assert_same(chained(stacks), [own for part in stacks for own in part])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=LENGTHS)
def test_a_file_gives_back_what_was_written(tmp_path: Path, lengths: list[int]) -> None:
    stacks = make(lengths)
    assert_same(in_file(iter(stacks), tmp_path), stacks)
    assert not list(tmp_path.iterdir())  # it has no name, so a killed run leaves none behind


def test_a_file_stays_as_long_as_somebody_reads_it(tmp_path: Path) -> None:
    stacks = make([2, 0, 3])
    for one, other in zip(in_file(iter(stacks), tmp_path), stacks, strict=True):
        assert np.array_equal(one, other)


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(
            ScratchError, match=r"could not be written to .*after 0 MiB; expected room"
        ):
            in_file(make([400, 400]), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_lengths_do_not_ask_for_the_stacks() -> None:
    def make_none(number: int) -> np.ndarray:
        raise AssertionError(f"stack {number} was made")

    lazy = LazyStacks(np.array([2, 3]), make_none)
    assert lengths_of(chained([picked(lazy, np.array([1])), lazy])).tolist() == [3, 2, 3]


@pytest.mark.parametrize("number", [2, -3])
def test_there_are_no_more_stacks_than_there_are(number: int) -> None:
    with pytest.raises(IndexError):
        picked(make([1, 1]), np.arange(2))[number]
