"""Stores: generations, the index file, orphans, the lock, verify."""

import multiprocessing
import os
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from features_cache.atomic import atomic_write
from features_cache.generation import Generation, read_generation
from features_cache.lock import LockedError, writer_lock
from features_cache.shard import PublishedShard, ShardError, ShardHeader, ShardWriter
from features_cache.store import Store, StoreError
from features_cache.verify import verify

RECIPE_ID = "0123456789abcdef"


def new_shard(store: Store, names: list[str], dim: int = 3) -> PublishedShard:
    header = ShardHeader(
        recipe_id=RECIPE_ID,
        recipe_json="{}",
        versions_json="{}",
        engine="keras-test",
        dtype="float32",
        feature_dim=dim,
    )
    with ShardWriter(store.shards_folder, header) as shard:
        for name in names:
            n = 2 + len(name)
            start = np.arange(n, dtype=np.float64)
            values = np.full((n, dim), sum(map(ord, name)), np.float32)
            shard.append(values, start, start + 1)
            shard.end_utterance(key=name.ljust(64, "0"), utterance_id=name, view="clean")
        return shard.close()


def table(shard: PublishedShard, **columns: str) -> pd.DataFrame:
    rows = [
        {
            "utterance_id": e.utterance_id,
            "corpus": "c",
            "speaker": "s",
            "emotion": "joy",
            "view": "clean",
            "key": e.key,
            "audio_sha256": "",
            "shard": shard.name,
            "row_start": e.row_start,
            "row_end": e.row_end,
            "status": "live",
            "reason": "",
            "message": "",
            **columns,
        }
        for e in shard.entries
    ]
    return pd.DataFrame(rows)


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
    assert stack.shape == (4, 3)
    assert (stack == 2 * ord("b")).all()


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


def test_features_of_a_killed_run_are_found_again(filled: Store) -> None:
    orphan = new_shard(filled, ["lost"])
    assert filled.orphans() == [orphan.name]
    places = filled.known_places()
    assert set(places) == {"a".ljust(64, "0"), "bb".ljust(64, "0"), "lost".ljust(64, "0")}
    assert (filled.read(places["lost".ljust(64, "0")]) == sum(map(ord, "lost"))).all()


def test_features_of_a_lost_shard_count_as_not_there(filled: Store) -> None:
    (filled.shards_folder / filled.generation.rows["shard"].iloc[0]).unlink()
    assert Store(filled.folder).known_places() == {}


@pytest.mark.parametrize("kind", ["torn", "foreign"])
def test_an_orphan_that_is_no_shard_of_this_recipe_is_passed_over(filled: Store, kind: str) -> None:
    orphan = filled.shards_folder / new_shard(filled, ["lost"]).name
    if kind == "torn":
        orphan.write_bytes(orphan.read_bytes()[:100])
    else:
        with h5py.File(orphan, "r+") as file:
            file.attrs["recipe_json"] = '{"other":1}'
    assert set(filled.known_places()) == {"a".ljust(64, "0"), "bb".ljust(64, "0")}


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


def test_a_whole_store_has_no_problems(filled: Store) -> None:
    assert list(verify(filled.folder, full=True)) == []


def _codes(store: Store, *, full: bool = False) -> set[str]:
    return {problem.code for problem in verify(store.folder, full=full)}


def test_verify_names_what_is_wrong(filled: Store) -> None:
    shard = filled.shards_folder / filled.generation.rows["shard"].iloc[0]
    whole = shard.read_bytes()
    with h5py.File(shard, "r+") as file:
        file["features"][0, 0] += 1
    assert _codes(filled) == set()
    found = list(verify(filled.folder, full=True))
    assert [(p.code, p.utterance_id) for p in found] == [("damaged_utterance", "a")]
    shard.write_bytes(whole[: len(whole) // 2])
    assert _codes(filled) == {"torn_shard"}
    shard.unlink()
    assert _codes(filled) == {"missing_shard"}
    shard.write_bytes(whole)
    rows = filled.generation.rows.assign(row_end=lambda t: t["row_end"] + 1)
    Store(filled.folder).publish(rows, RECIPE_ID, [])
    assert _codes(filled) == {"wrong_rows"}


def test_verify_finds_a_torn_generation(filled: Store) -> None:
    (filled.generations_folder / "00000001.parquet").write_bytes(b"PAR1")
    assert _codes(filled) == {"torn_generation", "stale_index"}


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
