"""Which GPUs there are, asked without loading Keras where there can be none."""

import os
from pathlib import Path

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
"""Environment variable that says which GPUs a process may use; AMD's software heeds it, too."""

DEVICES = Path("/dev")
DRIVERS = ("nvidia[0-9]*", "kfd", "dxg")
"""What the drivers of NVIDIA, AMD and Windows' Linux put there."""


def visible_gpus() -> list[str]:
    """Names, as `VISIBLE_GPUS` has them, of the GPUs that Keras can use."""
    if not any(path for driver in DRIVERS for path in DEVICES.glob(driver)):
        return []
    from models.backend import gpu_names

    n = len(gpu_names())
    named = [name.strip() for name in os.environ.get(VISIBLE_GPUS, "").split(",") if name.strip()]
    return named[:n] or [str(i) for i in range(n)]
