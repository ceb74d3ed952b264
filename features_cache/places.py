"""Where features are: some rows of a shard."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.key_columns import KEY, NO_KEY, Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the features of one key are: rows ``row_start:row_end`` of a shard.

    Attributes
    ----------
    shard : file name; empty where there are no features
    row_start, row_end : rows of it
    key : whose they are, 32 bytes, so that they are found again where the shard has been replaced
        meanwhile; empty where nobody will have to
    """

    shard: str
    row_start: int
    row_end: int
    key: bytes = NO_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Many places, as columns: a million objects would cost 200 MB.

    Attributes
    ----------
    shard : names of shard files; empty where there are no features
    row_start, row_end : int64 (n,), rows of these shards
    keys : 32 bytes (n,), whose they are

    Examples
    --------
    >>> where = Places(shard=pd.Categorical(["a.h5", ""]), row_start=[3, 0], row_end=[4, 0])
    >>> where[0]
    Place(shard='a.h5', row_start=3, row_end=4, key=b'')
    >>> where.is_there.tolist()
    [True, False]
    """

    shard: pd.Categorical
    row_start: NDArray[np.int64]
    row_end: NDArray[np.int64]
    keys: Keys = field(default_factory=lambda: np.zeros(0, KEY))

    def __len__(self) -> int:
        return len(self.row_start)

    def __getitem__(self, i: int) -> Place:
        start, end = int(self.row_start[i]), int(self.row_end[i])
        key = self.keys[i : i + 1].tobytes() if len(self.keys) else NO_KEY
        return Place(shard=self.shard[i], row_start=start, row_end=end, key=key)

    def __iter__(self) -> Iterator[Place]:
        return map(self.__getitem__, range(len(self)))

    @property
    def n_rows(self) -> NDArray[np.int64]:
        """How many rows each of them has, int64 (n,)."""
        return self.row_end - self.row_start

    @property
    def is_there(self) -> NDArray[np.bool_]:
        """Marks those that have features, bool (n,)."""
        return np.asarray(self.shard != "", bool)

    def take(self, at: NDArray[np.int64]) -> "Places":
        """Pick some of them."""
        return Places(
            shard=self.shard.take(at),
            row_start=self.row_start[at],
            row_end=self.row_end[at],
            keys=self.keys[at] if len(self.keys) else self.keys,
        )
