"""Merge: stores of several machines into one; what they do not agree about is told."""

from pathlib import Path

import h5py
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features_cache.catalogue import catalogue_rows
from features_cache.compact import compact
from features_cache.key_columns import keys_of
from features_cache.merge import merge
from features_cache.shard import ShardError
from features_cache.store import Store, StoreError
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
    values,
)


@pytest.fixture
def mine(tmp_path: Path) -> Store:
    return make_store(tmp_path / "mine", ["a", "bb"])


@pytest.fixture
def yours(tmp_path: Path) -> Store:
    return make_store(tmp_path / "yours", ["c"], ["dd", "e"])


def states(store: Store) -> dict[str, str]:
    rows = Store(store.folder).snapshot.rows(["utterance_id", "status"])
    return dict(zip(rows["utterance_id"], rows["status"], strict=True))


def numbers(store: Store) -> tuple[int, int]:
    again = Store(store.folder)
    return again.snapshot.number, again.catalogue.number


def know_reason(store: Store, name: str, reason: str) -> None:
    """Publish a catalogue that has a reason for this name's key."""
    rows = catalogue_rows(keys_of([key_of(name)]), reason=reason, message=f"by {store.folder.name}")
    store.publish_catalogue(store.catalogue.plus(rows))


def message_of(store: Store, name: str) -> str:
    catalogue = Store(store.folder).catalogue
    (at,) = catalogue.find(keys_of([key_of(name)]))
    return str(catalogue.texts("message")[at])


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
    assert set(whole) == {("c", name) for name in everything}
    assert set(places(stores[0])) == set(map(key_of, everything))
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


def test_merging_the_same_again_publishes_nothing(mine: Store, yours: Store) -> None:
    add(yours, new_shard(yours, ["other bytes"], ids={"other bytes": "a"}))
    add(yours, new_shard(yours, ["bb"], seed=1))
    mark(yours, "missing", "e")
    merge(mine, [yours], RECIPE_ID)
    there, before = shard_names(mine), numbers(mine)
    for again in (mine, Store(mine.folder), reopened(mine)):
        done = merge(again, [yours, yours], RECIPE_ID)
        assert (done.n_added, done.n_shards) == (0, 0)
    assert (numbers(mine), shard_names(mine)) == (before, there)


def test_merging_after_a_compaction_brings_nothing_back(mine: Store, yours: Store) -> None:
    merge(mine, [yours], RECIPE_ID)
    compact(mine)
    before, there = numbers(mine), shard_names(mine)
    done = merge(mine, [yours], RECIPE_ID)
    assert (done.n_added, done.n_shards) == (0, 0)
    assert (numbers(mine), shard_names(mine)) == (before, there)


def test_merging_with_itself_changes_nothing(mine: Store) -> None:
    before = numbers(mine)
    done = merge(mine, [Store(mine.folder)], RECIPE_ID)
    assert (done.n_added, done.n_shards, done.conflicts) == (0, 0, ())
    assert numbers(mine) == before


def test_an_empty_store_takes_everything(tmp_path: Path, yours: Store) -> None:
    store = make_store(tmp_path / "new")
    assert merge(store, [yours], RECIPE_ID).n_added == 3
    assert contents(store.folder) == contents(yours.folder)
    assert Store(store.folder).recipe_id == RECIPE_ID
    assert merge(yours, [make_store(tmp_path / "none")], RECIPE_ID).n_added == 0


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
    again = Store(mine.folder)
    assert (again.stack("a") == values("a")).all()
    (other,) = again.places([key_of("other bytes")])
    assert (again.read(other) == values("other bytes")).all()


@pytest.mark.parametrize("name", ["a", "another name"])
def test_other_features_of_one_key_are_told_and_my_place_stays(
    mine: Store, yours: Store, name: str
) -> None:
    add(yours, new_shard(yours, ["a"], seed=1, ids={"a": name}))
    before = places(mine)[key_of("a")]
    for _ in range(2):
        done = merge(mine, [yours], RECIPE_ID)
        assert [(c.utterance_id, c.code) for c in done.conflicts] == [(name, "other_features")]
        assert (Store(mine.folder).stack(name) == values("a")).all()
    assert places(Store(mine.folder))[key_of("a")] == before
    assert len(contents(mine.folder)) == 5 + (name != "a")


def test_the_same_features_in_another_shard_are_no_conflict(mine: Store, yours: Store) -> None:
    add(yours, new_shard(yours, ["x", "a"]))
    before = places(mine)[key_of("a")]
    done = merge(mine, [yours], RECIPE_ID)
    assert (done.conflicts, done.n_added, done.n_shards) == ((), 4, 3)
    assert places(mine)[key_of("a")] == before


def test_other_labels_are_told_and_mine_stay(mine: Store, yours: Store) -> None:
    own = new_shard(yours, ["a"])
    add(yours, own, emotion="fear")
    done = merge(mine, [yours], RECIPE_ID)
    assert [(c.utterance_id, c.code) for c in done.conflicts] == [("a", "other_labels")]
    assert set(mine.snapshot.rows()["emotion"]) == {"joy"}
    assert own.name not in shard_names(mine)  # the features of `a` were here already


def test_a_column_that_only_one_store_has_is_no_conflict(mine: Store, yours: Store) -> None:
    add(yours, new_shard(yours, ["a"]), mood="calm", file="elsewhere.wav")
    done = merge(mine, [yours], RECIPE_ID)
    assert done.conflicts == ()
    rows = Store(mine.folder).snapshot.rows().set_index("utterance_id")
    assert rows.loc["a", ["mood", "file"]].tolist() == ["", "a.wav"]
    assert set(rows["mood"]) == {""}


def test_their_columns_come_over_with_their_rows(mine: Store, yours: Store) -> None:
    add(yours, new_shard(yours, ["x"]), mood="calm")
    merge(mine, [yours], RECIPE_ID)
    rows = Store(mine.folder).snapshot.rows().set_index("utterance_id")
    assert {name: mood for name, mood in rows["mood"].items() if mood} == {"x": "calm"}


RANK = ["live", "silent", "pending"]


@pytest.mark.parametrize("theirs", RANK)
@pytest.mark.parametrize("ours", RANK)
def test_live_counts_more_than_a_reason_and_that_more_than_pending(
    mine: Store, yours: Store, ours: str, theirs: str
) -> None:
    add(yours, new_shard(yours, ["a"]), speaker="theirs")
    mark(mine, ours, "a")
    mark(yours, theirs, "a")
    done = merge(mine, [yours], RECIPE_ID)
    comes = RANK.index(theirs) < RANK.index(ours)
    (row,) = mine.snapshot.rows(utterance_id="a").to_dict("records")
    assert (row["status"], row["speaker"]) == ((theirs, "theirs") if comes else (ours, "s"))
    assert done.n_added == 3 + comes
    assert mine.snapshot.n_rows == 5
    assert list(verify(mine.folder)) == []


@pytest.mark.parametrize("reason", ["missing", "pending"])
def test_a_live_row_takes_the_place_of_one_without_features(
    mine: Store, yours: Store, reason: str
) -> None:
    bad = table(new_shard(yours, ["c"])).assign(key="", status=reason)
    publish(mine, pd.concat([mine.snapshot.rows(), bad]))
    merge(mine, [yours], RECIPE_ID)
    assert states(mine)["c"] == "live"
    assert (Store(mine.folder).stack("c") == values("c")).all()


def test_a_place_counts_more_than_a_reason_on_either_side(mine: Store, yours: Store) -> None:
    know_reason(mine, "c", "crashed")
    know_reason(yours, "a", "crashed")
    merge(mine, [yours], RECIPE_ID)
    assert {key_of("a"), key_of("c")} <= set(places(Store(mine.folder)))
    assert list(verify(mine.folder, full=True)) == []


def test_reasons_come_over_and_mine_stay(mine: Store, yours: Store) -> None:
    know_reason(mine, "x", "silent")
    for name in ("x", "y"):
        know_reason(yours, name, "silent")
    merge(mine, [yours], RECIPE_ID)
    assert (message_of(mine, "x"), message_of(mine, "y")) == ("by mine", "by yours")


def test_nothing_is_removed(mine: Store, yours: Store) -> None:
    drop(mine, "bb")
    drop(yours, "c")
    before = places(mine)
    merge(mine, [yours], RECIPE_ID)
    assert before.items() <= places(mine).items()
    assert set(states(mine)) == {"a", "dd", "e"}
    assert {key_of("bb"), key_of("c")} <= set(places(mine))  # what nobody wants any more as well


def test_a_name_that_is_taken_by_other_bytes_is_not_overwritten(mine: Store, yours: Store) -> None:
    names = sorted(yours.catalogue.shards)
    own = new_shard(mine, ["mine"])
    (mine.shards_folder / own.name).rename(mine.shards_folder / names[0])
    blocker = (mine.shards_folder / names[0]).read_bytes()
    merge(mine, [yours], RECIPE_ID)
    assert (mine.shards_folder / names[0]).read_bytes() == blocker
    assert contents(yours.folder).items() <= contents(mine.folder).items()


def test_a_name_that_the_catalogue_has_for_other_bytes_is_not_taken_for_theirs(
    mine: Store, yours: Store
) -> None:
    name = places(yours)[key_of("c")]
    own = new_shard(mine, ["mine"])
    (mine.shards_folder / own.name).rename(mine.shards_folder / name)
    again = reopened(mine)
    again.publish_catalogue(again.catalogue)
    merge(again, [yours], RECIPE_ID)
    assert contents(yours.folder).items() <= contents(mine.folder).items()
    assert list(verify(mine.folder, full=True)) == []


def test_missing_audio_folders_are_taken_over(mine: Store, yours: Store) -> None:
    publish(mine, mine.snapshot.rows(), audio={"c": "/mine"})
    publish(yours, yours.snapshot.rows(), audio={"c": "/yours", "d": "/d"})
    merge(mine, [yours], RECIPE_ID)
    assert Store(mine.folder).snapshot.audio == {"c": "/mine", "d": "/d"}


@pytest.mark.parametrize("kind", ["changed", "missing"])
def test_a_damaged_shard_is_refused_and_nothing_changes(
    mine: Store, yours: Store, kind: str
) -> None:
    last = yours.shards_folder / max(yours.catalogue.shards)
    if kind == "missing":
        last.unlink()
    else:
        with h5py.File(last, "r+") as file:
            file["features"][0, 0] += 1
    there = shard_names(mine)
    with pytest.raises(ShardError, match="run 'emostack store repair' there"):
        merge(mine, [yours], RECIPE_ID)
    assert shard_names(mine) == there
    assert numbers(mine) == (1, 1)


@pytest.mark.parametrize("where", ["publish_catalogue", "publish_snapshot"])
def test_a_merge_that_dies_is_finished_by_the_next(
    mine: Store, yours: Store, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mine, where, die)
        with pytest.raises(KeyboardInterrupt):
            merge(mine, [yours], RECIPE_ID)
    assert list(verify(mine.folder, full=True)) == []
    assert merge(reopened(mine), [yours], RECIPE_ID).n_added == 3
    assert len(shard_names(mine)) == 3
    assert contents(yours.folder).items() <= contents(mine.folder).items()
    assert list(verify(mine.folder, full=True)) == []


def test_a_live_row_without_features_does_not_come_in(mine: Store, yours: Store) -> None:
    add(yours, new_shard(yours, ["lost"]))
    lose(yours, "lost")
    merge(mine, [yours], RECIPE_ID)
    assert "lost" not in set(Store(mine.folder).snapshot.rows()["utterance_id"])
    assert list(verify(mine.folder, full=True)) == []


def test_features_of_a_shard_that_is_missing_here_come_in(mine: Store, yours: Store) -> None:
    publish(yours, yours.snapshot.rows())
    shard = new_shard(yours, ["both"])
    add(yours, shard)
    own = new_shard(mine, ["both"], seed=0)
    add(mine, own)
    (mine.shards_folder / own.name).unlink()
    merge(reopened(mine), [yours], RECIPE_ID)
    assert list(verify(mine.folder, full=True)) == []
