"""A local Dask cluster whose worker processes have a GPU each. Imports Dask: not for start-up."""

from collections.abc import Sequence
from typing import Any

from distributed import LocalCluster

from models.gpus import VISIBLE_GPUS

TASKS_AT_HAND = 2
"""Tasks that a worker process is at: one has the network, the other's shard is being published."""


class GpuCluster(LocalCluster):
    """A local cluster in which each worker process sees one GPU.

    Parameters
    ----------
    gpus : as `models.gpus.visible_gpus` gives them; where workers are more, they share them
    n_workers : processes
    how : options of `distributed.LocalCluster`
    """

    def __init__(self, gpus: Sequence[str], n_workers: int, **how: Any) -> None:  # noqa: ANN401
        self._gpus = gpus
        super().__init__(  # type: ignore[no-untyped-call]
            n_workers=0, threads_per_worker=TASKS_AT_HAND, **how
        )
        self.scale(n_workers)  # type: ignore[no-untyped-call]

    def new_worker_spec(self) -> dict[int, Any]:
        """Give the next worker its GPU, which it keeps when it has died and is started again."""
        ((number, spec),) = super().new_worker_spec().items()  # type: ignore[no-untyped-call]
        environment = {VISIBLE_GPUS: self._gpus[number % len(self._gpus)]}
        return {number: {**spec, "options": {**spec["options"], "env": environment}}}
