"""Stores: snapshots and catalogue together, the index file, orphans, the lock."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from features_cache import lock as lock_module
from features_cache import store as store_module
from features_cache.catalogue import catalogue_rows, read_catalogue
from features_cache.compact import compact
from features_cache.gc import collect
from features_cache.key_columns import keys_of
from features_cache.keys import file_sha256
from features_cache.lock import LockedError, writer_lock
from features_cache.numbered import TableError, numbers
from features_cache.places import Place
from features_cache.shard import PublishedShard, ShardError
from features_cache.store import Store, StoreError, rows_of_shards
from features_cache.verify import verify
from tests.small_store import (
    RECIPE_ID,
    add,
    contents,
    drop,
    key_of,
    lose,
    make_store,
    mark,
    new_shard,
    places,
    publish,
    reopened,
    shard_names,
    table,
    tear_rows,
    values,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", "{}")


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    return make_store(tmp_path / "filled", ["a", "bb"])


def test_a_stack_comes_back_by_its_utterance_id(filled: Store) -> None:
    stack = Store(filled.folder).stack("bb")
    np.testing.assert_array_equal(stack, values("bb"))


def test_times_come_back_with_their_features(filled: Store) -> None:
    start, end = filled.read_times(filled.place("bb"))
    assert (start.tolist(), end.tolist()) == ([0, 1, 2, 3], [1, 2, 3, 4])


def test_an_unknown_utterance_is_refused_by_name(filled: Store) -> None:
    with pytest.raises(StoreError, match="has no utterance named 'zz'"):
        filled.stack("zz")


def test_two_utterances_of_one_name_are_not_guessed_between(store: Store) -> None:
    shard = new_shard(store, ["a"])
    publish(store, pd.concat([table(shard), table(shard, corpus="other")]), [shard])
    with pytest.raises(StoreError, match="several utterances named 'a'"):
        store.stack("a")


def test_only_what_was_live_in_the_snapshot_is_read(filled: Store) -> None:
    mark(filled, "missing", "a")
    reader = Store(filled.folder)
    assert list(places(reader)) == sorted([key_of("a"), key_of("bb")])
    assert reader.live(["utterance_id"])["utterance_id"].tolist() == ["bb"]
    with pytest.raises(StoreError, match=r"snapshot 2 .* no utterance named 'a'"):
        reader.stack("a")
    np.testing.assert_array_equal(Store(filled.folder, snapshot=1).stack("a"), values("a"))


def test_features_that_are_there_no_more_are_told(filled: Store) -> None:
    lose(filled, "a")
    assert filled.live(["utterance_id"])["utterance_id"].tolist() == ["bb"]
    with pytest.raises(StoreError, match=r"features of 'a' .* are there no more"):
        filled.stack("a")


def test_live_rows_have_the_columns_that_were_asked_for_and_their_places(filled: Store) -> None:
    (name,) = shard_names(filled)
    rows = filled.live(["emotion"], view="clean")
    assert rows.to_dict("list") == {
        "emotion": ["joy", "joy"],
        "shard": [name, name],
        "row_start": [0, 3],
        "row_end": [3, 7],
    }
    assert len(filled.live(["emotion"], view="speed-0.9")) == 0
    assert list(filled.live()) == [*filled.snapshot.columns, "shard", "row_start", "row_end"]


def test_places_are_found_by_the_digits_of_their_keys(filled: Store) -> None:
    where = filled.places([key_of("bb"), "", key_of("zz")])
    assert where.is_there.tolist() == [True, False, False]
    np.testing.assert_array_equal(filled.read(where[0]), values("bb"))


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no store"):
        Store(tmp_path)


def test_a_store_of_another_recipe_is_refused(filled: Store) -> None:
    with pytest.raises(StoreError, match="store of another recipe"):
        Store.create(filled.folder, '{"other":1}')


@pytest.mark.parametrize(
    ("text", "seen"), [('{"format":3,"recipe":{}}', "format 3"), ('{"half', "Unterminated")]
)
def test_a_store_that_cannot_be_understood_is_refused(filled: Store, text: str, seen: str) -> None:
    (filled.folder / "recipe.json").write_text(text)
    with pytest.raises(StoreError, match=rf"recipe\.json cannot be read \({seen}"):
        Store(filled.folder)


def test_a_recipe_comes_back_as_it_was_given(tmp_path: Path) -> None:
    text = '{"a":[1,2.5],"b":"\\u00fc"}'
    assert Store.create(tmp_path / "store", text).recipe_json == text
    about = json.loads((tmp_path / "store" / "recipe.json").read_text())
    assert about == {"format": 2, "recipe": {"a": [1, 2.5], "b": "ü"}}


def test_a_reader_keeps_its_snapshot_while_a_writer_publishes(filled: Store) -> None:
    reader, writer = Store(filled.folder), Store(filled.folder)
    add(writer, new_shard(writer, ["ccc"]))
    with pytest.raises(StoreError, match="snapshot 1"):
        reader.stack("ccc")
    assert Store(filled.folder).stack("ccc").shape == (5, 3)
    assert len(Store(filled.folder, snapshot=1).live()) == 2


def test_publishing_the_same_catalogue_again_makes_no_version(filled: Store) -> None:
    filled.publish_catalogue(Store(filled.folder).catalogue)
    assert (filled.catalogue.number, numbers(filled.catalogue_folder)) == (1, [1])
    lose(filled, "a")
    assert (filled.catalogue.number, numbers(filled.catalogue_folder)) == (2, [1, 2])


def test_a_catalogue_records_the_sha256_of_its_shards(filled: Store) -> None:
    new_shard(filled, ["lost"])
    again = reopened(filled)
    again.publish_catalogue(again.catalogue)
    paths = sorted(filled.shards_folder.iterdir())
    assert read_catalogue(filled.catalogue_folder).shards == {
        path.name: file_sha256(path) for path in paths
    }


def test_features_of_a_killed_run_are_adopted(filled: Store) -> None:
    orphan = new_shard(filled, ["lost"], versions='{"decoder":"d/1"}')
    assert filled.unknown_shards() == [orphan.name]
    again = reopened(filled)
    assert set(places(again)) == set(map(key_of, ("a", "bb", "lost")))
    np.testing.assert_array_equal(again.read(again.places([key_of("lost")])[0]), values("lost"))
    assert again.catalogue.made_by(["d/1"]).sum() == 1
    assert again.unknown_shards() == []
    assert read_catalogue(filled.catalogue_folder).number == 1  # nothing was written
    again.publish_catalogue(again.catalogue)
    assert set(places(Store(filled.folder))) == set(places(again))


def test_of_two_orphans_with_one_key_the_youngest_is_adopted(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in (2, 1):
        monkeypatch.setattr("features_cache.shard.new_shard_name", lambda i=i: f"9-{i}.h5")
        new_shard(filled, ["lost"], seed=i)
    again = reopened(filled)
    assert places(again)[key_of("lost")] == "9-2.h5"
    assert again.catalogue.retired == ("9-1.h5",)


def test_an_orphan_of_which_everything_is_there_is_retired(filled: Store) -> None:
    before = places(filled)
    double = new_shard(filled, ["bb"], seed=1)
    again = reopened(filled)
    assert places(again) == before
    assert again.catalogue.retired == (double.name,)
    again.publish_catalogue(again.catalogue)
    assert Store(filled.folder).catalogue.retired == (double.name,)
    assert Store(filled.folder).unknown_shards() == []


def test_an_orphan_brings_only_what_was_not_there(filled: Store) -> None:
    before = places(filled)
    orphan = new_shard(filled, ["bb", "lost"], seed=1)
    assert places(reopened(filled)) == {**before, key_of("lost"): orphan.name}


def test_adopted_features_take_the_place_of_a_reason(filled: Store) -> None:
    rows = catalogue_rows(keys_of([key_of("lost")]), reason="crashed", message="twice")
    filled.publish_catalogue(filled.catalogue.plus(rows))
    orphan = new_shard(filled, ["lost"])
    assert places(reopened(filled))[key_of("lost")] == orphan.name


def by_decoder(store: Store, decoder: str, names: list[str], seed: int = 0) -> PublishedShard:
    return new_shard(store, names, versions=json.dumps({"decoder": decoder}), seed=seed)


def test_features_of_a_withdrawn_decoder_give_way_to_an_orphans(filled: Store) -> None:
    old = by_decoder(filled, "d/1", ["x", "yy"])
    filled.publish_catalogue(
        filled.catalogue.plus(rows_of_shards([old], "d/1"), {old.name: old.sha256})
    )
    orphan = by_decoder(filled, "d/2", ["x", "a"], seed=1)
    again = Store.for_writing(filled.folder)
    again.adopt(["d/1"])
    (first,) = shard_names(filled) - {old.name, orphan.name}
    assert places(again) == {
        key_of("a"): first,
        key_of("bb"): first,
        key_of("x"): orphan.name,
        key_of("yy"): old.name,
    }
    assert places(reopened(filled))[key_of("x")] == old.name


def test_an_orphan_of_a_withdrawn_decoder_takes_nobodys_place(filled: Store) -> None:
    before = places(filled)
    by_decoder(filled, "d/1", ["a"], seed=1)
    again = Store.for_writing(filled.folder)
    again.adopt(["d/1"])
    assert places(again) == before


@pytest.mark.parametrize("kind", ["torn", "foreign"])
def test_an_orphan_that_is_no_shard_of_this_recipe_is_passed_over(filled: Store, kind: str) -> None:
    orphan = filled.shards_folder / new_shard(filled, ["lost"]).name
    if kind == "torn":
        orphan.write_bytes(orphan.read_bytes()[:100])
    else:
        with h5py.File(orphan, "r+") as file:
            file.attrs["recipe_json"] = '{"other":1}'
    again = reopened(filled)
    assert set(places(again)) == {key_of("a"), key_of("bb")}
    assert again.unknown_shards() == [orphan.name]


def test_features_of_a_lost_shard_count_as_not_there(filled: Store) -> None:
    add(filled, new_shard(filled, ["ccc"]))
    assert filled.on_disk() is filled.catalogue
    (filled.shards_folder / places(filled)[key_of("a")]).unlink()
    assert filled.on_disk().named_shards() == {places(filled)[key_of("ccc")]}
    assert len(filled.on_disk().keys) == 1


def test_shards_that_rows_leave_are_retired_and_not_orphans(filled: Store) -> None:
    (name,) = shard_names(filled)
    lose(filled, "a", "bb")
    assert (filled.catalogue.shards, filled.catalogue.retired) == ({}, (name,))
    assert filled.unknown_shards() == []
    add(filled, new_shard(filled, ["ccc"]))
    assert filled.catalogue.retired == (name,)
    (filled.shards_folder / name).unlink()
    lose(filled, "ccc")
    assert name not in filled.catalogue.retired


def test_no_number_stands_for_two_snapshots(filled: Store) -> None:
    mark(filled, "missing", "a")
    (filled.snapshots_folder / "00000002.parquet").write_bytes(b"PAR1")
    whole = Store(filled.folder, snapshot=1)
    publish(whole, whole.snapshot.rows())
    assert whole.snapshot.number == 3


def test_a_run_does_not_go_on_from_an_older_snapshot_where_the_newest_is_torn(
    filled: Store,
) -> None:
    mark(filled, "missing", "a")
    (filled.snapshots_folder / "00000002.parquet").write_bytes(b"PAR1")
    with pytest.raises(TableError, match=r"00000002\.parquet cannot be read"):
        Store(filled.folder)


def test_a_writer_goes_on_from_the_newest_catalogue_whose_rows_can_be_read(filled: Store) -> None:
    add(filled, new_shard(filled, ["ccc"]))
    tear_rows(filled.catalogue_folder / "00000002.parquet")
    again = reopened(filled)
    assert again.catalogue.number == 1
    assert set(places(again)) == set(map(key_of, ("a", "bb", "ccc")))  # the last one as an orphan's
    again.publish_catalogue(again.catalogue)
    assert again.catalogue.number == 3
    assert Store(filled.folder).stack("ccc").shape == (5, 3)


def test_a_catalogue_that_knows_more_than_is_wanted_does_no_harm(filled: Store) -> None:
    shard = new_shard(filled, ["ccc"])
    filled.publish_catalogue(
        filled.catalogue.plus(rows_of_shards([shard]), {shard.name: shard.sha256})
    )
    reader = Store(filled.folder)
    assert reader.live(["utterance_id"])["utterance_id"].tolist() == ["a", "bb"]
    assert list(verify(filled.folder, full=True)) == []


def test_stale_partials_are_removed_and_nothing_else(filled: Store) -> None:
    there = {path for path in filled.folder.rglob("*") if path.is_file()}
    folders = ("", "shards", "catalogue", "snapshots")
    partials = [filled.folder / folder / f".x{folder}.0123.partial" for folder in folders]
    for partial in partials:
        partial.write_bytes(b"torn")
    assert sorted(filled.remove_stale_partials()) == sorted(path.name for path in partials)
    assert {path for path in filled.folder.rglob("*") if path.is_file()} == there


def test_store_h5_is_read_with_h5py_alone_wherever_the_store_is_moved(filled: Store) -> None:
    moved = filled.folder.with_name("moved")
    filled.folder.rename(moved)
    with h5py.File(moved / "store.h5") as file:
        i = list(file["utterance_id"].asstr()).index("bb")
        rows = slice(file["row_start"][i], file["row_end"][i])
        stack = file["shards"][file["shard"].asstr()[i]]["features"][rows]
        assert file["emotion"].asstr()[i] == "joy"
        assert (file.attrs["snapshot"], file.attrs["catalogue"]) == (1, 1)
        assert (file.attrs["format"], file.attrs["recipe_id"]) == (2, RECIPE_ID)
    assert stack.shape == (4, 3)


def test_store_h5_is_written_again_only_where_it_shows_something_else(filled: Store) -> None:
    index = filled.folder / "store.h5"
    before = index.stat().st_ino
    filled.show()
    assert index.stat().st_ino == before
    filled.publish_catalogue(filled.catalogue.without(keys_of([key_of("a")])))
    filled.show()
    with h5py.File(index) as file:
        assert file["utterance_id"].asstr()[:].tolist() == ["bb"]
        assert file.attrs["catalogue"] == 2
    before = index.stat().st_ino
    filled.show(again=True)
    assert index.stat().st_ino != before


@pytest.mark.parametrize("with_key", [True, False])
def test_a_missing_shard_raises_instead_of_reading_zeros(filled: Store, with_key: bool) -> None:
    (name,) = shard_names(filled)
    (filled.shards_folder / name).unlink()
    reader = Store(filled.folder)
    place = reader.place("a") if with_key else Place(shard=name, row_start=0, row_end=3)
    with pytest.raises(ShardError, match=r"is missing from .* extract again"):
        reader.read(place)
    with h5py.File(filled.folder / "store.h5") as file, pytest.raises(KeyError):
        file["shards"][file["shard"].asstr()[0]]


def move_everything(folder: Path) -> None:
    """Compact a store and delete the shards that were there before."""
    store = Store(folder)
    add(store, new_shard(store, ["zz"]))
    assert compact(store).n_after == 1
    collect(store, keep=[1])


def test_a_reader_finds_features_that_were_moved_meanwhile(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Store(filled.folder)
    place = reader.place("bb")
    move_everything(filled.folder)
    assert not (filled.shards_folder / place.shard).exists()
    read: list[int] = []

    def note_and_read(folder: Path, *, whole: bool) -> object:
        read.append(1)
        return read_catalogue(folder, whole=whole)

    monkeypatch.setattr(store_module, "read_catalogue", note_and_read)
    np.testing.assert_array_equal(reader.read(place), values("bb"))
    assert reader.read_times(place)[0].tolist() == [0, 1, 2, 3]
    assert reader.snapshot.number == 1
    np.testing.assert_array_equal(reader.stack("a"), values("a"))
    assert len(read) == 1


def test_a_shard_that_goes_while_a_reader_opens_it_is_found_again(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Store(filled.folder)
    real = store_module.open_shard

    def late(path: Path) -> object:
        monkeypatch.undo()
        move_everything(filled.folder)
        return real(path)

    monkeypatch.setattr(store_module, "open_shard", late)
    np.testing.assert_array_equal(reader.stack("bb"), values("bb"))


def test_a_reader_whose_shard_is_open_reads_on_after_it_is_deleted(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Store(filled.folder)
    reader.stack("a")
    move_everything(filled.folder)
    monkeypatch.setattr(store_module, "read_catalogue", None)
    np.testing.assert_array_equal(reader.stack("bb"), values("bb"))


def test_a_reader_is_told_of_features_that_went_meanwhile(filled: Store) -> None:
    add(filled, new_shard(filled, ["ccc"]))
    reader = Store(filled.folder)
    places_ = [reader.place(name) for name in ("ccc", "a")]
    drop(filled, "ccc")
    collect(filled)
    with pytest.raises(ShardError, match="is missing from"):
        reader.read(places_[0])
    np.testing.assert_array_equal(reader.read(places_[1]), values("a"))


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


@pytest.mark.parametrize("text", [b"{}", b"[]", b"\xff\xfe", b"null", b"{"])
def test_an_odd_recipe_is_told_and_nothing_is_removed(filled: Store, text: bytes) -> None:
    before = contents(filled.folder)
    good = (filled.folder / "recipe.json").read_bytes()
    (filled.folder / "recipe.json").write_bytes(text)
    for opened in (Store, Store.for_writing):
        with pytest.raises(StoreError, match=r"recipe\.json"):
            opened(filled.folder)
    (filled.folder / "recipe.json").write_bytes(good)
    assert contents(filled.folder) == before
