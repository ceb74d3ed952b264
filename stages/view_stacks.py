"""Features of views, beside those of the utterances that stage two starts from."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.key_columns import NO_KEY, content_keys, keys_of
from features_cache.lookup import joined, positions
from features_cache.snapshot import LIVE, PENDING
from features_cache.store import Store
from models.stacks import LazyStacks, Stacks
from stages.dataset import DatasetError, Selection
from stages.frontend.views.table import view
from stages.manifest import span_of
from stages.stored_stacks import Source, stored_stacks


def view_stacks(
    selection: Selection,
    store: Store,
    names: Iterable[str],
    own: Stacks,
    beside: Sequence[tuple[Selection, Store]] = (),
) -> dict[str, LazyStacks]:
    """Find the selected utterances through some views; they are read whenever they are asked for.

    Parameters
    ----------
    selection : from `stages.dataset.select`
    store : holding the snapshot that the selection is of
    names : of the views
    own : the utterances' own stacks, which stand in where a view failed, such as of an utterance that
        became too short
    beside : as for `stages.dataset.stored_dataset`; a view that failed in any store failed

    Returns
    -------
    dict
        Name -> one stack an utterance, in the selection's order: float32, shape (n_segments,
        feature_dim), ragged. A view need not have as many segments as the utterance.

    Raises
    ------
    DatasetError
        A view of an utterance was never extracted, or in an earlier revision only.
    stages.frontend.views.view.ViewError
        There is no such view.
    """
    sources = [(selection, store), *beside]
    return {
        name: stored_stacks([_source(*each, name) for each in sources], instead=own)
        for name in dict.fromkeys(names)
    }


def _source(selection: Selection, store: Store, name: str) -> Source:
    """Say where the utterances are through one view, and which of them did not fail."""
    keys, is_live = _keys(selection, store, name)
    places = store.places(keys)
    lost = is_live & ~places.is_there
    if lost.any():
        raise _lacking(selection.manifest[lost], selection.manifest, store, name)
    return Source(places, store, is_live)


def _keys(selection: Selection, store: Store, name: str) -> tuple[pd.Series, NDArray[np.bool_]]:
    """Keys of one view, in the selection's order, and which of them have features."""
    text = view(name).text
    rows = store.snapshot.rows(["corpus", "utterance_id", "key", "status"], view=name)
    wanted = selection.manifest
    at = positions(*(joined(t["corpus"], t["utterance_id"]) for t in (wanted, rows)))
    if rows.empty or (at < 0).any():
        raise _lacking(wanted[at < 0] if len(rows) else wanted, wanted, store, name)
    rows = rows.iloc[at].reset_index(drop=True)
    is_lacking = ~_is_of(text, selection, rows["key"]) | (rows["status"] == PENDING).to_numpy(bool)
    if is_lacking.any():
        raise _lacking(wanted[is_lacking], wanted, store, name)
    return rows["key"], (rows["status"] == LIVE).to_numpy(bool)


def _is_of(text: str, selection: Selection, keys: pd.Series) -> NDArray[np.bool_]:
    """Tell which features are of this revision; of audio that nobody has seen here, all are."""
    digests = keys_of(selection.audio_sha256)
    is_same = content_keys(digests, span_of(selection.manifest), text) == keys_of(keys)
    return np.asarray(is_same | (digests == NO_KEY), bool)


def _lacking(lacking: pd.DataFrame, wanted: pd.DataFrame, store: Store, name: str) -> DatasetError:
    return DatasetError(
        f"{len(lacking)} of {len(wanted)} utterances have no features of view {name} in snapshot "
        f"{store.snapshot.number} of {store.folder} (first: {lacking['utterance_id'].iloc[0]!r}); "
        f"expected all of them; run 'emostack extract --views {name}' on this manifest first"
    )
