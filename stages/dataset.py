"""A manifest's utterances with their features: what stage two and the exports start from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.generation import GONE, LIVE, QUARANTINED
from features_cache.keys import CLEAN
from features_cache.store import Place, Store


class DatasetError(ValueError):
    """A manifest's utterances have no features, or other ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Where a manifest's features are, in one generation of one store.

    Attributes
    ----------
    manifest : rows that have features
    places : place of each of them
    keys : content key of each of them
    audio_sha256 : SHA-256 of the whole audio file of each of them
    left_out : ids of the manifest's utterances that are quarantined
    """

    manifest: pd.DataFrame
    places: list[Place]
    keys: list[str]
    audio_sha256: list[str]
    left_out: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Utterances in memory, one stack each.

    Attributes
    ----------
    manifest : one row an utterance, index 0, 1, 2, ...
    stacks : float32, shape (n_segments, feature_dim), ragged
    segment_start, segment_end : float64, shape (n_segments,), seconds in the utterance
    keys : content keys; equal keys are the same audio
    audio_sha256 : SHA-256 of the whole audio files; a manifest may cut one into many utterances
    recipe_id : the store's recipe
    recipe_json : its canonical JSON
    generation : number of the store's generation that was read
    """

    manifest: pd.DataFrame
    stacks: list[NDArray[np.float32]]
    segment_start: list[NDArray[np.float64]]
    segment_end: list[NDArray[np.float64]]
    keys: list[str]
    audio_sha256: list[str]
    recipe_id: str
    recipe_json: str
    generation: int


def select(manifest: pd.DataFrame, store: Store) -> Selection:
    """Find each utterance of a manifest in the store's held generation.

    Labels are the manifest's own; only names, files and times are looked up.

    Raises
    ------
    DatasetError
        An utterance was never extracted, or with other times.
    """
    rows = store.generation.rows
    rows = rows[(rows["view"] == CLEAN) & (rows["status"] != GONE)]
    if rows.empty:
        message = f"{store.folder} holds no features yet; run 'emostack extract' on the manifest"
        raise DatasetError(message)
    identity = ["corpus", "utterance_id", "file", "start", "end"]
    wanted = manifest.reset_index(drop=True)
    columns = [*identity, "status", "key", "audio_sha256", "shard", "row_start", "row_end"]
    found = wanted[identity].merge(rows[columns], on=identity, how="left")
    unknown = wanted.loc[~found["status"].isin([LIVE, QUARANTINED]), "utterance_id"].tolist()
    if unknown:
        message = (
            f"{len(unknown)} of {len(wanted)} utterances have no features in generation "
            f"{store.generation.number} of {store.folder} (first: {unknown[0]!r}); expected all of "
            "them; run 'emostack extract' on this manifest first"
        )
        raise DatasetError(message)
    is_live = (found["status"] == LIVE).to_numpy()
    live = found[is_live]
    places = [
        Place(shard=shard, row_start=int(start), row_end=int(end))
        for shard, start, end in zip(live["shard"], live["row_start"], live["row_end"], strict=True)
    ]
    return Selection(
        manifest=wanted[is_live].reset_index(drop=True),
        places=places,
        keys=live["key"].tolist(),
        audio_sha256=live["audio_sha256"].tolist(),
        left_out=wanted.loc[~is_live, "utterance_id"].tolist(),
    )


def stacks(
    selection: Selection, store: Store
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.float64]]]:
    """Read features, segment starts and segment ends, one utterance after the other."""
    for place in selection.places:
        yield store.read(place), *store.read_times(place)


def load_dataset(selection: Selection, store: Store, recipe_id: str) -> Dataset:
    """Read a selection into memory, as float32."""
    features, starts, ends = [], [], []
    for rows, start, end in stacks(selection, store):
        features.append(rows.astype(np.float32))
        starts.append(start)
        ends.append(end)
    return Dataset(
        manifest=selection.manifest,
        stacks=features,
        segment_start=starts,
        segment_end=ends,
        keys=selection.keys,
        audio_sha256=selection.audio_sha256,
        recipe_id=recipe_id,
        recipe_json=store.recipe_json,
        generation=store.generation.number,
    )
