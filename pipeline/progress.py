"""Progress on stderr: a bar on a terminal, one line a minute elsewhere, nothing when quiet."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 60.0


class Meter(Protocol):
    """Counts what is done."""

    def advance(self, n: int, note: str = "", *, total: int | None = None) -> None:
        """Add `n` steps; `note` says a little more, such as a rate; `total` mends the total."""


class _Silent:
    def advance(self, n: int, note: str = "", *, total: int | None = None) -> None:
        """Say nothing."""


class _Lines:
    """One line a minute, for log files."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._began = self._said = time.monotonic()

    def advance(self, n: int, note: str = "", *, total: int | None = None) -> None:
        """Count, and say so once a minute."""
        self._done += n
        self._total = total or self._total
        now = time.monotonic()
        if now - self._said >= LINE_EVERY_S:
            self._said = now
            left_s = (now - self._began) / max(1, self._done) * (self._total - self._done)
            sys.stderr.write(
                f"{self._what}: {self._done}/{self._total}, about {left_s / 60:.0f} min left {note}\n"
            )


class _Bar:
    def __init__(self, what: str, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(what, total=total, note="")

    def advance(self, n: int, note: str = "", *, total: int | None = None) -> None:
        """Move the bar."""
        self._progress.update(self._task, advance=n, note=note, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


@contextmanager
def meter(what: str, total: int, *, quiet: bool) -> Iterator[Meter]:
    """Show progress of `total` steps for the length of a block."""
    if quiet or total == 0:
        yield _Silent()
    elif sys.stderr.isatty():
        with _Bar(what, total) as bar:
            yield bar
    else:
        yield _Lines(what, total)
