"""What can this machine do? One finding a subject: backend, GPU, weights, disk, threads, Dask."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from models.engines import KERAS, OPENVINO
from models.weights import find_weights, is_reachable, keras_home
from stages.recipe import DEFAULT, RECIPES

FREE_BYTES = 2 * 2**30
"""Free disk below which an extraction is soon in trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at."""

    subject: str
    text: str
    is_problem: bool = False


def examine(workdir: Path) -> list[Finding]:
    """Look at everything; nothing is changed."""
    return [
        Finding(subject="python", text=f"{platform.python_version()} on {platform.platform()}"),
        _backend(),
        _gpus(),
        _weights(),
        _disk(workdir),
        _threads(),
        _dask(),
        _engines(),
    ]


def _backend() -> Finding:
    try:
        from models.backend import backend_name

        name = backend_name()
        version = importlib.metadata.version(name)
    except (ImportError, importlib.metadata.PackageNotFoundError) as error:
        text = f"Keras cannot load its backend: {error}; install it or set KERAS_BACKEND"
        return Finding(subject="backend", text=text, is_problem=True)
    keras = importlib.metadata.version("keras")
    return Finding(subject="backend", text=f"keras {keras} on {name} {version}")


def _gpus() -> Finding:
    try:
        from models.backend import gpu_names

        names = gpu_names()
    except (ImportError, RuntimeError) as error:
        return Finding(subject="gpu", text=f"could not ask: {error}", is_problem=True)
    text = ", ".join(names) if names else "none that the backend can use; the CPU does the work"
    return Finding(subject="gpu", text=text)


def _weights() -> Finding:
    network = RECIPES[DEFAULT].network
    path = find_weights(network)
    if path is not None:
        return Finding(subject="weights", text=f"{network.network}: {path}")
    folder = keras_home() / "models"
    if is_reachable():
        text = f"{network.network}: not in {folder} yet; the first extraction downloads them"
        return Finding(subject="weights", text=text)
    text = (
        f"{network.network}: no {network.entry.weights_name} in {folder}, and the download host "
        "does not answer; put the file there or set KERAS_HOME"
    )
    return Finding(subject="weights", text=text, is_problem=True)


def _disk(workdir: Path) -> Finding:
    folder = workdir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free below {folder}"
    return Finding(subject="disk", text=text, is_problem=free < FREE_BYTES)


def _threads() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pinned = {
        name: os.environ[name]
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
        if name in os.environ
    }
    text = f"{usable} cores usable" + "".join(f", {k}={v}" for k, v in pinned.items())
    return Finding(subject="threads", text=text)


def _dask() -> Finding:
    version = importlib.metadata.version("distributed")
    return Finding(subject="dask", text=f"distributed {version}")


def _engines() -> Finding:
    try:
        version = importlib.metadata.version(OPENVINO)
    except importlib.metadata.PackageNotFoundError:
        text = f"{KERAS}; not {OPENVINO}, which is quicker on CPUs: pip install 'openvino>=2025.2'"
    else:
        text = f"{KERAS}, {OPENVINO} {version}"
    return Finding(subject="engines", text=text)
