"""``store.h5``: a snapshot joined with a catalogue, as one file that plain h5py reads.

An index, and external links to the shards. Links, not virtual datasets: a link whose shard is
missing raises, a virtual dataset would quietly read zeros.
"""

from collections.abc import Callable
from pathlib import Path

import h5py
import pyarrow as pa
import pyarrow.compute as pc

from features_cache.atomic import atomic_write
from features_cache.places import Places
from features_cache.shard_file import hdf5_file

BLOCK = 65536
"""Texts written at a time."""

TEXT_COLUMNS = ("utterance_id", "corpus", "view", "key", "shard", "speaker", "emotion")

FORMAT = 2


def write_index_file(
    path: Path,
    column: Callable[[str], pa.Array],
    places: Places,
    shown: tuple[int, int],
    recipe_id: str,
) -> None:
    """Write ``store.h5``, atomically, beside the folder ``shards``.

    Parameters
    ----------
    path : the file
    column : gives one of `TEXT_COLUMNS` of the live rows, as large strings
    places : of the live rows
    shown : numbers of the snapshot and of the catalogue that they are of
    recipe_id : of the store
    """
    with atomic_write(path) as partial, hdf5_file(partial) as file:
        file.attrs["format"] = FORMAT
        file.attrs["snapshot"], file.attrs["catalogue"] = shown
        file.attrs["recipe_id"] = recipe_id
        for name in TEXT_COLUMNS:
            _write_texts(file, name, column(name))
        file.create_dataset("row_start", data=places.row_start)
        file.create_dataset("row_end", data=places.row_end)
        links = file.create_group("shards")
        for name in sorted(places.shard.unique()):
            links[name] = h5py.ExternalLink(f"shards/{name}", "/")


def _write_texts(file: h5py.File, name: str, texts: pa.Array) -> None:
    """Write texts at a fixed width of bytes: ten times as quickly as at their own lengths.

    A few that are much longer than the others would make all of them as long.
    """
    sizes = pc.binary_length(texts)
    longest = max(1, pc.max(sizes).as_py() or 1)
    is_even = longest * len(texts) <= 2 * (pc.sum(sizes).as_py() or 0) + BLOCK
    kind = h5py.string_dtype("utf-8", longest if is_even else None)
    data = file.create_dataset(name, (len(texts),), dtype=kind)
    for first in range(0, len(texts), BLOCK):
        block = texts.slice(first, BLOCK)
        values = block.cast(pa.large_binary()) if is_even else block
        data[first : first + BLOCK] = values.to_numpy(zero_copy_only=False).astype(kind)


def index_numbers(path: Path) -> tuple[int, int]:
    """Read which snapshot and which catalogue a ``store.h5`` shows; zeros if it cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            about = file.attrs
            number = about["generation"] if about["format"] == 1 else about["snapshot"]
            return int(number), int(about.get("catalogue", 0))
    except (OSError, KeyError):
        return 0, 0


def index_shards(path: Path) -> list[str]:
    """Names of the shards that a ``store.h5`` links to; none if it cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            return list(file["shards"])
    except (OSError, KeyError):
        return []
