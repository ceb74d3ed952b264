"""One HDF5 file with everything in it: features, times, names and labels. No links.

The layout is a shard's, with the manifest's columns beside it; ``docs/store-format.md`` has it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from features_cache.shard import CHUNK_BYTES
from features_cache.shard_file import hdf5_file

FORMAT = 1

TEXTS_AT_ONCE = 16384
"""Texts that are objects at once; a table's column is not, and ten times smaller."""

TimedStack = tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.float64]]
"""Features (n, feature_dim), segment starts (n,) and ends (n,) of one utterance."""


def write_consolidated(
    path: Path,
    stacks: Iterable[TimedStack],
    columns: Mapping[str, Sequence[str] | NDArray[np.generic]],
    attributes: Mapping[str, str],
) -> int:
    """Write one file, stack by stack.

    Parameters
    ----------
    path : the file; whoever asks for it publishes it
    stacks : one an utterance, all of one dtype and feature_dim; at least one
    columns : dataset name -> one text or number an utterance, such as ``emotion`` and ``start``
    attributes : texts kept as attributes of the file

    Returns
    -------
    int
        Number of segments written.
    """
    # The earliest form bears no time stamps, so that the same content has the same bytes.
    with hdf5_file(path, libver="earliest") as file:
        file.attrs["format"] = FORMAT
        for name, value in attributes.items():
            file.attrs[name] = value
        n_rows = _write_stacks(file, stacks)
        offsets = np.cumsum([0, *n_rows], dtype=np.int64)
        file.create_dataset("offsets", data=offsets)
        for name, values in columns.items():
            if isinstance(values, np.ndarray) and values.dtype.kind == "f":
                file.create_dataset(name, data=values)
            else:
                _write_texts(file, name, values)
    return int(offsets[-1])


def _write_texts(file: h5py.File, name: str, texts: Sequence[str] | NDArray[np.generic]) -> None:
    data = file.create_dataset(name, len(texts), h5py.string_dtype("utf-8"))
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        block = slice(first, first + TEXTS_AT_ONCE)
        data[block] = np.asarray(texts[block], dtype=object)


def _write_stacks(file: h5py.File, stacks: Iterable[TimedStack]) -> list[int]:
    """Write features as they come, then their times; return how many rows each stack has."""
    times = {"segment_start": bytearray(), "segment_end": bytearray()}
    n_rows: list[int] = []
    waiting: list[NDArray[np.floating]] = []
    n_bytes = 0
    for features, *start_and_end in stacks:
        n_rows.append(len(features))
        waiting.append(features)
        n_bytes += features.nbytes
        if n_bytes >= CHUNK_BYTES:
            _append(file, waiting)
            waiting, n_bytes = [], 0
        for kept, seconds in zip(times.values(), start_and_end, strict=True):
            kept += seconds.astype("<f8", copy=False).tobytes()
    if waiting:
        _append(file, waiting)
    for name, kept in times.items():
        file.create_dataset(name, data=np.frombuffer(kept, "<f8"))
    return n_rows


def _append(file: h5py.File, stacks: Sequence[NDArray[np.floating]]) -> None:
    """Write stacks at once: one row takes as long as a chunk of them."""
    features = np.concatenate(stacks)
    data = file["features"] if "features" in file else _create(file, features)
    n_done = len(data)
    data.resize(n_done + len(features), axis=0)
    data[n_done:] = features


def _create(file: h5py.File, features: NDArray[np.floating]) -> h5py.Dataset:
    dim = features.shape[1]
    rows = max(1, CHUNK_BYTES // (dim * features.dtype.itemsize))
    return file.create_dataset(
        "features", (0, dim), maxshape=(None, dim), chunks=(rows, dim), dtype=features.dtype
    )
