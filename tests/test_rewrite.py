"""Rewrite: utterances come into new shards as they were, or nothing does."""

import errno
from pathlib import Path

import h5py
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features_cache.rewrite import make_batches, moved_rows, rewrite
from features_cache.shard import ShardError, ShardWriter, damaged_utterances, read_header
from features_cache.store import Store
from features_cache.verify import verify
from tests.small_store import (
    RECIPE_ID,
    add,
    bury,
    contents,
    key_of,
    make_store,
    new_shard,
    shard_names,
)


def rewrite_all(store: Store, shard_bytes: int = 2**20) -> int:
    rows = store.generation.rows
    done = rewrite(store, make_batches(store, rows, shard_bytes=shard_bytes))
    store.publish(moved_rows(rows, done.moved), RECIPE_ID, done.shards)
    return len(done.shards)


names = st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=1, max_size=12, unique=True)


@settings(max_examples=8)
@given(names=names, cuts=st.integers(1, 5), shard_bytes=st.integers(1, 600))
def test_everything_is_read_as_before(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], cuts: int, shard_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("stores") / "store"
    store = make_store(folder, *(names[i::cuts] for i in range(cuts) if names[i::cuts]))
    bury(store, names[0])
    before, old = contents(folder), store.generation.number
    rewrite_all(store, shard_bytes)
    assert contents(folder) == contents(folder, old) == before
    for name in store.generation.shards:
        path = store.shards_folder / name
        assert damaged_utterances(path) == []
        assert path.name not in Store(folder, generation=old).generation.shards


def test_a_shard_is_no_larger_than_asked_for_but_for_one_utterance(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["aaa", "bbb", "ccc", "d" * 40])
    row_bytes = 3 * 4
    sizes = [
        [end - start for start, end in zip(b.places["row_start"], b.places["row_end"], strict=True)]
        for b in make_batches(store, store.generation.rows, shard_bytes=10 * row_bytes)
    ]
    assert sizes == [[5, 5], [5], [42]]


def test_utterances_of_other_versions_are_not_mixed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a"], ["b"])
    add(store, new_shard(store, ["c"], versions='{"keras":"9"}'))
    assert rewrite_all(store) == 2
    assert {
        (read_header(store.shards_folder / row.shard).versions_json, row.utterance_id)
        for row in store.generation.rows.itertuples()
    } == {("{}", "a"), ("{}", "b"), ('{"keras":"9"}', "c")}


def test_names_are_those_of_the_generation(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a"])
    rows = store.generation.rows
    store.publish(rows.assign(utterance_id="renamed"), RECIPE_ID)
    rewrite_all(store)
    with h5py.File(store.shards_folder / next(iter(store.generation.shards))) as file:
        assert list(file["utterance_id"].asstr()) == ["renamed"]


def test_two_rows_of_one_place_are_copied_once(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a"])
    rows = store.generation.rows
    store.publish(pd.concat([rows, rows.assign(utterance_id="twin")]), RECIPE_ID)
    rewrite_all(store)
    assert store.generation.rows["row_start"].tolist() == [0, 0]
    assert len(contents(store.folder)) == 2


def test_a_damaged_utterance_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a", "b"], ["c"])
    rows = store.generation.rows.set_index("utterance_id")
    with h5py.File(store.shards_folder / rows.loc["c", "shard"], "r+") as file:
        file["segment_end"][1] += 1
    there = shard_names(store)
    with pytest.raises(ShardError, match="'c' does not match its checksum"):
        rewrite_all(store, shard_bytes=1)
    assert shard_names(store) == there


def test_a_place_that_the_shard_does_not_have_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a", "b"])
    wanted = store.generation.rows.assign(row_end=lambda t: t["row_end"] + 1)
    there = shard_names(store)
    with pytest.raises(ShardError, match="cannot be copied from"):
        rewrite(store, make_batches(store, wanted))
    assert shard_names(store) == there


def test_a_full_disk_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path / "store", ["a", "b"], ["c"])
    there, written = shard_names(store), []

    def check(writer: ShardWriter) -> None:
        written.append(writer)
        if len(written) > 3:
            raise ShardError("no room") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ShardWriter, "_check_disk", check)
    with pytest.raises(ShardError, match="no room"):
        rewrite_all(store, shard_bytes=1)
    assert shard_names(store) == there
    assert list(verify(store.folder, full=True)) == []


def test_keys_and_rows_stay_together(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["b", "a"], ["c"])
    rewrite_all(store)
    rows = store.generation.rows
    assert rows["key"].tolist() == [key_of(name) for name in rows["utterance_id"]]
