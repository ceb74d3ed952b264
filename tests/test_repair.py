"""Repair: what is healthy stays, what was hit is made again, exactly that."""

import random
from collections.abc import Callable
from pathlib import Path

import h5py
import pandas as pd
import pytest

from features_cache.catalogue import catalogue_rows
from features_cache.examiner import Examiner
from features_cache.key_columns import hex_of, keys_of
from features_cache.repair import Salvage, damage, salvage
from features_cache.shard import ShardError
from features_cache.snapshot import DAMAGED
from features_cache.store import Store
from features_cache.verify import open_whole, verify
from tests.small_store import (
    add,
    contents,
    drop,
    key_of,
    lose,
    make_store,
    mark,
    misplace,
    new_shard,
    places,
    publish,
    reopened,
    shard_names,
    table,
)

NAMES = ["a", "bb", "ccc", "dddd"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = make_store(tmp_path / "store", NAMES, ["e", "f"], ["g"])
    drop(store, "dddd", "f")
    return store


def repair(folder: Path, examiner: Examiner | None = None) -> Salvage:
    store = Store.for_writing(folder, snapshot=0)
    store.snapshot = open_whole(folder).snapshot
    store.adopt()
    return salvage(store, damage(verify(folder, full=True, examiner=examiner)))


def keys(*names: str) -> list[str]:
    return sorted(map(key_of, names))


def damaged_rows(folder: Path) -> pd.DataFrame:
    rows = Store(folder).snapshot.rows()
    return rows[rows["status"] == DAMAGED]


def extract_again(folder: Path) -> list[str]:
    """Do what the next extraction does: features for rows that were damaged."""
    store, lost = Store(folder), damaged_rows(folder)
    if not len(lost):
        return []
    assert lost["key"].tolist() == [key_of(name) for name in lost["utterance_id"]]
    shard = new_shard(store, lost["utterance_id"])
    rest = store.snapshot.rows().drop(index=lost.index)
    publish(store, pd.concat([rest, table(shard)]), [shard])
    return list(lost["utterance_id"])


def shard_of(store: Store, name: str) -> Path:
    return store.shards_folder / places(store)[key_of(name)]


def hit(store: Store, name: str) -> None:
    (place,) = store.places([key_of(name)])
    with h5py.File(shard_of(store, name), "r+") as file:
        file["features"][place.row_start, 0] += 1


def _tear(store: Store) -> None:
    path = shard_of(store, "g")
    path.write_bytes(path.read_bytes()[:3000])


def _lose(store: Store) -> None:
    shard_of(store, "g").unlink()


def _rename_in_shard(store: Store) -> None:
    with h5py.File(shard_of(store, "a"), "r+") as file:
        file["utterance_id"][0] = "z"


def _nothing(_: Store) -> None:
    pass


CASES: list[tuple[Callable[[Store], None], list[str], int]] = [
    (_nothing, [], 0),
    (lambda store: hit(store, "a"), ["a"], 3),
    (lambda store: (hit(store, "bb"), hit(store, "e"), None)[2], ["bb", "e"], 4),
    (_tear, ["g"], 0),
    (_lose, ["g"], 0),
    (_rename_in_shard, [], 4),
]


@pytest.mark.parametrize(("harm", "lost", "n_saved"), CASES)
def test_exactly_what_was_hit_is_made_again(
    store: Store, harm: Callable[[Store], None], lost: list[str], n_saved: int
) -> None:
    before = contents(store.folder)
    harm(store)
    done = repair(store.folder)
    assert (hex_of(done.lost_keys).tolist(), done.n_saved) == (keys(*lost), n_saved)
    assert list(verify(store.folder, full=True)) == []
    assert set(before) - set(contents(store.folder)) == {("c", name) for name in lost}
    assert extract_again(store.folder) == lost
    assert contents(store.folder) == before
    assert list(verify(store.folder, full=True)) == []
    assert repair(store.folder).moved == ()


def test_what_nobody_wants_is_lost_without_a_new_snapshot(store: Store) -> None:
    before = contents(store.folder)
    hit(store, "dddd")
    done = repair(store.folder)
    assert (hex_of(done.lost_keys).tolist(), done.n_saved) == (keys("dddd"), 3)
    assert contents(store.folder) == before
    assert Store(store.folder).snapshots == [1, 2, 3, 4]
    assert list(verify(store.folder, full=True)) == []


def test_lost_rows_are_damaged_and_say_so_and_others_stay_as_they_were(store: Store) -> None:
    before = store.snapshot.rows().set_index("utterance_id")
    hit(store, "a")
    repair(store.folder)
    (row,) = damaged_rows(store.folder).to_dict("records")
    assert row["message"] == "its features were damaged in the store"
    now = Store(store.folder).snapshot
    assert (now.number, now.parent, now.recipe_id) == (5, 4, store.snapshot.recipe_id)
    rows = now.rows().set_index("utterance_id")
    pd.testing.assert_frame_equal(rows.drop(index="a"), before.drop(index="a"))
    same = [name for name in rows if name not in ("status", "message")]
    pd.testing.assert_frame_equal(rows[same], before[same])
    assert now.rows()["utterance_id"].tolist() == sorted(before.index)


def test_a_key_that_two_names_share_is_damaged_for_both(store: Store) -> None:
    rows = store.snapshot.rows()
    twin = rows[rows["utterance_id"] == "a"].assign(utterance_id="twin")
    publish(store, pd.concat([rows, twin]))
    hit(store, "a")
    assert hex_of(repair(store.folder).lost_keys).tolist() == keys("a")
    assert damaged_rows(store.folder)["utterance_id"].tolist() == ["a", "twin"]


def test_damaged_files_are_kept_aside_under_names_of_their_own(store: Store) -> None:
    path = shard_of(store, "a")
    hit(store, "a")
    data = path.read_bytes()
    done = repair(store.folder)
    assert done.moved == (store.folder / "damaged" / path.name,)
    assert done.moved[0].read_bytes() == data
    newest = max(store.catalogue_folder.iterdir())
    (store.folder / "damaged" / newest.name).write_bytes(b"an earlier one")
    newest.write_bytes(b"PAR1")
    assert [each.name for each in repair(store.folder).moved] == [f"{newest.name}.1"]


def test_a_torn_snapshot_and_a_stale_index_are_mended(store: Store) -> None:
    before = contents(store.folder, 3)
    (store.snapshots_folder / "00000004.parquet").write_bytes(b"PAR1")
    (store.folder / "store.h5").write_bytes(b"torn")
    done = repair(store.folder)
    assert [path.name for path in done.moved] == ["00000004.parquet"]
    assert list(verify(store.folder, full=True)) == []
    assert contents(store.folder) == before


def test_the_number_of_a_torn_snapshot_is_not_used_again(store: Store) -> None:
    (store.snapshots_folder / "00000004.parquet").write_bytes(b"PAR1")
    repair(store.folder)
    add(again := Store(store.folder), new_shard(store, ["x"]))
    assert again.snapshot.number > 4


def test_a_torn_catalogue_is_made_again_from_the_one_before_it_and_the_orphans(
    store: Store,
) -> None:
    add(store, new_shard(store, ["x"]))
    before, known = contents(store.folder), places(store)
    newest = max(store.catalogue_folder.iterdir())
    newest.write_bytes(b"PAR1")
    done = repair(store.folder)
    assert [path.name for path in done.moved] == [newest.name]
    assert contents(store.folder) == before
    assert places(Store(store.folder)) == known
    assert Store(store.folder).snapshots == store.snapshots
    assert list(verify(store.folder, full=True)) == []


def test_rows_without_a_place_are_made_again(store: Store) -> None:
    before = contents(store.folder)
    lose(store, "a")
    repair(store.folder)
    assert extract_again(store.folder) == ["a"]
    assert contents(store.folder) == before
    assert list(verify(store.folder, full=True)) == []


def test_places_that_point_elsewhere_are_made_again(store: Store) -> None:
    misplace(store, "a")
    assert hex_of(repair(store.folder).lost_keys).tolist() == keys("a")
    assert extract_again(store.folder) == ["a"]
    assert list(verify(store.folder, full=True)) == []


def test_healthy_features_of_a_damaged_orphan_are_saved(store: Store) -> None:
    orphan = store.shards_folder / new_shard(store, ["x", "yy"]).name
    with h5py.File(orphan, "r+") as file:
        file["features"][0, 0] += 1
    repair(store.folder)
    again = reopened(store)
    assert key_of("yy") in places(again)
    assert key_of("x") not in places(again)
    assert orphan.name not in shard_names(again)
    assert list(verify(store.folder, full=True)) == []


@pytest.mark.parametrize("status", ["missing", "pending"])
def test_a_row_that_was_not_live_stays_as_it_was(store: Store, status: str) -> None:
    mark(store, status, "a")
    hit(store, "a")
    repair(store.folder)
    again = Store(store.folder)
    rows = again.snapshot.rows().set_index("utterance_id")
    assert rows.loc["a", ["status", "key"]].tolist() == [status, key_of("a")]
    assert key_of("a") not in places(again)


def test_reasons_stay(store: Store) -> None:
    rows = catalogue_rows(keys_of([key_of("quiet")]), reason="silent", message="all zeros")
    store.publish_catalogue(store.catalogue.plus(rows))
    hit(store, "a")
    repair(store.folder)
    again = Store(store.folder).catalogue
    (at,) = again.find(keys_of([key_of("quiet")]))
    assert again.texts("reason")[at] == "silent"


@pytest.mark.parametrize(
    "where", ["store.Store.publish_catalogue", "store.Store.publish_snapshot", "repair.set_aside"]
)
def test_a_repair_that_dies_loses_nothing(store: Store, where: str) -> None:
    before = contents(store.folder)
    hit(store, "a")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"features_cache.{where}", die)
        with pytest.raises(KeyboardInterrupt):
            repair(store.folder)
    repair(store.folder)
    assert extract_again(store.folder) == ["a"]
    assert contents(store.folder) == before
    assert list(verify(store.folder, full=True)) == []


def test_damage_that_verify_did_not_see_is_refused(store: Store) -> None:
    hit(store, "a")
    known = damage(list(verify(store.folder, full=True)))
    hit(store, "bb")
    there, number = shard_names(store), store.catalogue.number
    with pytest.raises(ShardError, match="'bb' does not match its checksum"):
        salvage(reopened(store), known)
    assert shard_names(store) == there
    assert Store(store.folder).catalogue.number == number


def flip_and_repair(folder: Path, n: int, seed: int) -> None:
    """Change a random byte of a shard, repair, extract again; `n` times."""
    store = make_store(folder, NAMES)
    add(store, new_shard(store, ["e" * 20, "f" * 30, "g" * 40], dim=500))
    before = contents(folder)
    rng = random.Random(seed)
    with Examiner(timeout_s=20) as examiner:
        for _ in range(n):
            path = rng.choice(sorted(store.shards_folder.glob("*.h5")))
            data = bytearray(path.read_bytes())
            data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
            path.unlink()
            path.write_bytes(data)
            problems = list(verify(folder, full=True, examiner=examiner))
            named = {name for problem in problems for name in problem.utterance_ids}
            done = salvage(reopened(store), damage(problems))
            assert hex_of(done.lost_keys).tolist() == keys(*named)
            assert list(verify(folder, full=True, examiner=examiner)) == []
            _extract_flipped(folder, named)
            assert contents(folder) == before


def _extract_flipped(folder: Path, names: set[str]) -> None:
    store, lost = Store(folder), damaged_rows(folder)
    assert set(lost["utterance_id"]) == names
    rows = store.snapshot.rows().drop(index=lost.index)
    for name in sorted(names):
        shard = new_shard(store, [name], dim=500 if len(name) > 4 else 3)
        rows = pd.concat([rows, table(shard)])
        publish(store, rows, [shard])


def test_repair_makes_again_what_a_flipped_byte_hit(tmp_path: Path) -> None:
    flip_and_repair(tmp_path / "store", 8, 0)


@pytest.mark.slow
def test_repair_makes_again_whatever_flipped_bytes_hit(tmp_path: Path) -> None:
    flip_and_repair(tmp_path / "store", 60, 1)
