"""Coming to an end in good order: a signal, or a time by which the night has to be over.

The first word to stop lets every worker close its shard at once and publishes what is finished; a
second one ends the run where it stands, which also loses nothing that was finished.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import FrameType

from features_cache.lock import WriterLock

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class OutOfTimeError(RuntimeError):
    """The time was up before there was anything to publish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A time by which to stop.

    Attributes
    ----------
    at : seconds since 1970
    name : the option that said so, such as ``--until 06:00``
    """

    at: float
    name: str

    @property
    def seconds_left(self) -> float:
        """Seconds from now; negative when it has passed."""
        return self.at - time.time()


def deadline(
    until: str | None, max_hours: float | None, *, now: datetime | None = None
) -> Deadline | None:
    """Work out which of two limits comes first.

    Parameters
    ----------
    until : ``HH:MM`` of the 24 hours from `now` on, in the zone of `now`
    max_hours : hours from `now` on
    now : with its zone; the current time by default

    """
    now = now or datetime.now().astimezone()
    limits = []
    if until is not None:
        limits.append(Deadline(at=_next(until, now).timestamp(), name=f"--until {until}"))
    if max_hours is not None:
        at = now.timestamp() + 3600.0 * max_hours
        limits.append(Deadline(at=at, name=f"--max-hours {max_hours:g}"))
    return min(limits, key=lambda limit: limit.at, default=None)


def _next(until: str, now: datetime) -> datetime:
    hour, minute = map(int, until.split(":"))
    at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return at if at > now else at + timedelta(days=1)


class Stop:
    """Whether, and why, the work has to come to an end.

    Attributes
    ----------
    reason : name of the signal or of the option; empty while the work may go on
    """

    def __init__(self, lock: WriterLock, say: Callable[[str], None]) -> None:
        self._lock, self._say = lock, say
        self.reason = ""

    def __call__(self) -> bool:
        """Tell whether no further task is to be handed out."""
        return bool(self.reason)

    @property
    def was_signal(self) -> bool:
        """Whether somebody, not the clock, asked for it."""
        return self.reason in {number.name for number in SIGNALS}

    def ask(self, reason: str) -> None:
        """Ask all workers to close their shards."""
        if not self.reason:
            self.reason = reason
            self._lock.ask_to_stop()
            self._say(f"{reason}: closing the shards in flight")

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Answer a signal: the first one asks, the second one interrupts."""
        if self.was_signal:
            raise KeyboardInterrupt
        self.ask(signal.Signals(number).name)
        self.reason = signal.Signals(number).name


@contextmanager
def stoppable(
    lock: WriterLock, limit: Deadline | None, say: Callable[[str], None]
) -> Iterator[Stop]:
    """Let signals and a deadline stop the work of a block in good order.

    Parameters
    ----------
    lock : the store's, by which workers are asked
    limit : when to stop at the latest, or None
    say : told why, when it happens
    """
    stop = Stop(lock, say)
    timer = None
    if limit is not None:
        timer = threading.Timer(max(0.0, limit.seconds_left), stop.ask, (limit.name,))
        timer.daemon = True
        timer.start()
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in SIGNALS if is_main}
    try:
        for number in handlers:
            signal.signal(number, stop.on_signal)
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if timer is not None:
            timer.cancel()
