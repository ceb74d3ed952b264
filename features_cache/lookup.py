"""Columns of texts, found among others a whole column at a time: a million cost a third of a second."""

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


def coded(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """Read a column of few different texts: a code per row, and the texts.

    Examples
    --------
    >>> codes, texts = coded(pa.chunked_array([["b", "a"], ["b"]]))
    >>> codes.tolist(), texts
    ([0, 1, 0], ['b', 'a'])
    """
    if not len(column):
        return np.zeros(0, np.int32), []
    is_coded = pa.types.is_dictionary(column.type)
    array = (column if is_coded else column.dictionary_encode()).combine_chunks()
    return np.asarray(array.indices, np.int32), array.dictionary.to_pylist()


def plain(table: pa.Table) -> pa.Table:
    """Write the codes of repeated texts out: the same texts may have other codes."""
    texts = pa.large_string()
    kinds = [texts if pa.types.is_dictionary(each.type) else each.type for each in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def joined(*columns: pd.Series) -> pd.Series:
    """Make one name of several columns, row by row."""
    texts = [_array(column) for column in columns]
    between = pa.scalar(BETWEEN, pa.large_string())
    return pd.Series(pc.binary_join_element_wise(*texts, between), dtype="str")


def _array(column: pd.Series | pa.Array) -> pa.Array:
    array = column if isinstance(column, pa.Array) else pa.array(column, type=pa.large_string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
