"""Rebuild: features and names from shards alone, labels from a manifest."""

import itertools
import shutil
from pathlib import Path

import h5py
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features_cache.compact import compact
from features_cache.gc import collect
from features_cache.rebuild import rebuild
from features_cache.rows_from_shards import MANIFEST
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


def lose_generations(store: Store) -> pd.DataFrame:
    """Return what the last one said."""
    rows = store.generation.rows
    shutil.rmtree(store.generations_folder)
    return rows


def manifest_of(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["utterance_id", *MANIFEST]]


names = st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=1, max_size=9, unique=True)


@settings(max_examples=6)
@given(names=names, cuts=st.integers(1, 4))
def test_everything_comes_back_from_shards_and_manifest(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], cuts: int
) -> None:
    folder = tmp_path_factory.mktemp("stores") / "store"
    store = make_store(folder, *(names[i::cuts] for i in range(cuts) if names[i::cuts]))
    before = contents(folder)
    rows = lose_generations(store)
    (folder / "recipe.json").unlink()
    done = rebuild(folder, manifest_of(rows))
    assert done.problems == ()
    assert contents(folder) == before
    assert list(verify(folder, full=True)) == []
    same = done.store.generation.rows[rows.columns]
    pd.testing.assert_frame_equal(same, rows)


def test_without_a_manifest_a_row_has_its_name_and_its_key(store: Store) -> None:
    lose_generations(store)
    rows = rebuild(store.folder).store.generation.rows.set_index("utterance_id")
    assert list(rows.index) == ["a", "bb", "c"]
    row = rows.loc["bb"].to_dict()
    assert pd.isna(row.pop("end"))
    assert row.pop("shard") in {path.name for path in store.shards_folder.iterdir()}
    texts = ("file", "speaker", "session", "gender", "emotion", "corpus", "audio_sha256")
    assert row == {
        **dict.fromkeys((*texts, "reason", "message"), ""),
        "start": 0.0,
        "view": "clean",
        "key": key_of("bb"),
        "row_start": 3,
        "row_end": 7,
        "status": "live",
    }


def test_a_torn_generation_is_set_aside_and_its_number_is_not_used_again(store: Store) -> None:
    (store.generations_folder / "00000002.parquet").write_bytes(b"PAR1")
    (store.shards_folder / ".x.h5.01.partial").write_bytes(b"half")
    done = rebuild(store.folder)
    assert done.store.generation.number == 3
    assert {path.relative_to(store.folder).as_posix() for path in done.moved} == {
        "damaged/00000002.parquet",
        "damaged/.x.h5.01.partial",
    }
    rows = done.store.generation.rows.set_index("utterance_id")
    assert rows["corpus"].to_dict() == {"a": "c", "bb": "c", "c": ""}
    assert rows["emotion"].to_dict() == {"a": "joy", "bb": "joy", "c": ""}
    assert list(verify(store.folder, full=True)) == []


def test_the_newest_generation_that_reads_tells_what_is_gone(store: Store) -> None:
    bury(store, "c")
    add(store, new_shard(store, ["d"]))
    (store.generations_folder / "00000004.parquet").write_bytes(b"PAR1")
    rows = rebuild(store.folder).store.generation.rows.set_index("utterance_id")
    assert rows["status"].to_dict() == {"a": "live", "bb": "live", "c": "gone", "d": "live"}


def test_of_several_keys_of_one_name_the_youngest_shards_is_live(store: Store) -> None:
    new_shard(store, ["newer"], ids={"newer": "a"})
    manifest = manifest_of(lose_generations(store))
    rows = rebuild(store.folder, manifest).store.generation.rows
    found = rows[rows["utterance_id"] == "a"].set_index("status")["key"].to_dict()
    assert found == {"live": key_of("newer"), "gone": key_of("a")}
    assert (Store(store.folder).stack("a") == values("newer")).all()


def test_a_changed_utterance_of_a_torn_generation_keeps_its_corpus(store: Store) -> None:
    new_shard(store, ["newer"], ids={"newer": "a"})
    rows = rebuild(store.folder).store.generation.rows
    found = rows[rows["utterance_id"] == "a"].set_index("status")
    assert found.loc["live", ["key", "corpus", "emotion"]].tolist() == [
        key_of("newer"),
        "c",
        "joy",
    ]
    assert found.loc["gone", "reason"] == "replaced"


def test_a_name_in_two_corpora_is_labelled_only_where_the_corpus_is_known(store: Store) -> None:
    rows = lose_generations(store)
    twice = pd.concat([manifest_of(rows), manifest_of(rows[:1]).assign(corpus="d", emotion="no")])
    found = rebuild(store.folder, twice).store.generation.rows.set_index("utterance_id")
    assert found["emotion"].to_dict() == {"a": "", "bb": "joy", "c": "joy"}


def test_shards_that_were_compacted_do_not_come_back_twice(store: Store) -> None:
    compact(store, RECIPE_ID)
    manifest = manifest_of(lose_generations(store))
    again = rebuild(store.folder, manifest).store
    assert len(again.generation.rows) == 3
    assert len(again.generation.shards) == 1
    collect(again, RECIPE_ID)
    assert len(list(again.shards_folder.iterdir())) == 1


def test_what_cannot_be_trusted_is_told_and_left_out(store: Store) -> None:
    rows = store.generation.rows.set_index("utterance_id")
    with h5py.File(store.shards_folder / rows.loc["a", "shard"], "r+") as file:
        file["features"][0, 0] += 1
    (store.shards_folder / rows.loc["c", "shard"]).write_bytes(b"torn")
    with h5py.File(store.shards_folder / new_shard(store, ["x"]).name, "r+") as file:
        file.attrs["recipe_json"] = '{"other":1}'
    lose_generations(store)
    done = rebuild(store.folder)
    assert [p.code for p in done.problems] == ["damaged_utterance", "torn_shard", "foreign_shard"]
    assert list(done.store.generation.rows["utterance_id"]) == ["bb"]


def test_features_that_an_older_generation_knew_and_are_lost_are_made_again(store: Store) -> None:
    rows = store.generation.rows.set_index("utterance_id")
    (store.shards_folder / rows.loc["c", "shard"]).unlink()
    (row,) = rebuild(store.folder).store.generation.quarantined.to_dict("records")
    assert (row["utterance_id"], row["reason"], row["key"], row["shard"]) == (
        "c",
        "damaged",
        key_of("c"),
        "",
    )


def test_a_torn_recipe_is_set_aside_and_written_anew(store: Store) -> None:
    (store.folder / "recipe.json").write_bytes(b'{"half')
    done = rebuild(store.folder)
    assert (store.folder / "recipe.json").read_text() == "{}"
    assert [path.name for path in done.moved] == ["recipe.json"]


def test_a_folder_without_readable_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no shard that can be read"):
        rebuild(tmp_path)


def test_rows_that_are_already_known_are_left_as_they_are(store: Store) -> None:
    extra = table(new_shard(store, ["d"])).assign(note="kept")
    store.publish(pd.concat([store.generation.rows, extra]), RECIPE_ID)
    before = store.generation.rows
    pd.testing.assert_frame_equal(
        rebuild(store.folder).store.generation.rows[before.columns], before
    )
