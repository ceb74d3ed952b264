"""Checksums of the utterances in a shard: made while it is written, and compared when it is read."""

import functools
import hashlib
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

TORN = (OSError, LookupError, ValueError, RuntimeError, TypeError, AttributeError, MemoryError)
"""What reading damaged HDF5 has been seen to raise."""

TIMES_AT_ONCE = 64 * 1024
"""Segments whose times are read at once: half a MiB."""


class UtteranceDigest:
    """Checksum of one utterance as a reader gets it, fed row block by row block.

    SHA-256 over, in this order: the feature rows, the segments' starts, the segments' ends (each
    as little-endian bytes in C order), the key in ASCII and the view in UTF-8.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, array: NDArray[np.floating]) -> None:
        """Add feature rows."""
        plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        self._digest.update(
            plain.reshape(-1).view(np.uint8).data
        )  # as it lies there, without a copy

    def finish(
        self, start: NDArray[np.float64], end: NDArray[np.float64], key: str, view: str
    ) -> bytes:
        """Add times and names; return the 32 bytes."""
        self.update(start)
        self.update(end)
        self._digest.update(key.encode("ascii"))
        self._digest.update(view.encode("utf-8"))
        return self._digest.digest()


class Checksums:
    """The checksums that the utterances of an open shard have as they lie there.

    Parameters
    ----------
    file : whose utterances are asked for, best in order
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    @functools.cached_property
    def _columns(self) -> tuple["Column", "Column", "Column"]:
        file = self._file
        start, end = (
            Column(file[name], TIMES_AT_ONCE) for name in ("segment_start", "segment_end")
        )
        return Column(file["features"], block_rows(file["features"])), start, end

    def of(self, first: int, last: int, key: str, view: str) -> bytes | None:
        """Checksum of rows ``first:last``; None if they cannot be read."""
        digest = UtteranceDigest()
        try:
            features, start, end = self._columns
            for at in range(first, last, features.n_at_once):
                digest.update(features.rows(at, min(at + features.n_at_once, last)))
            return digest.finish(start.rows(first, last), end.rows(first, last), key, view)
        except TORN:  # an unreadable chunk is damage to whoever lives in it
            return None


class Column:
    """A dataset whose rows are asked for in order, a few at a time.

    To ask HDF5 takes longer than to read what most utterances have, so more is read than asked for.

    Parameters
    ----------
    dataset : whose first axis counts rows
    n_at_once : rows that are read at once; more only where more are asked for
    """

    def __init__(self, dataset: h5py.Dataset, n_at_once: int) -> None:
        self._dataset, self.n_at_once = dataset, n_at_once
        self._first = self._last = 0
        self._held: NDArray[Any] = np.empty(0)

    def rows(self, first: int, last: int) -> NDArray[Any]:
        """Read rows ``first:last``; what cannot be read beside them does not matter."""
        if first < self._first or last > self._last:
            self._first = self._last = 0
            try:
                held = self._dataset[first : max(last, first + self.n_at_once)]
            except TORN:
                return np.asarray(self._dataset[first:last])
            self._first, self._last, self._held = first, first + len(held), held
        return self._held[first - self._first : last - self._first]


def block_rows(features: h5py.Dataset) -> int:
    """Feature rows to read at once: a few MiB."""
    return 16 * int(features.chunks[0])
