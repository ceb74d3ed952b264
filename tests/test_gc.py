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

from features_cache.catalogue import catalogue_rows, read_catalogue
from features_cache.compact import compact
from features_cache.forget import forget, remembered
from features_cache.gc import collect, waste
from features_cache.key_columns import keys_of
from features_cache.lock import writer_lock
from features_cache.merge import merge
from features_cache.numbered import TableError
from features_cache.rebuild import rebuild
from features_cache.repair import damage, salvage
from features_cache.store import Store, rows_of_shards
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

LIVE_NAMES = ("a", "bb", "dd")
HALF, WHOLE = "c" * 2000, "e" * 3000
"""Two that are not wanted any more: one beside others in its shard, one alone."""


@pytest.fixture
def worn(tmp_path: Path) -> Store:
    """Four snapshots; of one shard a half is not wanted any more, of another all."""
    store = make_store(tmp_path / "store", ["a", "bb", HALF], ["dd"], [WHOLE])
    drop(store, HALF, WHOLE)
    return store


def disk(folder: Path) -> int:
    return sum(p.stat().st_blocks * 512 for p in folder.rglob("*") if p.is_file())


def test_what_is_named_first_is_what_goes(worn: Store) -> None:
    before, size, known = contents(worn.folder), disk(worn.folder), places(worn)
    named = waste(worn)
    assert named.snapshots == (1, 2, 3)
    assert sorted(named.utterance_ids) == [HALF, WHOLE]
    assert named.n_held == 0
    assert named.rewritten == (known[key_of(HALF)],)
    assert named.shards == tuple(sorted([known[key_of(HALF)], known[key_of(WHOLE)]]))
    assert disk(worn.folder) == size  # nothing has been done yet
    freed = collect(worn)
    assert freed == size - disk(worn.folder) > 0
    assert abs(freed - named.n_bytes) < 20_000
    assert contents(worn.folder) == before
    assert shard_names(worn) == {*worn.catalogue.shards}
    assert set(places(worn)) == set(map(key_of, LIVE_NAMES))
    assert Store(worn.folder).snapshots == [4]
    assert list(verify(worn.folder, full=True)) == []


def test_collecting_again_frees_nothing(worn: Store) -> None:
    collect(worn)
    again = waste(worn)
    assert (again.snapshots, again.shards, again.n_bytes) == ((), (), 0)
    assert collect(worn) == 0


@pytest.mark.parametrize(("kept", "n_held"), [(1, 1), (2, 1), (3, 2)])
def test_a_snapshot_that_is_kept_stays_readable(worn: Store, kept: int, n_held: int) -> None:
    before, newest = contents(worn.folder, kept), contents(worn.folder)
    named = waste(worn, [kept])
    collect(worn, [kept])
    assert contents(worn.folder, kept) == before
    assert contents(worn.folder) == newest
    assert sorted([*named.snapshots, kept]) == [1, 2, 3]
    assert (named.n_held, len(named.utterance_ids)) == (n_held, 2 - n_held)
    assert Store(worn.folder).snapshots == [kept, 4]
    assert list(verify(worn.folder, full=True)) == []
    collect(worn)
    assert shard_names(worn) == {*worn.catalogue.shards}
    assert set(places(worn)) == set(map(key_of, LIVE_NAMES))


def test_a_kept_snapshot_that_is_torn_is_told_before_anything_is_done(worn: Store) -> None:
    (worn.snapshots_folder / "00000002.parquet").write_bytes(b"PAR1")
    there = shard_names(worn)
    with pytest.raises(TableError, match="00000002"):
        collect(worn, [2])
    assert shard_names(worn) == there


def test_a_torn_snapshot_that_nobody_keeps_goes(worn: Store) -> None:
    (worn.snapshots_folder / "00000002.parquet").write_bytes(b"PAR1")
    collect(worn)
    assert worn.snapshots == [4]


def test_a_snapshot_that_went_long_ago_holds_nothing(worn: Store) -> None:
    assert waste(worn, [77]) == waste(worn)


@pytest.mark.parametrize("status", ["pending", "missing", "damaged"])
def test_what_is_wanted_is_kept_whatever_state_it_is_in(worn: Store, status: str) -> None:
    mark(worn, status, "dd")
    collect(worn)
    assert set(places(worn)) == set(map(key_of, LIVE_NAMES))


def test_reasons_that_nobody_wants_go_too(worn: Store) -> None:
    quiet = table(new_shard(worn, ["quiet"]), status="silent")
    rows = catalogue_rows(keys_of([key_of("quiet"), key_of("old")]), reason="silent")
    worn.publish_catalogue(worn.catalogue.plus(rows))
    publish(worn, pd.concat([worn.snapshot.rows(), quiet]))
    collect(worn)
    found = worn.catalogue.find(keys_of([key_of("quiet"), key_of("old")]))
    assert (found >= 0).tolist() == [True, False]
    assert worn.catalogue.texts("reason")[found[0]] == "silent"


def test_shards_that_were_compacted_go(worn: Store) -> None:
    before = contents(worn.folder)
    compact(worn)
    assert len(shard_names(worn)) == 4
    collect(worn)
    assert len(shard_names(worn)) == 1
    assert contents(worn.folder) == before


def test_an_orphan_goes_only_if_everything_in_it_is_elsewhere(worn: Store) -> None:
    double, single = new_shard(worn, ["a", "dd"]), new_shard(worn, ["a", "unknown"])
    torn = new_shard(worn, ["a"])
    (worn.shards_folder / torn.name).write_bytes(b"torn")
    assert double.name in waste(worn).shards
    collect(worn)
    assert worn.unknown_shards() == sorted([single.name, torn.name])


def test_features_that_are_elsewhere_too_are_not_named_among_those_that_go(worn: Store) -> None:
    new_shard(worn, ["a", "unknown"])
    again = reopened(worn)
    publish(again, again.snapshot.rows())  # a run that wants neither
    before = contents(worn.folder)
    assert sorted(waste(again).utterance_ids) == sorted([HALF, WHOLE, "unknown"])
    collect(again)
    assert contents(worn.folder) == before


def test_a_shard_that_is_missing_or_torn_does_not_stop_the_rest(worn: Store) -> None:
    known = places(worn)
    (worn.shards_folder / known[key_of("dd")]).unlink()
    (worn.shards_folder / known[key_of("a")]).write_bytes(b"torn")
    collect(worn)
    assert shard_names(worn) == {known[key_of("a")]}
    assert {p.code for p in verify(worn.folder)} == {"missing_shard", "torn_shard"}


def test_an_utterance_that_two_names_share_is_kept_for_the_one_that_stays(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    shard = new_shard(store, ["a"])
    publish(store, pd.concat([table(shard), table(shard, utterance_id="twin")]), [shard])
    drop(store, "a")
    collect(store)
    assert (Store(store.folder).stack("twin") == values("a")).all()


def test_the_index_shows_what_stays_before_anything_is_deleted(
    worn: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []

    def note(store: Store) -> None:
        assert shard_names(store) >= {*read_catalogue(store.catalogue_folder).shards}
        shown.append(len(store.snapshots))

    monkeypatch.setattr(Store, "show", note)
    collect(worn)
    assert shown == [4]


def _die_at_publish(patch: pytest.MonkeyPatch, store: Store) -> None:
    patch.setattr(store, "publish_catalogue", _die)


def _die_at_first_unlink(patch: pytest.MonkeyPatch, _: Store) -> None:
    patch.setattr("features_cache.gc.table_path", _die)


def _die_between(patch: pytest.MonkeyPatch, _: Store) -> None:
    patch.setattr("features_cache.gc.sync_file", _die)


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", [_die_at_publish, _die_at_first_unlink, _die_between])
def test_a_collection_that_dies_is_finished_by_the_next(
    worn: Store, how: Callable[[pytest.MonkeyPatch, Store], None]
) -> None:
    before = contents(worn.folder)
    with pytest.MonkeyPatch.context() as patch:
        how(patch, worn)
        with pytest.raises(KeyboardInterrupt):
            collect(worn)
    assert contents(worn.folder) == before
    assert list(verify(worn.folder, full=True)) == []
    again = Store.for_writing(worn.folder)
    collect(again)
    assert contents(worn.folder) == before
    assert shard_names(again) == {*again.catalogue.shards}
    assert again.snapshots == [4]


def compact_and_collect_for_ever(folder: Path) -> None:
    """Be a child that is to be killed: new small shards, compacted and collected, again and again."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with writer_lock(folder):
        while True:
            store = Store.for_writing(folder)
            store.remove_stale_partials()
            store.adopt()
            old = [values(name) for name in LIVE_NAMES]
            drop(store, "going")
            lose(store, "going")
            add(store, new_shard(store, ["going"]))
            drop(store, "going")
            compact(store, shard_bytes=2**26)
            collect(store)
            assert all((store.stack(n) == v).all() for n, v in zip(LIVE_NAMES, old, strict=True))
            store.close()


@pytest.mark.slow
def test_a_store_that_is_killed_while_it_is_cared_for_is_whole(worn: Store) -> None:
    before, rng = contents(worn.folder), random.Random(0)
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
        assert before.items() <= contents(worn.folder).items()
    assert Store(worn.folder).snapshot.number > 20


def test_what_was_put_aside_as_damaged_goes_too(worn: Store) -> None:
    (worn.folder / "damaged").mkdir()
    (worn.folder / "damaged" / "torn.h5").write_bytes(bytes(100_000))
    before = contents(worn.folder)
    named = waste(worn)
    assert named.n_damaged == 1
    assert named.n_bytes >= 100_000
    assert collect(worn) >= 100_000
    assert waste(worn).n_damaged == 0
    assert contents(worn.folder) == before


def repair_damage(store: Store) -> None:
    """Lose a file that the newest snapshot wants, and publish another that says so."""
    (store.shards_folder / store.place("a").shard).unlink()
    salvage(store, damage(verify(store.folder, full=True)))


CARES = {
    "compact": compact,
    "repair": repair_damage,
    "rebuild": lambda store: rebuild(store.folder),
    "forget": lambda store: forget(store, remembered(store, ["dd"])),
    "merge": lambda store: merge(
        store, [make_store(store.folder.parent / "other", ["their"])], RECIPE_ID
    ),
}


@pytest.mark.parametrize("has_catalogue", [False, True])
@pytest.mark.parametrize("care", CARES)
def test_what_a_killed_run_has_made_stays_until_the_next_one_says_what_it_wanted(
    worn: Store, care: str, has_catalogue: bool
) -> None:
    """It was killed before it could publish anything, or between the catalogue and the snapshot."""
    shard = new_shard(worn, ["late", "later"])
    if has_catalogue:
        exists = worn.catalogue.plus(rows_of_shards([shard]), {shard.name: shard.sha256})
        worn.publish_catalogue(exists, for_snapshot=worn.next_snapshot)
    CARES[care](reopened(worn))
    assert waste(Store(worn.folder)).n_untold >= 2
    collect(Store.for_writing(worn.folder))
    again = reopened(worn)
    assert places(again).keys() >= {key_of("late"), key_of("later")}
    publish(again, again.snapshot.rows())
    collect(again)
    assert not places(reopened(worn)).keys() & {key_of("late"), key_of("later")}


@pytest.mark.parametrize("care", [collect, compact, None])
def test_a_torn_catalogue_after_compaction_and_gc_costs_no_features(
    worn: Store, care: Callable[[Store], object] | None
) -> None:
    """The one before it names shards that are there no more: they are no reason to drop the others."""
    compact(worn)
    collect(reopened(worn))
    before = contents(worn.folder)
    newest = max(worn.catalogue_folder.glob("*.parquet"))
    newest.write_bytes(b"PAR1")
    again = reopened(worn)
    if care is not None:
        care(again)
    again = reopened(worn)
    again.publish_catalogue(again.catalogue)
    assert contents(worn.folder) == before
