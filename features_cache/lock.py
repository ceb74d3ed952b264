"""One writer a store.

The lock is the kernel's (``flock``): it goes with its holder, however that one died, so that a dead
holder's lock never has to be broken. The file's text only says who holds it and since when.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path


class LockedError(BlockingIOError):
    """Another process is writing to the store."""


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold `folder`'s writer lock for the length of a block.

    Raises
    ------
    LockedError
        Another process holds it; the message says which one and since when.
    """
    with (folder / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            message = (
                f"{folder} is being written by another run ({_holder(file.read())}); "
                "expected no other writer; wait until it has ended, then run the command again"
            )
            raise LockedError(message) from None
        file.truncate(0)
        json.dump(
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            file,
        )
        file.flush()
        yield
        file.truncate(0)


def _holder(text: str) -> str:
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "which has not yet said its name"
