"""Columns of content keys and of files' digests: 32 bytes each, made, found and compared all at once.

A column is an array of `KEY`, in which `NO_KEY` stands for none. The heavy libraries that this needs are
the reason why it is not in `features_cache.keys`, which everybody imports.
"""

import binascii
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features_cache.keys import CLEAN, content_key

KEY = np.dtype("S32")
NO_KEY = b""
BYTES = pd.ArrowDtype(pa.binary(KEY.itemsize))
"""Keys as a column of a data frame."""
BLOCK = 65536
"""Keys that are read from digits at a time."""

Keys = NDArray[np.bytes_]
Span = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Starts and ends of many utterances in their files, seconds."""


def content_keys(audio_sha256: Keys, span: Span, view: str = CLEAN) -> Keys:
    """Make the keys of many utterances seen through one view; none where the file is not known.

    Parameters
    ----------
    audio_sha256 : (n,), of the whole files
    span : float64 (n,) each, `start` and `end` as for `content_key`
    view : canonical text of the view
    """
    keys = np.zeros(len(audio_sha256), KEY)
    is_known = audio_sha256 != NO_KEY
    start, end = (side[is_known].tolist() for side in span)
    rows = zip(hex_of(audio_sha256[is_known]), start, end, strict=True)
    keys[is_known] = keys_of([content_key(*row, view=view) for row in rows])
    return keys


def keys_of(texts: Sequence[str] | pd.Series) -> Keys:
    """Read keys from hexadecimal digits, of which an empty text is none, or take those that are bytes.

    Raises
    ------
    ValueError
        A text is neither empty nor 64 hexadecimal digits.

    Examples
    --------
    >>> keys_of(["", "61" * 32]).tolist()
    [b'', b'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa']
    """
    if not len(texts):
        return np.zeros(0, KEY)
    if isinstance(texts, pd.Series) and texts.dtype == BYTES:
        return from_arrow(pa.array(texts))
    array = pa.array(texts, pa.large_string())
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    ends = np.frombuffer(array.buffers()[1], np.int64, len(array) + 1 + array.offset)[
        array.offset :
    ]
    lengths = np.diff(ends)
    odd = np.flatnonzero((lengths != 0) & (lengths != 2 * KEY.itemsize))
    if len(odd):
        message = f"{array[odd[0]].as_py()!r} is no key; expected 64 hexadecimal digits"
        raise ValueError(message)
    keys = np.zeros(len(array), KEY)
    digits = memoryview(array.buffers()[2] or b"")
    for first in range(0, len(keys), BLOCK):  # all at once would be there three times
        last = min(first + BLOCK, len(keys))
        text = str(digits[ends[first] : ends[last]], "ascii")
        keys[first:last][lengths[first:last] != 0] = np.frombuffer(bytes.fromhex(text), KEY)
    return keys


def hex_of(keys: Keys) -> pd.Series:
    """Write keys as hexadecimal digits; none is an empty text.

    Examples
    --------
    >>> hex_of(keys_of(["", "ab" * 32])).tolist() == ["", "ab" * 32]
    True
    """
    size = 2 * KEY.itemsize
    offsets = np.concatenate([[0], np.cumsum((keys != NO_KEY) * size)]).astype(np.int64)
    digits = np.empty(offsets[-1], np.uint8)
    for first in range(0, len(keys), BLOCK):  # all at once would be there three times
        block = keys[first : first + BLOCK]
        text = binascii.hexlify(block[block != NO_KEY].tobytes())
        digits[offsets[first] : offsets[first + len(block)]] = np.frombuffer(text, np.uint8)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(digits)]
    return pd.Series(pa.Array.from_buffers(pa.large_string(), len(keys), buffers), dtype="str")


def to_arrow(keys: Keys) -> pa.FixedSizeBinaryArray:
    """Give keys the form that Parquet files hold them in: 32 bytes, null for none."""
    bits = np.packbits(keys != NO_KEY, bitorder="little")
    data = pa.py_buffer(np.ascontiguousarray(keys, KEY))
    return pa.Array.from_buffers(pa.binary(KEY.itemsize), len(keys), [pa.py_buffer(bits), data])


def from_arrow(column: pa.ChunkedArray | pa.Array) -> Keys:
    """Take keys from the form that Parquet files hold them in."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    keys = np.zeros(len(column), KEY)
    rest = keys
    for chunk in filter(len, chunks):
        last = chunk.offset + len(chunk)
        mine, rest = rest[: len(chunk)], rest[len(chunk) :]
        mine[:] = np.frombuffer(chunk.buffers()[1], KEY, last)[chunk.offset :]
        if chunk.null_count:
            mine[np.asarray(chunk.is_null())] = NO_KEY
    return keys


def find_keys(wanted: Keys, known: Keys) -> NDArray[np.int64]:
    """Tell where each wanted key stands among known ones, which are sorted and differ.

    Returns
    -------
    numpy.ndarray
        int64 (n,), row of `known`; -1 where there is none.

    Examples
    --------
    >>> known = np.array([b"a" * 32, b"c" * 32])
    >>> find_keys(np.array([b"c" * 32, b"b" * 32, b""], KEY), known).tolist()
    [1, -1, -1]
    """
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    # Hashes: the first eight bytes nearly always tell, and compare five times as quickly.
    heads, sought = _heads(known), _heads(wanted)
    at = np.searchsorted(heads, sought).astype(np.int64)
    found = np.full(len(wanted), -1, np.int64)
    open_ = np.flatnonzero(wanted != NO_KEY)
    while len(open_):
        open_ = open_[at[open_] < len(known)]
        open_ = open_[heads[at[open_]] == sought[open_]]
        is_it = equal_keys(known, at[open_], wanted, open_)
        found[open_[is_it]] = at[open_[is_it]]
        open_ = open_[~is_it]
        at[open_] += 1
    return found


def equal_keys(
    ones: Keys, at_ones: NDArray[np.int64], others: Keys, at_others: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Compare keys of two arrays, pair by pair, without a copy of all of them."""
    found = np.zeros(len(at_ones), bool)
    for first in range(0, len(found), BLOCK):
        part = slice(first, first + BLOCK)
        found[part] = ones[at_ones[part]] == others[at_others[part]]
    return found


def _heads(keys: Keys) -> NDArray[np.uint64]:
    bytes_ = np.ascontiguousarray(keys, KEY).view(np.uint8).reshape(-1, KEY.itemsize)
    return np.ascontiguousarray(bytes_[:, :8]).view(">u8").ravel().astype(np.uint64)
