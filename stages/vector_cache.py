"""One vector an utterance, made once and kept by content.

A file holds what one way of making vectors gave: ``NAME-HASH.parquet``, columns ``key`` (the content
key) and ``vector`` (float32, all of one length). The hash is of everything that decides a vector's
value, which stands in the file's metadata too. A renamed recording costs nothing, a changed one, or
another version of what makes the vectors, is made anew. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features_cache.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from stages.utterance import Utterance

logger = logging.getLogger("emostack." + __name__)

SAVE_EVERY_S = 60.0
"""What dies with the machine is a minute of work."""

_IDENTITY = b"emostack.identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorMaker:
    """One way to make vectors.

    Attributes
    ----------
    name : what they are called, such as ``egemaps``
    identity : everything that decides a vector's value but the recording itself; JSON
    make : recordings to one float32 vector each, all of one length, in their order
    has_own_units : the features are of different units
    """

    name: str
    identity: Mapping[str, Any]
    make: Callable[[Sequence[Utterance]], Iterator[np.ndarray]]
    has_own_units: bool


class VectorCache:
    """What one way of making vectors gave; `folder` is made if need be."""

    def __init__(self, folder: Path, maker: VectorMaker) -> None:
        text = json.dumps(maker.identity, sort_keys=True, separators=(",", ":"))
        self._identity = text.encode("utf-8")
        digest = hashlib.sha256(self._identity).hexdigest()[:16]
        self.path = folder / f"{maker.name}-{digest}.parquet"

    def load(self) -> dict[str, np.ndarray]:
        """Read all vectors by content key; none from a file that is not whole: it is made anew."""
        if not self.path.exists():
            return {}
        try:
            table = pq.read_table(self.path)
            if (table.schema.metadata or {}).get(_IDENTITY) != self._identity:
                raise ValueError("it was made another way")
            if not pa.types.is_fixed_size_list(table["vector"].type):
                raise ValueError("its vectors are not all of one length")
            vectors = table["vector"].combine_chunks().flatten().to_numpy()
            return dict(zip(table["key"].to_pylist(), vectors.reshape(len(table), -1), strict=True))
        except (OSError, ValueError, KeyError, AttributeError, pa.ArrowException) as error:
            logger.warning("%s cannot be read (%s) and is made anew", self.path, error)
            return {}

    def save(self, vectors: Mapping[str, np.ndarray]) -> None:
        """Write all vectors, whole or not at all."""
        if not vectors:
            return
        values = np.stack(list(vectors.values())).astype(np.float32, copy=False)
        columns = {
            "key": pa.array(list(vectors), pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]),
        }
        table = pa.table(columns).replace_schema_metadata({_IDENTITY: self._identity})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path) as partial:
            pq.write_table(table, partial)


def forget_vectors(folder: Path, keys: Collection[str]) -> None:
    """Take the vectors of some content keys out of every cache in a folder; a torn one goes whole."""
    for path in sorted(folder.glob("*.parquet")):
        try:
            table = pq.read_table(path)
            stays = pc.invert(pc.is_in(table["key"], value_set=pa.array([*keys], pa.string())))
        except (OSError, KeyError, pa.ArrowException):  # nobody can tell what is in it
            path.unlink()
            continue
        if not pc.any(stays).as_py():
            path.unlink()
        elif not pc.all(stays).as_py():
            with atomic_write(path) as partial:
                pq.write_table(table.filter(stays), partial)


def cached_vectors(
    folder: Path,
    maker: VectorMaker,
    recordings: Sequence[Utterance],
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Take vectors from the cache and make those that it lacks.

    Parameters
    ----------
    folder : what is made is kept there, also where an error or an interrupt ends the making
    maker : makes what is missing
    recordings : at least one
    on_progress : called with vectors made and vectors to make

    Returns
    -------
    float32, shape (n_recordings, dim)
    """
    cache = VectorCache(folder, maker)
    known = cache.load()
    # The same audio under two names is one recording to make.
    missing = list({each.key: each for each in recordings if each.key not in known}.values())
    made = zip(missing, maker.make(missing) if missing else (), strict=True)
    n_saved, saved_at = len(known), time.monotonic()
    try:
        for done, (recording, vector) in enumerate(made, start=1):
            known[recording.key] = vector
            if on_progress:
                on_progress(done, len(missing))
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                cache.save(known)
                n_saved, saved_at = len(known), time.monotonic()
    finally:
        if len(known) > n_saved:
            cache.save(known)
    return np.stack([known[each.key] for each in recordings])
