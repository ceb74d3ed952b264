"""Verify: whatever a reader would read differently is found, and named."""

import ctypes
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import pytest

from features_cache.examiner import Examiner, ExaminerError, limit_memory
from features_cache.shard import ShardError
from features_cache.store import Store
from features_cache.verify import StoreProblem, verify
from tests.small_store import RECIPE_ID, add, contents, key_of, make_store, new_shard

NAMES = [f"utterance-{i}" for i in range(12)]


@pytest.fixture(scope="module")
def examiner() -> Iterator[Examiner]:
    with Examiner(timeout_s=20) as one:
        yield one


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store", ["a", "bb"])


def only_shard(store: Store) -> Path:
    return store.shards_folder / next(iter(store.generation.shards))


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
    rows = filled.generation.rows.assign(row_end=lambda t: t["row_end"] + 1)
    Store(filled.folder).publish(rows, RECIPE_ID)
    assert codes(filled) == {"wrong_rows"}


def test_a_torn_generation_is_found_and_the_one_before_it_is_the_measure(filled: Store) -> None:
    add(filled, new_shard(filled, ["ccc"]))
    (filled.generations_folder / "00000002.parquet").write_bytes(b"PAR1")
    found = list(verify(filled.folder))
    assert [(p.code, p.generation) for p in found] == [("torn_generation", 2), ("stale_index", 0)]


def test_an_index_that_a_killed_run_left_behind_is_whole_and_an_older_one_is_stale(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "show", lambda _: None)
    add(filled, new_shard(filled, ["ccc"]))
    assert codes(filled) == set()
    add(filled, new_shard(filled, ["dddd"]))
    assert codes(filled) == {"stale_index"}
    (filled.folder / "store.h5").write_bytes(b"torn")
    assert codes(filled) == {"stale_index"}


def test_rows_of_older_generations_are_read_in_full_only(filled: Store) -> None:
    add(filled, new_shard(filled, ["ccc"]))
    first = filled.generations_folder / "00000001.parquet"
    data = bytearray(first.read_bytes())
    data[4:400] = bytes(396)
    first.write_bytes(data)
    assert codes(filled) == set()
    assert codes(filled, full=True) == {"torn_generation"}


def test_retired_shards_are_passed_over_and_orphans_are_looked_at(filled: Store) -> None:
    shard = only_shard(filled)
    filled.publish(filled.generation.rows.assign(shard="", status="quarantined"), RECIPE_ID)
    shard.write_bytes(b"torn")
    assert codes(filled, full=True) == set()
    orphan = filled.shards_folder / new_shard(filled, ["lost"]).name
    assert codes(filled, full=True) == set()
    orphan.write_bytes(b"torn")
    assert codes(filled, full=True) == {"torn_shard"}


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
