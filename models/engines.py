"""Engines: what may run the frozen network. Nothing here imports Keras or OpenVINO.

An engine turns windows into features: a callable with ``name``, ``feature_dim`` and ``batch_size``.
`models.frozen_cnn.FrozenCNN` is the one called ``keras``, `models.openvino_cnn.OpenvinoCNN` the one
called ``openvino``. At one precision they agree within a tolerance (docs/performance.md), so an
engine is no part of a recipe; each shard says which one made it.
"""

import importlib.util
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

KERAS, OPENVINO = "keras", "openvino"
ENGINES = (KERAS, OPENVINO)


class EngineError(RuntimeError):
    """An engine that is not here, or that cannot run this network."""


class Engine(Protocol):
    """The frozen network, ready to run.

    Attributes
    ----------
    name : what a shard calls it, such as ``keras-tensorflow`` or ``openvino-cpu``
    feature_dim : length of a feature vector
    batch_size : most windows one call takes
    """

    name: str
    feature_dim: int
    batch_size: int

    def __call__(self, windows: Float32) -> Float32:
        """Compute the features of up to `batch_size` windows."""

    def start(self, windows: Float32) -> Callable[[], Float32]:
        """Begin the same; what is returned waits for the features, and gives them once."""


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def engine_of(name: str) -> str | None:
    """Say which of `ENGINES` a shard's ``engine`` means; None for what none of them made.

    Examples
    --------
    >>> engine_of("openvino-cpu"), engine_of("keras-jax"), engine_of("imported")
    ('openvino', 'keras', None)
    """
    kind = name.partition("-")[0]
    return kind if kind in ENGINES else None
