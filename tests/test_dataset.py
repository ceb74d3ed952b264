"""Finding a manifest's features in a store."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features_cache.key_columns import keys_of
from features_cache.store import Store
from stages.dataset import DatasetError, load_dataset, select
from tests.shared_store import fill, recipe, rows_of
from tests.small_store import publish

UTTERANCES = [f"u{i:02}" for i in range(12)]


def test_utterances_are_found_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    manifest = rows_of(UTTERANCES, corpus=["a", "b"] * 6)
    store = fill(tmp_path, manifest)
    wanted = manifest.iloc[[7, 2, 11, 2]].assign(emotion=["w", "x", "y", "z"])
    found = select(wanted, store)
    assert found.manifest["emotion"].tolist() == ["w", "x", "y", "z"]
    assert found.manifest.index.tolist() == [0, 1, 2, 3]
    dataset = load_dataset(found, store, recipe().recipe_id)
    for stack, name in zip(dataset.stacks, wanted["utterance_id"], strict=True):
        np.testing.assert_array_equal(stack, store.stack(name))
    keys = store.snapshot.rows().set_index("utterance_id")["key"]
    assert dataset.keys == keys[wanted["utterance_id"]].tolist()
    assert found.places.n_rows.tolist() == [len(stack) for stack in dataset.stacks]


@pytest.mark.parametrize(
    ("column", "value"), [("file", "b.wav"), ("start", 0.5), ("end", 9.0), ("corpus", "other")]
)
def test_an_utterance_of_another_place_has_no_features(
    tmp_path: Path, column: str, value: object
) -> None:
    manifest = rows_of(UTTERANCES)
    store = fill(tmp_path, manifest)
    manifest.loc[[3, 5], column] = value
    with pytest.raises(DatasetError, match=r"2 of 12 utterances .* \(first: 'u03'\); expected all"):
        select(manifest, store)


def test_equal_names_in_two_corpora_are_two_utterances(tmp_path: Path) -> None:
    manifest = rows_of(["u", "u"], corpus=["a", "b"])
    store = fill(tmp_path, manifest)
    found = select(manifest[::-1], store)
    assert [place.row_start for place in found.places] == [1, 0]


def test_quarantined_utterances_are_left_out_by_name(tmp_path: Path) -> None:
    manifest = rows_of(UTTERANCES)
    store = fill(tmp_path, manifest)
    rows = store.snapshot.rows()
    is_bad = rows["utterance_id"].isin(["u02", "u09"])
    publish(store, rows.assign(status=rows["status"].mask(is_bad, "silent")))
    found = select(manifest, store)
    assert found.left_out == ["u02", "u09"]
    assert found.manifest["utterance_id"].tolist() == [
        name for name in UTTERANCES if name not in found.left_out
    ]
    assert len(found.places) == len(found.keys) == len(found.audio_sha256) == 10


def test_a_store_without_features_is_told(tmp_path: Path) -> None:
    store = Store.create(tmp_path, recipe().to_json())
    with pytest.raises(DatasetError, match="holds no features yet"):
        select(pd.DataFrame(rows_of(UTTERANCES)), store)


def test_what_was_wanted_and_not_reached_has_no_features(tmp_path: Path) -> None:
    manifest = rows_of(UTTERANCES)
    store = fill(tmp_path, manifest)
    rows = store.snapshot.rows()
    publish(
        store, rows.assign(status=rows["status"].mask(rows["utterance_id"] == "u02", "pending"))
    )
    with pytest.raises(DatasetError, match=r"1 of 12 .* in snapshot 2 of .*\(first: 'u02'\)"):
        select(manifest, store)


def test_a_snapshot_is_read_as_it_was_wherever_its_features_are_now(tmp_path: Path) -> None:
    manifest = rows_of(UTTERANCES)
    fill(tmp_path, manifest)
    newest = Store(tmp_path)
    rows = newest.snapshot.rows()
    publish(newest, rows.assign(status="silent"))
    first = Store(tmp_path, snapshot=1)
    dataset = load_dataset(select(manifest, first), first, first.recipe_id)
    assert (len(dataset.stacks), dataset.snapshot) == (12, 1)
    assert len(select(manifest, newest).manifest) == 0


def test_features_that_are_there_no_more_are_told(tmp_path: Path) -> None:
    manifest = rows_of(UTTERANCES)
    store = fill(tmp_path, manifest)
    keys = store.snapshot.rows(["key"])["key"]
    store.publish_catalogue(store.catalogue.without(keys_of(keys[[3, 5]])))
    with pytest.raises(DatasetError, match=r"2 of 12 .* there no more \(first: 'u03'\)"):
        select(manifest, store)
