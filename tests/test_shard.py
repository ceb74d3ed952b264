"""Shards: what is written comes back, what is torn is told, what fails leaves nothing."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features_cache import shard
from features_cache.shard import (
    CHUNK_BYTES,
    HELD_CHUNKS,
    ShardError,
    ShardHeader,
    ShardWriter,
    damaged_utterances,
    read_entries,
    read_header,
)

HEADER = ShardHeader(
    recipe_id="0123456789abcdef",
    recipe_json="{}",
    versions_json="{}",
    engine="keras-test",
    dtype="float16",
    feature_dim=3,
)


def rows(n: int, seed: int = 0) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
    """Some features and times."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 3)).astype(np.float16), np.arange(n, dtype=np.float64)


def write(folder: Path, lengths: list[int]) -> Path:
    with ShardWriter(folder, HEADER) as writer:
        for i, length in enumerate(lengths):
            features, start = rows(length, seed=i)
            writer.append(features, start, start + 1)
            writer.end_utterance(key=f"{i:064x}", utterance_id=f"ü\n{i}", view="clean")
        return folder / writer.close().name


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6), cut=st.integers(1, 7))
def test_rows_come_back_however_they_were_cut(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    with ShardWriter(folder, HEADER) as writer:
        for i, length in enumerate(lengths):
            features, start = rows(length, seed=i)
            for first in range(0, length, cut):
                piece = slice(first, first + cut)
                writer.append(features[piece], start[piece], start[piece] + 1)
            writer.end_utterance(key=f"{i:064x}", utterance_id=str(i), view="clean")
        published = writer.close()
    assert damaged_utterances(folder / published.name) == []
    assert read_entries(folder / published.name) == published.entries
    with h5py.File(folder / published.name) as file:
        for i, length in enumerate(lengths):
            entry = published.entries[i]
            assert entry.row_end - entry.row_start == length
            np.testing.assert_array_equal(
                file["features"][entry.row_start : entry.row_end], rows(length, seed=i)[0]
            )


STEPS = st.lists(
    st.one_of(st.integers(0, 50), st.sampled_from(["seal", "forget"])), min_size=1, max_size=30
)
"""What a writer is asked for: to add so many rows, to seal them, or to forget them."""


@given(steps=STEPS)
def test_rows_that_are_held_before_they_are_written_are_those_that_come_back(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | str]
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    sealed, under_way = [np.empty((0, 3), np.float16)], [np.empty((0, 3), np.float16)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard, "CHUNK_BYTES", 5 * 6)  # five rows, so that four chunks are twenty
        writer = ShardWriter(folder, HEADER)
    with writer:
        for i, step in enumerate([*steps, "seal"]):
            if isinstance(step, int):
                features, start = rows(step, seed=i)
                writer.append(features, start, start + 1)
                under_way.append(features.copy())
                features[:] = -1  # which is the caller's to use again
                continue
            if step == "seal":
                writer.end_utterance(key=f"{i:064x}", utterance_id=str(i), view="clean")
                sealed += under_way
            else:
                writer.rollback()
            under_way = []
            assert writer.n_bytes == sum(piece.nbytes for piece in sealed)
        published = writer.close()
    assert damaged_utterances(folder / published.name) == []
    with h5py.File(folder / published.name) as file:
        np.testing.assert_array_equal(file["features"][:], np.concatenate(sealed))
        assert len(file["segment_start"]) == len(file["features"])


def test_a_long_utterance_is_written_as_it_comes(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, HEADER) as writer:
        for _ in range(10):
            features, start = rows(100_000)
            writer.append(features, start, start + 1)
        (partial,) = tmp_path.iterdir()
        held = HELD_CHUNKS * CHUNK_BYTES
        assert 10 * features.nbytes - partial.stat().st_size < 3 * held


def test_a_rolled_back_utterance_leaves_no_trace(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, HEADER) as writer:
        first, start = rows(5, seed=1)
        writer.append(first, start, start)
        writer.end_utterance(key="a" * 64, utterance_id="a", view="clean")
        broken, start = rows(7, seed=2)
        writer.append(broken, start, start)
        writer.rollback()
        third, start = rows(4, seed=3)
        writer.append(third, start, start)
        writer.end_utterance(key="c" * 64, utterance_id="c", view="clean")
        published = writer.close()
    with h5py.File(tmp_path / published.name) as file:
        np.testing.assert_array_equal(file["features"][:], np.concatenate([first, third]))
    assert damaged_utterances(tmp_path / published.name) == []


def test_a_writer_that_is_not_closed_publishes_nothing(tmp_path: Path) -> None:
    def write_and_break() -> None:
        with ShardWriter(tmp_path, HEADER) as writer:
            features, start = rows(5)
            writer.append(features, start, start)
            message = "the lights went out"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="lights"):
        write_and_break()
    assert list(tmp_path.iterdir()) == []


def test_the_header_and_names_come_back(tmp_path: Path) -> None:
    path = write(tmp_path, [2, 3])
    assert read_header(path) == HEADER
    assert [entry.utterance_id for entry in read_entries(path)] == ["ü\n0", "ü\n1"]


@pytest.mark.parametrize(
    ("versions", "decoder"), [('{"decoder":"d/1"}', "d/1"), ('{"keras":"3"}', ""), ("", "")]
)
def test_a_header_tells_what_decoded_the_audio_if_it_knows(versions: str, decoder: str) -> None:
    assert replace(HEADER, versions_json=versions).decoder == decoder


def test_a_changed_value_is_found_and_its_utterance_named(tmp_path: Path) -> None:
    path = write(tmp_path, [4, 4, 4])
    with h5py.File(path, "r+") as file:
        file["features"][5, 1] += 1
    assert [entry.utterance_id for entry in damaged_utterances(path)] == ["ü\n1"]


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all" * 100])
def test_a_file_that_is_no_shard_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with pytest.raises(ShardError, match=r"x\.h5 cannot be opened as a shard"):
        read_entries(path)


def test_a_shard_of_another_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [1])
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = 99
    with pytest.raises(ShardError, match="has format 99; expected 1"):
        read_entries(path)


def test_features_are_read_with_plain_h5py_and_no_plugin(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path, [300])) as file:
        assert file["features"].compression is None
        assert file["features"].dtype == np.float16


class FullDisk:
    """Takes some bytes, then has no room."""

    def __init__(self, file: BinaryIO, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: bytes) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


@pytest.mark.parametrize("room", [0, 5_000, 300_000])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, room: int) -> None:
    def fill() -> None:
        with ShardWriter(tmp_path, HEADER) as writer:
            writer._disk._file = FullDisk(writer._disk._file, room)  # type: ignore[assignment]
            for i in range(100):
                features, start = rows(20_000)
                writer.append(features, start, start)
                writer.end_utterance(key=f"{i:064x}", utterance_id=str(i), view="clean")
            writer.close()

    with pytest.raises(ShardError, match=r"No space left on device\).*run the same command again"):
        fill()
    assert list(tmp_path.iterdir()) == []
