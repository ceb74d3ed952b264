"""Stores of format 1, read through the types of today, and made into stores of format 2.

Format 1 had *generations* in place of snapshots and a catalogue: tables of what was wanted, where its
features were, and, as rows whose status is ``gone``, what once was. ``docs/store-format.md`` has it.
"""

import functools
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from features_cache.catalogue import Catalogue, catalogue_rows, publish_catalogue
from features_cache.key_columns import NO_KEY, keys_of
from features_cache.numbered import (
    TableError,
    in_parts,
    numbers,
    read_columns,
    read_metadata,
    read_table,
    table_path,
)
from features_cache.snapshot import (
    KEY_COLUMNS,
    LIVE,
    ORDER,
    OWN_COLUMNS,
    TRANSIENT,
    Snapshot,
    as_frame,
    as_table,
    newest_whole,
    read_snapshot,
    write_snapshot,
)

GENERATIONS = "generations"
_GONE, _QUARANTINED = "gone", "quarantined"
_OURS = ("key", "audio_sha256", "shard", "row_start", "row_end", "status", "reason", "message")


class GenerationSnapshot(Snapshot):
    """A generation, read as a snapshot."""

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the rows' columns, those of a snapshot."""
        assert self.file is not None
        names = [name for name in read_columns(self.file, self._open) if name not in _OURS]
        return tuple(dict.fromkeys((*names, *OWN_COLUMNS)))

    def _read(self, columns: Sequence[str], filters: list[tuple[str, str, str]]) -> pa.Table:
        assert self.file is not None
        wanted = {*columns, *ORDER, "status", "reason"}
        names = [name for name in read_columns(self.file, self._open) if name in wanted]
        rows = read_table(
            self.file, self._open, columns=names, filters=[("status", "!=", _GONE), *filters]
        )
        status, reason = (rows[name].cast(pa.large_string()) for name in ("status", "reason"))
        texts = rows.select([n for n in names if n not in (*KEY_COLUMNS, "status", "reason")])
        keys = {name: rows[name].to_pandas() for name in KEY_COLUMNS if name in names}
        found = pc.if_else(pc.equal(status, LIVE), LIVE, reason)
        return as_table(as_frame(texts).assign(**keys, status=found.to_pandas()))


def read(folder: Path, number: int | None) -> tuple[Snapshot, Catalogue]:
    """Read one generation, by default the newest, and what that and the newest know to exist."""
    generations = folder / GENERATIONS
    snapshot = read_generation(generations, number).held()
    newest = newest_whole(generations, functools.partial(read_generation, generations))
    recent = {each.number: each for each in (newest, snapshot) if each.number}
    return snapshot, catalogue_of(folder, list(recent.values()))


def read_generation(folder: Path, number: int | None = None) -> Snapshot:
    """Open one generation as a snapshot; see `features_cache.snapshot.read_snapshot`."""
    return read_snapshot(folder, number, GenerationSnapshot)


def catalogue_of(folder: Path, newest_first: Iterable[Snapshot]) -> Catalogue:
    """Gather what generations know to exist; of a key that several know, the newest is believed.

    A place beats a reason.

    Parameters
    ----------
    folder : of the store
    newest_first : generations; places of shards that are there no more count for nothing
    """
    there = {path.name for path in (folder / "shards").glob("*.h5")}
    reasons, places, shards, recipe_id = Catalogue(), Catalogue(), dict[str, str](), ""
    retired: tuple[str, ...] = ()
    for generation in newest_first:
        assert generation.file is not None
        meta, _ = read_metadata(generation.file)
        rows = _reasons_and_places(read_table(generation.file), there)
        if not recipe_id:
            retired = tuple(map(str, meta.get("retired", ())))
        recipe_id = recipe_id or generation.recipe_id
        is_place = pc.not_equal(rows["shard"].cast(pa.string()), "")
        reasons = Catalogue().plus(rows.filter(pc.invert(is_place))).plus(reasons.rows)
        places = Catalogue().plus(rows.filter(is_place)).plus(places.rows)
        shards = {**{str(k): str(v) for k, v in meta["shards"].items()}, **shards}
    found = reasons.plus(places.rows)
    named = found.named_shards()
    gone = {*shards, *retired} & there
    return replace(
        found,
        recipe_id=recipe_id,
        shards={name: shards[name] for name in sorted(named)},
        retired=tuple(sorted(gone - named)),
    )


def _reasons_and_places(rows: pa.Table, there: set[str]) -> pa.Table:
    """Make a catalogue's rows: reasons, then tombstones' places, then all other places."""
    frame = rows.select(
        ["shard", "row_start", "row_end", "status", "reason", "message"]
    ).to_pandas()
    keys = keys_of(rows["key"].to_pylist())
    is_known = keys != NO_KEY
    is_place = is_known & frame["shard"].isin(there).to_numpy()
    is_gone = (frame["status"] == _GONE).to_numpy()
    is_reason = is_known & (frame["status"] == _QUARANTINED).to_numpy() & ~is_place
    is_reason &= ~frame["reason"].isin(TRANSIENT).to_numpy()
    place = ("shard", "row_start", "row_end")
    parts = (
        (is_reason, ("reason", "message")),
        (is_place & is_gone, place),
        (is_place & ~is_gone, place),
    )
    return pa.concat_tables(
        catalogue_rows(keys[mask], **{name: frame.loc[mask, name].tolist() for name in names})
        for mask, names in parts
    )


def upgrade(folder: Path, *, passing_over_torn: bool) -> None:
    """Write the snapshots and the catalogue that a store's generations come to, beside them.

    The store stays one of format 1 until its ``recipe.json`` says otherwise; so an upgrade that was
    killed is begun anew. A torn generation becomes a torn snapshot of its number, which then stands
    for no other.

    Parameters
    ----------
    folder : of the store
    passing_over_torn : whoever repairs the store; else the newest may not be torn

    Raises
    ------
    features_cache.numbered.TableError
        The newest generation is torn, or the folder has snapshots that are of no generation: nothing
        has changed.
    """
    known = numbers(folder / GENERATIONS)
    ours = sorted({*numbers(folder / "snapshots")} - {*known})
    if ours:
        message = (
            f"{folder} has snapshots {ours} of format 2 and a recipe.json of format 1, perhaps from a "
            "backup; expected one format; move what does not belong there away"
        )
        raise TableError(message)
    if known and not passing_over_torn:
        read_table(table_path(folder / GENERATIONS, known[-1]))
    for name in ("snapshots", "catalogue"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    whole = []
    for number in known:
        try:
            generation = read_generation(folder / GENERATIONS, number)
            parts = in_parts(generation.table())
        except TableError:
            path = table_path(folder / GENERATIONS, number)
            shutil.copyfile(path, table_path(folder / "snapshots", number))
            continue
        write_snapshot(folder / "snapshots", parts, generation)
        whole.append(number)
    if whole:
        newest_first = (read_generation(folder / GENERATIONS, n) for n in reversed(whole))
        publish_catalogue(folder / "catalogue", catalogue_of(folder, newest_first))


def remove(folder: Path) -> None:
    """Remove the generations of a store that has been upgraded."""
    shutil.rmtree(folder / GENERATIONS, ignore_errors=True)
