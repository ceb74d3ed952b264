"""Who runs the tasks of stage one: this process, a local Dask cluster, or one that is running.

The three give the same bytes. Threads are pinned in every worker process, since processes that
each believe they own all cores halve the speed without a word.
"""

import os
import signal
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psutil

from stages.extract import Workers

if TYPE_CHECKING:
    from distributed import Client

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_IN_FLIGHT = 2
"""Tasks a worker has at hand: one to work on, one to go on with. The rest wait here."""

CONNECT_S = 10

WORKER_BYTES = 1.5 * 2**30
"""Memory to plan for one worker process: the default recipe's takes 0.9 GiB."""


def default_workers() -> int:
    """Choose how many local processes: one a core, as far as the memory goes."""
    by_memory = psutil.virtual_memory().available // WORKER_BYTES
    return max(1, min(os.cpu_count() or 1, int(by_memory)))


class ClusterError(RuntimeError):
    """The cluster cannot be reached or is not fit for this extraction."""


class ThisProcess:
    """Runs tasks one after the other, here."""

    n_workers = 1

    def run(self, work: Callable[[Task], Result], tasks: deque[Task]) -> Iterator[Result]:
        """Run tasks until none is left; more may be added meanwhile."""
        while tasks:
            yield work(tasks.popleft())


class DaskWorkers:
    """Runs tasks on a Dask cluster, a few a worker at a time.

    Parameters
    ----------
    client : connected
    """

    def __init__(self, client: "Client") -> None:
        self._client = client
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        self.n_workers = max(1, len(workers))
        with_gpu = [worker for worker in workers if worker.get("resources", {}).get("GPU")]
        self._resources = {"GPU": 1} if with_gpu else None
        if with_gpu:
            self.n_workers = len(with_gpu)

    def run(self, work: Callable[[Task], Result], tasks: deque[Task]) -> Iterator[Result]:
        """Run tasks until none is left, results in the order they come; more may be added."""
        from distributed import KilledWorker, as_completed

        running = as_completed(loop=self._client.loop)
        n_running = 0
        while tasks or n_running:
            while tasks and n_running < TASKS_IN_FLIGHT * self.n_workers:
                task = tasks.popleft()
                running.add(self._client.submit(work, task, pure=False, resources=self._resources))
                n_running += 1
            future = next(running)
            n_running -= 1
            try:
                result = future.result()
            except KilledWorker as error:
                message = (
                    f"worker processes died again and again on one task ({error.task}); expected "
                    "them to live: look for a lack of memory, or use --workers 0 to see which file "
                    "it is; what was finished is kept"
                )
                raise ClusterError(message) from error
            yield result


@contextmanager
def open_workers(
    n_workers: int, scheduler: str | None, *, store: Path, audio: Path, scratch: Path
) -> Iterator[Workers]:
    """Provide the workers for one extraction.

    Parameters
    ----------
    n_workers : processes of a local cluster; 0 for no cluster at all
    scheduler : address of a running scheduler, such as ``tcp://host:8786``; beats `n_workers`
    store : folder that every worker must see
    audio : file that every worker must see
    scratch : folder for the local cluster's own files

    Raises
    ------
    ClusterError
        The scheduler does not answer, or its workers differ from this machine.
    """
    if scheduler is not None:
        with _connect(scheduler) as client:
            _refuse_unfit_workers(client, store, audio)
            yield DaskWorkers(client)
    elif n_workers == 0:
        yield ThisProcess()
    else:
        with _local_cluster(n_workers, scratch) as client:
            yield DaskWorkers(client)


@contextmanager
def _connect(scheduler: str) -> Iterator["Client"]:
    from distributed import Client

    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        message = (
            f"no Dask scheduler answered at {scheduler} within {CONNECT_S} s; expected one that is "
            "running; check the address, or leave --scheduler out for a local cluster"
        )
        raise ClusterError(message) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            message = f"the scheduler at {scheduler} has no workers; start some and run again"
            raise ClusterError(message)
        yield client


@contextmanager
def _local_cluster(n_workers: int, scratch: Path) -> Iterator["Client"]:
    import dask
    from distributed import Client, LocalCluster

    threads = str(max(1, (os.cpu_count() or 1) // n_workers))
    pinned = {
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": "1",
    }
    settings = {
        "distributed.nanny.pre-spawn-environ": pinned,
        "distributed.worker.daemon": True,
        "temporary-directory": str(scratch),
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # a limit would pause a worker without a word; results are tiny
            dashboard_address="127.0.0.1:0",  # any free port: 8787 may be somebody else's
            silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        # Ctrl-C in a terminal reaches every process of the group; only this one has to answer it.
        client.run(ignore_interrupts)
        yield client


def ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that the user started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _refuse_unfit_workers(client: "Client", store: Path, audio: Path) -> None:
    """Compare package versions, and have every worker find a new file and an old one."""
    from stages.shard_work import package_versions

    mine = package_versions()
    for worker, versions in client.run(package_versions).items():
        differing = [
            f"{k} {versions.get(k)} (here {v})" for k, v in mine.items() if versions.get(k) != v
        ]
        if differing:
            message = (
                f"worker {worker} has {', '.join(differing)}; expected the same versions as here, "
                "since features would differ; bring the worker's environment up to date"
            )
            raise ClusterError(message)
    token = store.absolute() / f".seen-{uuid.uuid4().hex}"
    token.touch()
    try:
        for path in (token, audio):
            seen: dict[str, bool] = client.run(os.path.exists, str(path))
            blind = [worker for worker, found in seen.items() if not found]
            if blind:
                message = (
                    f"worker {blind[0]} does not see {path.parent}; expected folders that all "
                    "workers share; put --workdir and the audio on shared storage"
                )
                raise ClusterError(message)
    finally:
        token.unlink()
