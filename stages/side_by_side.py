"""Jobs of one kind, several at a time, each on a worker of its own.

Threads suffice: the work is done within libraries that let go of Python's lock meanwhile. Numerical
libraries run one thread a job, else each job's threads would wait for the others'.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

Worker = TypeVar("Worker")
Job = TypeVar("Job")
Result = TypeVar("Result")

MAX_WORKERS = 4
"""More than that wait for Python's lock."""


def n_workers(n_jobs: int) -> int:
    """Count the workers that so many jobs are worth here, at least 1."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MAX_WORKERS, n_cores or 1, n_jobs))


def side_by_side(
    work: Callable[[Worker, Job, Event], Result],
    workers: Sequence[Worker],
    jobs: Sequence[Job],
) -> Generator[Result, None, None]:
    """Do all jobs and yield their results in the order of the jobs.

    Parameters
    ----------
    work : does one job; ends soon, by any error, once the event is set: somebody wants to stop
    workers : what jobs are done with; each does one at a time
    jobs : what is to do

    Notes
    -----
    An error of a job, or an interrupt, stops the others; it comes through when they have ended.
    """
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)
    stop = Event()

    def one(job: Job) -> Result:
        worker = free.get()
        try:
            return work(worker, job, stop)
        finally:
            free.put(worker)

    pool = ThreadPoolExecutor(len(workers))
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield from pool.map(one, jobs)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
