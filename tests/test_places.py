"""Places of many utterances."""

import numpy as np
import pandas as pd
import pytest

from features_cache.key_columns import KEY, keys_of
from features_cache.places import Place, Places
from tests.small_store import key_of

KEYS = keys_of([key_of("b"), key_of("a"), ""])


@pytest.fixture
def where() -> Places:
    return Places(
        shard=pd.Categorical(["b.h5", "a.h5", ""]),
        row_start=np.array([0, 5, 0]),
        row_end=np.array([3, 7, 0]),
        keys=KEYS,
    )


def test_columns_are_places_in_order(where: Places) -> None:
    assert list(where) == [
        Place(shard="b.h5", row_start=0, row_end=3, key=bytes.fromhex(key_of("b"))),
        Place(shard="a.h5", row_start=5, row_end=7, key=bytes.fromhex(key_of("a"))),
        Place(shard="", row_start=0, row_end=0, key=bytes(KEY.itemsize)),
    ]
    assert where[-2] == list(where)[1]
    assert (len(where), where.n_rows.tolist()) == (3, [3, 2, 0])
    assert where.is_there.tolist() == [True, True, False]


def test_some_of_them_are_taken_with_their_keys(where: Places) -> None:
    assert list(where.take(np.array([1, 0, 1]))) == [where[1], where[0], where[1]]


def test_places_need_no_keys() -> None:
    where = Places(
        shard=pd.Categorical(["b.h5", "a.h5"]), row_start=np.array([0, 5]), row_end=np.array([3, 7])
    )
    assert where[1] == Place(shard="a.h5", row_start=5, row_end=7)
    assert list(where.take(np.array([1]))) == [where[1]]
