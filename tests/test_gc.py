"""Garbage collection: what nobody needs goes, after it has been named; nothing else does."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from features_cache.compact import compact
from features_cache.gc import collect, waste
from features_cache.generation import GenerationError, numbers
from features_cache.lock import writer_lock
from features_cache.store import Store
from features_cache.verify import verify
from tests.small_store import (
    RECIPE_ID,
    bury,
    contents,
    make_store,
    new_shard,
    shard_names,
    table,
    values,
)

LIVE_NAMES = ("a", "bb", "dd")


@pytest.fixture
def worn(tmp_path: Path) -> Store:
    """Three generations; of one shard a half is gone, of another all."""
    store = make_store(tmp_path / "store", ["a", "bb", "c" * 2000], ["dd"], ["e" * 3000])
    bury(store, "c" * 2000, "e" * 3000)
    return store


def live(folder: Path, generation: int | None = None) -> dict[tuple[str, ...], bytes]:
    return {k: v for k, v in contents(folder, generation).items() if k[2] == "live"}


def disk(folder: Path) -> int:
    return sum(p.stat().st_blocks * 512 for p in folder.rglob("*") if p.is_file())


def test_what_is_named_first_is_what_goes(worn: Store) -> None:
    before, size = live(worn.folder), disk(worn.folder)
    shards = {len(s): n for n, s in worn.generation.rows.groupby("shard")["utterance_id"]}
    named = waste(worn)
    assert named.generations == (1, 2, 3, 4)
    assert set(named.utterance_ids) == {"c" * 2000, "e" * 3000}
    assert named.held_ids == ()
    assert named.rewritten == (shards[3],)
    assert len(named.shards) == 2
    assert disk(worn.folder) == size  # nothing has been done yet
    freed = collect(worn, RECIPE_ID)
    assert freed == size - disk(worn.folder) > 0
    assert abs(freed - named.n_bytes) < 20_000
    assert live(worn.folder) == contents(worn.folder) == before
    assert shard_names(worn) == set(worn.generation.shards)
    assert numbers(worn.generations_folder) == [5]
    assert list(verify(worn.folder, full=True)) == []


def test_collecting_again_frees_nothing(worn: Store) -> None:
    collect(worn, RECIPE_ID)
    again = waste(worn)
    assert (again.generations, again.shards, again.n_bytes) == ((), (), 0)
    assert collect(worn, RECIPE_ID) == 0


@pytest.mark.parametrize("held", [1, 3, 4])
def test_a_generation_that_is_held_stays_readable(worn: Store, held: int) -> None:
    before = contents(worn.folder, held)
    named = waste(worn, [held])
    collect(worn, RECIPE_ID, [held])
    assert contents(worn.folder, held) == before
    assert held not in named.generations
    assert {*named.utterance_ids, *named.held_ids} == {"c" * 2000, "e" * 3000}
    assert ("e" * 3000 in named.held_ids) == (held > 1)
    assert set(live(worn.folder)) == {("c", name, "live") for name in LIVE_NAMES}
    assert list(verify(worn.folder, full=True)) == []
    collect(worn, RECIPE_ID)
    assert shard_names(worn) == set(worn.generation.shards)


def test_a_held_generation_that_is_torn_is_told_before_anything_is_done(worn: Store) -> None:
    (worn.generations_folder / "00000002.parquet").write_bytes(b"PAR1")
    there = shard_names(worn)
    with pytest.raises(GenerationError, match="00000002"):
        collect(worn, RECIPE_ID, [2])
    assert shard_names(worn) == there


def test_a_held_generation_that_went_long_ago_holds_nothing(worn: Store) -> None:
    assert waste(worn, [77]) == waste(worn)


def test_shards_that_were_compacted_go(worn: Store) -> None:
    before = live(worn.folder)
    compact(worn, RECIPE_ID)
    assert len(shard_names(worn)) == 4
    collect(worn, RECIPE_ID)
    assert len(shard_names(worn)) == 1
    assert live(worn.folder) == before


def test_an_orphan_goes_only_if_everything_in_it_is_elsewhere(worn: Store) -> None:
    double, single = new_shard(worn, ["a", "dd"]), new_shard(worn, ["a", "unknown"])
    torn = new_shard(worn, ["a"])
    (worn.shards_folder / torn.name).write_bytes(b"torn")
    assert double.name in waste(worn).shards
    collect(worn, RECIPE_ID)
    assert worn.orphans() == sorted([single.name, torn.name])


def test_an_utterance_that_two_names_share_is_kept_for_the_living(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    shard = new_shard(store, ["a"])
    twin = table(shard, utterance_id="twin", status="gone")
    store.publish(pd.concat([table(shard), twin]), RECIPE_ID, [shard])
    collect(store, RECIPE_ID)
    assert (Store(store.folder).stack("a") == values("a")).all()
    assert len(store.generation.rows) == 1


def _die_at_publish(patch: pytest.MonkeyPatch, store: Store) -> None:
    patch.setattr(store, "publish", _die)


def _die_at_first_unlink(patch: pytest.MonkeyPatch, _: Store) -> None:
    patch.setattr("features_cache.gc.generation_path", _die)


def _die_between(patch: pytest.MonkeyPatch, _: Store) -> None:
    patch.setattr("features_cache.gc.sync_file", _die)


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", [_die_at_publish, _die_at_first_unlink, _die_between])
def test_a_collection_that_dies_is_finished_by_the_next(
    worn: Store, how: Callable[[pytest.MonkeyPatch, Store], None]
) -> None:
    before = live(worn.folder)
    with pytest.MonkeyPatch.context() as patch:
        how(patch, worn)
        with pytest.raises(KeyboardInterrupt):
            collect(worn, RECIPE_ID)
    assert live(worn.folder) == before
    assert list(verify(worn.folder, full=True)) == []
    again = Store(worn.folder)
    collect(again, RECIPE_ID)
    assert live(worn.folder) == before
    assert shard_names(again) == set(again.generation.shards)


def compact_and_collect_for_ever(folder: Path) -> None:
    """Be a child that is to be killed: new small shards, compacted and collected, again and again."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with writer_lock(folder):
        while True:
            store = Store(folder)
            store.remove_stale_partials()
            old = [values(name) for name in LIVE_NAMES]
            gone = new_shard(store, ["going"])
            rows = store.generation.rows
            rows = rows[rows["utterance_id"] != "going"]
            store.publish(pd.concat([rows, table(gone, status="gone")]), RECIPE_ID, [gone])
            compact(store, RECIPE_ID, shard_bytes=2**26)
            collect(store, RECIPE_ID)
            assert all((store.stack(n) == v).all() for n, v in zip(LIVE_NAMES, old, strict=True))


@pytest.mark.slow
def test_a_store_that_is_killed_while_it_is_cared_for_is_whole(worn: Store) -> None:
    before, rng = live(worn.folder), random.Random(0)
    code = "import pathlib, sys; from tests.test_gc import compact_and_collect_for_ever as run; "
    code += "run(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", code, str(worn.folder)], stdout=subprocess.PIPE, env=environment
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 0.8))
            assert child.poll() is None
            child.kill()
        assert list(verify(worn.folder, full=True)) == []
        assert live(worn.folder) == before
    assert Store(worn.folder).generation.number > 20


def test_what_was_put_aside_as_damaged_goes_too(worn: Store) -> None:
    (worn.folder / "damaged").mkdir()
    (worn.folder / "damaged" / "torn.h5").write_bytes(bytes(100_000))
    before = live(worn.folder)
    named = waste(worn)
    assert named.n_damaged == 1
    assert named.n_bytes >= 100_000
    assert collect(worn, RECIPE_ID) >= 100_000
    assert waste(worn).n_damaged == 0
    assert live(worn.folder) == before
