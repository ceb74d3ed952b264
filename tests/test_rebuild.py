"""Rebuild: what exists from shards alone, names from them or a snapshot, labels from a manifest."""

import itertools
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features_cache.catalogue import catalogue_rows
from features_cache.compact import compact
from features_cache.gc import collect
from features_cache.key_columns import keys_of
from features_cache.rebuild import MANIFEST, rebuild
from features_cache.shard import ShardWriter, read_header
from features_cache.store import Store, StoreError
from features_cache.verify import verify
from tests.small_store import (
    add,
    contents,
    drop,
    key_of,
    make_store,
    mark,
    new_shard,
    old_store,
    places,
    publish,
    shard_names,
    table,
    values,
)


@pytest.fixture(autouse=True)
def _names_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell the age of shards by their names even within one second."""
    count = itertools.count()
    monkeypatch.setattr("features_cache.shard.new_shard_name", lambda: f"{next(count):012}.h5")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store", ["a", "bb"], ["c"])


def lose_tables(store: Store) -> pd.DataFrame:
    """Delete the catalogue and all snapshots; return what the last one said."""
    rows = store.snapshot.rows()
    shutil.rmtree(store.snapshots_folder)
    shutil.rmtree(store.catalogue_folder)
    return rows


def manifest_of(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["utterance_id", *MANIFEST]]


def rebuilt(store: Store, labels: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rebuild a store; return its rows by name."""
    return rebuild(store.folder, labels).store.snapshot.rows().set_index("utterance_id")


names = st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=1, max_size=9, unique=True)


@settings(max_examples=6)
@given(names=names, cuts=st.integers(1, 4))
def test_everything_comes_back_from_shards_and_manifest(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], cuts: int
) -> None:
    folder = tmp_path_factory.mktemp("stores") / "store"
    store = make_store(folder, *(names[i::cuts] for i in range(cuts) if names[i::cuts]))
    before, known = contents(folder), places(store)
    rows = lose_tables(store)
    (folder / "recipe.json").unlink()
    done = rebuild(folder, manifest_of(rows))
    assert done.problems == ()
    assert contents(folder) == before
    assert places(Store(folder)) == known
    assert Store(folder).catalogue.shards == store.catalogue.shards
    assert list(verify(folder, full=True)) == []
    pd.testing.assert_frame_equal(done.store.snapshot.rows()[list(rows)], rows)


def test_without_a_manifest_a_row_has_its_name_and_its_key(store: Store) -> None:
    lose_tables(store)
    rows = rebuilt(store)
    assert list(rows.index) == ["a", "bb", "c"]
    row = rows.loc["bb"].to_dict()
    assert pd.isna(row.pop("end"))
    texts = ("file", "speaker", "session", "gender", "emotion", "corpus", "audio_sha256")
    assert row == {
        **dict.fromkeys((*texts, "message"), ""),
        "start": 0.0,
        "view": "clean",
        "key": key_of("bb"),
        "status": "live",
    }


def test_without_a_snapshot_a_row_has_the_view_that_its_shard_says(store: Store) -> None:
    header = read_header(store.shards_folder / min(shard_names(store)))
    with ShardWriter(store.shards_folder, header) as shard:
        shard.append(values("x"), *([pd.Series(range(3), dtype="float64").to_numpy()] * 2))
        shard.end_utterance(key=key_of("x"), utterance_id="a", view="speed-0.9")
        shard.close()
    lose_tables(store)
    found = rebuild(store.folder).store.snapshot.rows(utterance_id="a")
    assert dict(zip(found["view"], found["key"], strict=True)) == {
        "clean": key_of("a"),
        "speed-0.9": key_of("x"),
    }


@pytest.mark.parametrize("lost", [("00000002",), ("00000001", "00000002")])
def test_a_catalogue_is_made_again_and_the_snapshot_stays(
    store: Store, lost: tuple[str, ...]
) -> None:
    before, known = contents(store.folder), places(store)
    for number in lost:
        (store.catalogue_folder / f"{number}.parquet").write_bytes(b"PAR1")
    done = rebuild(store.folder)
    assert (done.store.snapshot.number, done.store.catalogue.number) == (2, 3)
    assert places(Store(store.folder)) == known
    assert contents(store.folder) == before
    assert [path.name for path in done.moved] == ["00000002.parquet"]  # 1 is too old by now
    assert list(verify(store.folder, full=True)) == []


def test_rebuilding_a_whole_store_changes_nothing(store: Store) -> None:
    before = contents(store.folder)
    done = rebuild(store.folder, manifest_of(store.snapshot.rows()))
    assert (done.problems, done.moved) == ((), ())
    assert (done.store.snapshot.number, done.store.snapshots) == (2, [1, 2])
    assert done.store.catalogue.number == 2
    assert contents(store.folder) == before


def test_reasons_stay_where_no_shard_knows_better(store: Store) -> None:
    rows = catalogue_rows(keys_of([key_of("quiet"), key_of("a")]), reason="silent")
    store.publish_catalogue(store.catalogue.plus(rows))
    catalogue = rebuild(store.folder).store.catalogue
    at = catalogue.find(keys_of([key_of("quiet"), key_of("a")]))
    assert catalogue.texts("reason")[at].tolist() == ["silent", ""]
    assert catalogue.is_place[at].tolist() == [False, True]


def test_a_torn_snapshot_is_set_aside_and_its_number_is_not_used_again(store: Store) -> None:
    (store.snapshots_folder / "00000002.parquet").write_bytes(b"PAR1")
    (store.shards_folder / ".x.h5.01.partial").write_bytes(b"half")
    done = rebuild(store.folder)
    assert done.store.snapshot.number == 3
    assert {path.relative_to(store.folder).as_posix() for path in done.moved} == {
        "damaged/00000002.parquet",
        "damaged/.x.h5.01.partial",
    }
    rows = done.store.snapshot.rows().set_index("utterance_id")
    assert rows["emotion"].to_dict() == {"a": "joy", "bb": "joy"}
    assert set(places(done.store)) == set(map(key_of, ("a", "bb", "c")))
    assert list(verify(store.folder, full=True)) == []


def test_where_every_snapshot_is_torn_the_shards_say_what_is_wanted(store: Store) -> None:
    for number in (1, 2):
        (store.snapshots_folder / f"0000000{number}.parquet").write_bytes(b"PAR1")
    done = rebuild(store.folder)
    assert done.store.snapshot.number == 3
    assert done.store.snapshot.rows()["utterance_id"].tolist() == ["a", "bb", "c"]
    assert list(verify(store.folder, full=True)) == []


def test_the_newest_snapshot_that_reads_tells_what_is_wanted(store: Store) -> None:
    drop(store, "c")
    add(store, new_shard(store, ["d"]))
    (store.snapshots_folder / "00000005.parquet").write_bytes(b"PAR1")
    rows = rebuilt(store)
    assert rows["status"].to_dict() == {"a": "live", "bb": "live", "d": "live"}
    assert key_of("c") in places(Store(store.folder))


def test_of_a_doubled_key_the_youngest_shard_counts(store: Store) -> None:
    younger = new_shard(store, ["a"], seed=1)
    done = rebuild(store.folder)
    assert places(done.store)[key_of("a")] == younger.name
    assert (Store(store.folder).stack("a") == values("a", seed=1)).all()
    assert list(verify(store.folder, full=True)) == []


def test_of_several_keys_of_one_name_the_youngest_shards_has_the_labels(store: Store) -> None:
    new_shard(store, ["newer"], ids={"newer": "a"})
    manifest = manifest_of(lose_tables(store))
    rows = rebuilt(store, manifest).loc["a"]
    assert dict(zip(rows["corpus"], rows["key"], strict=True)) == {
        "c": key_of("newer"),
        "": key_of("a"),
    }
    assert set(rows["status"]) == {"live"}


def test_a_snapshot_knows_better_than_a_shard_whose_features_a_name_has(store: Store) -> None:
    new_shard(store, ["newer"], ids={"newer": "a"})
    rows = rebuilt(store)
    assert rows.loc["a", ["key", "corpus"]].tolist() == [key_of("a"), "c"]
    assert key_of("newer") in places(Store(store.folder))


def test_a_name_in_two_corpora_is_labelled_only_where_the_corpus_is_known(store: Store) -> None:
    rows = lose_tables(store)
    twice = pd.concat([manifest_of(rows), manifest_of(rows[:1]).assign(corpus="d", emotion="no")])
    assert rebuilt(store, twice)["emotion"].to_dict() == {"a": "", "bb": "joy", "c": "joy"}


def test_labels_are_taken_over_into_a_new_snapshot(store: Store) -> None:
    labels = manifest_of(store.snapshot.rows()[:2]).assign(emotion=["fear", "joy"], mood=["x", "y"])
    done = rebuild(store.folder, labels)
    rows = done.store.snapshot.rows().set_index("utterance_id")
    assert done.store.snapshot.number == 3
    assert rows["emotion"].to_dict() == {"a": "fear", "bb": "joy", "c": "joy"}
    assert rows["mood"].to_dict() == {"a": "x", "bb": "y", "c": ""}
    assert set(rows["status"]) == {"live"}


def test_shards_that_were_compacted_do_not_come_back_twice(store: Store) -> None:
    compact(store)
    manifest = manifest_of(lose_tables(store))
    again = rebuild(store.folder, manifest).store
    assert again.snapshot.n_rows == 3
    assert (len(again.catalogue.shards), len(again.catalogue.retired)) == (1, 2)
    collect(again)
    assert shard_names(again) == set(again.catalogue.shards)


def test_what_cannot_be_trusted_is_told_and_left_out(store: Store) -> None:
    known = places(store)
    with h5py.File(store.shards_folder / known[key_of("a")], "r+") as file:
        file["features"][0, 0] += 1
    (store.shards_folder / known[key_of("c")]).write_bytes(b"torn")
    with h5py.File(store.shards_folder / new_shard(store, ["x"]).name, "r+") as file:
        file.attrs["recipe_json"] = '{"other":1}'
    lose_tables(store)
    done = rebuild(store.folder)
    assert [p.code for p in done.problems] == ["damaged_utterance", "torn_shard", "foreign_shard"]
    assert done.problems[0].utterance_ids == ("a",)
    assert done.store.snapshot.rows()["utterance_id"].tolist() == ["bb"]
    assert set(places(done.store)) == {key_of("bb")}


def test_live_rows_whose_features_are_lost_are_damaged_and_made_again(store: Store) -> None:
    add(store, new_shard(store, ["d"]))
    mark(store, "missing", "d")
    for name in ("c", "d"):
        (store.shards_folder / places(store)[key_of(name)]).unlink()
    rows = rebuilt(store)
    assert rows["status"].to_dict() == {
        "a": "live",
        "bb": "live",
        "c": "damaged",
        "d": "missing",
    }
    assert rows["key"].to_dict() == {name: key_of(name) for name in ("a", "bb", "c", "d")}


def test_a_torn_recipe_is_set_aside_and_written_anew(store: Store) -> None:
    before = contents(store.folder)
    (store.folder / "recipe.json").write_bytes(b'{"half')
    done = rebuild(store.folder)
    assert (store.folder / "recipe.json").read_text() == '{"format":2,"recipe":{}}'
    assert [path.name for path in done.moved] == ["recipe.json"]
    assert contents(store.folder) == before


def test_an_old_store_whose_recipe_is_torn_keeps_what_its_generations_say(tmp_path: Path) -> None:
    folder = old_store(tmp_path)
    before = Store(folder)
    recipe_json, rows = before.recipe_json, before.snapshot.rows()
    (folder / "recipe.json").write_bytes(b'{"half')
    done = rebuild(folder)
    assert done.store.recipe_json == recipe_json
    assert done.store.snapshots == [1, 2, 3]
    pd.testing.assert_frame_equal(done.store.snapshot.rows(), rows)


def test_an_index_is_written_even_where_its_numbers_stay(store: Store) -> None:
    with h5py.File(store.folder / "store.h5", "r+") as file:
        del file["shards"]
    rebuild(store.folder)
    with h5py.File(store.folder / "store.h5") as file:
        assert set(file["shards"]) == shard_names(store)


def test_a_folder_without_readable_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no shard that can be read"):
        rebuild(tmp_path)


def test_rows_that_are_already_known_are_left_as_they_are(store: Store) -> None:
    extra = table(new_shard(store, ["d"])).assign(note="kept")
    publish(store, pd.concat([store.snapshot.rows(), extra]))
    before = store.snapshot.rows()
    done = rebuild(store.folder)
    pd.testing.assert_frame_equal(done.store.snapshot.rows(), before)
    assert done.store.snapshot.number == 3


def test_a_manifest_with_other_times_names_other_features(tmp_path: Path) -> None:
    """A row keeps its times with its key: else it would say that these features are of another range."""
    store = make_store(tmp_path / "store")
    add(store, new_shard(store, ["aa", "bb"]), audio_sha256="ab" * 32)
    rows = store.snapshot.rows()
    labels = manifest_of(rows).assign(emotion="fear")
    labels["end"] = labels["end"].mask(labels["utterance_id"] == "aa", 0.5)
    found = rebuild(store.folder, labels).store.snapshot.rows().set_index("utterance_id")
    assert np.isnan(found.loc["aa", "end"])
    assert found["emotion"].to_dict() == {"aa": "joy", "bb": "fear"}
