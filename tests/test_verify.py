"""Verify: whatever a reader would read differently is found, and named."""

import ctypes
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import pytest

import features_cache.verify
from features_cache.compact import compact
from features_cache.examiner import Examiner, ExaminerError, limit_memory
from features_cache.gc import collect
from features_cache.shard import ShardError
from features_cache.store import Store
from features_cache.verify import StoreProblem, verify
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
    old_store,
    publish,
    tear_rows,
)

FOLDERS = {"snapshot": "snapshots", "catalogue": "catalogue"}

NAMES = [f"utterance-{i}" for i in range(12)]


@pytest.fixture(scope="module")
def examiner() -> Iterator[Examiner]:
    with Examiner(timeout_s=20) as one:
        yield one


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store", ["a", "bb"])


def only_shard(store: Store) -> Path:
    return store.shards_folder / next(iter(store.catalogue.shards))


def codes(store: Store, *, full: bool = False) -> set[str]:
    return {problem.code for problem in verify(store.folder, full=full)}


@pytest.mark.parametrize("full", [False, True])
def test_a_whole_store_has_no_problems(filled: Store, full: bool) -> None:
    assert list(verify(filled.folder, full=full)) == []


def test_verify_names_what_is_wrong(filled: Store) -> None:
    shard = only_shard(filled)
    whole = shard.read_bytes()
    with h5py.File(shard, "r+") as file:
        file["features"][0, 0] += 1
    assert codes(filled) == set()
    (found,) = verify(filled.folder, full=True)
    assert (found.code, found.shard, found.utterance_ids, found.keys) == (
        "damaged_utterance",
        shard.name,
        ("a",),
        (key_of("a"),),
    )
    shard.write_bytes(whole[: len(whole) // 2])
    assert codes(filled) == {"torn_shard"}
    shard.unlink()
    (found,) = verify(filled.folder)
    assert (found.code, found.utterance_ids) == ("missing_shard", ("a", "bb"))
    assert found.message == "the file is not there; 2 utterances: 'a', 'bb'"
    shard.write_bytes(whole)
    misplace(filled, "bb")
    (found,) = verify(filled.folder)
    assert (found.code, found.utterance_ids) == ("wrong_rows", ("bb",))


def test_live_rows_whose_features_are_nowhere_are_told(filled: Store) -> None:
    add(filled, new_shard(filled, ["ccc"]))
    mark(filled, "pending", "ccc")
    lose(filled, "bb", "ccc")
    filled.show()
    (found,) = verify(filled.folder)
    assert (found.code, found.shard) == ("no_place", "")
    assert (found.utterance_ids, found.keys) == (("bb",), (key_of("bb"),))
    assert found.message == "no shard has their features; 1 utterance: 'bb'"


def test_rows_that_are_not_wanted_any_more_are_not_missed(filled: Store) -> None:
    drop(filled, "bb")
    lose(filled, "bb")
    filled.show()
    assert codes(filled, full=True) == set()


@pytest.mark.parametrize("tear", [lambda path: path.write_bytes(b"PAR1"), tear_rows])
def test_a_torn_snapshot_is_found_and_the_one_before_it_is_the_measure(
    filled: Store, tear: Callable[[Path], object]
) -> None:
    add(filled, new_shard(filled, ["ccc"]))
    torn = filled.snapshots_folder / "00000002.parquet"
    tear(torn)
    found = list(verify(filled.folder))
    assert [(p.code, p.table) for p in found] == [("torn_snapshot", torn), ("stale_index", None)]


@pytest.mark.parametrize("tear", [lambda path: path.write_bytes(b"PAR1"), tear_rows])
def test_a_torn_catalogue_is_found_and_the_one_before_it_is_the_measure(
    filled: Store, tear: Callable[[Path], object]
) -> None:
    add(filled, new_shard(filled, ["ccc"]))
    torn = filled.catalogue_folder / "00000002.parquet"
    tear(torn)
    found = list(verify(filled.folder))
    assert [(p.code, p.table, p.utterance_ids) for p in found] == [
        ("torn_catalogue", torn, ()),
        ("no_place", None, ("ccc",)),
        ("stale_index", None, ()),
    ]


def test_a_torn_generation_of_an_old_store_is_told_and_older_ones_can_be_read(
    tmp_path: Path,
) -> None:
    folder = old_store(tmp_path)
    assert list(verify(folder, full=True)) == []
    torn = folder / "generations" / "00000003.parquet"
    torn.write_bytes(b"PAR1")
    found = list(verify(folder))
    assert [(p.code, p.table) for p in found] == [("torn_snapshot", torn), ("stale_index", None)]
    assert len(Store(folder, snapshot=2).live()) > 0


def test_without_any_catalogue_every_live_row_has_no_place(filled: Store) -> None:
    (filled.catalogue_folder / "00000001.parquet").unlink()
    found = {p.code: p for p in verify(filled.folder)}
    assert set(found) == {"no_place", "stale_index"}
    assert found["no_place"].utterance_ids == ("a", "bb")


@pytest.mark.parametrize(
    "step",
    ["index_numbers", "read_catalogue", "newest_whole", "numbers", "read_metadata", "examine"],
)
@pytest.mark.parametrize("n_shards", [0, 2])
def test_a_writer_at_work_meanwhile_is_nothing_wrong(
    tmp_path: Path,
    step: str,
    n_shards: int,
    examiner: Examiner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = make_store(tmp_path / "store", *([f"{i}"] for i in range(n_shards)))
    until_then = getattr(features_cache.verify, step)

    def late(*given: object, **how: object) -> object:
        monkeypatch.undo()
        for name in ("ccc", "dddd", "eeeee"):
            add(store, new_shard(store, [name]))
        drop(store, "ccc", "0")
        compact(store)
        collect(store)
        add(store, new_shard(store, ["ffffff"]))
        return until_then(*given, **how)

    monkeypatch.setattr(features_cache.verify, step, late)
    assert list(verify(store.folder, full=True, examiner=examiner)) == []
    assert list(verify(store.folder, full=True, examiner=examiner)) == []


def test_an_index_that_killed_runs_left_behind_is_whole(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "show", lambda _: None)
    for name in ("ccc", "dddd"):
        add(filled, new_shard(filled, [name]))
        assert codes(filled, full=True) == set()


def test_an_index_that_names_what_has_been_deleted_is_stale(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(filled, new_shard(filled, ["ccc"]))
    monkeypatch.setattr(Store, "show", lambda _: None)
    compact(filled)
    assert codes(filled) == set()
    collect(filled)
    (found,) = verify(filled.folder)
    assert found.code == "stale_index"
    assert found.message.startswith("store.h5 names 2 shards that are not there (first: 2")


def test_an_index_that_cannot_be_read_is_stale(filled: Store) -> None:
    (filled.folder / "store.h5").write_bytes(b"torn")
    assert codes(filled) == {"stale_index"}


def test_an_index_may_only_be_missing_when_its_first_writer_was_killed(filled: Store) -> None:
    (filled.folder / "store.h5").unlink()
    assert codes(filled) == set()
    add(filled, new_shard(filled, ["ccc"]))
    (filled.folder / "store.h5").unlink()
    assert codes(filled) == {"stale_index"}


@pytest.mark.parametrize("kind", ["snapshot", "catalogue"])
def test_rows_of_older_tables_are_read_in_full_only(filled: Store, kind: str) -> None:
    add(filled, new_shard(filled, ["ccc"]))
    tear_rows(filled.folder / FOLDERS[kind] / "00000001.parquet")
    assert codes(filled) == set()
    assert codes(filled, full=True) == {f"torn_{kind}"}


def test_retired_shards_are_passed_over_and_orphans_are_looked_at(filled: Store) -> None:
    shard = only_shard(filled)
    publish(filled, filled.snapshot.rows().assign(status="silent"))
    lose(filled, "a", "bb")
    shard.write_bytes(b"torn")
    assert codes(filled, full=True) == set()
    orphan = filled.shards_folder / new_shard(filled, ["lost"]).name
    assert codes(filled, full=True) == set()
    orphan.write_bytes(b"torn")
    assert codes(filled, full=True) == {"torn_shard"}


def test_who_is_damaged_in_an_orphan_is_told_by_the_shards_own_name(filled: Store) -> None:
    orphan = filled.shards_folder / new_shard(filled, ["lost", "found"]).name
    with h5py.File(orphan, "r+") as file:
        file["features"][0, 0] += 1
    (found,) = verify(filled.folder, full=True)
    assert (found.code, found.shard, found.utterance_ids, found.keys) == (
        "damaged_utterance",
        orphan.name,
        ("lost",),
        (key_of("lost"),),
    )


def test_a_shard_of_another_recipe_is_foreign(filled: Store) -> None:
    orphan = filled.shards_folder / new_shard(filled, ["lost"]).name
    with h5py.File(orphan, "r+") as file:
        file.attrs["recipe_json"] = '{"other":1}'
    assert codes(filled) == {"foreign_shard"}


def test_changed_attributes_and_names_are_found(filled: Store) -> None:
    shard = only_shard(filled)
    with h5py.File(shard, "r+") as file:
        file.attrs["engine"] = "keras-tesu"
    assert codes(filled, full=True) == {"changed_shard"}


def serve_badly(descriptor: int, end: str) -> None:
    """Be a child that a damaged file brings to an end."""
    limit_memory()
    line = Connection(descriptor)
    line.send("ready")
    line.recv()
    if end == "crash":
        ctypes.string_at(0)
    if end == "memory":
        try:
            bytearray(2**35)
        except MemoryError:
            line.send("kept within bounds")
    time.sleep(30)


@pytest.mark.parametrize(
    ("end", "expected"),
    [("crash", "brings the process down"), ("hang", "does not end"), ("memory", "within bounds")],
)
def test_a_file_that_ends_the_child_is_a_torn_shard(
    filled: Store, monkeypatch: pytest.MonkeyPatch, end: str, expected: str
) -> None:
    code = f"from tests.test_verify import serve_badly; serve_badly({{}}, {end!r})"
    monkeypatch.setattr("features_cache.examiner.CHILD", code)
    with Examiner(timeout_s=1.5) as one, pytest.raises(ShardError, match=expected):
        one.examine(only_shard(filled), full=True)


def test_a_child_that_does_not_start_says_nothing_about_shards(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features_cache.examiner.CHILD", "raise SystemExit({})")
    with pytest.raises(ExaminerError, match="does not start"):
        list(verify(filled.folder))


def test_a_script_from_standard_input_can_verify(filled: Store) -> None:
    code = "import sys, pathlib; from features_cache.verify import verify; "
    code += "print(list(verify(pathlib.Path(sys.argv[1]))))"
    done = subprocess.run(
        [sys.executable, "-", str(filled.folder)],
        input=code,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def flip_and_verify(
    folder: Path, n: int, seed: int, examiner: Examiner, *, spare_data: bool = False
) -> Counter[str]:
    """Change a byte at `n` random places, one after the other; count what verify says."""
    store = Store.create(folder, "{}")
    add(store, new_shard(store, NAMES, dim=400))
    path = only_shard(store)
    whole, hit = path.read_bytes(), _data_ranges(path)
    before = contents(folder)
    places = [at for at in range(len(whole)) if not (spare_data and _names_at(hit, at))]
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    for at in rng.choices(places, k=n):
        data = bytearray(whole)
        data[at] ^= rng.randrange(1, 256)
        path.unlink()
        path.write_bytes(data)
        found = list(verify(folder, full=True, examiner=examiner))
        _check_found(found, path.name, at)
        counts.update(problem.code for problem in found)
        expected = _names_at(hit, at)
        if expected:
            assert [problem.code for problem in found] == ["damaged_utterance"], at
            assert set(found[0].utterance_ids) == expected, at
    path.unlink()
    path.write_bytes(whole)
    assert list(verify(folder, full=True)) == []
    assert contents(folder) == before
    return counts


def _names_at(hit: list[tuple[int, int, str]], at: int) -> set[str]:
    return {name for first, last, name in hit if first <= at < last}


def _check_found(found: list[StoreProblem], name: str, at: int) -> None:
    assert found, f"nothing is said of byte {at}"
    assert {problem.shard for problem in found} == {name}
    for problem in found:
        assert set(problem.utterance_ids) <= set(NAMES), at


def _data_ranges(path: Path) -> list[tuple[int, int, str]]:
    """Byte ranges of the file that hold rows, times, key or checksum of an utterance."""
    ranges = []
    with h5py.File(path, "r") as file:
        offsets = file["offsets"][:].tolist()
        names = file["utterance_id"].asstr()[:].tolist()
        chunk = file["features"].id.get_chunk_info(0)
        starts = {
            "features": (chunk.byte_offset, 400 * 4, True),
            "segment_start": (file["segment_start"].id.get_offset(), 8, True),
            "segment_end": (file["segment_end"].id.get_offset(), 8, True),
            "key": (file["key"].id.get_offset(), 64, False),
            "utterance_sha256": (file["utterance_sha256"].id.get_offset(), 32, False),
        }
        for offset, size, by_rows in starts.values():
            for i, name in enumerate(names):
                first, last = (offsets[i], offsets[i + 1]) if by_rows else (i, i + 1)
                ranges.append((offset + first * size, offset + last * size, name))
    return ranges


@pytest.mark.parametrize("spare_data", [False, True])
def test_flipped_bytes_are_found_and_data_hits_named(
    tmp_path: Path, examiner: Examiner, spare_data: bool
) -> None:
    flip_and_verify(tmp_path / "store", 20, 0, examiner, spare_data=spare_data)


@pytest.mark.slow
@pytest.mark.parametrize("spare_data", [False, True])
def test_four_hundred_flipped_bytes_are_found(
    tmp_path: Path, examiner: Examiner, spare_data: bool
) -> None:
    counts = flip_and_verify(tmp_path / "store", 400, 1, examiner, spare_data=spare_data)
    assert {"damaged_utterance", "changed_shard"} <= set(counts)
