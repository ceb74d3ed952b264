"""A manifest's utterances with their features: what stage two and the exports start from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features_cache.consolidated import TimedStack
from features_cache.keys import CLEAN
from features_cache.lookup import joined, positions
from features_cache.places import Places
from features_cache.snapshot import LIVE, PENDING
from features_cache.store import Store
from models.stacks import Stacks, lengths_of
from stages.fusing import joint_name
from stages.stored_stacks import Source, stored_stacks


class DatasetError(ValueError):
    """A manifest's utterances have no features, or other ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Where a manifest's features are, by one snapshot of one store.

    Attributes
    ----------
    manifest : rows that have features
    places : place of each of them
    keys : text, content key of each of them
    audio_sha256 : text, SHA-256 of the whole audio file of each of them
    left_out : ids of the manifest's utterances that have no features, for a reason
    """

    manifest: pd.DataFrame
    places: Places
    keys: pd.Series
    audio_sha256: pd.Series
    left_out: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Utterances with their features, one stack each.

    Attributes
    ----------
    manifest : one row an utterance, index 0, 1, 2, ...
    stacks : float32, shape (n_segments, feature_dim), ragged; in memory, or read whenever they are asked for
    segment_start, segment_end : float64, shape (n_segments,), seconds in the utterance
    keys : content keys; equal keys are the same audio
    audio_sha256 : SHA-256 of the whole audio files; a manifest may cut one into many utterances
    recipe_id : the store's recipe; of several side by side, their joint name
    recipe_json : its canonical JSON; of several, an array of them
    snapshot : number of the store's snapshot that was read; of several, their joint name
    views : name -> stacks of the same utterances through a view, for training alone
    """

    manifest: pd.DataFrame
    stacks: Stacks
    segment_start: list[NDArray[np.float64]]
    segment_end: list[NDArray[np.float64]]
    keys: list[str]
    audio_sha256: list[str]
    recipe_id: str
    recipe_json: str
    snapshot: int | str
    views: Mapping[str, Stacks] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        """Bytes that all stacks take in memory, views included."""
        n_segments = sum(int(lengths_of(own).sum()) for own in (self.stacks, *self.views.values()))
        dim = self.stacks[0].shape[1] if len(self.stacks) else 0
        return n_segments * dim * np.dtype(np.float32).itemsize

    @property
    def is_in_memory(self) -> bool:
        """Whether stacks are there, and not read whenever they are asked for."""
        return isinstance(self.stacks, list)

    def in_memory(self) -> "Dataset":
        """Read all stacks now."""
        views = {name: list(own) for name, own in self.views.items()}
        return replace(self, stacks=list(self.stacks), views=views)


def select(manifest: pd.DataFrame, store: Store) -> Selection:
    """Find each utterance of a manifest in the store's held snapshot.

    Labels are the manifest's own; only names, files and times are looked up.

    Raises
    ------
    DatasetError
        An utterance was never extracted, or with other times; or its features have been lost since.
    """
    wanted = manifest.reset_index(drop=True)
    snapshot = store.snapshot
    at, status = _find(wanted, store)
    unknown = wanted.loc[(at < 0) | (status == PENDING), "utterance_id"].tolist()
    if unknown:
        n = snapshot.forgotten
        forgotten = f"; {n} of its rows were forgotten, their consent withdrawn" if n else ""
        message = (
            f"{len(unknown)} of {len(wanted)} utterances have no features in snapshot "
            f"{snapshot.number} of {store.folder}{forgotten} (first: {unknown[0]!r}); expected all "
            "of them; run 'emostack extract' on this manifest first"
        )
        raise DatasetError(message)
    is_live = status == LIVE
    at = at[is_live]

    def column(name: str) -> pd.Series:  # one at a time: a million rows are 300 MB
        return snapshot.rows([name], view=CLEAN)[name].iloc[at].reset_index(drop=True)

    keys = column("key")
    places = store.places(keys)
    selected = wanted if is_live.all() else wanted[is_live].reset_index(drop=True)
    if not places.is_there.all():
        lost = selected.loc[~places.is_there, "utterance_id"].tolist()
        message = (
            f"the features of {len(lost)} of {len(wanted)} utterances that snapshot "
            f"{snapshot.number} of {store.folder} names are there no more (first: {lost[0]!r}); "
            "expected a place in its catalogue; run 'emostack store repair'"
        )
        raise DatasetError(message)
    selection = Selection(
        manifest=selected,
        places=places,
        keys=keys,
        audio_sha256=column("audio_sha256"),
        left_out=wanted.loc[~is_live, "utterance_id"].tolist(),
    )
    # Arrow keeps what it has freed: for a million rows 200 MB, which only Arrow could use again.
    pa.default_memory_pool().release_unused()
    return selection


def _find(wanted: pd.DataFrame, store: Store) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Find rows of the clean view: where each is among them, -1 for nowhere; and their states."""
    columns = ["corpus", "utterance_id", "file", "start", "end", "status"]
    rows = store.snapshot.rows(columns, view=CLEAN)
    if rows.empty:
        message = f"{store.folder} holds no features yet; run 'emostack extract' on the manifest"
        raise DatasetError(message)
    names, known = (joined(table["corpus"], table["utterance_id"]) for table in (wanted, rows))
    # What a store was rebuilt with knows no file; such rows may bear one name several times.
    named = np.flatnonzero(rows["file"] != "")
    at = positions(names, known.iloc[named])
    at = np.where(at >= 0, named[at], -1) if len(named) else at
    is_known = at >= 0
    for name in ("file", "start", "end"):
        mine, theirs = wanted[name], rows[name].iloc[at].set_axis(wanted.index)
        is_known &= ((mine == theirs) | (mine.isna() & theirs.isna())).to_numpy(bool)
    return np.where(is_known, at, -1), rows["status"].to_numpy(object)[at]


def stacks(selection: Selection, store: Store) -> Iterator[TimedStack]:
    """Read features, segment starts and segment ends, one utterance after the other."""
    for place in selection.places:
        yield store.read(place), *store.read_times(place)


def load_dataset(selection: Selection, store: Store, recipe_id: str) -> Dataset:
    """Read a selection into memory, as float32."""
    return stored_dataset(selection, store, recipe_id).in_memory()


def stored_dataset(
    selection: Selection,
    store: Store,
    recipe_id: str,
    beside: Sequence[tuple[Selection, Store]] = (),
) -> Dataset:
    """Describe a selection whose stacks are read whenever they are asked for; the store stays open.

    Parameters
    ----------
    selection, store, recipe_id : what to read
    beside : the same utterances in stores of other recipes, whose features stand beside the first's:
        see `stages.fusing`
    """
    sources = [Source(own.places, each) for own, each in ((selection, store), *beside)]
    times = [store.read_times(place) for place in selection.places]
    others = [other for _, other in beside]
    texts = [each.recipe_json for each in (store, *others)]
    numbers = [each.snapshot.number for each in (store, *others)]
    return Dataset(
        manifest=selection.manifest,
        stacks=stored_stacks(sources),
        segment_start=[start for start, _ in times],
        segment_end=[end for _, end in times],
        keys=selection.keys.tolist(),
        audio_sha256=selection.audio_sha256.tolist(),
        recipe_id=joint_name([recipe_id, *(each.recipe_id for each in others)]),
        recipe_json=f"[{','.join(texts)}]" if others else store.recipe_json,
        snapshot=joint_name(numbers) if others else store.snapshot.number,
    )
