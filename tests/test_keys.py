"""Keys: what docs/store-format.md says they are, whatever way is the quickest."""

import hashlib
import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features_cache.key_columns import (
    KEY,
    NO_KEY,
    Keys,
    content_keys,
    find_keys,
    from_arrow,
    hex_of,
    keys_of,
    to_arrow,
)
from features_cache.keys import content_key

seconds = st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)

HEADS = [b"\x00" * 8, b"a" * 8, b"\xff" * 8]
"""Beginnings that many keys share; the lookup compares the first eight bytes before the rest."""

alike = st.builds(
    lambda head, middle, tail: head + b"\x00" * 20 + middle + tail,
    st.sampled_from(HEADS),
    st.sampled_from([b"\x00", b"\x80"]),
    st.binary(min_size=3, max_size=3),
)
digests = st.one_of(st.binary(min_size=32, max_size=32), alike).filter(any)
texts = digests.map(bytes.hex)


def array(keys: list[bytes]) -> Keys:
    return np.array(keys, KEY)


@given(
    digest=st.one_of(st.text(max_size=70), st.text("0123456789abcdef", min_size=64, max_size=64)),
    start=st.one_of(seconds, st.just(-0.0), st.integers(0, 9)),
    end=st.one_of(seconds, st.just(math.nan), st.integers(0, 9)),
    view=st.one_of(st.just("clean"), st.text(max_size=30)),
)
def test_a_key_is_the_digest_of_its_json(digest: str, start: float, end: float, view: str) -> None:
    parts = [digest, float(start) + 0.0, None if math.isnan(end) else float(end), view]
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    assert content_key(digest, start, end, view) == hashlib.sha256(text.encode()).hexdigest()


@given(
    rows=st.lists(
        st.tuples(st.one_of(st.just(""), texts), seconds, st.one_of(seconds, st.just(math.nan)))
    ),
    view=st.sampled_from(["clean", '{"kind":"speed"}']),
)
def test_many_keys_are_made_as_one_is_and_none_of_an_unknown_file(
    rows: list[tuple[str, float, float]], view: str
) -> None:
    files, start, end = zip(*rows, strict=True) if rows else ((), (), ())
    span = np.array(start, np.float64), np.array(end, np.float64)
    found = hex_of(content_keys(keys_of(files), span, view)).tolist()
    assert found == [content_key(*row, view=view) if row[0] else "" for row in rows]


@given(known=st.lists(st.one_of(st.just(""), texts)))
def test_keys_come_back_from_their_digits_whatever_holds_them(known: list[str]) -> None:
    column = pd.Series(["", *known], dtype="str")[1:]
    for texts in (known, column, column.astype("object"), pd.concat([column[:1], column[1:]])):
        keys = keys_of(texts)
        assert (keys.dtype, len(keys)) == (KEY, len(known))
        assert hex_of(keys).tolist() == known


@pytest.mark.parametrize("text", ["ab", "ab" * 33, "xy" * 32, "ü" * 32])
def test_a_text_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no key|non-hexadecimal|ascii"):
        keys_of(["", "ab" * 32, text])


columns = st.lists(st.lists(st.one_of(st.none(), digests), max_size=20), max_size=3)


@given(chunks=columns, skip=st.integers(0, 10))
def test_keys_come_back_from_arrow_however_it_is_cut(
    chunks: list[list[bytes | None]], skip: int
) -> None:
    kind = pa.binary(KEY.itemsize)
    arrays = [pa.array(chunk, kind) for chunk in chunks]
    cut = [each[skip:] for each in arrays]
    found = from_arrow(pa.chunked_array(cut, kind))
    plain = [key or NO_KEY for chunk in chunks for key in chunk[skip:]]
    assert hex_of(found).tolist() == [key.hex() for key in plain]
    assert [hex_of(from_arrow(each)).tolist() for each in cut] == [
        [(key or NO_KEY).hex() for key in chunk[skip:]] for chunk in chunks
    ]
    column = to_arrow(found)
    assert column.type == kind
    assert column.to_pylist() == [key or None for key in plain]
    assert column.null_count == plain.count(NO_KEY)


def test_what_lies_under_a_null_is_no_key() -> None:
    under = pa.py_buffer(b"a" * 64)
    column = pa.Array.from_buffers(pa.binary(32), 2, [pa.py_buffer(b"\x02"), under])
    assert from_arrow(column).tolist() == [NO_KEY, b"a" * 32]


@given(wanted=st.lists(st.one_of(st.just(NO_KEY), digests)), known=st.sets(digests), data=st.data())
def test_a_key_is_found_where_it_stands_among_sorted_ones(
    wanted: list[bytes], known: set[bytes], data: st.DataObject
) -> None:
    there = data.draw(st.lists(st.sampled_from(sorted(known)))) if known else []
    rows = {key: i for i, key in enumerate(sorted(known))}
    found = find_keys(array([*wanted, *there]), array(sorted(known)))
    assert found.tolist() == [rows.get(key, -1) for key in [*wanted, *there]]


@given(keys=st.lists(digests))
def test_keys_sort_as_their_bytes_do(keys: list[bytes]) -> None:
    assert hex_of(np.sort(array(keys))).tolist() == [key.hex() for key in sorted(keys)]
