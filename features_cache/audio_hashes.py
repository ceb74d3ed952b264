"""What every audio file's bytes are, hashed once and remembered.

A file whose size and modification time are as they were is taken to be the same bytes: one ``stat``
a file on a quiet night. A file changed within `SETTLE_S` seconds of being hashed is not remembered,
since a second change in the same tick of the file system's clock would go unseen.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.arrays import ArrowExtensionArray

from features_cache.atomic import atomic_write
from features_cache.key_columns import Keys, content_keys, keys_of, to_arrow
from features_cache.keys import file_sha256
from features_cache.lookup import positions

SETTLE_S = 2.0
SAVE_EVERY_S = 60.0
"""A first night hashes for hours; what dies with the machine is a minute of that."""

BLOCK = 4096
"""Files looked at, or hashed, between two looks at the clock."""

FAR_S = 50e-6
"""A ``stat`` that takes longer waits for a network: then many are asked for at a time."""

FAR_THREADS, FAR_FILES = 16, 64

COLUMNS = {"path": "str", "size": "int64", "mtime_ns": "int64", "sha256": "str"}


class FileState(NamedTuple):
    """One file as it was when it was looked at.

    Attributes
    ----------
    size : bytes
    mtime_ns : modification time, nanoseconds since 1970
    sha256 : hexadecimal digest of its bytes; empty if they were not, or could not be, read
    code : empty, or why there is no digest: ``missing``, ``not_a_file``, ``permission``, ``empty``
        or ``io``
    message : that reason in words
    """

    size: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    code: str = ""
    message: str = ""


def stat_file(path: str) -> FileState:
    """Look at a file without reading it: size and time, or the reason why not."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a million times; Path costs as much again
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
    file : where they are kept; need not exist yet, and one that cannot be read counts as none
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = _read(file)
        self._fresh: list[tuple[str, int, int, str]] = []

    def states(
        self, paths: pd.Series, on_hashed: Callable[[int, int], None] = lambda _, __: None
    ) -> pd.DataFrame:
        """Look at every file; hash those that are new or look changed.

        Parameters
        ----------
        paths : text, absolute; a path that stands several times is looked at once
        on_hashed : called with how many files have been hashed, and how many are to be

        Returns
        -------
        pandas.DataFrame
            One row per path, in their order, index 0, 1, 2, ...; columns as `FileState`, but for
            ``sha256``: 32 bytes, null where there is no digest.
        """
        row_of, files = pd.factorize(paths) if paths.duplicated().any() else (None, paths)
        files = pd.Series(files, dtype="str").reset_index(drop=True)
        states = self._recall(files, _look_at_all(files))
        stale = np.flatnonzero((states["sha256"] == "") & (states["code"] == ""))
        if len(stale):
            hashed = self._hash_all(files.iloc[stale], on_hashed).set_index(stale)
            states = pd.concat([states.drop(index=stale), hashed]).sort_index()
        digests = ArrowExtensionArray(pa.chunked_array([to_arrow(keys_of(states["sha256"]))]))
        states = states.assign(sha256=pd.Series(digests, index=states.index))
        return states if row_of is None else states.take(row_of).reset_index(drop=True)

    def save(self) -> None:
        """Keep the digests for the next run, if any are new."""
        if not self._fresh:
            return
        fresh = pd.DataFrame(self._fresh, columns=list(COLUMNS)).astype(COLUMNS)
        old = self._known[positions(self._known["path"], fresh["path"]) < 0]
        self._fresh = []
        self._write(pd.concat([old, fresh]))

    def forget(self, digests: Collection[str], paths: Collection[str], keys: Keys) -> None:
        """Remember no file of some bytes, of some paths, or of some keys any more."""
        known = keys_of(self._known["sha256"])
        n = len(known)
        whole = content_keys(known, (np.zeros(n), np.full(n, np.nan)))
        is_gone = self._known["sha256"].isin(digests) | self._known["path"].isin(paths)
        is_gone |= np.isin(whole, keys)
        if is_gone.any():
            self._write(self._known[~is_gone])

    def _write(self, known: pd.DataFrame) -> None:
        self._known = known.reset_index(drop=True)
        table = pa.Table.from_pandas(self._known, preserve_index=False)
        with atomic_write(self._file) as partial:
            pq.write_table(table, partial, compression="zstd", use_dictionary=False)

    def _recall(self, files: pd.Series, states: pd.DataFrame) -> pd.DataFrame:
        """Fill in the digests of files that look as they did."""
        if self._known.empty:
            return states
        at = positions(files, self._known["path"])
        is_same = (at >= 0) & (states["code"] == "").to_numpy(bool)
        for name in ("size", "mtime_ns"):
            is_same &= self._known[name].to_numpy()[at] == states[name].to_numpy()
        known = pa.array(self._known["sha256"], pa.large_string())
        digests = known.take(pa.array(at, mask=~is_same)).fill_null("")
        return states.assign(sha256=pd.Series(digests, dtype="str"))

    def _hash_all(self, files: pd.Series, on_hashed: Callable[[int, int], None]) -> pd.DataFrame:
        """Hash files, keeping what is done for the next run once a minute."""
        found: list[FileState] = []
        saved = time.monotonic()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for block in _blocks(files):
                found += pool.map(self._hash, block)
                on_hashed(len(found), len(files))
                if time.monotonic() - saved > SAVE_EVERY_S:
                    self.save()
                    saved = time.monotonic()
        return _table(found)

    def _hash(self, path: str) -> FileState:
        before = stat_file(path)
        if before.code:
            return before
        try:
            sha256 = file_sha256(Path(path))
        except OSError as error:
            return _failure(error)
        if before.mtime_ns < (time.time() - SETTLE_S) * 1e9:
            self._fresh.append((path, before.size, before.mtime_ns, sha256))
        return before._replace(sha256=sha256)


def _read(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)[list(COLUMNS)].astype(COLUMNS)
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})


def _look_at_all(files: pd.Series) -> pd.DataFrame:
    tables: list[pd.DataFrame] = []
    is_far = False
    with ThreadPoolExecutor(FAR_THREADS) as pool:
        for block in _blocks(files):
            began = time.perf_counter()
            # A few files a task: to hand one over takes longer than to look at a file that is near.
            parts = [block[i : i + FAR_FILES] for i in range(0, len(block), FAR_FILES)]
            tables += (pool.map if is_far else map)(_look, parts if is_far else [block])
            is_far = is_far or time.perf_counter() - began > FAR_S * len(block)
    return pd.concat(tables, ignore_index=True) if tables else _table([])


def _look(paths: list[str]) -> pd.DataFrame:
    """Look at some files: an object each would take as long as looking."""
    sizes, times = [0] * len(paths), [0] * len(paths)
    odd: dict[int, FileState] = {}
    for i, path in enumerate(paths):
        try:
            found = os.stat(path)  # noqa: PTH116 - a million times; Path costs as much again
        except OSError as error:
            odd[i] = _failure(error)
            continue
        if found.st_size and stat.S_ISREG(found.st_mode):
            sizes[i], times[i] = found.st_size, found.st_mtime_ns
        else:
            odd[i] = stat_file(path)
    texts: dict[str, list[str] | None] = dict.fromkeys(FileState._fields[2:])
    if odd:
        states = [odd.get(i, FileState()) for i in range(len(paths))]
        texts = {name: [getattr(state, name) for state in states] for name in texts}
    return _columns(sizes, times, texts)


def _blocks(files: pd.Series) -> Iterator[list[str]]:
    for first in range(0, len(files), BLOCK):
        yield files.iloc[first : first + BLOCK].tolist()


def _table(states: list[FileState]) -> pd.DataFrame:
    sizes, times, *texts = zip(*states, strict=True) if states else ((),) * len(FileState._fields)
    return _columns(sizes, times, dict(zip(FileState._fields[2:], texts, strict=True)))


def _columns(
    sizes: Sequence[int], times: Sequence[int], texts: Mapping[str, Sequence[str] | None]
) -> pd.DataFrame:
    """Make a table of file states; None stands for a column of empty texts, made in one go."""
    empty = pa.repeat(pa.scalar("", pa.large_string()), len(sizes))
    numbers = {"size": np.array(sizes, np.int64), "mtime_ns": np.array(times, np.int64)}
    columns = {n: pd.Series(empty if t is None else t, dtype="str") for n, t in texts.items()}
    return pd.DataFrame(numbers | columns)


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
