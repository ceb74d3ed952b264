"""Rewrite: utterances come into new shards as they were, or nothing does."""

import errno
from pathlib import Path

import h5py
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features_cache.key_columns import hex_of, keys_of
from features_cache.rewrite import make_batches, rewrite
from features_cache.shard import ShardError, ShardWriter, damaged_utterances, read_header
from features_cache.store import Store
from features_cache.verify import verify
from tests.small_store import (
    add,
    contents,
    drop,
    key_of,
    make_store,
    misplace,
    new_shard,
    places,
    publish,
    shard_names,
    values,
)


def all_places(store: Store) -> pa.Table:
    return store.catalogue.rows.filter(pa.array(store.catalogue.is_place))


def rewrite_all(store: Store, shard_bytes: int = 2**20) -> int:
    batches = make_batches(store, all_places(store), shard_bytes=shard_bytes)
    store.publish_catalogue(rewrite(store, batches, store.catalogue))
    return len(store.catalogue.shards)


names = st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=1, max_size=12, unique=True)


@settings(max_examples=8)
@given(names=names, cuts=st.integers(1, 5), shard_bytes=st.integers(1, 600))
def test_everything_is_read_as_before(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], cuts: int, shard_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("stores") / "store"
    store = make_store(folder, *(names[i::cuts] for i in range(cuts) if names[i::cuts]))
    drop(store, names[0])
    old = contents(folder, store.snapshot.parent)
    before, there = contents(folder), shard_names(store)
    rewrite_all(store, shard_bytes)
    assert contents(folder) == before
    assert contents(folder, store.snapshot.parent) == old
    assert set(old) - set(before) == {("c", names[0])}
    assert not there & {*store.catalogue.shards}
    for name in store.catalogue.shards:
        assert damaged_utterances(store.shards_folder / name) == []
    assert list(verify(folder, full=True)) == []


def test_a_shard_is_no_larger_than_asked_for_but_for_one_utterance(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["aaa", "bbb", "ccc", "d" * 40])
    row_bytes = 3 * 4
    sizes = [
        [end - start for start, end in zip(b.places["row_start"], b.places["row_end"], strict=True)]
        for b in make_batches(store, all_places(store), shard_bytes=10 * row_bytes)
    ]
    assert sizes == [[5, 5], [5], [42]]


def test_utterances_of_other_versions_are_not_mixed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a"], ["b"])
    add(store, new_shard(store, ["c"], versions='{"keras":"9"}'))
    assert rewrite_all(store) == 2
    versions = {
        key: read_header(store.shards_folder / shard).versions_json
        for key, shard in places(store).items()
    }
    assert versions == {key_of("a"): "{}", key_of("b"): "{}", key_of("c"): '{"keras":"9"}'}


def names_in(store: Store) -> list[str]:
    """Return what the only shard of the catalogue calls its utterances."""
    (name,) = store.catalogue.shards
    with h5py.File(store.shards_folder / name) as file:
        return list(file["utterance_id"].asstr())


def test_names_are_those_of_the_snapshot(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a"])
    publish(store, store.snapshot.rows().assign(utterance_id="renamed"))
    rewrite_all(store)
    assert names_in(store) == ["renamed"]


def test_a_name_that_is_live_is_preferred_and_an_unknown_one_is_the_shards(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a", "b"])
    rows = store.snapshot.rows()[:1]
    twins = [rows.assign(utterance_id="early", status="damaged"), rows.assign(utterance_id="late")]
    publish(store, pd.concat(twins))
    rewrite_all(store)
    assert names_in(store) == ["late", "b"]


def test_two_names_of_one_key_are_copied_once(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a"])
    rows = store.snapshot.rows()
    publish(store, pd.concat([rows, rows.assign(utterance_id="twin")]))
    rewrite_all(store)
    assert len(names_in(store)) == 1
    assert (store.stack("twin") == values("a")).all()
    assert len(contents(store.folder)) == 2


def test_a_damaged_utterance_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a", "b"], ["c"])
    with h5py.File(store.shards_folder / places(store)[key_of("c")], "r+") as file:
        file["segment_end"][1] += 1
    there = shard_names(store)
    with pytest.raises(ShardError, match="'c' does not match its checksum"):
        rewrite_all(store, shard_bytes=1)
    assert shard_names(store) == there


def test_a_place_that_the_shard_does_not_have_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a", "b"])
    misplace(store, "b")
    there = shard_names(store)
    with pytest.raises(ShardError, match="cannot be copied from"):
        rewrite_all(store)
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


def test_keys_and_places_stay_together(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["b", "a"], ["c"])
    before, there = store.catalogue, shard_names(store)
    after = rewrite(store, make_batches(store, all_places(store)), before)
    assert after.keys.tolist() == before.keys.tolist()
    assert after.named_shards() == shard_names(store) - there
    moved = after.places(keys_of([key_of(name) for name in "abc"]))
    assert [
        (store.read(place) == values(name)).all() for place, name in zip(moved, "abc", strict=True)
    ]
    assert hex_of(moved.keys).tolist() == [key_of(name) for name in "abc"]


def test_nothing_to_copy_makes_no_shard(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ["a"])
    there = shard_names(store)
    batches = make_batches(store, all_places(store).slice(1))
    assert rewrite(store, batches, store.catalogue) is store.catalogue
    assert shard_names(store) == there
