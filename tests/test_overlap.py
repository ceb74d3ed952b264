import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.overlap import made_ahead, one_behind
from stages.segment_features import (
    Done,
    Event,
    Failed,
    Rows,
    feature_events,
    storable,
    window_batches,
)
from stages.utterance import Utterance


def counting(made: list[int], n: int) -> Iterator[int]:
    for i in range(n):
        made.append(i)
        yield i


def wait_until_made(made: list[int], n: int) -> None:
    until = time.monotonic() + 10
    while len(made) < n and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(0.02)  # for one too many


@given(things=st.lists(st.integers()), n=st.integers(1, 5))
def test_things_keep_their_order_whoever_makes_them(things: list[int], n: int) -> None:
    assert list(one_behind(made_ahead(things, n))) == things


def test_a_thread_makes_so_many_ahead_and_no_more() -> None:
    made: list[int] = []
    ahead = made_ahead(counting(made, 100), 3)
    assert next(ahead) == 0
    wait_until_made(made, 4)
    assert made == [0, 1, 2, 3]
    ahead.close()


def test_closing_ends_the_thread() -> None:
    before = threading.active_count()
    ahead = made_ahead(counting([], 100), 3)
    next(ahead)
    assert threading.active_count() == before + 1
    ahead.close()
    assert threading.active_count() == before


def test_what_the_making_raises_comes_in_its_place() -> None:
    def broken() -> Iterator[int]:
        yield from (1, 2)
        message = "no third"
        raise OSError(message)

    ahead = made_ahead(broken(), 8)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(OSError, match="no third"):
        next(ahead)


class Network:
    """Gives the mean of each window, and remembers when it was asked and when it was waited for."""

    batch_size = 4
    feature_dim = 1
    name = "mean"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        return windows.mean(axis=(1, 2), dtype=np.float32)[:, None]

    def start(self, windows: np.ndarray):  # noqa: ANN201
        self.seen.append(f"start {len(windows)}")

        def wait() -> np.ndarray:
            self.seen.append(f"wait {len(windows)}")
            return self(windows)

        return wait


def rows(utterance: Utterance, first: int, n: int) -> Rows:
    values = np.arange(first, first + n, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3))
    times = np.arange(first, first + n, dtype=np.float64)
    return Rows(utterance=utterance, values=values.astype(np.float32), start=times, end=times + 1)


def utterance(name: str) -> Utterance:
    return Utterance(utterance_id=name, path=Path(name), end=1.0, key=name)


def test_the_next_batch_is_begun_before_the_last_one_is_waited_for() -> None:
    network, one = Network(), utterance("a")
    events = list(feature_events([rows(one, 0, 11), Done(utterance=one)], network))
    assert network.seen == ["start 4", "start 4", "wait 4", "start 3", "wait 4", "wait 3"]
    values = np.concatenate([event.values for event in events if isinstance(event, Rows)])
    assert values[:, 0].tolist() == list(range(11))
    assert events[-1] == Done(utterance=one)


@given(
    lengths=st.lists(st.lists(st.integers(1, 9), max_size=3), min_size=1, max_size=5),
    broken=st.integers(0, 5),
)
def test_every_utterance_ends_once_in_its_place_with_the_features_of_its_own_windows(
    lengths: list[list[int]], broken: int
) -> None:
    events: list[Event] = []
    for i, pieces in enumerate(lengths):
        one, first = utterance(f"u{i}"), 100 * i
        for n in pieces:
            events.append(rows(one, first, n))
            first += n
        is_broken = i == broken
        events.append(
            Failed(utterance=one, code="c", message="m") if is_broken else Done(utterance=one)
        )
    found = list(feature_events(events, Network()))
    ends = [event for event in found if not isinstance(event, Rows)]
    assert ends == [event for event in events if not isinstance(event, Rows)]
    for i, pieces in enumerate(lengths):
        mine = [e for e in found if isinstance(e, Rows) and e.utterance.key == f"u{i}"]
        values = [value for event in mine for value in event.values[:, 0].tolist()]
        assert values == [event for r in mine for event in r.start.tolist()]
        if i != broken:
            assert values == [100 * i + k for k in range(sum(pieces))]


def test_windows_are_joined_once_and_their_events_are_parts_of_them() -> None:
    one, other = utterance("a"), utterance("b")
    events = [rows(one, 0, 3), Done(utterance=one), rows(other, 3, 6), Done(utterance=other)]
    batches = list(window_batches(events, 4))
    assert [None if b.windows is None else len(b.windows) for b in batches] == [4, 4, 1]
    for batch in batches:
        mine = [event.values for event in batch.events if isinstance(event, Rows)]
        assert all(np.shares_memory(values, batch.windows) for values in mine)
        np.testing.assert_array_equal(np.concatenate(mine), batch.windows)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "dtype", "code"),
    [
        ([1.0, -65519.0], "float16", None),
        ([1.0, 65520.0], "float16", "float16_overflow"),
        ([-65520.0, 1.0], "float16", "float16_overflow"),
        ([65520.0, -70000.0], "float32", None),
        ([NAN, 1.0], "float16", "non_finite_features"),
        ([1e9, NAN], "float16", "non_finite_features"),
        ([1.0, -INF], "float32", "non_finite_features"),
        ([INF, 1.0], "float16", "non_finite_features"),
    ],
)
def test_features_are_stored_if_each_is_a_number_of_the_type(
    values: list[float], dtype: str, code: str | None
) -> None:
    one = utterance("a")
    given_ = Rows(
        utterance=one, values=np.array([values], np.float32), start=np.zeros(1), end=np.ones(1)
    )
    found, *rest = storable([given_, Done(utterance=one)], dtype)
    if code is None:
        assert isinstance(found, Rows)
        assert found.values.dtype == dtype
        assert np.isfinite(found.values).all()
        assert rest == [Done(utterance=one)]
    else:
        assert isinstance(found, Failed)
        assert (found.code, rest) == (code, [])
