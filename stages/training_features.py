"""What a training reads: utterances and views, of one store or of several side by side."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from features_cache.store import Store
from stages.dataset import Dataset, DatasetError, Selection, select, stored_dataset
from stages.view_stacks import view_stacks


def read_features(
    manifest: pd.DataFrame,
    stores: Sequence[Store],
    views: Iterable[str] = (),
    *,
    memory_bytes: float = math.inf,
) -> tuple[Dataset, list[str]]:
    """Read a manifest's utterances and views.

    Parameters
    ----------
    manifest : the utterances
    stores : of different recipes, whose features stand side by side: see `stages.fusing`
    views : names of the views
    memory_bytes : what the stacks may take in memory; larger ones stay in the stores, which have to stay
        open, and are read whenever they are asked for

    Returns
    -------
    dataset : utterances that have features in every store
    left_out : ids of those that are quarantined in one of them

    Raises
    ------
    DatasetError
        An utterance or a view of it was never extracted into one of the stores, or from other audio
        than into the first.
    """
    (selection, *others), left_out = select_in_all(manifest, stores)
    store = stores[0]
    beside = list(zip(others, stores[1:], strict=True))
    dataset = stored_dataset(selection, store, store.recipe_id, beside)
    seen = view_stacks(selection, store, views, dataset.stacks, beside)
    dataset = replace(dataset, views=seen)
    return dataset.in_memory() if dataset.n_bytes <= memory_bytes else dataset, left_out


def select_in_all(
    manifest: pd.DataFrame, stores: Sequence[Store]
) -> tuple[list[Selection], list[str]]:
    """Find the utterances that have features in every store.

    Returns
    -------
    selections : one a store, all of the same rows in the same order
    left_out : ids of the utterances that are quarantined in one of the stores

    Raises
    ------
    DatasetError
        See `stages.dataset.select`; or a store's features are of other audio than the first's.
    """
    selections: list[Selection] = []
    rows = manifest
    for store in stores:
        selections.append(select(rows, store))
        rows = selections[-1].manifest
    left_out = [name for each in selections for name in each.left_out]
    if len(rows) < len(selections[0].manifest):  # a later store lacks what an earlier one has
        selections = [select(rows, store) for store in stores]
    for selection, store in zip(selections[1:], stores[1:], strict=True):
        _check_same_audio(selections[0], selection, stores[0], store)
    return selections, left_out


def _check_same_audio(first: Selection, other: Selection, store: Store, other_store: Store) -> None:
    is_other = first.keys != other.keys
    if is_other.any():
        name = first.manifest.loc[is_other, "utterance_id"].iloc[0]
        raise DatasetError(
            f"{is_other.sum()} of {len(is_other)} utterances have features of other audio in "
            f"{other_store.folder} than in {store.folder} (first: {name!r}); expected the same; run "
            "'emostack extract' on this manifest with both recipes"
        )
