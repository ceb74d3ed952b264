"""Which utterance a worker was at: left in a file for whoever finds the worker dead."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

from features_cache.atomic import PARTIAL
from stages.plan import Item

if TYPE_CHECKING:
    from stages.shard_work import ShardTask


class Crumb:
    """A file that says which utterance is being read, for whoever finds this process dead.

    Decoders are what kills: the network, a few blocks behind, reads nothing from outside.
    """

    def __init__(self, task: "ShardTask") -> None:
        self._path = _path_of(task)
        self.items = task.items

    def __enter__(self) -> Self:
        self._file = self._path.open("wb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def passing(self) -> Iterator[Item]:
        """Hand on the task's items, leaving word of each."""
        for i, item in enumerate(self.items):
            os.pwrite(self._file.fileno(), struct.pack("<q", i), 0)
            yield item


def take_crumb(task: "ShardTask") -> int | None:
    """Say which item a worker was at when it died; None if it had not begun."""
    path = _path_of(task)
    try:
        (at,) = struct.unpack("<q", path.read_bytes())
    except (OSError, struct.error):
        return None
    path.unlink(missing_ok=True)
    return int(at)


def _path_of(task: "ShardTask") -> Path:
    return Path(task.store) / "shards" / f".{task.shard}.at{PARTIAL}"
