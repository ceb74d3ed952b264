"""Is the store whole? Quick: files, attributes and index. Full: every byte that a reader gets."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features_cache.examiner import Examiner, ExaminerError
from features_cache.generation import (
    Generation,
    GenerationError,
    generation_path,
    numbers,
    read_generation,
    read_table,
)
from features_cache.index_file import index_generation
from features_cache.keys import file_sha256
from features_cache.shard_reading import ShardContent, examine
from features_cache.store import Store

N_NAMES = 3
"""Utterances that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreProblem:
    """One thing that is wrong with a store.

    Attributes
    ----------
    code : ``torn_generation``, ``missing_shard``, ``torn_shard``, ``foreign_shard``,
        ``wrong_rows``, ``changed_shard``, ``damaged_utterance`` or ``stale_index``
    message : what was seen, in words
    shard : the shard file's name, if it is about one
    utterance_ids : all who are hit, by the names that the newest whole generation gives them
    keys : their keys, as that generation has them
    generation : number of the generation, if it is about one
    """

    code: str
    message: str
    shard: str = ""
    utterance_ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    generation: int = 0


def verify(
    folder: Path, *, full: bool = False, examiner: Examiner | None = None
) -> Iterator[StoreProblem]:
    """Yield everything that is wrong with a store.

    Shards that no row names any more are passed over. Those of a run that was killed before it could
    publish are looked at, but are nothing wrong in themselves.

    Parameters
    ----------
    folder : the store's folder; its newest generation that can be read is the measure
    full : read every row of every generation and shard and compare checksums, too
    examiner : who looks into shards that may be damaged; one of its own by default

    Raises
    ------
    features_cache.store.StoreError
        There is no store.
    features_cache.examiner.ExaminerError
        The process that looks into damaged shards cannot be started.
    """
    index = folder / "store.h5"  # before the generations: a run may publish one meanwhile
    shown = index_generation(index) if index.exists() else None
    torn = list(torn_generations(folder / "generations", full=full))
    yield from torn
    store = Store(folder, generation=newest_whole(folder / "generations"))
    rows = store.generation.rows
    positions = rows.groupby("shard", sort=False).indices
    with ExitStack() as stack:
        examiner = examiner or stack.enter_context(Examiner())
        for name in sorted({*store.generation.shards, *store.orphans()}):
            mine = rows.iloc[positions.get(name, [])]
            yield from _ShardCheck(store, name, mine, full=full).problems(examiner)
    yield from _stale_index(shown, store.generation)


def _stale_index(shown: int | None, newest: Generation) -> Iterator[StoreProblem]:
    """Tell if ``store.h5`` is of no use; `shown` is the generation it shows, None without a file.

    A run that is killed after it published a generation leaves the index at the one before: behind,
    but whole, and the next run brings it up.
    """
    is_behind = (shown or 0) == newest.parent and shown != 0
    if (shown or 0) != newest.number and not is_behind:
        seen = f"store.h5 shows generation {shown or 0}, the newest whole one is {newest.number}"
        yield StoreProblem(code="stale_index", message=seen)


def newest_whole(folder: Path) -> int:
    """Return the number of the newest generation whose rows can be read; 0 if there is none."""
    for number in reversed(numbers(folder)):
        try:
            read_generation(folder, number)
            read_table(generation_path(folder, number))
        except GenerationError:
            continue
        return number
    return 0


def torn_generations(folder: Path, *, full: bool) -> Iterator[StoreProblem]:
    """Yield the generations whose footer cannot be read; nor rows: the newest's, or in full all."""
    known = numbers(folder)
    for number in known:
        try:
            read_generation(folder, number)
            if full or number == known[-1]:
                read_table(generation_path(folder, number))
        except GenerationError as error:
            yield StoreProblem(code="torn_generation", message=str(error), generation=number)


class _ShardCheck:
    """One shard against what the generation says of it."""

    def __init__(self, store: Store, name: str, rows: pd.DataFrame, *, full: bool) -> None:
        self._store, self._name, self._full = store, name, full
        self._path = store.shards_folder / name
        self._places = list(
            zip(
                *(rows[c].tolist() for c in ("utterance_id", "key", "row_start", "row_end")),
                strict=True,
            )
        )

    def problems(self, examiner: Examiner) -> Iterator[StoreProblem]:
        if not self._path.exists():
            yield self._all("missing_shard", "the file is not there")
            return
        recorded = self._store.generation.shards.get(self._name, "")
        try:
            as_recorded = bool(self._full and recorded and file_sha256(self._path) == recorded)
            look = examine if as_recorded else examiner.examine
            content = look(self._path, full=self._full)
        except ExaminerError:
            raise
        except OSError as error:
            yield self._all("torn_shard", str(error))
            return
        is_changed = bool(self._full and recorded) and not as_recorded
        if not is_changed and self._is_foreign(content):
            yield self._all("foreign_shard", f"made by recipe {content.header.recipe_id}")
            return
        found = [*self._damaged(content)]
        yield from found
        if is_changed and not found:
            message = "the file's bytes are not those that the generation recorded"
            yield StoreProblem(code="changed_shard", shard=self._name, message=message)

    def _is_foreign(self, content: ShardContent) -> bool:
        ids = {
            content.header.recipe_id,
            self._store.generation.recipe_id or content.header.recipe_id,
        }
        return len(ids) > 1 or content.header.recipe_json != self._store.recipe_json

    def _damaged(self, content: ShardContent) -> Iterator[StoreProblem]:
        """Tell whose features are not what the generation and the checksums say."""
        at = {(entry.row_start, entry.row_end): i for i, entry in enumerate(content.entries)}
        damaged, wrong, told = [], [], set()
        for utterance_id, key, *place in self._places:
            i = at.get((place[0], place[1]), -1)
            if i in content.damaged:
                damaged.append((utterance_id, key))
                told.add(i)
            elif i < 0 or content.entries[i].key != key:
                wrong.append((utterance_id, key))
        names = {key for _, key in wrong}
        rest = (content.entries[i] for i in sorted(content.damaged - told))
        damaged += [(e.utterance_id, e.key) for e in rest if e.key not in names]
        if damaged:
            yield self._about("damaged_utterance", "not what was written (checksum)", damaged)
        if wrong:
            yield self._about("wrong_rows", "not where the generation says", wrong)

    def _all(self, code: str, message: str) -> StoreProblem:
        return self._about(code, message, [(name, key) for name, key, *_ in self._places])

    def _about(self, code: str, message: str, who: Sequence[tuple[str, str]]) -> StoreProblem:
        ids = tuple(dict.fromkeys(name for name, _ in who))
        names = ", ".join(map(repr, ids[:N_NAMES])) + (", ..." if len(ids) > N_NAMES else "")
        count = f"{len(ids)} utterance{'s' * (len(ids) != 1)}"
        return StoreProblem(
            code=code,
            shard=self._name,
            utterance_ids=ids,
            keys=tuple(dict.fromkeys(key for _, key in who)),
            message=f"{message}; {count}{': ' * bool(ids)}{names}",
        )
