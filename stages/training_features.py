"""What a training reads: utterances and views, of one store or of several side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from features_cache.store import Store
from stages.dataset import Dataset, DatasetError, Selection, load_dataset, select
from stages.view_stacks import view_stacks


def read_features(
    manifest: pd.DataFrame, stores: Sequence[Store], views: Iterable[str] = ()
) -> tuple[Dataset, list[str]]:
    """Read a manifest's utterances and views into memory.

    Parameters
    ----------
    manifest : the utterances
    stores : of different recipes, whose features stand side by side: see `stages.fusing`
    views : names of the views

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
    dataset = load_dataset(selection, store, store.generation.recipe_id, beside)
    seen = view_stacks(selection, store, views, dataset.stacks, beside)
    return replace(dataset, views=seen), left_out


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
