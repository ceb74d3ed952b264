"""Stores: generations, the index file, orphans, the lock."""

import multiprocessing
import os
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from features_cache import lock as lock_module
from features_cache.atomic import atomic_write
from features_cache.generation import Generation, read_generation
from features_cache.lock import LockedError, writer_lock
from features_cache.shard import ShardError
from features_cache.store import Place, Store, StoreError
from tests.small_store import RECIPE_ID, bury, key_of, new_shard, shard_names, table, values


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", "{}")


@pytest.fixture
def filled(store: Store) -> Store:
    shard = new_shard(store, ["a", "bb"])
    store.publish(table(shard), RECIPE_ID, [shard])
    return store


def test_a_stack_comes_back_by_its_utterance_id(filled: Store) -> None:
    stack = Store(filled.folder).stack("bb")
    np.testing.assert_array_equal(stack, values("bb"))


def test_an_unknown_utterance_is_refused_by_name(filled: Store) -> None:
    with pytest.raises(StoreError, match="has no utterance named 'zz'"):
        filled.stack("zz")


def test_two_utterances_of_one_name_are_not_guessed_between(store: Store) -> None:
    shard = new_shard(store, ["a"])
    both = pd.concat([table(shard), table(shard, corpus="other")])
    store.publish(both, RECIPE_ID, [shard])
    with pytest.raises(StoreError, match="several utterances named 'a'"):
        store.stack("a")


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no store"):
        Store(tmp_path)


def test_a_store_of_another_recipe_is_refused(filled: Store) -> None:
    with pytest.raises(StoreError, match="store of another recipe"):
        Store.create(filled.folder, '{"other":1}')


def test_publishing_the_same_rows_again_makes_no_generation(filled: Store) -> None:
    rows = filled.generation.rows
    again = filled.publish(rows.sample(frac=1, random_state=0), RECIPE_ID, [])
    assert again.number == 1
    assert filled.publish(rows.assign(emotion="fear"), RECIPE_ID, []).number == 2


def test_a_reader_keeps_its_generation_while_a_writer_publishes(filled: Store) -> None:
    reader = Store(filled.folder)
    writer = Store(filled.folder)
    more = new_shard(writer, ["ccc"])
    writer.publish(pd.concat([writer.generation.rows, table(more)]), RECIPE_ID, [more])
    with pytest.raises(StoreError, match="generation 1"):
        reader.stack("ccc")
    assert Store(filled.folder).stack("ccc").shape == (5, 3)
    assert len(Store(filled.folder, generation=1).generation.live) == 2


def test_two_writers_cannot_publish_one_number(filled: Store) -> None:
    path = filled.generations_folder / "00000001.parquet"
    with pytest.raises(FileExistsError), atomic_write(path, exclusive=True) as partial:
        partial.write_bytes(b"")
    assert read_generation(filled.generations_folder).number == 1


def test_a_generation_records_the_sha256_of_its_shards(filled: Store) -> None:
    generation: Generation = Store(filled.folder).generation
    assert list(generation.shards) == [generation.rows["shard"].iloc[0]]
    assert all(len(digest) == 64 for digest in generation.shards.values())


def _places(store: Store) -> dict[str, Place]:
    rows = store.known_places().drop_duplicates("key").to_dict("records")
    return {row.pop("key"): Place(**row) for row in rows}


def test_features_of_a_killed_run_are_found_again(filled: Store) -> None:
    orphan = new_shard(filled, ["lost"])
    assert filled.orphans() == [orphan.name]
    places = _places(filled)
    assert set(places) == {key_of("a"), key_of("bb"), key_of("lost")}
    np.testing.assert_array_equal(filled.read(places[key_of("lost")]), values("lost"))


def test_a_tombstones_place_counts_last(filled: Store) -> None:
    other = new_shard(filled, ["a"], seed=1)
    both = [filled.generation.rows, table(other, status="gone", reason="replaced")]
    filled.publish(pd.concat(both), RECIPE_ID, [other])
    assert _places(filled)[key_of("a")].shard != other.name


def test_features_of_a_lost_shard_count_as_not_there(filled: Store) -> None:
    (filled.shards_folder / filled.generation.rows["shard"].iloc[0]).unlink()
    assert len(Store(filled.folder).known_places()) == 0


@pytest.mark.parametrize("kind", ["torn", "foreign"])
def test_an_orphan_that_is_no_shard_of_this_recipe_is_passed_over(filled: Store, kind: str) -> None:
    orphan = filled.shards_folder / new_shard(filled, ["lost"]).name
    if kind == "torn":
        orphan.write_bytes(orphan.read_bytes()[:100])
    else:
        with h5py.File(orphan, "r+") as file:
            file.attrs["recipe_json"] = '{"other":1}'
    assert set(_places(filled)) == {key_of("a"), key_of("bb")}


def test_shards_that_rows_leave_are_retired_and_not_orphans(filled: Store) -> None:
    (name,) = shard_names(filled)
    filled.publish(filled.generation.rows.assign(shard="", status="quarantined"), RECIPE_ID)
    assert filled.generation.retired == (name,)
    assert filled.orphans() == []
    bury(filled, "a")
    assert filled.generation.retired == (name,)


def test_no_number_stands_for_two_generations(filled: Store) -> None:
    rows = filled.generation.rows
    filled.publish(rows.assign(emotion="fear"), RECIPE_ID)
    (filled.generations_folder / "00000002.parquet").write_bytes(b"PAR1")
    whole = Store(filled.folder, generation=1)
    assert whole.publish(rows, RECIPE_ID).number == 3


def test_stale_partials_are_removed_and_nothing_else(filled: Store) -> None:
    partial = filled.shards_folder / ".x.h5.0123.partial"
    partial.write_bytes(b"torn")
    assert filled.remove_stale_partials() == [partial.name]
    assert len(list(filled.shards_folder.iterdir())) == 1


def test_store_h5_is_read_with_h5py_alone_wherever_the_store_is_moved(filled: Store) -> None:
    moved = filled.folder.with_name("moved")
    filled.folder.rename(moved)
    with h5py.File(moved / "store.h5") as file:
        i = list(file["utterance_id"].asstr()).index("bb")
        rows = slice(file["row_start"][i], file["row_end"][i])
        stack = file["shards"][file["shard"].asstr()[i]]["features"][rows]
        assert file["emotion"].asstr()[i] == "joy"
    assert stack.shape == (4, 3)


def test_a_missing_shard_raises_instead_of_reading_zeros(filled: Store) -> None:
    (filled.shards_folder / filled.generation.rows["shard"].iloc[0]).unlink()
    with pytest.raises(ShardError, match=r"is missing from .* extract again"):
        Store(filled.folder).stack("a")
    with h5py.File(filled.folder / "store.h5") as file, pytest.raises(KeyError):
        file["shards"][file["shard"].asstr()[0]]


def _hold(folder: Path, held: "multiprocessing.synchronize.Event") -> None:
    with writer_lock(folder):
        held.set()
        multiprocessing.Event().wait()


def test_a_second_writer_is_told_who_holds_the_lock_and_a_dead_holder_frees_it(
    tmp_path: Path,
) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held))
    process.start()
    assert held.wait(30)
    with (
        pytest.raises(LockedError, match=rf"process {process.pid} on .* since"),
        writer_lock(tmp_path),
    ):
        pass
    os.kill(process.pid or 0, 9)
    process.join()
    with writer_lock(tmp_path):
        pass


def _hold_and_be_slow_to_say_so(
    folder: Path, locked: "multiprocessing.synchronize.Event", held: float
) -> None:
    def write_late(*words: object) -> None:
        locked.set()
        time.sleep(held)
        write(*words)

    write = lock_module._write
    lock_module._write = write_late  # type: ignore[assignment]
    with writer_lock(folder):
        time.sleep(30)


def test_a_second_writer_is_never_told_the_name_of_an_earlier_holder(tmp_path: Path) -> None:
    with writer_lock(tmp_path):
        pass
    assert str(os.getpid()) in (tmp_path / "lock").read_text()
    context = multiprocessing.get_context("spawn")
    locked = context.Event()
    process = context.Process(target=_hold_and_be_slow_to_say_so, args=(tmp_path, locked, 0.5))
    process.start()
    try:
        assert locked.wait(30)
        with pytest.raises(LockedError, match=rf"process {process.pid} on "), writer_lock(tmp_path):
            pass
    finally:
        process.kill()
        process.join()
