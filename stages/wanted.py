"""What is wanted: a pure function of a manifest, its files, the views asked for, and the snapshot before.

One row per (utterance, view), in columns, since a million utterances are planned in seconds. The
manifest's own rows come first, each as `clean`; then the views that are asked for; then the views that
the snapshot before has of these utterances. Rows of that snapshot for which the manifest does not
speak, those of other corpora or of other parts, stay as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features_cache.key_columns import (
    KEY,
    NO_KEY,
    Keys,
    Span,
    content_keys,
    equal_keys,
    find_keys,
    from_arrow,
    keys_of,
)
from features_cache.keys import CLEAN
from features_cache.lookup import coded, positions
from features_cache.snapshot import Snapshot
from stages.frontend.views.table import known_view
from stages.frontend.views.view import View
from stages.manifest import span_of

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the next snapshot is to say, before anybody has looked at what exists.

    Attributes
    ----------
    manifest : one row per utterance, index 0, 1, 2, ...
    audio_sha256 : (n_utterances,) of each one's file; of a file out of reach, as it was before
    at : int64 (n,), row of the manifest that each row is of; the first are 0, 1, 2, ..., as `clean`
    view : int32 (n,), index into `views`
    views : names
    is_asked : bool (n,), rows of `clean` and of views that were asked for
    key : (n,) what is wanted; none where the file has never been seen
    was : int64 (n,), row of the snapshot before that has the same name and view; -1 for none
    is_same_key, is_same_file : bool (n,), whether that row has the same key, and the same digest of
        the whole file
    kept : rows of the snapshot before that stay, whatever happens
    left : rows of it whose utterance the manifest does not name any more
    old_views, old_views_at : rows of it, of views not asked for, whose utterance has other bytes now,
        and the row of the manifest that each is of
    """

    manifest: pd.DataFrame
    audio_sha256: Keys
    at: Rows
    view: NDArray[np.int32]
    views: tuple[str, ...]
    is_asked: Mask
    key: Keys
    was: Rows
    is_same_key: Mask
    is_same_file: Mask
    kept: Rows
    left: Rows
    old_views: Rows
    old_views_at: Rows

    def keys_now(self, rows: Rows) -> Keys:
        """Make the keys that some rows would have if they were made by this version's views.

        None where the file has never been seen, or where this version has no such view.
        """
        keys = np.zeros(len(rows), KEY)
        for code, name in enumerate(self.views):
            mine = self.view[rows] == code
            view = known_view(name)
            if view is not None and mine.any():
                at = self.at[rows[mine]]
                span = span_of(self.manifest.take(at))
                keys[mine] = content_keys(self.audio_sha256[at], span, view.text)
        return keys


def wanted(
    manifest: pd.DataFrame,
    states: pd.DataFrame,
    before: Snapshot,
    views: Sequence[View],
    elsewhere: pd.DataFrame | None = None,
) -> Wanted:
    """Say what is wanted from now on.

    A file out of reach keeps its key, so that nothing has to be done when it is back. A view that is
    not asked for follows its utterance, also to another name; where the bytes have changed, it goes.

    Parameters
    ----------
    manifest : validated, or the part of one that is to be done here
    states : what each of its files is now: the columns of `features_cache.audio_hashes.FileState`
    before : the newest snapshot
    views : that are asked for, `clean` first
    elsewhere : the manifest's other rows; what is known of them stays as it is
    """
    manifest = manifest.reset_index(drop=True)
    return _Matching(manifest, states, before, elsewhere).wanted(views)


class _Matching:
    """A manifest's rows beside those of the snapshot before."""

    def __init__(
        self,
        manifest: pd.DataFrame,
        states: pd.DataFrame,
        before: Snapshot,
        elsewhere: pd.DataFrame | None,
    ) -> None:
        self._manifest, self._before = manifest, before
        self._ids = before.table(["utterance_id"])["utterance_id"].combine_chunks()
        self._corpus, self._corpora = coded(before.table(["corpus"])["corpus"])
        self._view, self._views = coded(before.table(["view"])["view"])
        # One column after the other: all at once would be there twice.
        self._key = from_arrow(before.table(["key"])["key"])
        self._sha256 = from_arrow(before.table(["audio_sha256"])["audio_sha256"])
        self._span = _numbers(before, "start"), _numbers(before, "end")
        self._is_mine = np.zeros(len(self._ids), bool)
        self._owner = np.full(len(self._ids), -1, np.int64)
        for rows, mine in self._by_corpus(manifest):
            self._is_mine[mine] = True
            self._owner[mine] = _picked(rows, self._positions(mine, manifest, rows))
        if elsewhere is not None:
            elsewhere = elsewhere.reset_index(drop=True)
            for rows, mine in self._by_corpus(elsewhere):
                self._is_mine[mine] &= self._positions(mine, elsewhere, rows) < 0
        self._was = self._rows_of(CLEAN)
        self._now = keys_of(states["sha256"])
        is_away = (self._now == NO_KEY) & (self._was >= 0)
        self._now[is_away] = self._sha256[self._was[is_away]]
        self._span_now = span_of(manifest)

    def wanted(self, views: Sequence[View]) -> Wanted:
        n = len(self._manifest)
        key = self._clean_keys()
        rows, at, old_views = self._others([view.name for view in views], key)
        others = [self._views[code] for code in np.unique(self._view[rows])]
        names = tuple(dict.fromkeys([*(view.name for view in views), *others]))
        code_of = np.array([names.index(v) if v in names else -1 for v in self._views], np.int32)
        key = np.concatenate(
            [key, *(self._asked_keys(view) for view in views[1:]), self._key[rows]]
        )
        known = [self._was, *(self._rows_of(view.name) for view in views[1:])]
        was = np.concatenate([*known, np.where(self._owner[rows] >= 0, rows, -1)])
        at = np.concatenate([*(np.arange(n) for _ in views), at])
        asked = np.repeat(np.arange(len(views), dtype=np.int32), n)
        return Wanted(
            manifest=self._manifest,
            audio_sha256=self._now,
            at=at,
            view=np.concatenate([asked, code_of[self._view[rows]]]),
            views=names,
            is_asked=np.arange(len(at)) < n * len(views),
            key=key,
            was=was,
            is_same_key=self._equals(self._key, was, key, np.arange(len(key))),
            is_same_file=self._equals(self._sha256, was, self._now, at),
            kept=self._kept(key),
            left=np.flatnonzero(self._is_mine & (self._owner < 0)),
            old_views=old_views,
            old_views_at=self._owner[old_views],
        )

    def _by_corpus(self, manifest: pd.DataFrame) -> Iterator[tuple[Rows, Rows]]:
        """Go through a manifest's corpora: rows of it, and rows of the snapshot before."""
        for corpus in manifest["corpus"].unique():
            codes = [code for code, name in enumerate(self._corpora) if name == corpus]
            rows = np.flatnonzero((manifest["corpus"] == corpus).to_numpy(bool))
            yield rows, np.flatnonzero(np.isin(self._corpus, codes))

    def _positions(self, mine: Rows, manifest: pd.DataFrame, rows: Rows) -> Rows:
        """Find the names of some rows of the snapshot before among some rows of a manifest."""
        ids = self._ids if len(mine) == len(self._ids) else self._ids.take(pa.array(mine))
        known = manifest["utterance_id"]
        return positions(ids, known if len(rows) == len(known) else known.take(rows))

    def _rows_of(self, view: str) -> Rows:
        """Row of the snapshot before of each of the manifest's utterances, through one view."""
        was = np.full(len(self._manifest), -1, np.int64)
        known = np.flatnonzero(self._is_view([view]) & (self._owner >= 0))
        was[self._owner[known]] = known
        return was

    def _is_view(self, names: Sequence[str]) -> Mask:
        codes = [code for code, name in enumerate(self._views) if name in names]
        return np.isin(self._view, codes)

    def _equals(self, before: Keys, was: Rows, now: Keys, now_at: Rows) -> Mask:
        """Mark rows whose key, or digest, the snapshot before has the same."""
        found = np.zeros(len(was), bool)
        known = np.flatnonzero(was >= 0)
        found[known] = equal_keys(before, was[known], now, now_at[known])
        return found

    def _is_same(self, rows: Rows, at: Rows) -> Mask:
        """Mark rows of the snapshot before that are of the bytes that the manifest's rows have now."""
        is_same = equal_keys(self._sha256, rows, self._now, at)
        for then, now in zip(self._span, self._span_now, strict=True):
            both = then[rows], now[at]
            is_same &= (both[0] == both[1]) | (np.isnan(both[0]) & np.isnan(both[1]))
        return is_same

    def _clean_keys(self) -> Keys:
        known = np.flatnonzero(self._was >= 0)
        same = known[self._is_same(self._was[known], known)]
        key = np.zeros(len(self._manifest), KEY)
        key[same] = self._key[self._was[same]]
        is_fresh = self._now != NO_KEY
        is_fresh[same] = False
        fresh = np.flatnonzero(is_fresh)
        key[fresh] = content_keys(self._now[fresh], _taken(self._span_now, fresh))
        return key

    def _asked_keys(self, view: View) -> Keys:
        """Keys by the view's own revision; of files that nobody has ever seen here, the old ones."""
        key = content_keys(self._now, self._span_now, view.text)
        was = self._rows_of(view.name)
        opaque = np.flatnonzero((key == NO_KEY) & (was >= 0))
        opaque = opaque[self._is_same(was[opaque], opaque)]
        key[opaque] = self._key[was[opaque]]
        return key

    def _others(self, asked: Sequence[str], key: Keys) -> tuple[Rows, Rows, Rows]:
        """Find the views that are there of these utterances and were not asked for.

        Returns
        -------
        (int64, int64, int64)
            Rows of the snapshot before; the manifest's row that each follows; and rows of the snapshot
            whose utterance has other bytes now.
        """
        is_bare = self._is_bare()
        rows = np.flatnonzero(~self._is_view(asked) & (self._is_mine | is_bare))
        at = self._owner[rows]
        bare = np.flatnonzero(is_bare[rows])
        ids = self._manifest["utterance_id"]
        at[bare] = positions(self._ids.take(pa.array(rows[bare])), ids)
        away = np.flatnonzero((at < 0) & ~is_bare[rows] & (self._sha256[rows] != NO_KEY))
        at[away] = self._by_content(rows[away], key)
        rows, at = rows[at >= 0], at[at >= 0]
        follows = self._is_same(rows, at) | self._is_of(rows, at)
        old_views = rows[~follows & (self._owner[rows] >= 0)]
        rows, at = rows[follows], at[follows]
        _, first = np.unique(at * len(self._views) + self._view[rows], return_index=True)
        first.sort()
        return rows[first], at[first], old_views

    def _by_content(self, rows: Rows, key: Keys) -> Rows:
        """Find utterances of the same audio, among those whose names are new."""
        new = np.flatnonzero((self._was < 0) & (key != NO_KEY))
        if not len(new) or not len(rows):
            return np.full(len(rows), -1, np.int64)
        known, first = np.unique(key[new], return_index=True)
        sought = content_keys(self._sha256[rows], _taken(self._span, rows))
        return _picked(new[first], find_keys(sought, known))

    def _is_of(self, rows: Rows, at: Rows) -> Mask:
        """Mark rows of which only the key is known, and which it shows to be of the same audio."""
        is_same = np.zeros(len(rows), bool)
        opaque = np.flatnonzero(self._sha256[rows] == NO_KEY)
        for code in np.unique(self._view[rows[opaque]]):
            view = known_view(self._views[code])
            mine = opaque[self._view[rows[opaque]] == code]
            if view is not None:
                span = _taken(self._span_now, at[mine])
                keys = content_keys(self._now[at[mine]], span, view.text)
                is_same[mine] = (keys == self._key[rows[mine]]) & (keys != NO_KEY)
        return is_same

    def _is_bare(self) -> Mask:
        """Mark rows that a store was rebuilt with, which know no corpus and no file."""
        codes = [code for code, name in enumerate(self._corpora) if name == ""]
        is_bare = np.isin(self._corpus, codes) & (self._sha256 == NO_KEY) & ~self._is_mine
        if is_bare.any():
            files = self._before.table(["file"])["file"].cast(pa.large_string())
            is_bare &= files.to_numpy() == ""
        return np.asarray(is_bare, bool)

    def _kept(self, key: Keys) -> Rows:
        """Rows for which the manifest does not speak; not what a rebuilt store has of its utterances."""
        is_kept = ~self._is_mine
        bare = np.flatnonzero(self._is_bare())
        if len(bare):
            is_wanted = find_keys(self._key[bare], np.unique(key)) >= 0
            ids = self._ids.take(pa.array(bare))
            is_named = positions(ids, self._manifest["utterance_id"]) >= 0
            is_kept[bare] = ~(is_wanted | is_named)
        return np.flatnonzero(is_kept)


def _picked(values: Rows, at: Rows) -> Rows:
    """Take values; -1 stays."""
    return np.where(at >= 0, values[at], -1) if len(values) else np.full(len(at), -1, np.int64)


def _taken(span: Span, at: Rows) -> Span:
    return span[0][at], span[1][at]


def _numbers(before: Snapshot, name: str) -> NDArray[np.float64]:
    column = before.table([name])[name]
    is_number = pa.types.is_floating(column.type)
    return column.to_numpy() if is_number else np.zeros(len(column))
