"""Features of views, beside those of the utterances that stage two starts from."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.consolidated import Stack
from features_cache.generation import LIVE, QUARANTINED
from features_cache.keys import content_key
from features_cache.lookup import joined, positions
from features_cache.store import Place, Store
from stages.dataset import DatasetError, Selection
from stages.frontend.views.table import view
from stages.fusing import fused

_COLUMNS = (
    "corpus", "utterance_id", "key", "status", "shard", "row_start", "row_end",
)  # fmt: skip


def view_stacks(
    selection: Selection,
    store: Store,
    names: Iterable[str],
    own: Sequence[NDArray[np.float32]],
    beside: Sequence[tuple[Selection, Store]] = (),
) -> dict[str, list[NDArray[np.float32]]]:
    """Read the selected utterances through some views.

    Parameters
    ----------
    selection : from `stages.dataset.select`
    store : holding the generation that the selection is of
    names : of the views
    own : the utterances' own stacks, which stand in where a view failed, such as of an utterance that
        became too short
    beside : as for `stages.dataset.load_dataset`; a view that failed in any store failed

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
    return {name: _stacks(sources, name, own) for name in dict.fromkeys(names)}


def _stacks(
    sources: Sequence[tuple[Selection, Store]], name: str, own: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    views = zip(*(_read(*source, name) for source in sources), strict=True)
    found = []
    for stack, view_parts in zip(own, views, strict=True):
        parts = [part for part in view_parts if part is not None]
        found.append(fused(parts) if len(parts) == len(sources) else stack)
    return found


def _read(selection: Selection, store: Store, name: str) -> Iterator[Stack | None]:
    """Read the utterances through one view; None where it failed."""
    rows, is_live = _rows(selection, store, name)
    columns = (rows[column].tolist() for column in ("shard", "row_start", "row_end"))
    for shard, start, end, live in zip(*columns, is_live, strict=True):
        place = Place(shard=shard, row_start=start, row_end=end)
        yield (store.read(place), *store.read_times(place)) if live else None


def _rows(selection: Selection, store: Store, name: str) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Rows of one view, in the selection's order, and which of them have features."""
    text = view(name).text
    rows = store.generation.of_view(name, _COLUMNS)
    wanted = selection.manifest
    at = positions(*(joined(t["corpus"], t["utterance_id"]) for t in (wanted, rows)))
    if rows.empty or (at < 0).any():
        raise _lacking(wanted[at < 0] if len(rows) else wanted, wanted, store, name)
    rows = rows.iloc[at].reset_index(drop=True)
    is_live = (rows["status"] == LIVE).to_numpy(bool)
    is_lacking = ~_is_of(text, selection, rows)
    is_lacking |= ~is_live & (rows["status"] != QUARANTINED).to_numpy(bool)
    if is_lacking.any():
        raise _lacking(wanted[is_lacking], wanted, store, name)
    return rows, is_live


def _is_of(text: str, selection: Selection, rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which features are of this revision; of audio that nobody has seen here, all are."""
    digests = selection.audio_sha256
    places = (selection.manifest[name].tolist() for name in ("start", "end"))
    keys = zip(digests, *places, rows["key"], strict=True)
    return np.array(
        [
            digest == "" or content_key(digest, start, end, text) == key
            for digest, start, end, key in keys
        ],
        bool,
    )


def _lacking(lacking: pd.DataFrame, wanted: pd.DataFrame, store: Store, name: str) -> DatasetError:
    return DatasetError(
        f"{len(lacking)} of {len(wanted)} utterances have no features of view {name} in generation "
        f"{store.generation.number} of {store.folder} (first: {lacking['utterance_id'].iloc[0]!r}); "
        f"expected all of them; run 'emostack extract --views {name}' on this manifest first"
    )
