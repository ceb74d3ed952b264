"""Run tasks on a Dask cluster whose worker processes, and whose scheduler, may die."""

import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from models.engines import KERAS, OPENVINO
from stages.extract import Lost

if TYPE_CHECKING:
    from distributed import Client, Future

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_IN_FLIGHT = 2
"""Tasks a worker has at hand: one to work on, one to go on with. The rest wait with the caller."""

LOOK_S = 5.0
"""Wait for a result before the scheduler is asked whether there still are workers."""

ANSWER_S = 30.0
"""Wait for the scheduler's answer; one that hangs keeps its connections."""

NO_WORKERS_S = 60.0
"""Wait for a worker when none is left; a process that died is started again in a few."""

MOST_DEATHS = 10
"""Worker processes that may die one after the other without a result in between."""

SCHEDULER_LOST = (
    "the Dask scheduler is gone or does not answer; expected it to stay until the end; what was "
    "finished is kept; start it and run the same command again"
)


class ClusterError(RuntimeError):
    """The cluster cannot be reached, is not fit for this extraction, or has died."""


class DaskWorkers:
    """Runs tasks on a Dask cluster, a few a worker at a time.

    Parameters
    ----------
    client : connected
    versions : packages that a worker must have, by name; None if they need not be compared. They
        are compared task by task, since a worker may join at any time.
    """

    def __init__(self, client: "Client", versions: Mapping[str, str] | None = None) -> None:
        self._client = client
        self._versions = versions
        workers = client.scheduler_info(n_workers=-1)["workers"]
        n_with_gpu = _n_with_gpu(workers)
        self._resources = {"GPU": 1} if n_with_gpu else None
        self.n_workers = max(1, n_with_gpu or len(workers))

    def run(
        self, work: Callable[[Task], Result], next_task: Callable[[], Task | None]
    ) -> Iterator[Result | Lost]:
        """Run tasks, results in the order they come; more tasks may turn up meanwhile.

        Parameters
        ----------
        work : called with a task in a worker process; what it raises is raised here
        next_task : gives the next task, or None if there is none at the moment

        Yields
        ------
        Result or Lost
            `Lost` where the worker died that had the task, whether or not it had begun with it.

        Raises
        ------
        ClusterError
            The scheduler is gone, no worker is left, or workers die again and again.
        """
        from distributed import KilledWorker

        ended: SimpleQueue[Future[Any]] = SimpleQueue()
        running: dict[Future[Any], Task] = {}
        deaths: set[str] = set()
        while True:
            self._fill(running, work, next_task, ended)
            if not running:
                return
            future, result = self._next_result(ended)
            task: Any = running.pop(future)
            if isinstance(result, KilledWorker):
                deaths.add(result.last_worker.address)
                _refuse_to_go_on_dying(deaths)
                yield Lost(task=task)
            else:
                deaths.clear()
                yield result

    def _fill(
        self,
        running: "dict[Future[Any], Task]",
        work: Callable[[Task], Result],
        next_task: Callable[[], Task | None],
        ended: "SimpleQueue[Future[Any]]",
    ) -> None:
        while len(running) < TASKS_IN_FLIGHT * self.n_workers:
            task = next_task()
            if task is None:
                return
            self._refuse_lost_scheduler()
            future = self._submit(partial(run_if_fit, self._versions, work, task))
            running[future] = task
            future.add_done_callback(ended.put)

    def _submit(self, call: Callable[[], Any]) -> "Future[Any]":
        """Hand a call to some worker, so that a worker that cannot import it says so."""

        # Dask itself hangs on a module that is lacking; a nested function travels whole.
        def unpickle_and_call(pickled: bytes) -> Any:  # noqa: ANN401
            return pickle.loads(pickled)()

        return self._client.submit(
            unpickle_and_call, pickle.dumps(call), pure=False, resources=self._resources
        )

    def _next_result(self, ended: "SimpleQueue[Future[Any]]") -> "tuple[Future[Any], Any]":
        """Wait for a task to end and fetch its result; a `KilledWorker` if its worker died."""
        from distributed import KilledWorker

        while True:
            future = self._next_ended(ended)
            try:
                return future, future.result(timeout=LOOK_S)
            except KilledWorker as death:
                return future, death
            except CancelledError:
                raise ClusterError(SCHEDULER_LOST) from None
            except ImportError as error:
                raise cannot_import("a worker", error) from error
            except OSError:  # a timeout is one, too
                if future.status == "error":  # raised by the work itself
                    raise
                self._n_there()  # raises if it is the scheduler that fails
                # The worker died with the result, and Dask works it out again.
                future.add_done_callback(ended.put)

    def _next_ended(self, ended: "SimpleQueue[Future[Any]]") -> "Future[Any]":
        """Wait for a task to end; look at the cluster now and then, for Dask itself never gives up.

        Raises
        ------
        ClusterError
            The scheduler is gone, or there has been no worker for `NO_WORKERS_S`.
        """
        last_seen = time.monotonic()
        while True:
            with suppress(Empty):
                return ended.get(timeout=LOOK_S)
            if self._n_there():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > NO_WORKERS_S:
                message = (
                    f"no worker has been there for {NO_WORKERS_S:.0f} s; expected new ones for the "
                    "dead; what was finished is kept; start some and run the same command again"
                )
                raise ClusterError(message)

    def _n_there(self) -> int:
        """Ask the scheduler how many workers there are that can be given tasks."""
        self._refuse_lost_scheduler()
        scheduler = self._client.scheduler
        if scheduler is None:  # closed a moment ago
            raise ClusterError(SCHEDULER_LOST)
        try:
            identity = self._client.sync(
                scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S
            )
        except OSError:  # a timeout is one, too
            raise ClusterError(SCHEDULER_LOST) from None
        workers = identity["workers"]
        return _n_with_gpu(workers) if self._resources else len(workers)

    def _refuse_lost_scheduler(self) -> None:
        if self._client.status != "running":
            raise ClusterError(SCHEDULER_LOST)


def run_if_fit(
    versions: Mapping[str, str] | None, work: Callable[[Task], Result], task: Task
) -> Result:
    """Run a task, in a worker process, unless the worker would give other features.

    Raises
    ------
    ClusterError
        The worker has other versions than those expected.
    """
    if versions is not None:
        from distributed import get_worker

        from stages.shard_work import package_versions

        found = package_versions(OPENVINO if OPENVINO in versions else KERAS)
        refuse_other_versions(get_worker().address, found, versions)
    return work(task)


def refuse_other_versions(
    worker: str, found: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    """Refuse a worker whose features would differ.

    Raises
    ------
    ClusterError
        It has another version of a package, or lacks one.
    """
    differing = [
        f"{name} {found.get(name)} (here {version})"
        for name, version in expected.items()
        if found.get(name) != version
    ]
    if differing:
        message = (
            f"worker {worker} has {', '.join(differing)}; expected the same versions as here, "
            "since features would differ; bring the worker's environment up to date"
        )
        raise ClusterError(message)


def cannot_import(worker: str, error: Exception) -> ClusterError:
    """Say that a worker lacks a package."""
    reason = " ".join(str(error).split())
    return ClusterError(
        f"{worker} cannot load emostack ({reason}); expected it, with all that it needs, in the "
        "environment of every worker; install it there and run again"
    )


def _n_with_gpu(workers: Mapping[str, Any]) -> int:
    return sum(bool(worker.get("resources", {}).get("GPU")) for worker in workers.values())


def _refuse_to_go_on_dying(deaths: set[str]) -> None:
    if len(deaths) > MOST_DEATHS:
        message = (
            f"{len(deaths)} worker processes died one after the other without a result in between; "
            "expected them to live; what was finished is kept; look for a lack of memory, or use "
            "--workers 0 to see which file it is"
        )
        raise ClusterError(message)
