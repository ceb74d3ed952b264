"""One HDF5 file with everything in it: features, times, names and labels. No links.

The layout is a shard's, with the manifest's columns beside it; ``docs/store-format.md`` has it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from features_cache.atomic import atomic_write
from features_cache.shard import CHUNK_BYTES
from features_cache.shard_file import hdf5_file

FORMAT = 1

Stack = tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.float64]]
"""Features (n, feature_dim), segment starts (n,) and ends (n,) of one utterance."""


def write_consolidated(
    path: Path,
    stacks: Iterable[Stack],
    columns: Mapping[str, list[str]],
    attributes: Mapping[str, str],
) -> int:
    """Write one file, stack by stack, atomically.

    Parameters
    ----------
    path : final name
    stacks : one an utterance, all of one dtype and feature_dim; at least one
    columns : dataset name -> one text an utterance, such as ``utterance_id`` and ``emotion``
    attributes : texts kept as attributes of the file

    Returns
    -------
    int
        Number of segments written.
    """
    text = h5py.string_dtype("utf-8")
    with atomic_write(path) as partial, hdf5_file(partial, libver="v110") as file:
        file.attrs["format"] = FORMAT
        for name, value in attributes.items():
            file.attrs[name] = value
        offsets = [0]
        for features, start, end in stacks:
            if "features" not in file:
                _create(file, features)
            for name, rows in (
                ("features", features),
                ("segment_start", start),
                ("segment_end", end),
            ):
                data = file[name]
                data.resize(offsets[-1] + len(rows), axis=0)
                data[offsets[-1] :] = rows
            offsets.append(offsets[-1] + len(features))
        file.create_dataset("offsets", data=np.asarray(offsets, np.int64))
        for name, values in columns.items():
            file.create_dataset(name, data=np.asarray(values, dtype=object), dtype=text)
    return offsets[-1]


def _create(file: h5py.File, features: NDArray[np.floating]) -> None:
    dim = features.shape[1]
    rows = max(1, CHUNK_BYTES // (dim * features.dtype.itemsize))
    file.create_dataset(
        "features", (0, dim), maxshape=(None, dim), chunks=(rows, dim), dtype=features.dtype
    )
    for name in ("segment_start", "segment_end"):
        file.create_dataset(name, (0,), maxshape=(None,), chunks=(4096,), dtype="<f8")
