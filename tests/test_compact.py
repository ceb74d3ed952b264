"""Compact: few shards instead of many, the same features, undisturbed readers."""

from pathlib import Path

import pytest

from features_cache.catalogue import catalogue_rows
from features_cache.compact import compact
from features_cache.key_columns import keys_of
from features_cache.store import Store
from features_cache.verify import verify
from tests.small_store import (
    add,
    contents,
    drop,
    key_of,
    make_store,
    new_shard,
    places,
    reopened,
    shard_names,
    values,
)


@pytest.fixture
def nights(tmp_path: Path) -> Store:
    store = make_store(tmp_path / "store", ["a", "bb"], ["c"], ["dd", "e"], ["f"])
    drop(store, "c")
    return store


def snapshot_bytes(store: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.snapshots_folder.iterdir()}


def test_many_small_shards_become_one_with_the_same_features(nights: Store) -> None:
    before, old = contents(nights.folder), contents(nights.folder, 4)
    done = compact(nights)
    assert (done.n_before, done.n_after) == (4, 1)
    assert done.n_bytes > 0
    assert contents(nights.folder) == before
    assert contents(nights.folder, 4) == old
    assert ("c", "c") in old
    assert len(nights.catalogue.retired) == 4
    assert list(verify(nights.folder, full=True)) == []


def test_no_snapshot_changes(nights: Store) -> None:
    before = snapshot_bytes(nights)
    compact(nights)
    assert snapshot_bytes(nights) == before
    assert nights.snapshot.number == Store(nights.folder).snapshot.number == 5


def test_compacting_again_does_nothing(nights: Store) -> None:
    compact(nights)
    number = nights.catalogue.number
    done = compact(nights)
    assert (done.n_before, done.n_after, nights.catalogue.number) == (1, 1, number)


def test_a_reader_of_an_older_catalogue_is_not_disturbed(nights: Store) -> None:
    early, late = Store(nights.folder), Store(nights.folder)
    early.stack("a")
    compact(nights)
    for name in ("a", "bb", "dd", "e", "f"):
        assert (early.stack(name) == values(name)).all()
        assert (late.stack(name) == values(name)).all()


def test_reasons_stay_and_everything_says_who_made_it(nights: Store) -> None:
    add(nights, new_shard(nights, ["g"], versions='{"decoder":"d/1"}'))
    new_shard(nights, ["h"], versions='{"decoder":"d/1"}')
    again = reopened(nights)
    rows = catalogue_rows(keys_of([key_of("quiet")]), reason="silent", made_by="d/1")
    again.publish_catalogue(again.catalogue.plus(rows))
    before = again.catalogue
    assert compact(again).n_after == 2
    assert again.catalogue.keys.tolist() == before.keys.tolist()
    for column in ("reason", "message", "made_by"):
        assert again.catalogue.texts(column).tolist() == before.texts(column).tolist()
    assert again.catalogue.made_by(["d/1"]).sum() == 2


def test_large_shards_and_lonely_ones_are_left_alone(nights: Store) -> None:
    add(nights, new_shard(nights, ["z"], versions='{"keras":"9"}'))
    big = new_shard(nights, ["long" * 5000])
    add(nights, big)
    size = (nights.shards_folder / big.name).stat().st_size
    done = compact(nights, shard_bytes=size)
    assert (done.n_before, done.n_after) == (6, 3)
    assert big.name in nights.catalogue.shards


@pytest.mark.parametrize("what", ["publish", "rewrite"])
def test_a_compaction_that_dies_loses_nothing(
    nights: Store, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    before = contents(nights.folder)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if what == "publish":
            patch.setattr(nights, "publish_catalogue", die)
        else:
            patch.setattr("features_cache.rewrite.rows_of_shards", die)
        with pytest.raises(KeyboardInterrupt):
            compact(nights)
    assert contents(nights.folder) == before
    assert list(verify(nights.folder, full=True)) == []
    again = reopened(nights)
    assert len(places(again)) == 6
    assert compact(again).n_after == 1
    assert contents(nights.folder) == before
    assert len(shard_names(again)) == 6
