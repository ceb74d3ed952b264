"""Which utterance a worker is at: left in a file, a marker, for whoever finds the worker dead."""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from features_cache.atomic import PARTIAL
from stages.utterance import Utterance


class InProgress:
    """A file that says which utterance is being read.

    Decoders are what kills: the network, a few blocks behind, reads nothing from outside.

    Parameters
    ----------
    folder : of the shards
    shard : name of the one that is being written
    utterances : that it is to hold
    """

    def __init__(self, folder: Path, shard: str, utterances: Sequence[Utterance]) -> None:
        self._path = marker_path(folder, shard)
        self.utterances = utterances

    def __enter__(self) -> Self:
        self._file = self._path.open("wb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def passing(self) -> Iterator[Utterance]:
        """Hand on the utterances, leaving word of each."""
        for i, utterance in enumerate(self.utterances):
            os.pwrite(self._file.fileno(), struct.pack("<q", i), 0)
            yield utterance


def take_marker(folder: Path, shard: str) -> int | None:
    """Say at which of its utterances a worker died; None if it had not begun."""
    path = marker_path(folder, shard)
    try:
        (at,) = struct.unpack("<q", path.read_bytes())
    except (OSError, struct.error):
        return None
    path.unlink(missing_ok=True)
    return int(at)


def marker_path(folder: Path, shard: str) -> Path:
    """File of the marker of a shard that is being written."""
    return folder / f".{shard}.at{PARTIAL}"
