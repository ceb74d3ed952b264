"""Features as text: the shortest digits that read back to the same float32, many at once."""

import functools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BLOCK_VALUES = 2**20
"""Values that are text at once: some ten megabytes, however long an utterance is."""


def comma_separated(features: NDArray[np.floating]) -> Iterator[str]:
    """Write each row as its numbers, with commas between.

    Parameters
    ----------
    features : float16 or float32, shape (n, feature_dim); a float16 value is written as the float32
        that equals it

    Examples
    --------
    >>> import numpy as np
    >>> list(comma_separated(np.array([[0.1, -2.0]], np.float16)))
    ['0.099975586,-2']
    >>> list(comma_separated(np.array([[0.1, -2.0]], np.float32)))
    ['0.1,-2']
    """
    step = max(1, BLOCK_VALUES // features.shape[1])
    for first in range(0, len(features), step):
        block = np.ascontiguousarray(features[first : first + step])
        ends = np.arange(len(block) + 1, dtype=np.int32) * block.shape[1]
        rows = pa.ListArray.from_arrays(pa.array(ends), _texts(block.ravel()))
        yield from pc.binary_join(rows, ",").to_pylist()


def _texts(values: NDArray[np.floating]) -> pa.StringArray:
    if values.dtype == np.float16:
        return _halves().take(pa.array(values.view(np.uint16)))
    return pc.cast(pa.array(values.astype(np.float32, copy=False)), pa.string())


@functools.cache
def _halves() -> pa.StringArray:
    """All that a float16 can be: looking them up is many times as fast as writing them."""
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):  # some of them are no numbers
        return pc.cast(pa.array(every.astype(np.float32)), pa.string())
