"""The file under a shard that is being written: a full disk must not reach HDF5.

The HDF5 library cannot close a file that it cannot flush; it tries again when the process ends, and
crashes. So a write that fails is remembered here and HDF5 is told that all went well; the writer
asks `check` after every step, and throws the file away.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


class ShardFile(io.RawIOBase):
    """A binary file that swallows failing writes and owns up when asked.

    Parameters
    ----------
    path : created, or emptied if it is there
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise the first failure there was.

        Raises
        ------
        OSError
            As the operating system gave it.
        """
        if self._failure is not None:
            raise self._failure

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        """Write all of `data` where the file stands, or remember why not."""
        view = memoryview(data).cast("B")
        done = 0
        while self._failure is None and done < len(view):
            try:
                done += self._file.write(view[done:])
            except OSError as error:
                self._failure = error
        return len(view)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read as far as there is anything; the rest of `buffer` becomes zeros."""
        view = memoryview(buffer).cast("B")
        n_read = self._file.readinto(view) or 0
        view[n_read:] = bytes(len(view) - n_read)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's length, or remember why not."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return size or 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Tell the place in the file."""
        return self._file.tell()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def writable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


@contextmanager
def hdf5_file(path: Path, **how: Any) -> Iterator[h5py.File]:  # noqa: ANN401 - as h5py has it
    """Yield a new HDF5 file to write to; say when it is closed if that failed.

    Parameters
    ----------
    path : created, or emptied if it is there
    how : options of `h5py.File`

    Raises
    ------
    OSError
        The disk is full, or fails.
    """
    disk = ShardFile(path)
    try:
        with h5py.File(disk, "w", **how) as file:
            yield file
    finally:
        disk.close()
    disk.check()
