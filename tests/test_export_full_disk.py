"""The disk fills up under an export: one clear line in every format, and nothing is left."""

import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from features_cache.atomic import FullDiskError
from features_cache.store import Store
from stages.dataset import Selection, select
from stages.export import ExportOptions, export
from stages.sharing.table import FORMATS
from tests.shared_store import fill, recipe, rows_of

PAGE = os.sysconf("SC_PAGE_SIZE")
DISK_BYTES = 2**20
DIM = 1500
"""Wide enough that forty segments are many pages in every format; as text they nearly fill it."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB of our own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a file system of its own")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Selection, Store]:
    manifest = rows_of([f"u{i:02}" for i in range(12)])
    store = fill(tmp_path_factory.mktemp("filled") / "store", manifest, dim=DIM)
    return select(manifest, store), store


def give(filled: tuple[Selection, Store], folder: Path, to: str) -> None:
    export(*filled, recipe(), folder, ExportOptions(to=to))


def refusal(filled: tuple[Selection, Store], folder: Path, to: str) -> str:
    """Return how an export is refused, and let go of the files that its traceback holds open."""
    try:
        give(filled, folder, to)
    except FullDiskError as error:
        return str(error)
    finally:
        gc.collect()
    return "not at all"


def leave(disk: Path, n_bytes: int) -> None:
    """Fill the disk until so many bytes are free, to a page."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        for _ in range(max(0, os.statvfs(disk).f_bfree - n_bytes // PAGE)):
            file.write(bytes(PAGE))


@pytest.mark.parametrize("to", FORMATS)
def test_wherever_the_disk_is_full_one_line_says_so_and_nothing_is_left(
    filled: tuple[Selection, Store], disk: Path, tmp_path: Path, to: str
) -> None:
    give(filled, tmp_path / "roomy", to)
    sizes = [path.stat().st_size for path in (tmp_path / "roomy").rglob("*") if path.is_file()]
    needed = sum(-(-size // PAGE) * PAGE for size in sizes)
    assert 20 * PAGE < needed < DISK_BYTES
    for share in (0, 0.1, 0.5, 0.9, 1):
        leave(disk, max(0, int(share * needed) - PAGE))
        told = refusal(filled, disk / "out", to)
        assert told.startswith(f"{disk / 'out'} could not be written (No space left"), share
        assert "\n" not in told
        assert [path.name for path in disk.iterdir()] == ["ballast"]
        (disk / "ballast").unlink()
