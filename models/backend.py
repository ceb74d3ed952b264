"""Which Keras backend runs the networks here."""

from models.quiet_keras import keras, stderr_set_aside


def backend_name() -> str:
    """Name of the backend, which is also the name of its package: ``tensorflow``, ``jax``, ``torch``."""
    name: str = keras.config.backend()
    return name


def gpu_names() -> list[str]:
    """Names of the GPUs that the backend can use."""
    with stderr_set_aside():  # a machine without CUDA is no error
        names: list[str] = keras.distribution.list_devices("gpu")
    return names
