"""Is the store whole? Quick: files, attributes and index. Full: every byte that a reader gets."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from features_cache.generation import Generation, GenerationError, numbers, read_generation
from features_cache.index_file import index_generation
from features_cache.keys import file_sha256
from features_cache.shard import (
    ShardEntry,
    damaged_utterances,
    read_entries,
    read_header,
)
from features_cache.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreProblem:
    """One thing that is wrong with a store.

    Attributes
    ----------
    code : ``torn_generation``, ``missing_shard``, ``torn_shard``, ``foreign_shard``,
        ``wrong_rows``, ``changed_shard``, ``damaged_utterance`` or ``stale_index``
    shard : the shard file's name, if it is about one
    utterance_id : who is hit, if it is about somebody
    message : what was seen, in words
    """

    code: str
    message: str
    shard: str = ""
    utterance_id: str = ""


def verify(folder: Path, *, full: bool = False) -> Iterator[StoreProblem]:
    """Yield everything that is wrong with a store.

    Parameters
    ----------
    folder : the store's folder; its newest generation that can be read is the measure
    full : read every row and compare checksums, too
    """
    newest = 0
    for number in numbers(folder / "generations"):
        try:
            read_generation(folder / "generations", number)
            newest = number
        except GenerationError as error:
            yield StoreProblem(code="torn_generation", message=str(error))
    store = Store(folder, generation=newest)
    for name in sorted({*store.generation.shards, *store.orphans()}):
        yield from _verify_shard(store, name, full=full)
    shown = index_generation(folder / "store.h5")
    if shown != newest:
        message = f"store.h5 shows generation {shown}, the newest whole one is {newest}"
        yield StoreProblem(code="stale_index", message=message)


def _verify_shard(store: Store, name: str, *, full: bool) -> Iterator[StoreProblem]:
    path = store.shards_folder / name
    generation = store.generation
    if not path.exists():
        yield StoreProblem(code="missing_shard", shard=name, message=f"{path} is not there")
        return
    try:
        header, entries = read_header(path), read_entries(path)
        damaged = damaged_utterances(path) if full else []
    except (OSError, KeyError, ValueError, RuntimeError) as error:  # whatever torn HDF5 gives
        yield StoreProblem(code="torn_shard", shard=name, message=str(error))
        return
    if generation.recipe_id and header.recipe_id != generation.recipe_id:
        message = f"made by recipe {header.recipe_id}, the store's is {generation.recipe_id}"
        yield StoreProblem(code="foreign_shard", shard=name, message=message)
    yield from _misplaced(generation, name, entries)
    for entry in damaged:
        yield StoreProblem(
            code="damaged_utterance",
            shard=name,
            utterance_id=entry.utterance_id,
            message="its rows, times, key or view do not match their checksum",
        )
    if full and not damaged and generation.shards.get(name, "") not in ("", file_sha256(path)):
        message = "the file's bytes are not those that the generation recorded"
        yield StoreProblem(code="changed_shard", shard=name, message=message)


def _misplaced(
    generation: Generation, name: str, entries: tuple[ShardEntry, ...]
) -> Iterator[StoreProblem]:
    places = {(entry.key, entry.row_start, entry.row_end) for entry in entries}
    rows = generation.rows[generation.rows["shard"] == name]
    columns = ("utterance_id", "key", "row_start", "row_end")
    for utterance_id, *place in zip(*(rows[c].tolist() for c in columns), strict=True):
        if tuple(place) not in places:
            yield StoreProblem(
                code="wrong_rows",
                shard=name,
                utterance_id=utterance_id,
                message="the shard does not hold this utterance where the generation says",
            )
