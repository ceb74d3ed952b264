"""Stores: the shards of one recipe and the generations that name them.

Layout of a store's folder (``docs/store-format.md``)::

    recipe.json              the recipe, as canonical JSON
    shards/<time>-<id>.h5    immutable, one writer each
    generations/<n>.parquet  immutable
    store.h5                 the newest generation as one file for plain h5py
    lock                     held by the one writer

>>> from features_cache.store import Store  # doctest: +SKIP
>>> Store(Path("runs/features/0123456789abcdef")).stack("03a01Fa")  # doctest: +SKIP
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.atomic import PARTIAL, atomic_write
from features_cache.generation import (
    GONE,
    LIVE,
    ROW_GROUP,
    Generation,
    as_table,
    numbers,
    publish_generation,
    read_generation,
    same_rows,
)
from features_cache.index_file import index_generation, write_index_file
from features_cache.keys import CLEAN, file_sha256
from features_cache.lookup import positions
from features_cache.shard import (
    PublishedShard,
    ShardEntry,
    ShardError,
    open_shard,
    read_entries,
    read_header,
)

OPEN_SHARDS = 16
"""Shard files that a reader keeps open; a small part of the usual limit of 1024 descriptors."""

_DATASETS = ("features", "segment_start", "segment_end")
"""Datasets of a shard, one entry a segment."""


class StoreError(OSError):
    """A store is missing, belongs to another recipe, or does not hold what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the features of one key are: rows ``row_start:row_end`` of a shard."""

    COLUMNS: ClassVar = ("key", "shard", "row_start", "row_end")
    """Columns of a table of places."""

    shard: str
    row_start: int
    row_end: int


class Store:
    """One recipe's features on disk.

    A reader holds the generation that was newest when it was opened, or the one asked for.

    Parameters
    ----------
    folder : the store's folder
    generation : number of the generation to hold; the newest by default

    Raises
    ------
    StoreError
        The folder holds no store.
    """

    def __init__(self, folder: Path, *, generation: int | None = None) -> None:
        self.folder = folder
        recipe_file = folder / "recipe.json"
        try:
            self.recipe_json = recipe_file.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            message = (
                f"{folder} holds no store (no recipe.json); expected a folder that 'emostack "
                "extract' made; extract first, or give the right --workdir and --recipe"
            )
            raise StoreError(message) from error
        self.generation = read_generation(self.generations_folder, generation)
        self._open: OrderedDict[str, dict[str, h5py.Dataset]] = OrderedDict()
        self._places: dict[tuple[str, str], list[Place]] | None = None

    @classmethod
    def create(cls, folder: Path, recipe_json: str) -> Self:
        """Open the store of a recipe, making its folder if there is none.

        Raises
        ------
        StoreError
            The folder is a store of another recipe.
        """
        for part in (folder / "shards", folder / "generations"):
            part.mkdir(parents=True, exist_ok=True)
        if not (folder / "recipe.json").exists():
            with atomic_write(folder / "recipe.json") as partial:
                partial.write_text(recipe_json, encoding="utf-8")
        store = cls(folder)
        if store.recipe_json != recipe_json:
            message = (
                f"{folder} is the store of another recipe; expected the recipe that was asked for; "
                "give another --workdir or move the folder away"
            )
            raise StoreError(message)
        return store

    @property
    def shards_folder(self) -> Path:
        """Folder of the shards."""
        return self.folder / "shards"

    @property
    def generations_folder(self) -> Path:
        """Folder of the generations."""
        return self.folder / "generations"

    def stack(self, utterance_id: str, view: str = CLEAN) -> NDArray[np.floating]:
        """Segment features of one utterance in time order.

        Parameters
        ----------
        utterance_id : as in the manifest
        view : name of the view

        Returns
        -------
        numpy.ndarray
            The recipe's dtype (float16 or float32), shape (n_segments, feature_dim).

        Raises
        ------
        StoreError
            The held generation has no such utterance, or more than one of that name.
        """
        return self.read(self._place(utterance_id, view))

    def read(self, place: Place) -> NDArray[np.floating]:
        """Rows at a place: shape (n_segments, feature_dim)."""
        rows: NDArray[np.floating] = self._shard(place.shard)["features"][
            place.row_start : place.row_end
        ]
        return rows

    def read_times(self, place: Place) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Read the starts and ends of the segments at a place, seconds in the utterance."""
        shard = self._shard(place.shard)
        rows = slice(place.row_start, place.row_end)
        return shard["segment_start"][rows], shard["segment_end"][rows]

    def known_places(self) -> pd.DataFrame:
        """Say where everything is that the newest generation or a published shard holds.

        Shards that no generation has named are what a run left that was killed before it could
        publish: their features are whole and count as already there.

        Returns
        -------
        pandas.DataFrame
            Columns ``key, shard, row_start, row_end``; where a key stands twice, the first counts.
        """
        rows = self.generation.rows
        there = {path.name for path in self.shards_folder.glob("*.h5")}
        is_there = rows["shard"].isin(there).to_numpy(copy=True)
        is_gone = (rows["status"] == GONE).to_numpy(bool)
        tombs = rows.loc[is_gone, "key"]
        # A tombstone counts only where nobody else has its key.
        in_use = rows.loc[(positions(rows["key"], tombs) >= 0) & ~is_gone & is_there, "key"]
        is_there[np.flatnonzero(is_gone)[positions(tombs, in_use) >= 0]] = False
        named = rows[list(Place.COLUMNS)]
        found = self.orphaned(self.orphans())[list(Place.COLUMNS)]
        if is_there.all() and found.empty:
            return named
        return pd.concat([named[is_there], found], ignore_index=True)

    def orphaned(self, names: Iterable[str]) -> pd.DataFrame:
        """Say what is in shards of killed runs.

        Returns
        -------
        pandas.DataFrame
            Columns ``utterance_id, view, key, shard, row_start, row_end``; of shards that can be
            read and are of this recipe.
        """
        found = [
            (entry.utterance_id, entry.view, entry.key, name, entry.row_start, entry.row_end)
            for name in names
            for entry in self._entries_of_orphan(name)
        ]
        columns = ("utterance_id", "view", *Place.COLUMNS)
        kinds = {name: "int64" if name.startswith("row_") else "str" for name in columns}
        return pd.DataFrame(found, columns=list(columns)).astype(kinds)

    def _entries_of_orphan(self, name: str) -> tuple[ShardEntry, ...]:
        path = self.shards_folder / name
        try:
            is_ours = read_header(path).recipe_json == self.recipe_json
            return read_entries(path) if is_ours else ()
        except (ShardError, KeyError):  # `verify` tells of it; it must not stop a night
            return ()

    def orphans(self) -> list[str]:
        """Names of published shards that no generation up to the held one has named."""
        names = (path.name for path in self.shards_folder.glob("*.h5"))
        known = {*self.generation.shards, *self.generation.retired}
        return sorted(name for name in names if name not in known)

    def remove_stale_partials(self) -> list[str]:
        """Delete what dead writers left unfinished; only the lock's holder may call this."""
        stale = [
            path
            for folder in (self.folder, self.shards_folder, self.generations_folder)
            for path in folder.glob(f".*{PARTIAL}")
        ]
        for path in stale:
            path.unlink(missing_ok=True)
        return [path.name for path in stale]

    def publish(
        self,
        rows: pd.DataFrame,
        recipe_id: str,
        new_shards: Iterable[PublishedShard] = (),
        *,
        audio: Mapping[str, str] | None = None,
        spent: Iterable[str] = (),
    ) -> Generation:
        """Publish the next generation and ``store.h5``; the lock's holder only.

        Rows that say the same as the held generation publish nothing, unless a newer one is on disk,
        which then is torn: no number ever stands for two generations.

        Parameters
        ----------
        rows : the whole table of the next generation
        recipe_id : identity of the recipe
        new_shards : shards written since the held generation; orphans that `rows` names are hashed
        audio : corpus -> absolute folder of its files, where that is new
        spent : shards that no generation has named, whose features are all in others, too

        Returns
        -------
        Generation
            The new one, or the held one if nothing changed.
        """
        table = as_table(rows)
        before = self.generation
        hashes: Mapping[str, str] = {
            **before.shards,
            **{shard.name: shard.sha256 for shard in new_shards},
        }
        named = set(table["shard"].unique().to_pylist()) - {""}
        folders = {**before.audio, **(audio or {})}
        is_newest = before.number == (numbers(self.generations_folder) or [-1])[-1]
        if not is_newest or folders != before.audio or not same_rows(table, before):
            self.generation = publish_generation(
                self.generations_folder,
                table,
                parent=before.number,
                recipe_id=recipe_id,
                shards={
                    name: hashes.get(name) or file_sha256(self.shards_folder / name)
                    for name in sorted(named)
                },
                retired=self._retired(named, spent),
                audio=folders,
            )
            self._places = None
        self.show()
        return self.generation

    def show(self) -> None:
        """Bring ``store.h5`` up to the held generation, if it shows another one."""
        index = self.folder / "store.h5"
        if index_generation(index) != self.generation.number:
            write_index_file(index, self.generation)

    def _retired(self, named: set[str], spent: Iterable[str]) -> tuple[str, ...]:
        """Shards on disk that nobody will need whom the next generation, naming `named`, serves."""
        known = {*self.generation.shards, *self.generation.retired, *spent} - named
        return tuple(sorted(name for name in known if (self.shards_folder / name).exists()))

    def close(self) -> None:
        """Close the shard files that reading opened."""
        while self._open:
            self._close_one()

    def _place(self, utterance_id: str, view: str) -> Place:
        if self.generation.n_rows > ROW_GROUP:
            places = _places_by_name(self.generation.find(utterance_id))
        else:  # a small generation is read once, of a large one only a part
            if self._places is None:
                self._places = _places_by_name(self.generation.rows)
            places = self._places
        found = places.get((utterance_id, view), [])
        if len(found) != 1:
            seen = "several utterances" if found else "no utterance"
            message = (
                f"generation {self.generation.number} of {self.folder} has {seen} named "
                f"{utterance_id!r} in view {view!r}; expected one; look at 'emostack store ls'"
            )
            raise StoreError(message)
        return found[0]

    def _close_one(self, *, last: bool = True) -> None:
        self._open.popitem(last=last)[1]["features"].file.close()

    def _shard(self, name: str) -> dict[str, h5py.Dataset]:
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        path = self.shards_folder / name
        if not path.exists():
            message = (
                f"shard {name} is missing from {self.shards_folder}; generation "
                f"{self.generation.number} names it; restore the file, or extract again"
            )
            raise ShardError(message)
        file = open_shard(path)
        # Held, since to find a dataset by name takes ten times as long as to read a segment.
        self._open[name] = {column: file[column] for column in _DATASETS}
        while len(self._open) > OPEN_SHARDS:
            self._close_one(last=False)
        return self._open[name]


def _places_by_name(rows: pd.DataFrame) -> dict[tuple[str, str], list[Place]]:
    """Utterance and view -> places of the live rows of that name, usually one."""
    live = rows[rows["status"] == LIVE]
    columns = ("utterance_id", "view", "shard", "row_start", "row_end")
    places: dict[tuple[str, str], list[Place]] = {}
    for name, view, shard, start, end in zip(*(live[c].tolist() for c in columns), strict=True):
        place = Place(shard=shard, row_start=start, row_end=end)
        places.setdefault((name, view), []).append(place)
    return places
