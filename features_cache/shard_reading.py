"""Reading shards: what one says of itself, whose rows are where, and who in it is damaged.

A damaged HDF5 file can raise nearly anything, hang, or bring the process down. What is read here
for a check goes through `examine`; a file that is known to have changed is given to an
`Examiner <features_cache.examiner.Examiner>`, which does it in a process that may die.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from features_cache.shard_checksums import TORN, Checksums, block_rows

FORMAT = 1


class ShardError(OSError):
    """A shard is missing, torn or not of this format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardHeader:
    """What every shard of one extraction says of itself.

    Attributes
    ----------
    recipe_id : identity of the recipe, as the store has it
    recipe_json : the resolved recipe's canonical JSON
    versions_json : package versions that made the features, and the decoder's revision, as JSON
    engine : what ran the network, such as ``keras-tensorflow``
    dtype : ``float16`` or ``float32``, the type of ``/features``
    feature_dim : number of columns of ``/features``
    """

    recipe_id: str
    recipe_json: str
    versions_json: str
    engine: str
    dtype: str
    feature_dim: int

    @property
    def decoder(self) -> str:
        """What decoded the audio, and its revision; empty where the shard does not say."""
        return str(json.loads(self.versions_json or "{}").get("decoder", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """One utterance in a published shard: rows ``row_start:row_end``."""

    key: str
    utterance_id: str
    view: str
    row_start: int
    row_end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardContent:
    """What was found in a shard.

    Attributes
    ----------
    header : what it says of itself
    entries : its utterances, as its index has them, sound or not
    damaged : positions in `entries` of those whose rows are not there or not their own
    """

    header: ShardHeader
    entries: tuple[ShardEntry, ...]
    damaged: frozenset[int]

    @property
    def sound(self) -> tuple[ShardEntry, ...]:
        """Those that are not damaged."""
        return tuple(e for i, e in enumerate(self.entries) if i not in self.damaged)


def open_shard(path: Path) -> h5py.File:
    """Open a published shard for reading.

    Raises
    ------
    ShardError
        The file is missing, is not HDF5, or is of another format.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        message = (
            f"{path} cannot be opened as a shard ({_short(error)}); expected an HDF5 file of "
            f"format {FORMAT}; run 'emostack store verify'"
        )
        raise ShardError(message) from error
    seen = file.attrs.get("format")
    if seen != FORMAT:
        file.close()
        message = (
            f"{path} has format {seen}; expected {FORMAT}; read it with the version of emostack "
            "that wrote it"
        )
        raise ShardError(message)
    return file


def read_header(path: Path) -> ShardHeader:
    """Read what a published shard says of itself."""
    with open_shard(path) as file:
        return _header(file)


def read_entries(path: Path) -> tuple[ShardEntry, ...]:
    """Read a published shard's own index.

    Raises
    ------
    ShardError
        The shard cannot be opened or its index is torn.
    """
    content = examine(path, full=False)
    if content.damaged:
        message = (
            f"{path} has a torn index ({len(content.damaged)} utterances without rows); expected "
            "offsets that rise to the number of rows; run 'emostack store verify'"
        )
        raise ShardError(message)
    return content.entries


def damaged_utterances(path: Path) -> list[ShardEntry]:
    """Read every row of a shard and return the utterances whose checksum is not their own.

    Raises
    ------
    ShardError
        The shard cannot be opened or its index is torn.
    """
    content = examine(path, full=True)
    return [content.entries[i] for i in sorted(content.damaged)]


def examine(path: Path, *, full: bool) -> ShardContent:
    """Look at all of a shard.

    Parameters
    ----------
    path : a published shard
    full : compare checksums, too; a few MiB are in memory at a time

    Raises
    ------
    ShardError
        The shard cannot be opened or its index cannot be read.
    """
    try:
        with open_shard(path) as file:
            entries = index_of(file)
            find = _mismatched if full else _misplaced
            damaged = frozenset(find(file, entries))
            return ShardContent(header=_header(file), entries=entries, damaged=damaged)
    except ShardError:
        raise
    except TORN as error:
        message = (
            f"{path} has a torn index ({_short(error)}); expected a whole shard; run 'emostack "
            "store repair'"
        )
        raise ShardError(message) from error


def index_of(file: h5py.File) -> tuple[ShardEntry, ...]:
    """Read an open shard's index as it stands, without a look at the rows."""
    offsets = file["offsets"][:].tolist()
    keys = [key.decode("ascii", "replace") for key in file["key"][:]]
    ids = file["utterance_id"].asstr(errors="replace")[:]
    views = file["view"].asstr(errors="replace")[:]
    return tuple(
        ShardEntry(key=key, utterance_id=name, view=view, row_start=first, row_end=last)
        for key, name, view, first, last in zip(
            keys, ids, views, offsets[:-1], offsets[1:], strict=True
        )
    )


def read_checksums(path: Path) -> dict[tuple[int, int], bytes]:
    """Read the checksum of each utterance of a shard, by its rows (start, end).

    Raises
    ------
    ShardError
        The shard cannot be opened or its index is torn.
    """
    entries = read_entries(path)
    with open_shard(path) as file:
        digests = file["utterance_sha256"][:]
    return {
        (entry.row_start, entry.row_end): digest.tobytes()
        for entry, digest in zip(entries, digests, strict=True)
    }


def blocks(file: h5py.File, first: int, last: int) -> Iterator[NDArray[np.floating]]:
    """Read feature rows ``first:last`` in pieces of a few MiB, however long the recording."""
    features = file["features"]
    step = block_rows(features)
    for at in range(first, last, step):
        yield features[at : min(at + step, last)]


def _header(file: h5py.File) -> ShardHeader:
    return ShardHeader(
        recipe_id=str(file.attrs["recipe_id"]),
        recipe_json=str(file.attrs["recipe_json"]),
        versions_json=str(file.attrs["versions_json"]),
        engine=str(file.attrs["engine"]),
        dtype=file["features"].dtype.name,
        feature_dim=int(file["features"].shape[1]),
    )


def _misplaced(file: h5py.File, entries: tuple[ShardEntry, ...]) -> Iterator[int]:
    """Yield who has no rows in the file."""
    lengths = [len(file[name]) for name in ("features", "segment_start", "segment_end")]
    if len(file["utterance_sha256"]) != len(entries):
        message = f"{len(file['utterance_sha256'])} checksums of {len(entries)} utterances"
        raise ValueError(message)
    for i, entry in enumerate(entries):
        if not 0 <= entry.row_start <= entry.row_end <= min(lengths):
            yield i


def _mismatched(file: h5py.File, entries: tuple[ShardEntry, ...]) -> Iterator[int]:
    """Yield who has no rows in the file, or others than were written."""
    misplaced = set(_misplaced(file, entries))
    digests = file["utterance_sha256"][:]
    checksums = Checksums(file)
    for i, (entry, digest) in enumerate(zip(entries, digests, strict=True)):
        rows = (entry.row_start, entry.row_end)
        if i in misplaced or checksums.of(*rows, entry.key, entry.view) != digest.tobytes():
            yield i


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
