"""Reading what `features_cache.consolidated` wrote, from a file that nobody vouches for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from features_cache.consolidated import FORMAT, TimedStack
from features_cache.shard_checksums import TORN

DTYPES = ("float16", "float32")
NUMBERS = ("start", "end")
"""Columns of one number an utterance; the others hold texts."""

BLOCK_BYTES = 4 * 2**20
"""Features that are in memory at a time."""


class ConsolidatedError(ValueError):
    """A file is not an exported one, or does not hold what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consolidated:
    """An open exported file whose shape has been checked.

    Attributes
    ----------
    path : the file
    attributes : texts of the file
    columns : dataset name -> one text (or number) an utterance
    dtype, feature_dim : of the features
    """

    path: Path
    attributes: dict[str, str]
    columns: dict[str, NDArray[Any]]
    dtype: str
    feature_dim: int
    _file: h5py.File
    _offsets: NDArray[np.int64]

    @property
    def n_utterances(self) -> int:
        """How many utterances there are."""
        return len(self._offsets) - 1

    def blocks(self, number: int) -> Iterator[TimedStack]:
        """Read one utterance's rows, some MiB at a time.

        Raises
        ------
        ConsolidatedError
            Rows cannot be read, or hold values that are not finite.
        """
        row_bytes = self.feature_dim * np.dtype(self.dtype).itemsize
        step = max(1, BLOCK_BYTES // row_bytes)
        last = int(self._offsets[number + 1])
        for first in range(int(self._offsets[number]), last, step):
            rows = slice(first, min(first + step, last))
            with _told(self.path):
                features = self._file["features"][rows]
                start, end = (self._file[f"segment_{which}"][rows] for which in ("start", "end"))
            where = f"rows {rows.start} to {rows.stop}"
            finite = all(np.isfinite(part).all() for part in (features, start, end))
            _expect(self.path, finite, f"{where} are not all finite", "numbers")
            ordered = bool((start >= 0).all() and (end > start).all())
            _expect(self.path, ordered, f"times of {where} run backwards", "0 <= start < end")
            yield features, start, end

    def same_rows(self, one: int, other: int) -> bool:
        """Tell whether two utterances have the same features."""
        # Blocks are cut from an utterance's own first row, so that they meet.
        return all(
            mine is not None and theirs is not None and np.array_equal(mine[0], theirs[0])
            for mine, theirs in zip_longest(self.blocks(one), self.blocks(other))
        )


@contextmanager
def open_consolidated(path: Path, columns: tuple[str, ...]) -> Iterator[Consolidated]:
    """Open an exported file and check that its parts fit together.

    Parameters
    ----------
    path : the file
    columns : names of datasets that it must have, one value an utterance

    Raises
    ------
    ConsolidatedError
        It is not HDF5, not an export, of another format, or its parts do not fit together.
    """
    with _told(path):
        file = h5py.File(path, "r")
    with file:
        with _told(path):
            checked = _checked(path, file, columns)
        yield checked


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn whatever HDF5 raises over a damaged file into one error."""
    try:
        yield
    except ConsolidatedError:
        raise
    except TORN as error:
        seen = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        message = (
            f"{path} cannot be read as an export ({seen}); expected a file that 'emostack export "
            "--to hdf5' wrote; ask for the file again"
        )
        raise ConsolidatedError(message) from error


def _checked(path: Path, file: h5py.File, columns: tuple[str, ...]) -> Consolidated:
    seen = file.attrs.get("format")
    _expect(path, seen == FORMAT, f"format is {seen}", f"{FORMAT}; read it with its own version")
    for name in ("features", "segment_start", "segment_end", "offsets", *columns):
        _expect(path, _is_plain(file, name), f"there is no plain dataset {name!r}", "one")
    features, offsets = file["features"], file["offsets"][:]
    kind = features.dtype.name
    _expect(path, kind in DTYPES, f"features are {kind}", " or ".join(DTYPES))
    _expect(path, features.ndim == 2 and features.shape[1] > 0, f"features are of shape "
            f"{features.shape}", "rows and columns")  # fmt: skip
    for name in ("segment_start", "segment_end"):
        fits = file[name].shape == features.shape[:1] and file[name].dtype == np.float64
        _expect(path, fits, f"{name} is {file[name].dtype} of shape {file[name].shape}",
                f"float64, one a row of {len(features)}")  # fmt: skip
    rises = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1
    rises = rises and offsets[0] == 0 and offsets[-1] == len(features)
    rises = bool(rises and (np.diff(offsets.astype(np.int64)) > 0).all())
    _expect(path, rises, "offsets do not cut the rows into utterances",
            f"numbers that rise from 0 to {len(features)}")  # fmt: skip
    cells = {name: _column(path, file[name], name) for name in columns}
    for name, values in cells.items():
        fits = values.shape == (len(offsets) - 1,)
        _expect(path, fits, f"{name} has the shape {values.shape}", f"{len(offsets) - 1} values")
    return Consolidated(
        path=path,
        attributes={name: str(value) for name, value in file.attrs.items()},
        columns=cells,
        dtype=kind,
        feature_dim=features.shape[1],
        _file=file,
        _offsets=offsets.astype(np.int64),
    )


def _is_plain(file: h5py.File, name: str) -> bool:
    """Whether a name is a dataset of this very file: no link, no other file's bytes behind it."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return False
    data = file[name]
    return isinstance(data, h5py.Dataset) and not data.is_virtual and not data.external


def _column(path: Path, data: h5py.Dataset, name: str) -> NDArray[Any]:
    is_text = h5py.check_string_dtype(data.dtype) is not None
    fits = data.dtype == np.float64 if name in NUMBERS else is_text
    _expect(path, fits, f"{name} holds {data.dtype}", "float64" if name in NUMBERS else "text")
    values: NDArray[Any] = data.asstr()[:] if is_text else data[:]
    return values


def _expect(path: Path, holds: bool, seen: str, expected: str) -> None:
    if not holds:
        message = f"{path}: {seen}; expected {expected}; ask for the file again"
        raise ConsolidatedError(message)
