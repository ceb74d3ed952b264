"""The frozen CNN as OpenVINO runs it on a CPU: the same graph, about twice as fast.

Keras exports the graph by way of TensorFlow. Its own OpenVINO backend would load more quickly, but
leaves every layer's change of axes in place, which costs half the speed.
"""

import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.engines import EngineError, has_openvino
from models.frozen_cnn import MIN_BATCH_SIZE, padded, refuse_small_batches, refuse_unfit
from models.frozen_graph import (
    WindowShape,
    build_feature_graph,
    build_graph,
    build_picture_graph,
)
from models.networks import NetworkSettings
from models.quiet_keras import keras

Float32 = npt.NDArray[np.float32]
OpenVINO = Any  # the package, imported where it is needed
Request = Any

HINTS = {"float32": "f32", "bfloat16": "bf16"}
"""A recipe's precision as OpenVINO calls it. Its own default is bfloat16 where a CPU is good at it."""

PIXELS_A_CALL = 32 * 96**2
"""Pictures of one call: more of them, and what a layer hands on leaves the cores' caches (decision 10)."""

THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
"""Environment variables that pin the threads of a worker process; the first one that is set."""

_TELEMETRY = "openvino_telemetry"
_log = logging.getLogger("emostack." + __name__)


class OpenvinoCNN:
    """The graph, compiled once and run on batches of one fixed size.

    On one machine a window's feature is the same to the last bit wherever in a batch it stands,
    whatever stands beside it, how large the batch is, and for one thread or two.

    Parameters
    ----------
    settings : which network, weights, layers, pooling and precision
    window : shape of the windows that will come
    weights_file : as `models.weights.weights_file` gives it; None for random weights
    batch_size : 8 or more

    Attributes
    ----------
    name : ``openvino-cpu``
    feature_dim : length of a feature vector
    batch_size : most windows one call takes

    Raises
    ------
    EngineError
        If OpenVINO is not installed, or Keras runs on another backend than TensorFlow.
    NetworkError
        If `batch_size` is below 8, a layer is not there, or the weights do not fit.
    """

    name = "openvino-cpu"

    def __init__(
        self,
        settings: NetworkSettings,
        window: WindowShape,
        weights_file: Path | None,
        *,
        batch_size: int = 32,
    ) -> None:
        refuse_small_batches(batch_size)
        refuse_without_openvino()
        # A batch is computed in parts; a feature's bits do not depend on how many it is among.
        fitting = PIXELS_A_CALL // settings.input_size**2
        self._n_a_call = max(MIN_BATCH_SIZE, min(batch_size, fitting))
        self._call_shape = (self._n_a_call, *window.array_shape)
        self._steps = [
            _compiled(graph, self._n_a_call, hint)
            for graph, hint in _graphs(settings, window, weights_file)
        ]
        self.batch_size = batch_size
        self.feature_dim = int(self._steps[-1].model_outputs[0].shape[-1])
        _log.debug("%s gives %d values a segment", settings.network, self.feature_dim)

    def __call__(self, windows: Float32) -> Float32:
        """Compute the features of up to `batch_size` windows.

        Parameters
        ----------
        windows : float32, shape (n, n_mels, n_frames + delta_width - 1), in dB
            Never changed.

        Returns
        -------
        features : float32, shape (n, feature_dim)

        Raises
        ------
        ValueError
            If the shape or type of `windows` is another.
        """
        refuse_unfit(windows, (self.batch_size, *self._call_shape[1:]))
        features = np.empty((len(windows), self.feature_dim), np.float32)
        for first in range(0, len(windows), self._n_a_call):
            part = windows[first : first + self._n_a_call]
            values = padded(part, self._call_shape)
            for step in self._steps:
                step.infer([values], share_inputs=True)
                values = step.output_tensors[0].data
            # Copied, since the next call writes over what the request holds.
            features[first : first + len(part)] = values[: len(part)]
        return features

    def start(self, windows: Float32) -> Callable[[], Float32]:
        """Compute at once: on a CPU there is nothing to be gained by waiting."""
        features = self(windows)
        return lambda: features


def refuse_without_openvino() -> None:
    """Refuse to go on where OpenVINO cannot run the graph.

    Raises
    ------
    EngineError
        If it is not installed, or Keras runs on another backend than TensorFlow.
    """
    if not has_openvino():
        message = (
            "OpenVINO is not installed; expected it for --engine openvino; run pip install "
            "'openvino>=2025.2', or use --engine keras"
        )
        raise EngineError(message)
    if keras.backend.backend() != "tensorflow":
        message = (
            f"Keras runs on {keras.backend.backend()}; expected tensorflow, by way of which "
            "OpenVINO gets the graph; set KERAS_BACKEND=tensorflow, or use --engine keras"
        )
        raise EngineError(message)


def pinned_threads() -> int:
    """Threads that this process may compute with: as pinned, else one a usable core."""
    for name in THREADS:
        if os.environ.get(name, "").isdigit():
            return max(1, int(os.environ[name]))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _graphs(
    settings: NetworkSettings, window: WindowShape, weights_file: Path | None
) -> list[tuple[keras.Model, str]]:
    """Give the graph in one piece, or in two where only the second is to be in bfloat16.

    OpenVINO makes its own casts: what Keras' mixed precision puts in, it cannot read.
    """
    hint = HINTS[settings.precision]
    if settings.precision == "float32":
        return [(build_graph(settings, window, weights_file), hint)]
    network = build_feature_graph(settings, weights_file, in_float32=True)
    return [(build_picture_graph(settings, window), HINTS["float32"]), (network, hint)]


def _compiled(graph: keras.Model, batch_size: int, hint: str) -> Request:
    openvino = _import_openvino()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "graph.xml")
        graph.export(file, format="openvino", verbose=False)
        core = openvino.Core()
        model = core.read_model(file)
        model.reshape([batch_size, *graph.input_shape[1:]])
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": hint,
                "INFERENCE_NUM_THREADS": pinned_threads(),
                "NUM_STREAMS": 1,
                # Left to itself it ties threads to cores, those of every process to the same ones.
                "ENABLE_CPU_PINNING": False,
            },
        )
    return compiled.create_infer_request()


def _import_openvino() -> OpenVINO:
    """Import OpenVINO, which would tell its maker of every import, without what does so."""
    is_known = _TELEMETRY in sys.modules
    if not is_known:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    finally:
        if not is_known:
            del sys.modules[_TELEMETRY]
