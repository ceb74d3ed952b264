"""Keras, imported without its backend's start-up remarks.

TensorFlow writes lines about oneDNN and CUDA to stderr while it is imported, past every log level.
They are set aside here, and shown after all if the import fails. The other modules of this package
import Keras from here.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Later remarks, too: a machine without CUDA is an error to it. What matters raises in Python, and
# `emostack doctor` tells which GPUs there are.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A GPU's memory is taken as it is needed, in TensorFlow and in JAX: its process is not the only one.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

if not os.environ.get("KERAS_HOME"):  # set but empty, it would have Keras write to this folder
    os.environ.pop("KERAS_HOME", None)


@contextmanager
def stderr_set_aside() -> Iterator[None]:
    """Keep stderr, C libraries' too, to itself for a block; show it if the block fails."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(stderr, aside.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


with stderr_set_aside():
    import keras
    from keras import layers, ops

__all__ = ["keras", "layers", "ops", "stderr_set_aside"]
