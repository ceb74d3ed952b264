"""What a training reads of several stores."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features_cache.catalogue import catalogue_rows
from features_cache.key_columns import keys_of
from features_cache.store import Store
from stages.dataset import DatasetError, stacks
from stages.fusing import fused, recipes_from_json
from stages.training_features import read_features, select_in_all
from tests.shared_store import fill, recipe, rows_of
from tests.small_store import key_of, publish

NAMES = [f"u{i:02}" for i in range(8)]
VIEW = "gain-6db"


@pytest.fixture
def manifest() -> pd.DataFrame:
    return rows_of(NAMES)


@pytest.fixture
def stores(tmp_path: Path, manifest: pd.DataFrame) -> list[Store]:
    """Two stores whose recipes cut other segments."""
    return [
        fill(tmp_path / "slow", manifest),
        fill(tmp_path / "quick", manifest, dim=3, seed=1, shift_s=0.05, revision=2),
    ]


def change(store: Store, name: str, **columns: object) -> None:
    rows = store.snapshot.rows()
    is_it = rows["utterance_id"] == name
    rows = rows.assign(**{c: rows[c].mask(is_it, value) for c, value in columns.items()})  # type: ignore[arg-type]
    publish(store, rows, recipe_id=store.recipe_id)


def put(store: Store, keys: Sequence[str], others: Sequence[str]) -> None:
    """Let some keys have the features of others."""
    found = store.places(others)
    rows = catalogue_rows(
        keys_of(keys),
        shard=found.shard.tolist(),
        row_start=found.row_start.tolist(),
        row_end=found.row_end.tolist(),
    )
    store.publish_catalogue(store.catalogue.plus(rows))


def add_view(store: Store, failed: str = "") -> None:
    """Let each utterance's view have the features of the next utterance."""
    rows = store.snapshot.rows()
    keys = pd.Series([key_of(f"{VIEW} {name}") for name in rows["utterance_id"]])
    is_bad = rows["utterance_id"] == failed
    put(store, keys[~is_bad].tolist(), pd.Series(np.roll(rows["key"], -1))[~is_bad].tolist())
    seen = rows.assign(view=VIEW, key=keys, status=rows["status"].mask(is_bad, "too_short"))
    publish(store, pd.concat([rows, seen], ignore_index=True), recipe_id=store.recipe_id)


def expected(manifest: pd.DataFrame, stores: list[Store]) -> list[np.ndarray]:
    selections, _ = select_in_all(manifest, stores)
    return [fused(parts) for parts in zip(*map(stacks, selections, stores), strict=True)]


def test_stores_stand_side_by_side_on_the_segments_of_the_first(
    manifest: pd.DataFrame, stores: list[Store]
) -> None:
    both, left_out = read_features(manifest, stores)
    first, _ = read_features(manifest, stores[:1])
    assert left_out == []
    assert (first.recipe_id, first.snapshot) == (recipe().recipe_id, 1)
    assert first.recipe_json == recipe().to_json()
    other = replace(recipe(), revision=2)
    assert (both.recipe_id, both.snapshot) == (f"{first.recipe_id}+{other.recipe_id}", "1+1")
    assert recipes_from_json(both.recipe_json) == [recipe(), other]
    assert both.keys == first.keys
    for stack, own, start, end, more in zip(
        both.stacks, first.stacks, both.segment_start, both.segment_end,
        expected(manifest, stores), strict=True,
    ):  # fmt: skip
        assert stack.shape == (len(start), 8) == (len(end), 8)
        assert np.array_equal(stack[:, :5], own)
        assert np.array_equal(stack, more)


def test_a_store_alone_is_read_as_it_is(manifest: pd.DataFrame, stores: list[Store]) -> None:
    alone, _ = read_features(manifest, stores[1:])
    for stack, name in zip(alone.stacks, NAMES, strict=True):
        assert stack.dtype == np.float32
        assert np.array_equal(stack, stores[1].stack(name))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_what_is_quarantined_in_any_store_is_left_out_of_all_and_told(
    manifest: pd.DataFrame, stores: list[Store], order: list[int]
) -> None:
    change(stores[0], "u02", status="silent")
    change(stores[1], "u05", status="silent")
    both, left_out = read_features(manifest, [stores[i] for i in order])
    assert sorted(left_out) == ["u02", "u05"]
    kept = [name for name in NAMES if name not in left_out]
    assert both.manifest["utterance_id"].tolist() == kept
    for name, stack in zip(kept, both.stacks, strict=True):
        own = stores[order[0]].stack(name)
        assert np.array_equal(stack[:, : own.shape[1]], own)


def test_other_audio_in_another_store_is_refused(
    manifest: pd.DataFrame, stores: list[Store]
) -> None:
    put(stores[1], [key_of("other")], [key_of("emodb/u03")])
    change(stores[1], "u03", key=key_of("other"))
    with pytest.raises(
        DatasetError, match=r"1 of 8 utterances have features of other audio .*\(first: 'u03'\)"
    ):
        read_features(manifest, stores)


def test_an_utterance_that_one_store_lacks_is_told_with_the_store(
    manifest: pd.DataFrame, tmp_path: Path, stores: list[Store]
) -> None:
    fewer = fill(tmp_path / "fewer", manifest.iloc[1:])
    with pytest.raises(DatasetError, match=r"1 of 8 .*fewer \(first: 'u00'\)"):
        read_features(manifest, [stores[0], fewer])


def test_views_are_fused_by_their_own_segments(manifest: pd.DataFrame, stores: list[Store]) -> None:
    for store in stores:
        add_view(store)
    both, _ = read_features(manifest, stores, [VIEW])
    following = expected(manifest, stores)
    following = following[1:] + following[:1]
    assert list(both.views) == [VIEW]
    for seen, stack in zip(both.views[VIEW], following, strict=True):
        assert np.array_equal(seen, stack)


@pytest.mark.parametrize("where", [0, 1])
def test_an_utterance_stands_whole_for_its_view_that_failed_in_one_store(
    manifest: pd.DataFrame, stores: list[Store], where: int
) -> None:
    add_view(stores[where], failed="u04")
    add_view(stores[1 - where])
    both, _ = read_features(manifest, stores, [VIEW])
    is_own = [
        np.array_equal(seen, own) for seen, own in zip(both.views[VIEW], both.stacks, strict=True)
    ]
    assert is_own == [name == "u04" for name in NAMES]


def test_a_view_that_one_store_lacks_is_told(manifest: pd.DataFrame, stores: list[Store]) -> None:
    add_view(stores[0])
    with pytest.raises(DatasetError, match=r"view gain-6db in snapshot 1 of .*quick"):
        read_features(manifest, stores, [VIEW])
