"""A manifest's rows beside what a generation says of them, column by column."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.generation import PLACE_COLUMNS
from features_cache.keys import CLEAN, content_key
from features_cache.lookup import joined, positions


class Was:
    """What the generation says of each row of the manifest, a column at a time.

    Parameters
    ----------
    known : the generation's rows
    is_mine : marks those that the manifest speaks for
    rows : the manifest's
    """

    def __init__(self, known: pd.DataFrame, is_mine: NDArray[np.bool_], rows: pd.DataFrame) -> None:
        self._known, self._is_mine = known, is_mine
        mine, names = np.flatnonzero(is_mine), names_of(known)
        found = positions(names_of(rows), names if is_mine.all() else names.take(mine))
        self.is_known = found >= 0
        self._at = np.where(self.is_known, mine[found], -1) if len(mine) else found

    def column(self, name: str) -> pd.Series:
        """Text of one column; empty where the generation does not know the row."""
        if self._known.empty:
            return blank(len(self._at))
        column = self._taken(name)
        return column if self.is_known.all() else column.where(self.is_known, "")

    def equals(self, name: str, now: pd.Series) -> NDArray[np.bool_]:
        """Mark where a column says what it said; never where the row is unknown."""
        if self._known.empty:
            return np.zeros(len(self._at), bool)
        old = self._taken(name)
        is_same = old == now
        if pd.api.types.is_float_dtype(old):
            is_same |= old.isna() & now.isna()
        return np.asarray(is_same, bool) & self.is_known

    def equals_all(self, rows: pd.DataFrame, but: NDArray[np.bool_]) -> bool:
        """Tell whether every row is as it was, `but` for some."""
        return all((self.equals(name, rows[name]) | but).all() for name in self._known.columns)

    def rows(self, mask: NDArray[np.bool_]) -> pd.DataFrame:
        """Whole rows of the generation, with the manifest's row numbers as index."""
        which = np.flatnonzero(mask & self.is_known)
        return self._known.take(self._at[which]).set_index(which)

    def left_over(self) -> pd.DataFrame:
        """Rows that the manifest speaks for and does not name."""
        is_left = self._is_mine.copy()
        is_left[self._at[self.is_known]] = False
        return self._known[is_left]

    def _taken(self, name: str) -> pd.Series:
        return self._known[name].take(np.maximum(self._at, 0)).reset_index(drop=True)


def place_rows(rows: pd.DataFrame, places: pd.DataFrame) -> pd.DataFrame:
    """Fill in where each row's features are, for rows whose key has a place."""
    at = positions(rows["key"], places["key"])
    found = places.take(at[at >= 0])
    if len(found) < len(rows):
        blank = {"shard": "", "row_start": 0, "row_end": 0}
        is_placed = np.flatnonzero(at >= 0)
        found = found.set_index(is_placed).reindex(range(len(rows))).fillna(blank)
    kinds = {name: PLACE_COLUMNS[name] for name in ("shard", "row_start", "row_end")}
    columns = {
        name: found[name].astype(kind).to_numpy()
        if kind == "int64"
        else found[name].astype(kind).array
        for name, kind in kinds.items()
    }
    return rows.assign(**columns)


def as_rows(manifest: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Give the manifest's rows the columns of a generation, as far as they are known."""
    empty = blank(len(manifest))
    numbers = {name: 0 for name, kind in PLACE_COLUMNS.items() if kind == "int64"}
    texts = {name: empty for name, kind in PLACE_COLUMNS.items() if kind == "str"}
    view = pd.Series([CLEAN], dtype="str").take(np.zeros(len(manifest), int)).reset_index(drop=True)
    return manifest.reset_index(drop=True).assign(
        **{**texts, **numbers, "view": view, "audio_sha256": states["sha256"]}
    )


def blank(n: int) -> pd.Series:
    """Make a column of `n` empty texts."""
    return pd.Series([""], dtype="str").take(np.zeros(n, int)).reset_index(drop=True)


def same_columns(rows: pd.DataFrame, known: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give either table the columns of the other: a column that is not there reads as empty."""
    for name in rows.columns.difference(known.columns):
        known = known.assign(**{name: pd.Series("", index=known.index).astype(rows[name].dtype)})
    for name in known.columns.difference(rows.columns):
        rows = rows.assign(**{name: blank(len(rows))})
    return rows, known


def names_of(rows: pd.DataFrame) -> pd.Series:
    """Name every row by what identifies it: corpus, utterance_id and view."""
    return joined(rows["corpus"], rows["utterance_id"], rows["view"])


def with_keys(
    rows: pd.DataFrame, was: Was, texts: Mapping[str, str], is_asked: NDArray[np.bool_]
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Key every row: the old one where nothing of it has changed, or the file is out of reach.

    A file that comes back as it was then costs nothing. A view that an earlier revision has made
    keeps its key until it is asked for.

    Parameters
    ----------
    rows : one a (utterance, view)
    was : what the generation says of them
    texts : canonical text of each view, by name
    is_asked : marks rows whose view is asked for

    Returns
    -------
    rows : with ``key`` and ``audio_sha256``
    is_frozen : marks rows that stay as they are: nobody can or has to make them again
    """
    is_away = (rows["audio_sha256"] == "").to_numpy(bool)
    sha256 = rows["audio_sha256"]
    if is_away.any():
        sha256 = sha256.where(~is_away, was.column("audio_sha256"))
    is_same = was.equals("audio_sha256", sha256)
    for name in ("start", "end"):
        is_same &= was.equals(name, rows[name])
    is_view = (rows["view"] != CLEAN).to_numpy(bool)
    if is_same.all() and not is_view.any():
        return rows.assign(key=was.column("key"), audio_sha256=sha256), np.zeros(len(rows), bool)
    rows = rows.assign(audio_sha256=sha256)
    old = was.column("key").to_numpy(object)
    key = np.where(is_same, old, "")
    fresh = np.flatnonzero((~is_same | is_view) & (sha256 != "").to_numpy(bool))
    names = ("audio_sha256", "start", "end", "view")
    columns = (rows[name].iloc[fresh].tolist() for name in names)
    key[fresh] = [
        content_key(digest, start, end, texts[view]) if view in texts else ""
        for digest, start, end, view in zip(*columns, strict=True)
    ]
    is_frozen = is_view & ~is_asked & is_same & (key != old)
    key[is_frozen] = old[is_frozen]
    return rows.assign(key=pd.Series(key, dtype="str")), is_frozen
