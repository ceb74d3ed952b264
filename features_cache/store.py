"""Stores: the shards of one recipe, a catalogue of what exists, and snapshots of what is wanted.

Layout of a store's folder (``docs/store-format.md``)::

    recipe.json              the format, and the recipe as canonical JSON
    shards/<time>-<id>.h5    immutable, one writer each
    catalogue/<n>.parquet    what exists: a place, or a reason, per key; the newest whole one counts
    snapshots/<n>.parquet    what is wanted: a row per (corpus, utterance, view); immutable
    store.h5                 a snapshot joined with a catalogue, for plain h5py
    lock                     held by the one writer

>>> from features_cache.store import Store  # doctest: +SKIP
>>> Store(Path("runs/features/0123456789abcdef")).stack("03a01Fa")  # doctest: +SKIP
"""

import json
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features_cache import format_1
from features_cache.atomic import PARTIAL, atomic_write
from features_cache.catalogue import (
    UNTOLD,
    Catalogue,
    catalogue_rows,
    publish_catalogue,
    read_catalogue,
)
from features_cache.index_file import index_numbers, write_index_file
from features_cache.key_columns import KEY, from_arrow, hex_of, keys_of
from features_cache.keys import CLEAN, file_sha256
from features_cache.numbered import in_parts, numbers
from features_cache.places import Place, Places
from features_cache.shard import PublishedShard, ShardError, open_shard
from features_cache.shard_reading import ShardContent, examine
from features_cache.snapshot import Snapshot, as_frame, is_live, publish_snapshot, read_snapshot

FORMAT = 2

OPEN_SHARDS = 16
"""Shard files that a reader keeps open; a small part of the usual limit of 1024 descriptors."""

_DATASETS = ("features", "segment_start", "segment_end")
"""Datasets of a shard, one entry per segment."""


class StoreError(OSError):
    """A store is missing, belongs to another recipe, or does not hold what was asked for."""


class Store:
    """One recipe's features on disk.

    A reader holds the snapshot that was newest when it was opened, or the one asked for, and the
    newest catalogue. It reads format 1 as well, and writes nothing.

    Parameters
    ----------
    folder : the store's folder
    snapshot : number of the snapshot to hold; the newest by default

    Raises
    ------
    StoreError
        The folder holds no store.
    """

    def __init__(self, folder: Path, *, snapshot: int | None = None) -> None:
        self.folder = folder
        self.format, self.recipe_json = read_recipe(folder)
        if self.format == 1:
            try:
                self.snapshot, self.catalogue = format_1.read(folder, snapshot)
            except OSError:
                if read_recipe(folder)[0] == 1:
                    raise
            # A writer may have upgraded it meanwhile.
            self.format, self.recipe_json = read_recipe(folder)
        if self.format != 1:
            self.snapshot = read_snapshot(self.snapshots_folder, snapshot).held()
            self.catalogue = read_catalogue(self.catalogue_folder)
        self._open: OrderedDict[str, dict[str, h5py.Dataset]] = OrderedDict()

    @classmethod
    def create(cls, folder: Path, recipe_json: str) -> Self:
        """Open the store of a recipe for writing, making its folder if there is none.

        A store of format 1 becomes one of format 2; no feature is touched. The lock's holder only.

        Raises
        ------
        StoreError
            The folder is a store of another recipe.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "recipe.json").exists():
            if (folder / format_1.GENERATIONS).is_dir():
                message = (
                    f"{folder} has generations and no recipe.json; expected both; run 'emostack store "
                    "rebuild'"
                )
                raise StoreError(message)
            write_recipe(folder, recipe_json)
        store = cls.for_writing(folder)
        if store.recipe_json != recipe_json:
            message = (
                f"{folder} is the store of another recipe; expected the recipe that was asked for; "
                "give another --workdir or move the folder away"
            )
            raise StoreError(message)
        return store

    @classmethod
    def for_writing(cls, folder: Path, *, snapshot: int | None = None) -> Self:
        """Open a store that is there, of whatever recipe, for writing. The lock's holder only.

        Parameters
        ----------
        folder : the store's folder
        snapshot : number of the one to hold, 0 for none, for whoever repairs the store; by default the
            newest, and then none may be torn that has to be upgraded

        Raises
        ------
        features_cache.numbered.TableError
            The newest snapshot is torn.
        """
        format_, recipe_json = read_recipe(folder)
        if format_ == 1:
            format_1.upgrade(folder, passing_over_torn=snapshot is not None)
            write_recipe(folder, recipe_json)  # from here on the store is one of format 2
        format_1.remove(folder)
        for part in ("shards", "catalogue", "snapshots"):
            (folder / part).mkdir(exist_ok=True)
        store = cls(folder, snapshot=snapshot)
        store.catalogue = read_catalogue(store.catalogue_folder, whole=True)
        return store

    @property
    def shards_folder(self) -> Path:
        """Folder of the shards."""
        return self.folder / "shards"

    @property
    def catalogue_folder(self) -> Path:
        """Folder of the catalogue's versions."""
        return self.folder / "catalogue"

    @property
    def snapshots_folder(self) -> Path:
        """Folder of the snapshots; in format 1, of the generations that are read as such."""
        return self.folder / (format_1.GENERATIONS if self.format == 1 else "snapshots")

    @property
    def recipe_id(self) -> str:
        """Identity of the recipe, as the store has it; empty while it holds nothing."""
        return self.snapshot.recipe_id or self.catalogue.recipe_id

    @property
    def snapshots(self) -> list[int]:
        """Numbers of the snapshots on disk, ascending."""
        return numbers(self.snapshots_folder)

    @property
    def shards(self) -> set[str]:
        """Names of the shards on disk."""
        return {path.name for path in self.shards_folder.glob("*.h5")}

    @property
    def next_snapshot(self) -> int:
        """Number of the snapshot that is published next."""
        return max(self.snapshots, default=0) + 1

    @property
    def is_untold(self) -> bool:
        """Whether there are features of a run that was killed before it could say what it wanted."""
        return self.catalogue.for_snapshot >= self.next_snapshot

    def read_snapshot(self, number: int) -> Snapshot:
        """Open another snapshot of the store; see `features_cache.snapshot.read_snapshot`."""
        read = format_1.read_generation if self.format == 1 else read_snapshot
        return read(self.snapshots_folder, number)

    # Reading

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
            The held snapshot has no such utterance, or more than one of that name; or its features
            have been lost since.
        """
        return self.read(self.place(utterance_id, view))

    def place(self, utterance_id: str, view: str = CLEAN) -> Place:
        """Say where one utterance's features are; see `stack`."""
        rows = self.snapshot.table(["key", "status"], view=view, utterance_id=utterance_id)
        rows = rows.filter(pa.array(is_live(rows)))
        if len(rows) != 1:
            seen = "several utterances" if len(rows) else "no utterance"
            message = (
                f"snapshot {self.snapshot.number} of {self.folder} has {seen} named "
                f"{utterance_id!r} in view {view!r}; expected one; look at 'emostack store ls'"
            )
            raise StoreError(message)
        found = self.catalogue.places(from_arrow(rows["key"]))[0]
        if not found.shard:
            message = (
                f"the features of {utterance_id!r} that snapshot {self.snapshot.number} of "
                f"{self.folder} names are there no more; expected a place in its catalogue; extract "
                "again, or run 'emostack store repair'"
            )
            raise StoreError(message)
        return found

    def read(self, place: Place) -> NDArray[np.floating]:
        """Rows at a place: shape (n_segments, feature_dim).

        Raises
        ------
        features_cache.shard.ShardError
            The shard is missing, also by the newest catalogue.
        """
        datasets, place = self._shard(place)
        rows: NDArray[np.floating] = datasets["features"][place.row_start : place.row_end]
        return rows

    def read_times(self, place: Place) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Read the starts and ends of the segments at a place, seconds in the utterance."""
        datasets, place = self._shard(place)
        rows = slice(place.row_start, place.row_end)
        return datasets["segment_start"][rows], datasets["segment_end"][rows]

    def places(self, keys: Iterable[str]) -> Places:
        """Say where the features of some keys (hexadecimal digits) are."""
        return self.catalogue.places(keys_of(pd.Series(keys, dtype="str")))

    def live(self, columns: Sequence[str] | None = None, view: str | None = None) -> pd.DataFrame:
        """Rows of the held snapshot whose features were and are there, and where they are.

        Parameters
        ----------
        columns : of the snapshot; all by default
        view : only this one

        Returns
        -------
        pandas.DataFrame
            These columns, then ``shard, row_start, row_end``.
        """
        names = list(self.snapshot.columns if columns is None else columns)
        at, places = self._live_rows(view)
        rows = as_frame(self.snapshot.table(names, view=view).take(pa.array(at)))
        return rows.assign(
            shard=places.shard.astype("str"), row_start=places.row_start, row_end=places.row_end
        )

    def live_places(self, view: str | None = None) -> Places:
        """Places of the rows that `live` gives, without the rows."""
        return self._live_rows(view)[1]

    def _live_rows(self, view: str | None = None) -> tuple[NDArray[np.int64], Places]:
        """Rows of the snapshot, or of one view of it, that are live, and their places."""
        table = self.snapshot.table(["key", "status"], view=view)
        at = np.flatnonzero(is_live(table))
        places = self.catalogue.places(from_arrow(table["key"])[at])
        if places.is_there.all():
            return at, places
        there = np.flatnonzero(places.is_there)
        return at[there], places.take(there)

    def close(self) -> None:
        """Close the shard files that reading opened."""
        while self._open:
            self._close_one()

    def _close_one(self, *, last: bool = True) -> None:
        self._open.popitem(last=last)[1]["features"].file.close()

    def _shard(self, place: Place) -> tuple[dict[str, h5py.Dataset], Place]:
        """Open a shard, or, where it has been replaced meanwhile, the one that has its rows now."""
        if place.shard not in self._open:
            try:
                file = open_shard(self.shards_folder / place.shard)
            except ShardError:
                if (self.shards_folder / place.shard).is_file():
                    raise
                return self._shard(self._moved(place))
            # Held, since to find a dataset by name takes ten times as long as to read a segment.
            self._open[place.shard] = {column: file[column] for column in _DATASETS}
        self._open.move_to_end(place.shard)
        while len(self._open) > OPEN_SHARDS:
            self._close_one(last=False)
        return self._open[place.shard], place

    def _moved(self, place: Place) -> Place:
        """Look a missing place up in the held catalogue, then in the newest one."""
        for is_again in (False, True):
            if is_again:
                # In one go: whoever misses one shard is going to miss others.
                self.catalogue = read_catalogue(self.catalogue_folder, whole=True)
            found = self.catalogue.places(np.array([place.key], KEY))[0]
            if found.shard and (self.shards_folder / found.shard).exists():
                return found
        message = (
            f"shard {place.shard} is missing from {self.shards_folder}; catalogue "
            f"{self.catalogue.number} has no other place for its features; restore the file, or "
            "extract again"
        )
        raise ShardError(message)

    # Writing: the lock's holder only

    def unknown_shards(self) -> list[str]:
        """Names of published shards that the catalogue does not know: what a killed run has left."""
        return sorted(self.shards - {*self.catalogue.shards, *self.catalogue.retired})

    def adopt(self, withdrawn: Collection[str] = ()) -> None:
        """Take into the held catalogue what killed runs have left; of a doubled key the youngest.

        Features that are there already stay, unless a decoder's withdrawn revision made them.
        Nothing is written: the next catalogue that is published has it.

        Parameters
        ----------
        withdrawn : revisions of decoders whose features and reasons do not count any more
        """
        found = {name: self._rows_of_unknown(name) for name in self.unknown_shards()}
        left = {name: rows for name, rows in found.items() if rows is not None}
        if not left:
            return
        catalogue, rows = self.catalogue, pa.concat_tables(left.values())
        # An older catalogue, read since the newest is torn, names shards that `gc` has deleted.
        stays = catalogue.in_shards(self.shards) & ~catalogue.made_by(withdrawn)
        is_new = ~np.isin(catalogue.find(from_arrow(rows["key"])), np.flatnonzero(stays))
        catalogue = catalogue.plus(rows.filter(pa.array(is_new)), dict.fromkeys(left, ""))
        # All of the others is there: a compaction or a merge was killed.
        catalogue = catalogue.with_retired({*left} - catalogue.named_shards())
        self.catalogue = replace(catalogue, for_snapshot=UNTOLD) if is_new.any() else catalogue

    def on_disk(self) -> Catalogue:
        """Give the held catalogue, but for places in shards that are not there."""
        gone = self.catalogue.named_shards() - self.shards
        return self.catalogue.only(~self.catalogue.in_shards(gone)) if gone else self.catalogue

    def content(self, name: str) -> ShardContent | None:
        """Look into a shard; None for one that is torn, of which `verify` tells."""
        try:
            return examine(self.shards_folder / name, full=False)
        except ShardError:
            return None

    def _rows_of_unknown(self, name: str) -> pa.Table | None:
        content = self.content(name)
        if not content or content.damaged or content.header.recipe_json != self.recipe_json:
            return None
        return rows_of_shard(name, content)

    def stale_partials(self) -> list[Path]:
        """Files that dead writers left unfinished."""
        folders = (self.folder, self.shards_folder, self.catalogue_folder, self.snapshots_folder)
        return [path for folder in folders for path in folder.glob(f".*{PARTIAL}")]

    def remove_stale_partials(self) -> list[str]:
        """Delete what dead writers left unfinished."""
        stale = self.stale_partials()
        for path in stale:
            path.unlink(missing_ok=True)
        return [path.name for path in stale]

    def publish_catalogue(
        self, catalogue: Catalogue, recipe_id: str = "", *, for_snapshot: int | None = None
    ) -> None:
        """Publish what exists; it is held from then on.

        Nothing is published where the newest version on disk says the same.

        Parameters
        ----------
        catalogue : made of the held one
        recipe_id : identity of the recipe; by default as the store has it
        for_snapshot : number of the snapshot that will say what is wanted of all that is in it; 0 where
            the newest does. By default whatever is untold stays so
        """
        newest = max(numbers(self.catalogue_folder), default=0)
        if for_snapshot is None:
            for_snapshot = UNTOLD if self.is_untold else catalogue.for_snapshot
        is_told = not self.is_untold or for_snapshot == self.catalogue.for_snapshot
        if catalogue.is_published and catalogue.number == newest and is_told:
            return
        named, there = catalogue.named_shards(), self.shards
        known = {*self.catalogue.shards, *catalogue.shards, *catalogue.retired} - named
        ready = replace(
            catalogue,
            recipe_id=recipe_id or self.recipe_id,
            for_snapshot=for_snapshot,
            shards={
                name: catalogue.shards.get(name) or file_sha256(self.shards_folder / name)
                for name in sorted(named)
            },
            retired=tuple(sorted(known & there)),
        )
        before = read_catalogue(self.catalogue_folder)
        is_same = (
            is_told
            and ready.number == before.number == newest > 0
            and ready.shards == before.shards
            and {*ready.retired} == {*before.retired} & there
            and ready.has_rows_of(before)
        )
        self.catalogue = before if is_same else publish_catalogue(self.catalogue_folder, ready)

    def publish_snapshot(
        self, parts: Iterable[pa.Table], recipe_id: str, *, audio: Mapping[str, str] | None = None
    ) -> None:
        """Publish what is wanted from now on; it is held from then on.

        Parameters
        ----------
        parts : its rows, sorted, see `features_cache.snapshot.publish_snapshot`
        recipe_id : identity of the recipe
        audio : corpus -> absolute folder of its files, where that is new
        """
        about = Snapshot(
            parent=self.snapshot.number,
            recipe_id=recipe_id,
            audio={**self.snapshot.audio, **(audio or {})},
        )
        self.snapshot = publish_snapshot(self.snapshots_folder, parts, about)

    def supersede_torn(self) -> None:
        """Publish the held snapshot again above torn ones: no number ever stands for two snapshots."""
        if self.snapshots and self.snapshots[-1] > self.snapshot.number > 0:
            self.publish_snapshot(in_parts(self.snapshot.table()), self.recipe_id)

    def show(self, *, again: bool = False) -> None:
        """Bring ``store.h5`` up to what is held, if it names other numbers, or in any case `again`."""
        index = self.folder / "store.h5"
        here = (self.snapshot.number, self.catalogue.number)
        if not again and index_numbers(index) == here:
            return
        at, places = self._live_rows()

        def column(name: str) -> pa.Array:  # one at a time: a million rows take their room
            if name == "shard":
                return pa.array(places.shard.astype("str"), pa.large_string())
            texts = self.snapshot.table([name])[name].take(pa.array(at)).combine_chunks()
            if name == "key":
                return pa.array(hex_of(from_arrow(texts)), pa.large_string())
            return texts.cast(pa.large_string())

        write_index_file(index, column, places, here, self.recipe_id)


def write_recipe(folder: Path, recipe_json: str) -> None:
    """Write ``recipe.json``, atomically: the store's format, and the recipe."""
    with atomic_write(folder / "recipe.json") as partial:
        partial.write_text(f'{{"format":{FORMAT},"recipe":{recipe_json}}}', encoding="utf-8")


def read_recipe(folder: Path) -> tuple[int, str]:
    """Read a store's format, and its recipe as canonical JSON.

    Raises
    ------
    StoreError
        The folder holds no store, or one of a later format.
    """
    file = folder / "recipe.json"
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text)
    except FileNotFoundError as error:
        message = (
            f"{folder} holds no store (no recipe.json); expected a folder that 'emostack "
            "extract' made; extract first, or give the right --workdir and --recipe"
        )
        raise StoreError(message) from error
    except ValueError as error:
        raise StoreError(_odd_recipe(file, str(error))) from error
    if not isinstance(found, dict) or not found.keys() & {"recipe", "network"}:
        raise StoreError(_odd_recipe(file, "no recipe"))
    if "recipe" not in found:
        return 1, text
    if found.get("format") != FORMAT:
        raise StoreError(_odd_recipe(file, f"format {found.get('format')!r}"))
    return FORMAT, json.dumps(found["recipe"], sort_keys=True, separators=(",", ":"))


def _odd_recipe(file: Path, seen: str) -> str:
    return (
        f"{file} cannot be read ({seen}); expected a store of format 1 or {FORMAT}; run 'emostack "
        "store rebuild' if it is damaged, or read it with the version that wrote it"
    )


def rows_of_shard(name: str, content: ShardContent) -> pa.Table:
    """Make the catalogue's rows of what is sound in a shard."""
    shard = PublishedShard(name=name, sha256="", entries=content.sound)
    return rows_of_shards([shard], content.header.decoder)


def rows_of_shards(shards: Iterable[PublishedShard], made_by: Sequence[str] | str = "") -> pa.Table:
    """Make the catalogue's rows of shards; who made them may be said once, or for each entry."""
    pairs = [(entry, shard.name) for shard in shards for entry in shard.entries]
    return catalogue_rows(
        keys_of([entry.key for entry, _ in pairs]),
        shard=[name for _, name in pairs],
        row_start=[entry.row_start for entry, _ in pairs],
        row_end=[entry.row_end for entry, _ in pairs],
        made_by=made_by,
    )
