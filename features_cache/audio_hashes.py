"""What every audio file's bytes are, hashed once and remembered.

A file whose size and modification time are as they were is taken to be the same bytes: one ``stat``
a file on a quiet night. A file changed within `SETTLE_S` seconds of being hashed is not remembered,
since a second change in the same tick of the file system's clock would go unseen.
"""

import errno
import os
import stat
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features_cache.atomic import atomic_write
from features_cache.keys import file_sha256

SETTLE_S = 2.0
COLUMNS = ["path", "size", "mtime_ns", "sha256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """One file as it was when it was looked at.

    Attributes
    ----------
    sha256 : hexadecimal digest of its bytes; empty if they could not be read
    size : bytes
    mtime_ns : modification time, nanoseconds since 1970
    code : empty, or why there is no digest: ``missing``, ``not_a_file``, ``permission``, ``empty``
        or ``io``
    message : that reason in words
    """

    sha256: str = ""
    size: int = 0
    mtime_ns: int = 0
    code: str = ""
    message: str = ""


def stat_file(path: Path) -> FileState:
    """Look at a file without reading it: size and time, or the reason why not."""
    try:
        found = path.stat()
    except OSError as error:
        return _failure(error)
    if not stat.S_ISREG(found.st_mode):
        return FileState(code="not_a_file", message="a folder or device, expected an audio file")
    if found.st_size == 0:
        return FileState(code="empty", message="the file has no bytes")
    return FileState(size=found.st_size, mtime_ns=found.st_mtime_ns)


class AudioHashes:
    """The remembered digests, in one Parquet file.

    Parameters
    ----------
    file : where they are kept; need not exist yet
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, tuple[int, int, str]] = {}
        self._changed = False
        if file.exists():
            table = pd.read_parquet(file)
            self._known = {
                path: (size, mtime_ns, sha256)
                for path, size, mtime_ns, sha256 in zip(
                    *(table[c].tolist() for c in COLUMNS), strict=True
                )
            }

    def states(self, paths: Iterable[Path]) -> Mapping[Path, FileState]:
        """Look at every file; hash those that are new or look changed."""
        states = {path: stat_file(path) for path in dict.fromkeys(paths)}
        stale = [p for p, state in states.items() if not state.code and not self._recall(p, state)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            states.update(zip(stale, pool.map(self._hash, stale), strict=True))
        return {p: self._recall(p, s) or s for p, s in states.items()}

    def save(self) -> None:
        """Keep the digests for the next run, if any are new."""
        if not self._changed:
            return
        rows = [(path, *known) for path, known in self._known.items()]
        with atomic_write(self._file) as partial:
            pd.DataFrame(rows, columns=COLUMNS).to_parquet(partial, index=False)
        self._changed = False

    def _recall(self, path: Path, state: FileState) -> FileState | None:
        known = self._known.get(str(path))
        if known is None or known[:2] != (state.size, state.mtime_ns):
            return None
        return FileState(sha256=known[2], size=state.size, mtime_ns=state.mtime_ns)

    def _hash(self, path: Path) -> FileState:
        before = stat_file(path)
        try:
            sha256 = file_sha256(path)
        except OSError as error:
            return _failure(error)
        state = FileState(sha256=sha256, size=before.size, mtime_ns=before.mtime_ns)
        if before.mtime_ns < (time.time() - SETTLE_S) * 1e9:
            self._known[str(path)] = (state.size, state.mtime_ns, sha256)
            self._changed = True
        return state


def _failure(error: OSError) -> FileState:
    codes = {
        errno.ENOENT: "missing",
        errno.ENOTDIR: "missing",
        errno.EACCES: "permission",
        errno.EPERM: "permission",
        errno.ENAMETOOLONG: "missing",
        errno.EISDIR: "not_a_file",
    }
    code = codes.get(error.errno or 0, "io")
    return FileState(code=code, message=error.strerror or type(error).__name__)
