"""Stacks that need not be in memory.

Wherever stacks are wanted, a list of arrays will do. Those of a corpus larger than the memory are
made when they are asked for, from a store or from a file without a name.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import FileIO
    from pathlib import Path


class ScratchError(OSError):
    """The scratch folder does not take what has to be kept there."""


class Stacks(Protocol):
    """Stacks by number: a list of arrays, or `LazyStacks`."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> np.ndarray: ...
    def __iter__(self) -> Iterator[np.ndarray]: ...


class LazyStacks:
    """Stacks that are made anew whenever they are asked for.

    Parameters
    ----------
    lengths : int64, shape (n_stacks,): segments of each
    make : number of a stack -> float32, shape (lengths[number], n_features); called by several threads

    Examples
    --------
    >>> stacks = LazyStacks(np.array([1, 2]), lambda number: np.full((number + 1, 3), number))
    >>> [stack.tolist() for stack in stacks]
    [[[0, 0, 0]], [[1, 1, 1], [1, 1, 1]]]
    """

    def __init__(self, lengths: np.ndarray, make: Callable[[int], np.ndarray]) -> None:
        self.lengths = lengths
        self._make = make

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int, /) -> np.ndarray:
        return self._make(range(len(self))[number])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))


def lengths_of(stacks: Stacks) -> np.ndarray:
    """Segments of each stack, int64, shape (n_stacks,); lazy ones need not be made for it."""
    if isinstance(stacks, LazyStacks):
        return stacks.lengths
    return np.array([len(stack) for stack in stacks], np.int64)


def picked(stacks: Stacks, rows: np.ndarray) -> LazyStacks:
    """Pick stacks by number."""
    return LazyStacks(lengths_of(stacks)[rows], lambda number: stacks[rows[number]])


def chained(parts: Iterable[Stacks]) -> LazyStacks:
    """Put stacks one after the other."""
    kept = list(parts)
    ends = np.cumsum([len(part) for part in kept])

    def make(number: int) -> np.ndarray:
        which = int(np.searchsorted(ends, number, side="right"))
        return kept[which][number - int(ends[which]) + len(kept[which])]

    return LazyStacks(np.concatenate([lengths_of(part) for part in kept]), make)


def in_file(stacks: Iterable[np.ndarray], folder: Path) -> LazyStacks:
    """Write stacks to a file without a name, which is gone once nobody reads it any more.

    Parameters
    ----------
    stacks : float32, each of shape (n_i, n_features)
    folder : of the file

    Returns
    -------
    What is read back, the same to the last bit; not to be written to.

    Raises
    ------
    ScratchError
        The disk is full.
    """
    # Read by place and not mapped: what is mapped would count as this process' memory.
    file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed below
    lengths, width = [], 0
    try:
        for stack in stacks:
            _write(file, np.ascontiguousarray(stack, np.float32), folder)
            lengths.append(len(stack))
            width = stack.shape[1]
    except BaseException:
        file.close()
        raise
    row_bytes = width * np.dtype(np.float32).itemsize
    starts = np.cumsum([0, *lengths])

    def make(number: int) -> np.ndarray:
        n_bytes = lengths[number] * row_bytes
        found = os.pread(file.fileno(), n_bytes, int(starts[number]) * row_bytes)
        return np.frombuffer(found, np.float32).reshape(lengths[number], width)

    stored = LazyStacks(np.array(lengths, np.int64), make)
    weakref.finalize(stored, file.close)
    return stored


def _write(file: FileIO, stack: np.ndarray, folder: Path) -> None:
    rest = stack.reshape(-1).view(np.uint8).data
    try:
        while rest:  # a file may take less than it is given
            rest = rest[file.write(rest) :]
    except OSError as error:
        message = (
            f"{folder} could not be written to ({error.strerror}) after {file.tell() >> 20} MiB; "
            "expected room for what a streamed training makes; make room, or give another "
            "--workdir or more --memory"
        )
        raise ScratchError(message) from error
