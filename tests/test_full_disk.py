"""The disk fills up: one clear line, nothing torn, and the same command goes on when there is room."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from features_cache.atomic import FullDiskError
from features_cache.index_file import index_numbers
from features_cache.numbered import numbers
from features_cache.store import Store
from pipeline.workdir import Workdir
from tests.small_job import Job, running, times_on_disk, wholeness, write_short_corpus

PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB of our own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("only root may mount a file system of its own")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def job(tmp_path: Path, disk: Path) -> Job:
    """A job whose workdir is on the small disk."""
    job = Job(tmp_path / "job")
    job.manifest = write_short_corpus(job.audio, 24)
    job.workdir = Workdir(disk / "runs")
    job.store_folder = job.workdir.store_folder(job.recipe.recipe_id)
    return job


class Ballast:
    """Fills a disk until so many bytes are free, and gives them back."""

    def __init__(self, disk: Path) -> None:
        self._file = disk / "ballast"

    def leave(self, n_bytes: int) -> None:
        """Leave `n_bytes` free, to a page."""
        self._file.unlink(missing_ok=True)
        found = os.statvfs(self._file.parent)
        page = found.f_bsize
        with self._file.open("wb", buffering=0) as file:
            for _ in range(max(0, found.f_bfree - n_bytes // page)):
                file.write(bytes(page))

    def drop(self) -> None:
        """Make room."""
        self._file.unlink()


@pytest.fixture
def ballast(disk: Path) -> Ballast:
    return Ballast(disk)


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    """Features of a run that had room."""
    roomy = Job(tmp_path / "roomy")
    roomy.manifest = write_short_corpus(roomy.audio, 24)
    roomy.extract()
    return roomy.features()


def used(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_bsize


def test_wherever_the_disk_is_full_nothing_is_torn_and_the_same_command_goes_on(
    job: Job, disk: Path, ballast: Ballast, expected: dict[str, bytes]
) -> None:
    job.extract()
    most = used(disk)
    shutil.rmtree(job.workdir.root)
    n_stopped = 0
    for n_bytes in range(0, most, most // 12):
        ballast.leave(n_bytes)
        with suppress(OSError):
            job.extract()
            n_stopped -= 1
        n_stopped += 1
        shutil.rmtree(job.workdir.scratch, ignore_errors=True)
        assert wholeness(job.store_folder) == []
        kept = times_on_disk(job.store_folder)
        ballast.drop()
        done = job.extract()
        assert done["n_to_extract"] == 24 - len(kept)
        assert job.features() == expected
        assert wholeness(job.store_folder) == []
        assert set(times_on_disk(job.store_folder).values()) == {1}
        shutil.rmtree(job.workdir.root)
    assert n_stopped >= 8


def test_a_snapshot_without_room_leaves_the_one_before(
    job: Job, disk: Path, ballast: Ballast
) -> None:
    job.extract()
    before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
    job.manifest["emotion"] = "fear"
    ballast.leave(0)
    with pytest.raises(FullDiskError, match=r"00000002\.parquet could not be written \(No space"):
        job.extract()
    ballast.drop()
    assert {p: p.read_bytes() for p in before if p.name != "lock"} == {
        p: was for p, was in before.items() if p.name != "lock"
    }
    assert job.extract()["snapshot"] == 2


def test_a_catalogue_without_room_leaves_the_one_before_and_the_shard(
    job: Job, ballast: Ballast, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = job.manifest
    job.manifest = whole.iloc[:20]
    job.extract()
    publish = Store.publish_catalogue

    def without_room(*words: Any, **how: Any) -> None:  # noqa: ANN401
        ballast.leave(0)
        publish(*words, **how)

    job.manifest = whole
    with monkeypatch.context() as patch:
        patch.setattr(Store, "publish_catalogue", without_room)
        with pytest.raises(
            FullDiskError, match=r"catalogue/00000002\.parquet could not be written"
        ):
            job.extract()
    ballast.drop()
    assert len(job.features()) == 20
    assert wholeness(job.store_folder) == []
    assert job.extract()["n_to_extract"] == 0
    assert len(job.features()) == 24


def test_an_index_without_room_leaves_the_one_before_and_comes_later(
    job: Job, ballast: Ballast
) -> None:
    job.extract()
    index = (job.store_folder / "store.h5").read_bytes()
    job.manifest["emotion"] = "fear"
    snapshot = next((job.store_folder / "snapshots").iterdir()).stat().st_size
    ballast.leave(snapshot + 2 * PAGE)
    with pytest.raises(FullDiskError, match=r"store\.h5 could not be written \(No space"):
        job.extract()
    assert numbers(job.store_folder / "snapshots") == [1, 2]
    assert (job.store_folder / "store.h5").read_bytes() == index
    assert wholeness(job.store_folder) == []
    ballast.drop()
    assert job.extract()["snapshot"] == 2
    assert index_numbers(job.store_folder / "store.h5") == (2, 1)


def test_hashes_without_room_leave_those_before(job: Job, ballast: Ballast) -> None:
    job.extract()
    before = job.workdir.hashes_file.read_bytes()
    (job.audio / "u1.wav").write_bytes((job.audio / "u2.wav").read_bytes())
    os.utime(job.audio / "u1.wav", (10**9, 10**9))
    ballast.leave(0)
    with pytest.raises(FullDiskError, match=r"audio_hashes\.parquet could not be written"):
        job.extract()
    assert job.workdir.hashes_file.read_bytes() == before
    ballast.drop()
    assert job.extract()["n_changed"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [0, 2])
def test_the_command_says_in_one_line_that_the_disk_is_full(
    job: Job, disk: Path, ballast: Ballast, expected: dict[str, bytes], n_workers: int
) -> None:
    job.extract()
    most = used(disk)
    shutil.rmtree(job.workdir.root)
    for n_bytes in (0, most // 3, most - 8 * PAGE):
        ballast.leave(n_bytes)
        with running(*job.words(n_workers)) as process:
            out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (1, ""), err
        assert "No space left on device" in err
        *warnings, told = err.splitlines()
        assert told.startswith("error: ")
        assert len(warnings) <= 1, err  # that there will not be room enough
        assert wholeness(job.store_folder) == []
    ballast.drop()
    job.extract()
    assert job.features() == expected
    assert set(times_on_disk(job.store_folder).values()) == {1}
