import time
from contextlib import closing
from threading import Event

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from stages.side_by_side import MAX_WORKERS, n_workers, side_by_side

LONG_S = 20


def test_results_come_in_the_order_of_the_jobs_whichever_ends_first() -> None:
    def work(_: str, seconds: float, __: Event) -> float:
        time.sleep(seconds)
        return seconds

    jobs = [0.05, 0.0, 0.02, 0.0]
    assert list(side_by_side(work, ["a", "b"], jobs)) == jobs


def test_a_worker_does_one_job_at_a_time() -> None:
    busy: set[str] = set()
    seen: list[int] = []

    def work(worker: str, _: int, __: Event) -> str:
        assert worker not in busy
        busy.add(worker)
        seen.append(len(busy))
        time.sleep(0.01)
        busy.remove(worker)
        return worker

    assert set(side_by_side(work, ["a", "b"], range(8))) == {"a", "b"}
    assert max(seen) == 2


def until_stopped(_: str, number: int, stop: Event) -> int:
    """Job 0 ends at once, or fails; the others wait to be stopped."""
    if number == 0:
        return 0
    if number == -1:
        raise ValueError("job -1 went astray")
    stop.wait(LONG_S)
    return number


def test_an_error_of_a_job_stops_the_others_and_comes_through() -> None:
    began = time.monotonic()
    results = side_by_side(until_stopped, ["a", "b"], [0, -1, 5, 6])
    assert next(results) == 0
    with pytest.raises(ValueError, match="job -1 went astray"):
        next(results)
    assert time.monotonic() - began < LONG_S / 2


def test_who_reads_no_further_stops_the_jobs() -> None:
    began = time.monotonic()
    with closing(side_by_side(until_stopped, ["a", "b"], [0, 5, 6, 7])) as results:
        assert next(results) == 0
    assert time.monotonic() - began < LONG_S / 2


def test_a_job_has_one_thread_of_the_numerical_libraries() -> None:
    def work(_: str, __: int, ___: Event) -> set[int]:
        np.linalg.eigh(np.eye(3))
        return {own["num_threads"] for own in threadpool_info() if own["user_api"] == "blas"}

    assert list(side_by_side(work, ["a"], [0])) == [{1}]


@pytest.mark.parametrize("n_jobs", [0, 1, 2, 1000])
def test_there_are_no_more_workers_than_jobs_and_always_one(n_jobs: int) -> None:
    assert 1 <= n_workers(n_jobs) <= max(1, min(n_jobs, MAX_WORKERS))
