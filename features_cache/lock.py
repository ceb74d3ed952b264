"""One writer a store.

The lock is the kernel's (``flock``): it goes with its holder, however that one died, so that a dead
holder's lock never has to be broken. The file's text says who holds it and since when, and bears a
token, by which a worker that outlived its run sees that another one has taken over, and the word to
stop.

Taking the lock and saying so are two steps. A second file, the door, is locked around both, and around
being refused: whoever is told that the lock is held reads the name of its holder, never an older one.
"""

import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

LOCK = "lock"
DOOR = "lock.door"


class LockedError(BlockingIOError):
    """Another process is writing to the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterLock:
    """A held lock.

    Attributes
    ----------
    folder : what is locked
    token : what this holding of the lock is known by
    """

    folder: Path
    token: str

    def ask_to_stop(self) -> None:
        """Ask whoever works under this lock to come to an end; see `may_go_on`."""
        holder = _read(self.folder)
        if holder.get("token") == self.token:
            with (self.folder / LOCK).open("r+b", buffering=0) as file:
                _write(file, {**holder, "stop": True})


@contextmanager
def writer_lock(folder: Path) -> Iterator[WriterLock]:
    """Hold `folder`'s writer lock for the length of a block.

    Raises
    ------
    LockedError
        Another process holds it; the message says which one and since when.
    """
    with _opened(folder / LOCK) as file:
        lock = WriterLock(folder=folder, token=uuid.uuid4().hex)
        with _opened(folder / DOOR) as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            _take(file, lock)
        yield lock  # the text stays: a worker of an earlier run must not take up its work again


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    with path.open("ab", buffering=0):  # made if it is not there
        pass
    with path.open("r+b", buffering=0) as file:
        yield file


def _take(file: FileIO, lock: WriterLock) -> None:
    """Lock the file and write into it who holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = (
            f"{lock.folder} is being written by another run ({_holder(_read(lock.folder))}); "
            "expected no other writer; wait until it has ended, then run the command again"
        )
        raise LockedError(message) from None
    _write(
        file,
        {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "token": lock.token,
        },
    )


def may_go_on(folder: Path, token: str) -> bool:
    """Tell a worker whether its run still holds the lock and has not been asked to stop.

    A run that died leaves its token: what its workers still finish is whole, and the next run finds
    it. A lock file that cannot be read stops nobody.
    """
    holder = _read(folder)
    return not holder or (holder.get("token") == token and not holder.get("stop"))


def _read(folder: Path) -> dict[str, Any]:
    try:
        holder = json.loads((folder / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _write(file: FileIO, holder: Mapping[str, Any]) -> None:
    """Say who holds the lock; in one go, so that no reader finds the file empty."""
    text = json.dumps(holder).encode()
    try:
        os.pwrite(file.fileno(), text, 0)
        os.ftruncate(file.fileno(), len(text))
    except OSError as error:
        raise OSError(error.errno, error.strerror, file.name) from error


def _holder(holder: dict[str, Any]) -> str:
    try:
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except KeyError:
        return "whose name the lock file does not tell"
