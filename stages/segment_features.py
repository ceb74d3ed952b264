"""From utterances to segment features: one stream, whose batches span utterances.

Every event of an utterance comes before any event of the next, and an utterance ends in `Done` or
`Failed`, exactly once. So a writer only ever has one utterance open, and a file that breaks half way
can be forgotten without touching its neighbours.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features_cache.keys import CLEAN
from models.engines import Engine
from stages.frontend.audio import AudioError, duration_s
from stages.frontend.logmel import logmel_blocks
from stages.frontend.segments import segment_times, windows
from stages.frontend.views.table import view
from stages.frontend.views.view import seed_of
from stages.overlap import one_behind
from stages.recipe import Recipe
from stages.utterance import Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some segments of one utterance, in time order.

    Attributes
    ----------
    utterance : whose they are
    values : windows, float32 (n, n_mels, n_frames + delta_width - 1), or their features (n, dim)
    start, end : float64 (n,), seconds in the utterance as its view has it
    """

    utterance: Utterance
    values: NDArray[np.floating]
    start: NDArray[np.float64]
    end: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An utterance has ended well."""

    utterance: Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An utterance gives no features: reason code and words."""

    utterance: Utterance
    code: str
    message: str


Event = Rows | Done | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one call of the network takes, and whose it is.

    Attributes
    ----------
    events : in order; the values of each `Rows` are a part of `windows`
    windows : float32, shape (n, n_mels, n_frames + delta_width - 1); None where there are none
    """

    events: list[Event]
    windows: NDArray[np.float32] | None


def window_events(utterances: Iterable[Utterance], recipe: Recipe) -> Iterator[Event]:
    """Decode utterances one by one into windows of static log-Mel.

    A file that cannot be used gives `Failed`; the next one follows all the same.
    """
    for utterance in utterances:
        try:
            yield from _windows_of(utterance, recipe)
            if _has_changed(utterance):
                message = "the file was written to while it was being read"
                yield Failed(utterance=utterance, code="changed_during_run", message=message)
            else:
                yield Done(utterance=utterance)
        except AudioError as error:
            yield Failed(utterance=utterance, code=error.code, message=str(error))
        except MemoryError:
            yield Failed(
                utterance=utterance, code="memory", message="not enough memory to read the file"
            )
        except OSError as error:
            yield Failed(utterance=utterance, code="io", message=error.strerror or str(error))


def feature_events(events: Iterable[Event], network: Engine) -> Iterator[Event]:
    """Turn windows into features, a full batch at a time, whoever they belong to.

    Parameters
    ----------
    events : from `window_events`
    network : the frozen network

    Yields
    ------
    Event
        The same utterances in the same order, with features in place of windows.
    """
    for made in feature_lists(window_batches(events, network.batch_size), network):
        yield from made


def window_batches(events: Iterable[Event], batch_size: int) -> Iterator[Batch]:
    """Join windows into batches, whoever they belong to; only the last one is smaller."""
    for pieces in _batches(events, batch_size):
        values = [piece.values for piece in pieces if isinstance(piece, Rows)]
        windows = np.concatenate(values) if values else None
        yield Batch(events=_with_values(pieces, windows), windows=windows)


def feature_lists(batches: Iterable[Batch], network: Engine) -> Iterator[list[Event]]:
    """Have the network see batches; yield the events of each, with features in place of windows.

    Each batch is waited for when the next one has been begun, so that a device that works by itself
    always has something to do.
    """
    begun = (
        (batch.events, None if batch.windows is None else network.start(batch.windows))
        for batch in batches
    )
    for events, features in one_behind(begun):
        yield _with_values(events, features() if features else None)


def _batches(events: Iterable[Event], batch_size: int) -> Iterator[list[Event]]:
    """Cut events into lists of `batch_size` windows, with whatever stands between these."""
    waiting: deque[Event] = deque()
    n_waiting = 0
    for event in events:
        if isinstance(event, Failed):  # what is waiting of this utterance is not worth computing
            while (
                waiting
                and isinstance(last := waiting[-1], Rows)
                and last.utterance is event.utterance
            ):
                n_waiting -= len(last.values)
                waiting.pop()
        waiting.append(event)
        n_waiting += len(event.values) if isinstance(event, Rows) else 0
        while n_waiting >= batch_size:
            yield _take(waiting, batch_size)
            n_waiting -= batch_size
        if n_waiting == 0 and waiting:
            yield list(waiting)
            waiting.clear()
    if waiting:
        yield list(waiting)


def storable(events: Iterable[Event], dtype: str) -> Iterator[Event]:
    """Cast features to the storage type; an utterance whose features do not fit fails."""
    failed: Utterance | None = None
    for event in events:
        if event.utterance is failed:  # the rest of an utterance that has ended already
            continue
        ready = _cast(event, dtype) if isinstance(event, Rows) else event
        failed = ready.utterance if isinstance(ready, Failed) else None
        yield ready


def _cast(rows: Rows, dtype: str) -> Rows | Failed:
    # The largest tells of all of them: it is not a number where one is not, and rounds up first.
    peak = np.maximum(rows.values.max(), -rows.values.min())
    if not np.isfinite(peak):
        message = "the network gave features that are not finite numbers"
        return Failed(utterance=rows.utterance, code="non_finite_features", message=message)
    with np.errstate(over="ignore"):
        if not np.isfinite(peak.astype(dtype)):
            message = f"a feature of {peak:.4g} does not fit {dtype}; store this recipe as float32"
            return Failed(utterance=rows.utterance, code="float16_overflow", message=message)
    values = rows.values.astype(dtype, copy=False)
    return Rows(utterance=rows.utterance, values=values, start=rows.start, end=rows.end)


def _windows_of(utterance: Utterance, recipe: Recipe) -> Iterator[Rows]:
    path, seen = utterance.path, view(utterance.view)
    blocks = logmel_blocks(
        path,
        start=utterance.start,
        end=utterance.end,
        settings=recipe.frontend,
        view=seen,
        seed=0 if utterance.view == CLEAN else seed_of(utterance.key),
    )
    length_s = math.inf
    for cut, start_frames in windows(blocks, recipe.segments):
        if math.isinf(length_s):
            whole_s = duration_s(path) if math.isnan(utterance.end) else utterance.end
            length_s = seen.length_s(whole_s - utterance.start)
        start, end = segment_times(
            start_frames,
            frontend=recipe.frontend,
            segments=recipe.segments,
            duration_s=length_s,
        )
        yield Rows(utterance=utterance, values=cut, start=start, end=end)


def _has_changed(utterance: Utterance) -> bool:
    found = utterance.path.stat()
    return (found.st_size, found.st_mtime_ns) != (utterance.size, utterance.mtime_ns)


def _with_values(events: list[Event], values: NDArray[np.float32] | None) -> list[Event]:
    """Cut values that belong to all events together; None where there are none to be cut."""
    if values is None:
        return events
    first = 0
    cut: list[Event] = []
    for event in events:
        if isinstance(event, Rows):
            last = first + len(event.values)
            mine = values[first:last]
            cut.append(
                Rows(utterance=event.utterance, values=mine, start=event.start, end=event.end)
            )
            first = last
        else:
            cut.append(event)
    return cut


def _take(waiting: deque[Event], batch_size: int) -> list[Event]:
    pieces: list[Event] = []
    room = batch_size
    while waiting:
        piece = waiting.popleft()
        if isinstance(piece, Rows) and len(piece.values) > room:
            head, tail = _split(piece, room)
            waiting.appendleft(tail)
            if room:
                pieces.append(head)
            break
        pieces.append(piece)
        room -= len(piece.values) if isinstance(piece, Rows) else 0
    return pieces


def _split(rows: Rows, n: int) -> tuple[Rows, Rows]:
    head, tail = (
        Rows(utterance=rows.utterance, values=rows.values[s], start=rows.start[s], end=rows.end[s])
        for s in (slice(None, n), slice(n, None))
    )
    return head, tail
