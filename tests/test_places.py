"""Places of many utterances."""

import numpy as np
import pandas as pd

from features_cache.places import Places
from features_cache.store import Place


def test_columns_are_places_in_order() -> None:
    where = Places(
        shard=pd.Categorical(["b.h5", "a.h5", "b.h5"]),
        row_start=np.array([0, 5, 3]),
        row_end=np.array([3, 7, 4]),
    )
    assert list(where) == [
        Place(shard="b.h5", row_start=0, row_end=3),
        Place(shard="a.h5", row_start=5, row_end=7),
        Place(shard="b.h5", row_start=3, row_end=4),
    ]
    assert where[-1] == list(where)[2]
    assert (len(where), where.n_rows.tolist()) == (3, [3, 2, 1])
