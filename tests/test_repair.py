"""Repair: what is healthy stays, what was hit is made again, exactly that."""

import random
from collections.abc import Callable
from pathlib import Path

import h5py
import pandas as pd
import pytest

from features_cache.examiner import Examiner
from features_cache.generation import QUARANTINED
from features_cache.repair import DAMAGED, Salvage, damage, salvage
from features_cache.shard import ShardError
from features_cache.store import Store
from features_cache.verify import newest_whole, verify
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
)

NAMES = ["a", "bb", "ccc", "dddd"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = make_store(tmp_path / "store", NAMES, ["e", "f"], ["g"])
    bury(store, "dddd", "f")
    return store


def repair(folder: Path, examiner: Examiner | None = None) -> Salvage:
    problems = list(verify(folder, full=True, examiner=examiner))
    store = Store(folder, generation=newest_whole(folder / "generations"))
    return salvage(store, RECIPE_ID, damage(problems))


def extract_again(folder: Path) -> list[str]:
    """Do what the next extraction does: features for rows that were damaged."""
    store = Store(folder)
    lost = store.generation.quarantined
    lost = lost[lost["reason"] == DAMAGED]
    if not len(lost):
        return []
    assert lost["key"].tolist() == [key_of(name) for name in lost["utterance_id"]]
    shard = new_shard(store, lost["utterance_id"])
    rest = store.generation.rows[store.generation.rows["status"] != QUARANTINED]
    store.publish(pd.concat([rest, table(shard)]), RECIPE_ID, [shard])
    return list(lost["utterance_id"])


def shard_of(store: Store, name: str) -> Path:
    rows = store.generation.rows.set_index("utterance_id")
    return store.shards_folder / str(rows.loc[name, "shard"])


def hit(store: Store, name: str) -> None:
    row = store.generation.rows.set_index("utterance_id").loc[name]
    with h5py.File(shard_of(store, name), "r+") as file:
        file["features"][row["row_start"], 0] += 1


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
    (lambda store: hit(store, "dddd"), [], 3),
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
    assert (list(done.lost_ids), done.n_saved) == (lost, n_saved)
    assert list(verify(store.folder, full=True)) == []
    assert extract_again(store.folder) == lost
    after = contents(store.folder)
    assert after.items() <= before.items()
    assert {name for name in before if name[2] == "live"} <= set(after)
    assert list(verify(store.folder, full=True)) == []
    assert repair(store.folder).moved == ()


def test_damaged_files_are_kept_aside_under_names_of_their_own(store: Store) -> None:
    path = shard_of(store, "a")
    hit(store, "a")
    data = path.read_bytes()
    done = repair(store.folder)
    assert done.moved == (store.folder / "damaged" / path.name,)
    assert done.moved[0].read_bytes() == data
    (store.folder / "damaged" / "00000005.parquet").write_bytes(b"an earlier one")
    newest = store.generations_folder / "00000005.parquet"
    newest.write_bytes(b"PAR1")
    assert [each.name for each in repair(store.folder).moved] == ["00000005.parquet.1"]


def test_a_torn_generation_and_a_stale_index_are_mended(store: Store) -> None:
    (store.generations_folder / "00000004.parquet").write_bytes(b"PAR1")
    (store.folder / "store.h5").write_bytes(b"torn")
    done = repair(store.folder)
    assert done.generation.number == 5
    assert list(verify(store.folder, full=True)) == []
    assert len(Store(store.folder).generation.live) == 7  # as in generation 3


def test_rows_that_point_elsewhere_are_made_again(store: Store) -> None:
    rows = store.generation.rows
    is_a = rows["utterance_id"] == "a"
    store.publish(rows.assign(row_end=rows["row_end"] + is_a.astype("int64")), RECIPE_ID)
    assert repair(store.folder).lost_ids == ("a",)
    assert extract_again(store.folder) == ["a"]
    assert list(verify(store.folder, full=True)) == []


def test_healthy_features_of_a_damaged_orphan_are_saved(store: Store) -> None:
    orphan = store.shards_folder / new_shard(store, ["x", "yy"]).name
    with h5py.File(orphan, "r+") as file:
        file["features"][0, 0] += 1
    repair(store.folder)
    again = Store(store.folder)
    places = again.known_places()
    assert key_of("yy") in set(places["key"])
    assert key_of("x") not in set(places["key"])
    assert orphan.name not in shard_names(again)
    assert list(verify(store.folder, full=True)) == []


def test_a_row_that_is_out_of_reach_keeps_its_reason(store: Store) -> None:
    rows = store.generation.rows
    is_a = rows["utterance_id"] == "a"
    rows = rows.assign(
        status=rows["status"].mask(is_a, QUARANTINED), reason=rows["reason"].mask(is_a, "missing")
    )
    store.publish(rows, RECIPE_ID)
    hit(store, "a")
    repair(store.folder)
    (row,) = Store(store.folder).generation.quarantined.to_dict("records")
    assert (row["reason"], row["shard"], row["key"]) == ("missing", "", key_of("a"))


@pytest.mark.parametrize("where", ["publish", "move"])
def test_a_repair_that_dies_loses_nothing(store: Store, where: str) -> None:
    before = contents(store.folder)
    hit(store, "a")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        target = "store.Store.publish" if where == "publish" else "repair.set_aside"
        patch.setattr(f"features_cache.{target}", die)
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
    there = shard_names(store)
    with pytest.raises(ShardError, match="'bb' does not match its checksum"):
        salvage(Store(store.folder), RECIPE_ID, known)
    assert shard_names(store) == there


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
            done = salvage(Store(folder), RECIPE_ID, damage(problems))
            assert set(done.lost_ids) == named
            assert list(verify(folder, full=True, examiner=examiner)) == []
            _extract_flipped(folder, named)
            assert contents(folder) == before


def _extract_flipped(folder: Path, names: set[str]) -> None:
    store = Store(folder)
    lost = store.generation.quarantined
    assert set(lost["utterance_id"]) == names
    rows = store.generation.live
    for name in sorted(names):
        shard = new_shard(store, [name], dim=500 if len(name) > 4 else 3)
        rows = pd.concat([rows, table(shard)])
        store.publish(rows, RECIPE_ID, [shard])


def test_repair_makes_again_what_a_flipped_byte_hit(tmp_path: Path) -> None:
    flip_and_repair(tmp_path / "store", 8, 0)


@pytest.mark.slow
def test_repair_makes_again_whatever_flipped_bytes_hit(tmp_path: Path) -> None:
    flip_and_repair(tmp_path / "store", 60, 1)
