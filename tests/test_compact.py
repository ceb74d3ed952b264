"""Compact: few shards instead of many, the same features, undisturbed readers."""

from pathlib import Path

import pytest

from features_cache.compact import compact
from features_cache.store import Store
from features_cache.verify import verify
from tests.small_store import (
    RECIPE_ID,
    add,
    bury,
    contents,
    make_store,
    new_shard,
    shard_names,
    values,
)


@pytest.fixture
def nights(tmp_path: Path) -> Store:
    store = make_store(tmp_path / "store", ["a", "bb"], ["c"], ["dd", "e"], ["f"])
    bury(store, "c")
    return store


def test_many_small_shards_become_one_with_the_same_features(nights: Store) -> None:
    before = contents(nights.folder)
    done = compact(nights, RECIPE_ID)
    assert (done.n_before, done.n_after) == (4, 1)
    assert done.n_bytes > 0
    assert contents(nights.folder) == before
    assert ("c", "c", "gone") in before
    assert len(nights.generation.retired) == 4
    assert list(verify(nights.folder, full=True)) == []


def test_compacting_again_does_nothing(nights: Store) -> None:
    compact(nights, RECIPE_ID)
    number = nights.generation.number
    done = compact(nights, RECIPE_ID)
    assert (done.n_before, done.n_after, nights.generation.number) == (1, 1, number)


def test_a_reader_of_an_older_generation_is_not_disturbed(nights: Store) -> None:
    early, late = Store(nights.folder), Store(nights.folder)
    early.stack("a")
    compact(nights, RECIPE_ID)
    for name in ("a", "bb", "dd", "e", "f"):
        assert (early.stack(name) == values(name)).all()
        assert (late.stack(name) == values(name)).all()


def test_large_shards_and_lonely_ones_are_left_alone(nights: Store) -> None:
    add(nights, new_shard(nights, ["z"], versions='{"keras":"9"}'))
    big = new_shard(nights, ["long" * 5000])
    add(nights, big)
    size = (nights.shards_folder / big.name).stat().st_size
    done = compact(nights, RECIPE_ID, shard_bytes=size)
    assert (done.n_before, done.n_after) == (6, 3)
    assert big.name in nights.generation.shards


@pytest.mark.parametrize("what", ["publish", "rewrite"])
def test_a_compaction_that_dies_loses_nothing(
    nights: Store, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    before = contents(nights.folder)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if what == "publish":
            patch.setattr(nights, "publish", die)
        else:
            patch.setattr("features_cache.rewrite._moved", die)
        with pytest.raises(KeyboardInterrupt):
            compact(nights, RECIPE_ID)
    assert contents(nights.folder) == before
    assert list(verify(nights.folder, full=True)) == []
    again = Store(nights.folder)
    assert compact(again, RECIPE_ID).n_after == 1
    assert contents(nights.folder) == before
    assert len(shard_names(again)) == 6
