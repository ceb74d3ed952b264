"""Looking into shards that may be damaged, in a process that may die.

A flipped byte in HDF5's own structures can end the process that reads them, keep it busy for ever or
make it ask for all memory there is. So such a file is read by a child with a limit to its time and
memory; whatever ends the child is told as a torn shard. A child that cannot even start says nothing
about any shard: that is an error.
"""

import os
import resource
import subprocess
import sys
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from features_cache.shard_reading import ShardContent, ShardError, examine

TIMEOUT_S = 60.0
BYTES_PER_S = 4 * 2**20
"""A disk slower than this is taken for a child that hangs."""

START_S = 120.0
"""Seconds that the child may take to import what it needs."""

MEMORY = 2 * 2**30
"""Bytes that the child may ask for beyond what it has when it starts."""

CHILD = "from features_cache.examiner import serve; serve({})"
"""What the child runs; not multiprocessing's spawn, which would import the caller's script again."""


class ExaminerError(ChildProcessError):
    """The child that looks into shards cannot be started."""


class Examiner:
    """`examine` at arm's length; a context manager.

    The child starts with the first question, and anew after a shard that was torn.

    Parameters
    ----------
    timeout_s : seconds that a small shard may take
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None

    def examine(self, path: Path, *, full: bool) -> ShardContent:
        """Look at all of a shard; see `features_cache.shard_reading.examine`.

        Raises
        ------
        ShardError
            The shard is torn: it cannot be read, or reading it does not end well.
        ExaminerError
            The child cannot be started.
        """
        line = self._line or self._start()
        try:
            line.send((path, full))
            seen = "reading it does not end"
            if line.poll(self._timeout_s + path.stat().st_size / BYTES_PER_S):
                seen = "reading it brings the process down"
                answer = line.recv()
                if isinstance(answer, ShardContent):
                    return answer
                seen = str(answer)
        except (EOFError, ConnectionError):
            seen = "reading it brings the process down"
        self.close()
        message = (
            f"{path.name} is torn ({seen}); expected a whole shard; run 'emostack store repair'"
        )
        raise ShardError(message)

    def close(self) -> None:
        """End the child."""
        if self._child is not None and self._line is not None:
            self._line.close()
            self._child.kill()
            self._child.wait()
        self._child = self._line = None

    def _start(self) -> Connection:
        self._line, theirs = Pipe()
        self._child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        with suppress(EOFError, ConnectionError):
            if self._line.poll(START_S) and self._line.recv() == "ready":
                return self._line
        self.close()
        message = (
            "the process that looks into shards does not start; expected "
            f"{sys.executable} to import h5py and features_cache; run 'emostack doctor'"
        )
        raise ExaminerError(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def serve(descriptor: int) -> None:
    """Be the child: answer questions until the parent is gone.

    Parameters
    ----------
    descriptor : of the child's end of a pipe
    """
    limit_memory()
    line = Connection(descriptor)
    line.send("ready")
    with suppress(EOFError, ConnectionError):
        while True:
            path, full = line.recv()
            try:
                answer: ShardContent | str = examine(path, full=full)
            except ShardError as error:
                answer = str(error)
            line.send(answer)


def limit_memory() -> None:
    """Keep a damaged file from taking the machine's memory, and a crash from leaving its core."""
    limit = psutil.Process().memory_info().vms + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
