"""Shards: immutable HDF5 files of many utterances' segment features (format 1).

``docs/store-format.md`` is the specification. One process writes one shard, to a partial name;
`ShardWriter.close` verifies it, syncs it and renames it, and from then on it never changes.
"""

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
from numpy.typing import NDArray

from features_cache.atomic import partial_path, publish
from features_cache.keys import file_sha256
from features_cache.shard_checksums import UtteranceDigest
from features_cache.shard_file import ShardFile
from features_cache.shard_reading import (
    FORMAT,
    ShardEntry,
    ShardError,
    ShardHeader,
    damaged_utterances,
    open_shard,
    read_entries,
    read_header,
)

__all__ = [
    "CHUNK_BYTES",
    "SHARD_BYTES",
    "PublishedShard",
    "ShardEntry",
    "ShardError",
    "ShardHeader",
    "ShardWriter",
    "UtteranceDigest",
    "damaged_utterances",
    "new_shard_name",
    "open_shard",
    "read_entries",
    "read_header",
    "versions_json",
]

SHARD_BYTES = 64 * 2**20
"""A shard is full when it holds this many bytes of features."""

CHUNK_BYTES = 256 * 1024
"""Aim for the size of one chunk of ``/features``: a whole number of rows."""

HELD_CHUNKS = 4
"""Chunks that are written at once: to ask HDF5 takes longer than to write an utterance's few rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedShard:
    """A shard that is on disk under its final name."""

    name: str
    sha256: str
    entries: tuple[ShardEntry, ...] = field(default=())


def new_shard_name() -> str:
    """Make a name that no other shard has: the time, and chance."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}.h5"


class ShardWriter:
    """Writes one shard; use as a context manager, and call `close` to publish.

    Rows come in any number of pieces (`append`), then `end_utterance` seals what came since the
    last seal, or `rollback` forgets it: a file that breaks half way leaves nothing behind.
    Leaving the block without `close` leaves no file.
    """

    def __init__(self, folder: Path, header: ShardHeader, name: str = "") -> None:
        self.name = name or new_shard_name()
        self._final = folder / self.name
        self._partial = partial_path(self._final)
        self._entries: list[ShardEntry] = []
        self._digests: list[bytes] = []
        self._sealed = 0
        dtype = np.dtype(header.dtype).newbyteorder("<")
        self._row_bytes = header.feature_dim * dtype.itemsize
        self._chunk_rows = max(1, CHUNK_BYTES // self._row_bytes)
        self._written = 0
        self._held = np.empty((HELD_CHUNKS * self._chunk_rows, header.feature_dim), dtype)
        self._n_held = 0
        self._disk = ShardFile(self._partial)
        self._file = h5py.File(self._disk, "w", libver="v110")
        self._features = self._file.create_dataset(
            "features",
            shape=(0, header.feature_dim),
            maxshape=(None, header.feature_dim),
            chunks=(self._chunk_rows, header.feature_dim),
            dtype=dtype,
        )
        self._start: list[NDArray[np.float64]] = []
        self._end: list[NDArray[np.float64]] = []
        self._open_start: list[NDArray[np.float64]] = []
        self._open_end: list[NDArray[np.float64]] = []
        self._digest = UtteranceDigest()
        attributes = self._file.attrs
        attributes["format"] = FORMAT
        attributes["recipe_id"] = header.recipe_id
        attributes["recipe_json"] = header.recipe_json
        attributes["versions_json"] = header.versions_json
        attributes["engine"] = header.engine
        attributes["created"] = datetime.now(UTC).isoformat(timespec="seconds")

    @property
    def n_utterances(self) -> int:
        """Utterances sealed so far."""
        return len(self._entries)

    @property
    def n_bytes(self) -> int:
        """Bytes of features sealed so far."""
        return self._sealed * self._row_bytes

    def append(
        self,
        features: NDArray[np.floating],
        start: NDArray[np.float64],
        end: NDArray[np.float64],
    ) -> None:
        """Add rows to the utterance under way; a few chunks are held before they are written.

        Parameters
        ----------
        features : the header's dtype, shape (n, feature_dim)
        start, end : float64, shape (n,), seconds in the utterance

        Raises
        ------
        ShardError
            The disk is full, or fails.
        """
        at = 0
        while at < len(features):
            # Written up to the end of a chunk, so that none is read again to be filled up.
            room = len(self._held) - self._written % self._chunk_rows - self._n_held
            piece = features[at : at + room]
            self._held[self._n_held : self._n_held + len(piece)] = piece
            self._n_held += len(piece)
            at += len(piece)
            if len(piece) == room:
                self._write_held()
        self._digest.update(features)
        self._open_start.append(start)
        self._open_end.append(end)
        self._check_disk()

    def _write_held(self) -> None:
        first, self._written = self._written, self._written + self._n_held
        if first < self._written:
            self._features.resize(self._written, axis=0)
            self._features[first:] = self._held[: self._n_held]
        self._n_held = 0

    def end_utterance(
        self, *, key: str, utterance_id: str, view: str, expected: bytes = b""
    ) -> None:
        """Seal the rows since the last seal as one utterance.

        Parameters
        ----------
        key, utterance_id, view : what it is
        expected : checksum that a copy must have; 32 bytes, or none to expect nothing

        Raises
        ------
        ShardError
            The rows have another checksum.
        """
        row_end = self._written + self._n_held
        start, end = _joined(self._open_start), _joined(self._open_end)
        digest = self._digest.finish(start, end, key, view)
        if expected and digest != expected:
            message = (
                f"utterance {utterance_id!r} does not match its checksum; expected to copy it as "
                "it was extracted; run 'emostack store repair'"
            )
            raise ShardError(message)
        self._digests.append(digest)
        self._entries.append(
            ShardEntry(
                key=key,
                utterance_id=utterance_id,
                view=view,
                row_start=self._sealed,
                row_end=row_end,
            )
        )
        self._start.append(start)
        self._end.append(end)
        self._sealed = row_end
        self._open()

    def rollback(self) -> None:
        """Forget the rows since the last seal."""
        if self._written > self._sealed:
            self._features.resize(self._sealed, axis=0)
            self._written = self._sealed
        self._n_held = self._sealed - self._written
        self._open()

    def _open(self) -> None:
        self._open_start, self._open_end = [], []
        self._digest = UtteranceDigest()

    def close(self) -> PublishedShard:
        """Write the index, verify the file as a reader would, and publish it.

        Raises
        ------
        ShardError
            The disk is full, or the file does not read back as written; nothing is published.
        """
        self.rollback()
        self._write_held()
        file, entries = self._file, self._entries
        text = h5py.string_dtype("utf-8")
        offsets = [0, *(entry.row_end for entry in entries)]
        file.create_dataset("segment_start", data=_joined(self._start))
        file.create_dataset("segment_end", data=_joined(self._end))
        file.create_dataset("offsets", data=np.asarray(offsets, np.int64))
        file.create_dataset("key", data=np.asarray([e.key for e in entries], dtype="S64"))
        file.create_dataset("utterance_id", data=[e.utterance_id for e in entries], dtype=text)
        file.create_dataset("view", data=[e.view for e in entries], dtype=text)
        digests = np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, 32)
        file.create_dataset("utterance_sha256", data=digests)
        file.close()
        self._disk.close()
        self._check_disk()
        damaged = [entry.utterance_id for entry in damaged_utterances(self._partial)]
        if damaged:
            message = (
                f"{self._partial} reads back differently from what was written ({damaged[0]!r} and "
                f"{len(damaged) - 1} more); expected the same bytes; check the disk and run again"
            )
            raise ShardError(message)
        sha256 = file_sha256(self._partial)
        publish(self._partial, self._final, exclusive=True)
        return PublishedShard(name=self.name, sha256=sha256, entries=tuple(entries))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._disk.close()
        self._partial.unlink(missing_ok=True)

    def _check_disk(self) -> None:
        try:
            self._disk.check()
        except OSError as error:
            message = (
                f"{self._partial.parent} could not be written to ({error.strerror}); expected room "
                "for a shard of up to some 70 MB; make room and run the same command again: what "
                "was published is kept"
            )
            raise ShardError(message) from error


def versions_json(versions: dict[str, str]) -> str:
    """Package versions as the text a shard keeps."""
    return json.dumps(versions, sort_keys=True, separators=(",", ":"))


def _joined(pieces: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(pieces).astype("<f8") if pieces else np.empty(0, "<f8")
