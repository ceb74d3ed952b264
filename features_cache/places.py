"""Where the features of many utterances are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.store import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Many places, as columns: a million objects would cost 200 MB.

    Attributes
    ----------
    shard : names of shard files
    row_start, row_end : int64 (n,), rows of these shards

    Examples
    --------
    >>> where = Places(shard=pd.Categorical(["a.h5", "a.h5"]), row_start=[0, 3], row_end=[3, 4])
    >>> where[1]
    Place(shard='a.h5', row_start=3, row_end=4)
    """

    shard: pd.Categorical
    row_start: NDArray[np.int64]
    row_end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row_start)

    def __getitem__(self, i: int) -> Place:
        start, end = int(self.row_start[i]), int(self.row_end[i])
        return Place(shard=self.shard[i], row_start=start, row_end=end)

    def __iter__(self) -> Iterator[Place]:
        return map(self.__getitem__, range(len(self)))

    @property
    def n_rows(self) -> NDArray[np.int64]:
        """How many rows each of them has, int64 (n,)."""
        return self.row_end - self.row_start
