"""``store.h5``: the newest generation as one file that plain h5py reads.

An index, and external links to the shards. Links, not virtual datasets: a link whose shard is
missing raises, a virtual dataset would quietly read zeros.
"""

from pathlib import Path

import h5py
import numpy as np

from features_cache.atomic import atomic_write
from features_cache.generation import Generation
from features_cache.shard_file import hdf5_file

BLOCK = 65536
"""Texts written at a time."""

TEXT_COLUMNS = ("utterance_id", "corpus", "view", "key", "shard", "speaker", "emotion")


def write_index_file(path: Path, generation: Generation) -> None:
    """Write ``store.h5`` for a generation, atomically, beside the folder ``shards``."""
    text = h5py.string_dtype("utf-8")
    with atomic_write(path) as partial, hdf5_file(partial) as file:
        file.attrs["format"] = 1
        file.attrs["generation"] = generation.number
        file.attrs["recipe_id"] = generation.recipe_id
        for column in TEXT_COLUMNS:  # one at a time: a million rows take their room
            values = generation.live_column(column)
            data = file.create_dataset(column, (len(values),), dtype=text)
            for first in range(0, len(values), BLOCK):
                data[first : first + BLOCK] = values.iloc[first : first + BLOCK].to_numpy(object)
        for column in ("row_start", "row_end"):
            file.create_dataset(column, data=generation.live_column(column).to_numpy(np.int64))
        links = file.create_group("shards")
        for name in sorted(generation.live_column("shard").unique()):
            links[name] = h5py.ExternalLink(f"shards/{name}", "/")


def index_generation(path: Path) -> int:
    """Read which generation a ``store.h5`` shows; 0 if the file cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            return int(file.attrs["generation"])
    except (OSError, KeyError):
        return 0
