"""What is read of a store as float32."""

import numpy as np

from stages.stored_stacks import widened


def test_every_float16_becomes_the_float32_of_its_value() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    found = widened(every)
    assert found.dtype == np.float32
    assert np.array_equal(found, every.astype(np.float32), equal_nan=True)


def test_float32_stays_as_it_is() -> None:
    values = np.array([[0.1, 1e30]], np.float32)
    assert widened(values) is values
