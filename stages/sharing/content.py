"""What an export holds, whatever its format: rows in order, and a way to read their features."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.consolidated import TimedStack
from features_cache.places import Place
from features_cache.store import Store
from stages.dataset import Selection
from stages.manifest import COLUMNS
from stages.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Utterances and their features, read one at a time.

    Attributes
    ----------
    manifest : the manifest's own columns (`stages.manifest.COLUMNS`), index 0, 1, 2, ...
    keys : text, content key of each utterance
    n_rows : int64 (n_utterances,), rows of features that each utterance has, at least one
    feature_names : one a column of features
    dtype : of the features that `stack` gives
    rows_are : what one row of features is of: ``segment``, or ``utterance`` where they are pooled
    recipe : what made the features
    snapshot : number of the store's snapshot they are from
    stack : reads one utterance by its number: features (n, feature_dim), and the starts and ends of
        its rows in seconds of the utterance
    """

    manifest: pd.DataFrame
    keys: pd.Series
    n_rows: NDArray[np.int64]
    feature_names: tuple[str, ...]
    dtype: np.dtype[np.floating]
    rows_are: str
    recipe: Recipe
    snapshot: int
    stack: Callable[[int], TimedStack]

    @property
    def n_utterances(self) -> int:
        """How many utterances there are."""
        return len(self.manifest)

    @property
    def feature_dim(self) -> int:
        """How many features a row has."""
        return len(self.feature_names)

    @property
    def labels(self) -> list[str]:
        """The emotions there are, sorted; one may be empty, for utterances without a label."""
        return sorted(set(self.manifest["emotion"]))

    def stacks(self) -> Iterator[TimedStack]:
        """Read all utterances in order, one in memory at a time."""
        return map(self.stack, range(self.n_utterances))

    def origin(self) -> dict[str, str]:
        """Say where the features come from, in texts that a file can carry."""
        return {
            "recipe_id": self.recipe.recipe_id,
            "recipe_json": self.recipe.to_json(),
            "snapshot": str(self.snapshot),
            "rows": self.rows_are,
        }


def content_of(selection: Selection, store: Store, recipe: Recipe) -> Content:
    """Make an export's content of a selection, as it is in the store.

    Parameters
    ----------
    selection : what to give away, in its order; at least one utterance
    store : where it is
    recipe : the store's
    """

    def stack(number: int) -> TimedStack:
        place = selection.places[number]
        return store.read(place), *store.read_times(place)

    first = store.read(_first_row(selection.places[0]))
    return Content(
        manifest=_without_places(selection.manifest[list(COLUMNS)].reset_index(drop=True)),
        keys=selection.keys,
        n_rows=selection.places.n_rows,
        feature_names=tuple(f"f{i}" for i in range(first.shape[1])),
        dtype=first.dtype,
        rows_are="segment",
        recipe=recipe,
        snapshot=store.snapshot.number,
        stack=stack,
    )


def pooled(content: Content) -> Content:
    """Give each utterance one row: mean and deviation of every feature over its segments.

    These are the statistics that the linear SVM of `emostack train` sees. Deviations are those of
    the segments there are (``ddof=0``): zero for an utterance of one segment.
    """

    def stack(number: int) -> TimedStack:
        features, start, end = content.stack(number)
        values = features.astype(np.float64)
        row = np.concatenate([values.mean(axis=0), values.std(axis=0)])
        return row[np.newaxis].astype(np.float32), start[:1], end[-1:]

    names = content.feature_names
    return replace(
        content,
        n_rows=np.ones(content.n_utterances, np.int64),
        feature_names=tuple(f"{how}_{name}" for how in ("mean", "sd") for name in names),
        dtype=np.dtype(np.float32),
        rows_are="utterance",
        stack=stack,
    )


def _without_places(manifest: pd.DataFrame) -> pd.DataFrame:
    """Name absolute files relative to the folder they share: where it is, is nobody's business."""
    is_absolute = manifest["file"].str.startswith("/")
    files = manifest.loc[is_absolute, "file"]
    if files.empty:
        return manifest
    folder = os.path.commonpath({os.path.dirname(file) for file in files})  # noqa: PTH120
    short = files.map(lambda file: os.path.relpath(file, folder))
    return manifest.assign(file=manifest["file"].mask(is_absolute, short))


def _first_row(place: Place) -> Place:
    return replace(place, row_end=place.row_start + 1)
