"""What rows of another store come into this one, and what the two do not agree about.

Pure arithmetic on rows, a whole column at a time; files are `features_cache.merge`'s business.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.generation import GONE, LIVE, NOT_LABELS, QUARANTINED, REPLACED
from features_cache.lookup import joined, positions
from features_cache.rewrite import PLACE

NAME = ("corpus", "utterance_id", "view")
_WORDS = {
    "other_audio": "the other store has it from other audio; this store's stays",
    "other_features": "the other store has other features of the same audio; this store's stay",
    "other_labels": "the other store has other labels; this store's stay",
}

Mask = NDArray[np.bool_]
SameFeatures = Callable[[pd.DataFrame, pd.DataFrame], Mask]
"""Compares places of theirs with places of mine, row by row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Something that two stores do not agree about.

    Attributes
    ----------
    utterance_id, corpus : who it is about
    code : ``other_audio``, ``other_features`` or ``other_labels``
    message : the same in words
    """

    utterance_id: str
    corpus: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """What two tables of rows come to.

    Attributes
    ----------
    kept : rows of this store, as they will be
    added : rows that come in; `is_theirs` tells whether their shard is in the other store
    conflicts : what the two do not agree about
    """

    kept: pd.DataFrame
    added: pd.DataFrame
    conflicts: tuple[Conflict, ...]


def unite(mine: pd.DataFrame, theirs: pd.DataFrame, same_features: SameFeatures) -> Union:
    """Add another store's rows to this one's.

    A name is (corpus, utterance_id, view). A name that is here stays as it is, but a quarantined
    row gives way to a live one. What loses a conflict becomes a tombstone with the reason
    ``replaced``, and keeps its features. One key has one place: features that are here already are
    not taken again.

    Parameters
    ----------
    mine : rows of this store
    theirs : rows of the other, with a column `is_theirs`: the shard is in the other store only
    same_features : tells which of their places hold what mine hold
    """
    pair = _Pairing(mine.reset_index(drop=True), theirs.reset_index(drop=True), same_features)
    return Union(kept=pair.kept(), added=pair.added(), conflicts=tuple(pair.conflicts()))


class _Pairing:
    """Their rows beside mine: by name, and by key."""

    def __init__(
        self, mine: pd.DataFrame, theirs: pd.DataFrame, same_features: SameFeatures
    ) -> None:
        self._mine = mine
        self._is_gone = (mine["status"] == GONE).to_numpy()
        self._pair_by_key(theirs, same_features)
        self._pair_by_name()

    def _pair_by_key(self, theirs: pd.DataFrame, same_features: SameFeatures) -> None:
        """Point rows at features that are here; remember the places that hold others."""
        mine, is_gone = self._mine, self._is_gone
        placed = pd.concat([mine[~is_gone], mine[is_gone]])
        placed = placed[placed["shard"] != ""]
        at = positions(theirs["key"], placed["key"])
        here = np.flatnonzero((at >= 0) & (theirs["shard"] != "").to_numpy())
        places = placed.iloc[at[here]][PLACE].set_axis(here)
        is_mine = ~theirs.loc[here, "is_theirs"].to_numpy(bool)
        is_same = is_mine & (theirs.loc[here, PLACE] == places).all(axis=1).to_numpy()
        unsure = here[~is_same]
        is_same[~is_same] = same_features(theirs.loc[unsure], places.loc[unsure])
        self._differs = np.zeros(len(theirs), bool)
        self._differs[here[~is_same]] = True
        self._is_here = np.isin(np.arange(len(theirs)), here)
        self._as_it_was = theirs
        self._theirs = theirs.copy()
        self._theirs.loc[here, PLACE] = places
        self._theirs.loc[here, "is_theirs"] = False

    def _pair_by_name(self) -> None:
        """Sort their live rows by what is known here under the same name."""
        theirs, alive = self._theirs, self._mine[~self._is_gone]
        at = positions(_names(theirs), _names(alive))
        known = alive.iloc[at].set_axis(theirs.index) if len(alive) else alive.reindex(theirs.index)
        is_known, is_live = at >= 0, (theirs["status"] == LIVE).to_numpy()
        status = known["status"].to_numpy()
        both = is_known & is_live & (status == LIVE)
        same_key = (theirs["key"].to_numpy() == known["key"].to_numpy()) & both
        self._replaces = is_known & is_live & (status == QUARANTINED)
        self._is_new = ~is_known & (theirs["status"] != GONE).to_numpy()
        self._other_audio = both & ~same_key
        self._other_labels = same_key & _differ(theirs, known)
        self._differs &= is_live
        self._replaced = alive.index[at[self._replaces]]

    def kept(self) -> pd.DataFrame:
        """Mine, without quarantined rows that give way; features they had are kept."""
        gives_way = self._mine.index.isin(self._replaced)
        came = self._theirs.loc[self._replaces, "key"]
        left = self._mine[gives_way & (self._mine["shard"] != "")]
        left = left[~left["key"].isin(came)]
        return pd.concat(
            [self._mine[~gives_way], left.assign(status=GONE, reason=REPLACED, message="")]
        )

    def added(self) -> pd.DataFrame:
        """Their rows that come in: as they are, or as tombstones."""
        lost = {"status": GONE, "reason": REPLACED, "message": ""}
        is_tombstone = (self._theirs["status"] == GONE).to_numpy() & ~self._is_here
        tombstones = pd.concat(
            [
                self._theirs[self._other_audio].assign(**lost),
                self._as_it_was[self._differs].assign(**lost),
                self._theirs[is_tombstone & (self._theirs["shard"] != "")],
            ]
        )
        known = _names(self._mine[self._is_gone], "key")
        tombstones = tombstones[positions(_names(tombstones, "key"), known) < 0]
        return pd.concat([self._theirs[self._is_new | self._replaces], tombstones])

    def conflicts(self) -> Iterator[Conflict]:
        """Tell every disagreement."""
        for code, mask in (
            ("other_audio", self._other_audio),
            ("other_features", self._differs),
            ("other_labels", self._other_labels),
        ):
            hit = self._theirs[mask]
            for name, corpus in zip(hit["utterance_id"], hit["corpus"], strict=True):
                yield Conflict(utterance_id=name, corpus=corpus, code=code, message=_WORDS[code])


def _names(rows: pd.DataFrame, *more: str) -> pd.Series:
    return joined(*(rows[name] for name in (*NAME, *more)))


def _differ(theirs: pd.DataFrame, known: pd.DataFrame) -> Mask:
    """Rows of which a label differs; a column that only one side has says nothing."""
    labels = [
        name for name in theirs.columns if name in known and name not in NOT_LABELS | {"is_theirs"}
    ]
    differ = np.zeros(len(theirs), bool)
    for name in labels:
        differ |= theirs[name].to_numpy() != known[name].to_numpy()
    return differ
