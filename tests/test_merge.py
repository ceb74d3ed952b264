"""Merge: stores of several machines into one; what they do not agree about is told."""

from pathlib import Path

import h5py
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features_cache.compact import compact
from features_cache.merge import merge
from features_cache.shard import ShardError
from features_cache.store import Store, StoreError
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
    table,
    values,
)


@pytest.fixture
def mine(tmp_path: Path) -> Store:
    return make_store(tmp_path / "mine", ["a", "bb"])


@pytest.fixture
def yours(tmp_path: Path) -> Store:
    return make_store(tmp_path / "yours", ["c"], ["dd", "e"])


names = st.lists(st.sampled_from("abcdefghij"), max_size=6, unique=True)


@settings(max_examples=6)
@given(parts=st.lists(names, min_size=2, max_size=4))
def test_the_union_holds_everything_once_whatever_the_parts(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    stores = [
        make_store(folder / str(i), *([part] if part else [])) for i, part in enumerate(parts)
    ]
    done = merge(stores[0], stores[1:], RECIPE_ID)
    everything = {name for part in parts for name in part}
    whole = contents(folder / "0")
    assert done.conflicts == ()
    assert done.n_added == len(everything) - len(parts[0])
    assert set(whole) == {("c", name, "live") for name in everything}
    for i in range(1, len(parts)):
        assert contents(folder / str(i)).items() <= whole.items()
    assert list(verify(folder / "0", full=True)) == []


def test_shards_come_over_whole_and_by_link_where_the_disk_can(mine: Store, yours: Store) -> None:
    done = merge(mine, [yours], RECIPE_ID)
    assert (done.n_added, done.n_shards) == (3, 2)
    assert shard_names(yours) < shard_names(mine)
    for name in shard_names(yours):
        assert (mine.shards_folder / name).samefile(yours.shards_folder / name)


def test_shards_are_copied_where_there_are_no_links(
    mine: Store, yours: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path, __: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    merge(mine, [yours], RECIPE_ID)
    assert contents(yours.folder).items() <= contents(mine.folder).items()
    assert list(verify(mine.folder, full=True)) == []


def test_merging_the_same_again_changes_nothing(mine: Store, yours: Store) -> None:
    add(yours, new_shard(yours, ["other bytes"], ids={"other bytes": "a"}))
    first = merge(mine, [yours], RECIPE_ID)
    there = shard_names(mine)
    again = merge(Store(mine.folder), [yours, yours], RECIPE_ID)
    assert (again.n_added, again.n_shards) == (0, 0)
    assert again.generation.number == first.generation.number
    compact(mine, RECIPE_ID)
    again = merge(mine, [yours], RECIPE_ID)
    assert (again.n_added, again.n_shards) == (0, 0)
    assert there < shard_names(mine)


def test_a_store_of_another_recipe_is_refused_by_both_names(mine: Store, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "fedcba9876543210", '{"other":1}')
    with pytest.raises(StoreError, match=f"fedcba9876543210; expected recipe {RECIPE_ID}"):
        merge(mine, [other], RECIPE_ID)


def test_other_audio_under_one_name_is_told_and_mine_stays(mine: Store, yours: Store) -> None:
    add(yours, new_shard(yours, ["other bytes"], ids={"other bytes": "a"}))
    done = merge(mine, [yours], RECIPE_ID)
    assert [(c.utterance_id, c.corpus, c.code) for c in done.conflicts] == [
        ("a", "c", "other_audio")
    ]
    assert (Store(mine.folder).stack("a") == values("a")).all()
    (lost,) = mine.generation.rows[mine.generation.rows["status"] == "gone"].itertuples()
    assert (lost.key, lost.reason) == (key_of("other bytes"), "replaced")
    assert contents(mine.folder)["c", "a", "gone"] == contents(yours.folder)["c", "a", "live"]


@pytest.mark.parametrize("name", ["a", "another name"])
def test_other_features_of_one_key_are_told_and_mine_stay(
    mine: Store, yours: Store, name: str
) -> None:
    add(yours, new_shard(yours, ["a"], seed=1, ids={"a": name}))
    for _ in range(2):
        done = merge(mine, [yours], RECIPE_ID)
        assert [(c.utterance_id, c.code) for c in done.conflicts] == [(name, "other_features")]
        assert (Store(mine.folder).stack(name) == values("a")).all()
    found = contents(mine.folder)
    assert found["c", name, "gone"] == contents(yours.folder)["c", name, "live"]
    assert len(found) == 6 + (name != "a")


def test_other_labels_are_told_and_mine_stay(mine: Store, yours: Store) -> None:
    add(yours, new_shard(yours, ["a"]), emotion="fear")
    done = merge(mine, [yours], RECIPE_ID)
    assert [(c.utterance_id, c.code) for c in done.conflicts] == [("a", "other_labels")]
    assert set(mine.generation.live["emotion"]) == {"joy"}
    assert shard_names(mine) & shard_names(yours) == set(
        Store(yours.folder, generation=2).generation.shards
    )  # the features of `a` were here already


def test_a_live_row_takes_the_place_of_a_quarantined_one(mine: Store, yours: Store) -> None:
    bad = table(new_shard(mine, ["c"])).assign(
        shard="", row_start=0, row_end=0, key="", status="quarantined", reason="missing"
    )
    mine.publish(pd.concat([mine.generation.rows, bad]), RECIPE_ID)
    merge(mine, [yours], RECIPE_ID)
    assert list(mine.generation.quarantined["utterance_id"]) == []
    assert (Store(mine.folder).stack("c") == values("c")).all()


def test_a_quarantined_row_never_takes_a_live_ones_place(mine: Store, yours: Store) -> None:
    rows = mine.generation.rows.assign(
        shard="", row_start=0, row_end=0, status="quarantined", reason="silent"
    )
    yours.publish(pd.concat([yours.generation.rows, rows]), RECIPE_ID)
    before = contents(mine.folder)
    done = merge(mine, [yours], RECIPE_ID)
    assert before.items() <= contents(mine.folder).items()
    assert (done.n_added, len(done.generation.quarantined)) == (3, 0)


def test_tombstones_come_over_with_their_features(mine: Store, yours: Store) -> None:
    bury(yours, "c")
    merge(mine, [yours], RECIPE_ID)
    assert contents(mine.folder)["c", "c", "gone"] == contents(yours.folder)["c", "c", "gone"]


def test_a_name_that_is_taken_by_other_bytes_is_not_overwritten(mine: Store, yours: Store) -> None:
    names = sorted(yours.generation.shards)
    own = new_shard(mine, ["mine"])
    (mine.shards_folder / own.name).rename(mine.shards_folder / names[0])
    blocker = (mine.shards_folder / names[0]).read_bytes()
    merge(mine, [yours], RECIPE_ID)
    assert (mine.shards_folder / names[0]).read_bytes() == blocker
    assert contents(yours.folder).items() <= contents(mine.folder).items()


def test_missing_audio_folders_are_taken_over(mine: Store, yours: Store) -> None:
    mine.publish(mine.generation.rows, RECIPE_ID, audio={"c": "/mine"})
    yours.publish(yours.generation.rows, RECIPE_ID, audio={"c": "/yours", "d": "/d"})
    assert merge(mine, [yours], RECIPE_ID).generation.audio == {"c": "/mine", "d": "/d"}


@pytest.mark.parametrize("kind", ["changed", "missing"])
def test_a_damaged_shard_is_refused_and_nothing_changes(
    mine: Store, yours: Store, kind: str
) -> None:
    last = yours.shards_folder / max(yours.generation.shards)
    if kind == "missing":
        last.unlink()
    else:
        with h5py.File(last, "r+") as file:
            file["features"][0, 0] += 1
    there = shard_names(mine)
    with pytest.raises(ShardError, match="run 'emostack store repair' there"):
        merge(mine, [yours], RECIPE_ID)
    assert shard_names(mine) == there
    assert mine.generation.number == 1


def test_a_merge_that_dies_is_finished_by_the_next(
    mine: Store, yours: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mine, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            merge(mine, [yours], RECIPE_ID)
    assert list(verify(mine.folder, full=True)) == []
    merge(Store(mine.folder), [yours], RECIPE_ID)
    assert len(shard_names(mine)) == 3
    assert contents(yours.folder).items() <= contents(mine.folder).items()
