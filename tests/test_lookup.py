"""Finding texts among texts."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from features_cache.lookup import joined, positions

TEXTS = st.lists(st.text(max_size=3), max_size=30)


def texts(values: list[str]) -> pd.Series:
    return pd.Series(values, dtype="str")


@given(wanted=TEXTS, known=TEXTS)
def test_a_text_is_found_where_it_first_stands(wanted: list[str], known: list[str]) -> None:
    expected = [known.index(text) if text in known else -1 for text in wanted]
    assert positions(texts(wanted), texts(known)).tolist() == expected


@given(known=TEXTS)
def test_an_index_of_its_own_does_not_matter(known: list[str]) -> None:
    shifted = texts(known).set_axis(range(5, 5 + len(known)))
    assert positions(shifted, shifted).tolist() == [known.index(text) for text in known]


@given(rows=st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(["", "a", "ab"]))))
def test_joined_names_are_equal_only_where_all_parts_are(rows: list[tuple[str, str]]) -> None:
    first, second = (texts([row[i] for row in rows]) for i in (0, 1))
    assert joined(first, second).tolist() == ["\0".join(row) for row in rows]
