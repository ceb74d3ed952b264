"""Which Keras backend runs the networks here."""

from models.quiet_keras import keras, ops, stderr_set_aside


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
