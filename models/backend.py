"""Which Keras backend runs the networks here."""

import os

from models.quiet_keras import keras, ops, stderr_set_aside

THREADS = "TF_NUM_INTRAOP_THREADS"
"""What TensorFlow reads when it computes for the first time."""


def backend_name() -> str:
    """Name of the backend, which is also the name of its package: ``tensorflow``, ``jax``, ``torch``."""
    name: str = keras.config.backend()
    return name


def gpu_names() -> list[str]:
    """Names of the GPUs that the backend can use; on torch, for which Keras cannot tell, the one in use."""
    with stderr_set_aside():  # a machine without CUDA is no error
        if backend_name() == "torch":
            device = str(ops.convert_to_tensor(0.0).device)
            return [device] if device.startswith("cuda") else []
        try:
            names: list[str] = keras.distribution.list_devices("gpu")
        except RuntimeError:  # JAX's way to say that there is none
            return []
    return names


def compute_on_one_thread() -> None:
    """Have TensorFlow compute a step on one thread, if it has not computed yet in this process.

    Networks that are trained side by side keep all cores busy; cut into threads, each step waits for
    those of the others. What the user has said in `THREADS` counts.
    """
    if THREADS in os.environ:
        return
    os.environ[THREADS] = "1"
    try:
        ops.zeros(())
    finally:  # nothing else, such as a worker process, is to be told so
        del os.environ[THREADS]
