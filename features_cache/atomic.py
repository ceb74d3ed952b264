"""Files that are either whole or not there.

Everything a store publishes is written beside its final name with the suffix ``.partial``, synced,
and renamed; the folder is synced after that, so that the rename itself survives a power cut. A folder
that is published as a whole goes the same way.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FullDiskError(OSError):
    """There is no room for a file."""


def partial_path(final: Path) -> Path:
    """Return an unused name beside `final`, recognised as unfinished by its suffix."""
    return final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")


def sync_file(path: Path) -> None:
    """Force a file's (or a folder's) bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(partial: Path, final: Path, *, exclusive: bool = False) -> None:
    """Give a finished partial file its final name, durably.

    Parameters
    ----------
    partial : the written and closed file, in the folder of `final`
    final : the name to publish under
    exclusive : refuse to replace a file of that name (two writers cannot both win)

    Raises
    ------
    FileExistsError
        `exclusive` was asked for and `final` is there already.
    """
    sync_file(partial)
    if exclusive:
        os.link(partial, final)
        partial.unlink()
    else:
        partial.replace(final)
    sync_file(final.parent)


@contextmanager
def atomic_write(final: Path, *, exclusive: bool = False) -> Iterator[Path]:
    """Yield a partial path to write to; publish it when the block ends without an error.

    Raises
    ------
    FullDiskError
        There is no room for it; what was there under that name still is.
    """
    partial = partial_path(final)
    try:
        with _full_disk_told(final):
            yield partial
            publish(partial, final, exclusive=exclusive)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """Yield a new folder to write into; publish it when the block ends without an error.

    Raises
    ------
    FileExistsError
        There is something of that name already.
    FullDiskError
        There is no room for it; nothing is left of what was written.
    """
    partial = partial_path(final)
    try:
        is_there = os.path.lexists(final)
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except OSError as error:
        message = (
            f"no folder can be made in {final.parent} ({error.strerror}); expected one that this user "
            "may write to, and a name that the disk allows; give another"
        )
        raise type(error)(message) from error
    try:
        if is_there:
            message = (
                f"{final} is there already; expected a new folder; remove it or give another name"
            )
            raise FileExistsError(message)
        with _full_disk_told(final):
            yield partial
            for path in sorted(partial.rglob("*")):
                sync_file(path)
            publish(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _full_disk_told(final: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        message = (
            f"{final} could not be written ({os.strerror(error.errno)}); expected room for it; make "
            "room and run the same command again: what was published is kept"
        )
        raise FullDiskError(message) from error
