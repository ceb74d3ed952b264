"""Checksums of what lies in a shard: read in large pieces, told utterance by utterance."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features_cache.shard import damaged_utterances
from features_cache.shard_checksums import Checksums, Column
from tests.test_shard import write

N_ROWS = 30


class Torn:
    """A dataset of numbers of which some cannot be read."""

    def __init__(self, bad: set[int]) -> None:
        self._values, self._bad = np.arange(float(N_ROWS)), bad
        self.n_read = 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        self.n_read += 1
        if self._bad & set(range(N_ROWS)[rows]):
            message = "address overflowed"
            raise OSError(message)
        return self._values[rows]


def read(rows: Any) -> list[float] | str:  # noqa: ANN401 - what is asked for rows
    try:
        return list(rows())
    except OSError as error:
        return str(error)


@given(
    asked=st.lists(st.tuples(st.integers(0, N_ROWS), st.integers(0, 12)), max_size=12),
    bad=st.sets(st.integers(0, N_ROWS - 1), max_size=3),
    n_at_once=st.integers(1, 12),
)
def test_rows_are_those_that_are_asked_for_or_fail_as_they_would_by_themselves(
    asked: list[tuple[int, int]], bad: set[int], n_at_once: int
) -> None:
    torn = Torn(bad)
    column = Column(torn, n_at_once)
    for first, n in asked:
        last = min(first + n, N_ROWS)
        found = read(lambda first=first, last=last: column.rows(first, last))
        assert found == read(lambda first=first, last=last: torn[first:last])


def test_many_rows_are_read_by_few_calls() -> None:
    torn = Torn(set())
    column = Column(torn, 10)
    assert [column.rows(i, i + 1)[0] for i in range(N_ROWS)] == list(range(N_ROWS))
    assert torn.n_read == 3


@pytest.mark.parametrize("column", ["features", "segment_start", "segment_end"])
def test_a_changed_value_beside_others_is_laid_to_its_own_utterance(
    tmp_path: Path, column: str
) -> None:
    path = write(tmp_path, [4, 1, 4])
    with h5py.File(path, "r+") as file:
        file[column][4] += 1
    assert [entry.utterance_id for entry in damaged_utterances(path)] == ["ü\n1"]


def test_features_that_are_not_laid_out_in_chunks_have_no_checksum(tmp_path: Path) -> None:
    path = write(tmp_path, [4, 4])
    with h5py.File(path, "r+") as file:
        values = file["features"][:]
        del file["features"]
        file["features"] = values
    with h5py.File(path) as file:
        assert Checksums(file).of(0, 4, "0" * 64, "clean") is None
    assert len(damaged_utterances(path)) == 2
