"""Who runs the tasks of stage one: this process, a local Dask cluster, or one that is running.

The three give the same bytes. Threads are pinned in every worker process, since processes that
each believe they own all cores halve the speed without a word.
"""

import logging
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from models.engines import KERAS, OPENVINO
from models.gpus import visible_gpus
from pipeline.dask_workers import (
    NO_WORKERS_S,
    ClusterError,
    DaskWorkers,
    cannot_import,
    refuse_other_versions,
)
from stages.engine_choice import openvino_is_quicker
from stages.extract import Workers

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

Task = TypeVar("Task")
Result = TypeVar("Result")

CONNECT_S = 10

TALKERS = ("distributed", "distributed.client", "tornado.application", "asyncio")
"""Loggers that tell the user of every connection that a death breaks."""

SILENT = logging.CRITICAL + 1

WORKER_BYTES = 1.5 * 2**30
"""Memory to plan for one worker process: the default recipe's takes 0.9 GiB."""


def default_workers(engine: str = OPENVINO) -> int:
    """Choose how many local processes: one a GPU, else one a core, as far as the memory goes."""
    if gpus := usable_gpus(engine):
        return len(gpus)
    by_memory = psutil.virtual_memory().available // WORKER_BYTES
    return max(1, min(os.cpu_count() or 1, int(by_memory)))


def usable_gpus(engine: str) -> list[str]:
    """Names of the GPUs that an engine can use; OpenVINO is for CPUs."""
    return visible_gpus() if engine == KERAS else []


class ThisProcess:
    """Runs tasks one after the other, here."""

    n_workers = 1

    def run(
        self, work: Callable[[Task], Result], next_task: Callable[[], Task | None]
    ) -> Iterator[Result]:
        """Run tasks until there is none."""
        while (task := next_task()) is not None:
            yield work(task)


@contextmanager
def open_workers(
    n_workers: int,
    scheduler: str | None,
    *,
    store: Path,
    audio: Path,
    scratch: Path,
    engine: str = KERAS,
) -> Iterator[Workers]:
    """Provide the workers for one extraction.

    Parameters
    ----------
    n_workers : processes of a local cluster; 0 for no cluster at all
    scheduler : address of a running scheduler, such as ``tcp://host:8786``; beats `n_workers`
    store : folder that every worker must see
    audio : file that every worker must see
    scratch : folder for the local cluster's own files
    engine : what runs the network, so that every worker must have it

    Raises
    ------
    ClusterError
        The scheduler does not answer, or its workers differ from this machine.
    """
    if scheduler is not None:
        with _quiet_dask(), _connect(scheduler) as client:
            yield DaskWorkers(client, _refuse_unfit_workers(client, store, audio, engine))
    elif n_workers == 0:
        yield ThisProcess()
    else:
        with _quiet_dask(), _local_cluster(n_workers, scratch, usable_gpus(engine)) as client:
            yield DaskWorkers(client)


def openvino_is_quicker_there(scheduler: str) -> bool:
    """Whether OpenVINO is the quicker engine for every worker of a running scheduler.

    Raises
    ------
    ClusterError
        The scheduler does not answer, or has no workers.
    """
    with _quiet_dask(), _connect(scheduler) as client:
        answers = client.run(openvino_is_quicker, on_error="return")
    return all(answer is True for answer in answers.values())


@contextmanager
def _quiet_dask() -> Iterator[None]:
    """Keep Dask's accounts of every death off the screen: a `ClusterError` says what matters."""
    import distributed  # noqa: F401  sets the levels that are changed here

    loggers = [logging.getLogger(name) for name in TALKERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(SILENT)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


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
def _local_cluster(n_workers: int, scratch: Path, gpus: list[str]) -> Iterator["Client"]:
    import dask
    from distributed import Client

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
        "distributed.scheduler.allowed-failures": 0,  # a death is told at once, not after four
        "distributed.worker.daemon": True,
        "temporary-directory": str(scratch),
    }
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        with _signals_are_for_this_thread():
            cluster = stack.enter_context(_started(n_workers, gpus))
        client = stack.enter_context(Client(cluster, set_as_default=False))
        _wait_for(client, n_workers)
        yield client


def _wait_for(client: "Client", n_workers: int) -> None:
    try:
        client.wait_for_workers(n_workers, timeout=NO_WORKERS_S)
    except TimeoutError as error:
        message = (
            f"the local cluster has not got {n_workers} worker processes within {NO_WORKERS_S:.0f} s; "
            "expected them all; run again, with fewer --workers if memory or GPUs are short"
        )
        raise ClusterError(message) from error


def _started(n_workers: int, gpus: list[str]) -> "LocalCluster":
    from distributed import LocalCluster

    how: dict[str, Any] = {
        "n_workers": n_workers,
        "processes": True,
        "memory_limit": 0,  # it would pause a worker without a word; results are tiny
        "dashboard_address": "127.0.0.1:0",  # any free port: 8787 may be somebody else's
        "silence_logs": SILENT,
    }
    try:
        if not gpus:
            return LocalCluster(threads_per_worker=1, **how)
        from pipeline.gpu_cluster import GpuCluster

        return GpuCluster(gpus, **how)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        message = (
            f"the local cluster did not start ({reason}); expected {n_workers} worker processes; "
            "run again, with fewer --workers if memory is short"
        )
        raise ClusterError(message) from error


@contextmanager
def _signals_are_for_this_thread() -> Iterator[None]:
    """Have threads that are started here, and all their processes, wait out SIGINT and SIGTERM.

    Ctrl-C, systemd and Slurm send them to every process of a job, but only the one that the user
    started has to answer. The mask is inherited, also by the successor of a worker that died.
    """
    resource_tracker.ensure_running()  # the thread that starts it loses its mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _refuse_unfit_workers(
    client: "Client", store: Path, audio: Path, engine: str = KERAS
) -> dict[str, str]:
    """Compare package versions, and have every worker find a new file and an old one.

    Returns
    -------
    dict
        The versions that a worker must have.
    """
    from stages.shard_work import package_versions

    mine = package_versions(engine)
    for worker, versions in client.run(package_versions, engine, on_error="return").items():
        if isinstance(versions, Exception):
            raise cannot_import(f"worker {worker}", versions) from versions
        refuse_other_versions(worker, versions, mine)
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
    return mine
