"""Networks that are trained side by side compute on a thread each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os
from models.backend import THREADS, compute_on_one_thread
from models.quiet_keras import ops
before = os.environ.get(THREADS)
compute_on_one_thread()
assert os.environ.get(THREADS) == before
ops.zeros(())
print(len(os.listdir("/proc/self/task")))
"""


def n_threads(**environment: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow"
    or not Path("/proc/self").is_dir(),
    reason="counts TensorFlow's threads on Linux",
)
def test_tensorflow_has_one_thread_a_step_unless_told_otherwise() -> None:
    assert n_threads() == n_threads(TF_NUM_INTRAOP_THREADS="1")
    assert n_threads() < n_threads(TF_NUM_INTRAOP_THREADS="8")
