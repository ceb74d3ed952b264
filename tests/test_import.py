"""Exported hdf5 files become stores again: whole ones, and those that lie."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from features_cache import consolidated
from features_cache.consolidated_reading import ConsolidatedError
from features_cache.places import Places
from features_cache.store import Store
from features_cache.verify import verify
from pipeline.importing import import_export
from pipeline.workdir import Workdir
from stages.dataset import Selection, select
from stages.export import ExportOptions, export
from stages.importing import ImportFileError
from stages.manifest import ManifestError, read_manifest
from tests.shared_store import HOSTILE, recipe, selection_of

UTTERANCES = [*[f"u{i:02}" for i in range(12)], *(name for name in HOSTILE if "/" not in name)]


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Selection, Store]:
    return selection_of(tmp_path / "store", UTTERANCES)


def give(filled: tuple[Selection, Store], folder: Path, **how: Any) -> Path:  # noqa: ANN401
    export(*filled, recipe(), folder, ExportOptions(to="hdf5", **how))
    return folder


@pytest.fixture
def given(filled: tuple[Selection, Store], tmp_path: Path) -> Path:
    return give(filled, tmp_path / "out")


def test_an_import_gives_the_same_features_names_and_labels(
    filled: tuple[Selection, Store], given: Path, tmp_path: Path
) -> None:
    there = Workdir(tmp_path / "there")
    done = import_export(there, given, None)
    assert (done["recipe_id"], done["n_added"], done["conflicts"]) == (
        recipe().recipe_id,
        len(UTTERANCES),
        [],
    )
    manifest = read_manifest(Path(done["manifest"]))
    pd.testing.assert_frame_equal(manifest, filled[0].manifest)
    store = Store(there.store_folder(recipe().recipe_id))
    found = select(manifest, store)
    assert found.keys.tolist() == filled[0].keys.tolist()
    for mine, theirs in zip(filled[0].places, found.places, strict=True):
        np.testing.assert_array_equal(filled[1].read(mine), store.read(theirs))
        for a, b in zip(filled[1].read_times(mine), store.read_times(theirs), strict=True):
            np.testing.assert_array_equal(a, b)
    assert list(verify(store.folder, full=True)) == []
    assert list((there.root / "scratch").iterdir()) == []


def test_an_export_that_is_written_in_many_blocks_holds_the_same(
    filled: tuple[Selection, Store], given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consolidated, "TEXTS_AT_ONCE", 5)
    monkeypatch.setattr(consolidated, "CHUNK_BYTES", 100)
    blocks = give(filled, tmp_path / "blocks")
    with h5py.File(given / "features.h5") as one, h5py.File(blocks / "features.h5") as other:
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_array_equal(one[name][:], other[name][:])


def test_the_same_import_again_adds_nothing(given: Path, tmp_path: Path) -> None:
    there = Workdir(tmp_path / "there")
    import_export(there, given, None)
    again = import_export(there, given / "features.h5", tmp_path / "m.parquet")
    assert (again["n_added"], again["snapshot"]) == (0, 1)
    assert len(read_manifest(tmp_path / "m.parquet")) == len(UTTERANCES)


def test_audio_that_stands_twice_is_kept_once(tmp_path: Path) -> None:
    selection, store = selection_of(tmp_path / "store", UTTERANCES)
    twice = Selection(
        manifest=selection.manifest.iloc[[0, 1, 1]].assign(utterance_id=["a", "b", "c"]),
        places=Places(
            shard=selection.places.shard[[0, 1, 1]],
            row_start=selection.places.row_start[[0, 1, 1]],
            row_end=selection.places.row_end[[0, 1, 1]],
        ),
        keys=selection.keys[[0, 1, 1]],
        audio_sha256=pd.Series(["", "", ""]),
        left_out=[],
    )
    there = Workdir(tmp_path / "there")
    import_export(there, give((twice, store), tmp_path / "out"), None)
    mine = Store(there.store_folder(recipe().recipe_id))
    np.testing.assert_array_equal(mine.stack("b"), mine.stack("c"))
    (shard,) = mine.shards_folder.iterdir()
    with h5py.File(shard) as file:
        assert len(file["key"]) == 2


def test_an_anonymised_export_can_be_imported(
    filled: tuple[Selection, Store], tmp_path: Path
) -> None:
    there = Workdir(tmp_path / "there")
    done = import_export(there, give(filled, tmp_path / "out", salt=b"x"), None)
    manifest = read_manifest(Path(done["manifest"]))
    select(manifest, Store(Path(done["store"])))
    assert sorted(manifest.groupby("speaker").size()) == sorted(
        filled[0].manifest.groupby("speaker").size()
    )


def test_a_pooled_export_is_refused(filled: tuple[Selection, Store], tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="does not hold one row a segment"):
        import_export(Workdir(tmp_path / "there"), give(filled, tmp_path / "out", pool=True), None)


def test_a_file_that_is_not_what_its_checksum_says_is_refused(given: Path, tmp_path: Path) -> None:
    with (given / "features.h5").open("r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ImportFileError, match="is not what SHA256SUMS says"):
        import_export(Workdir(tmp_path / "there"), given, None)


def without(name: str) -> Callable[[h5py.File], None]:
    def mend(file: h5py.File) -> None:
        del file[name]

    return mend


def replaced(name: str, change: Callable[[Any], Any]) -> Callable[[h5py.File], None]:
    def mend(file: h5py.File) -> None:
        value = change(file[name][:])
        del file[name]
        file[name] = value

    return mend


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    def mend(file: h5py.File) -> None:
        file.attrs[name] = value

    return mend


def linked(file: h5py.File) -> None:
    del file["features"]
    file["features"] = h5py.ExternalLink("other.h5", "/features")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(file["segment_end"].shape, "f8")
    layout[:] = h5py.VirtualSource(file["segment_start"])
    del file["segment_end"]
    file.create_virtual_dataset("segment_end", layout)


def not_finite(file: h5py.File) -> None:
    file["features"][3, 2] = np.nan


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("features"), "no plain dataset 'features'"),
        (without("key"), "no plain dataset 'key'"),
        (linked, "no plain dataset 'features'"),
        (virtual, "no plain dataset 'segment_end'"),
        (attribute("format", 7), "format is 7; expected 1"),
        (attribute("recipe_json", "{"), "this version does not know"),
        (attribute("recipe_id", "0" * 16), "does not hold the features that its recipe makes"),
        (replaced("features", lambda x: x.astype(np.float32)), "does not hold the features that"),
        (
            replaced("features", lambda x: x.astype(np.int16)),
            "features are int16; expected float16",
        ),
        (replaced("features", lambda x: x.ravel()), "features are of shape"),
        (replaced("segment_start", lambda x: x[:-1]), "segment_start is float64 of shape"),
        (replaced("offsets", lambda x: x[::-1]), "offsets do not cut the rows"),
        (replaced("offsets", lambda x: x[:-1]), "offsets do not cut the rows into"),
        (replaced("emotion", lambda x: x[:-1]), "emotion has the shape"),
        (replaced("key", lambda x: np.array([b"../../x"] * len(x), object)), "has the key"),
        (not_finite, "not all finite"),
        (attribute("recipe_json", "[]"), "names a recipe that this version does not know"),
        (replaced("utterance_id", lambda x: np.arange(len(x), dtype=float)), "utterance_id holds"),
        (replaced("start", lambda x: np.array([b"0"] * len(x), object)), "start holds"),
        (replaced("segment_end", lambda x: -x), "run backwards; expected 0 <= start < end"),
        (replaced("key", lambda x: np.array([x[0]] * len(x), object)), "one key and two stacks"),
    ],
)
def test_a_file_that_lies_is_refused_in_one_line_and_changes_nothing(
    given: Path, tmp_path: Path, change: Callable[[h5py.File], None], words: str
) -> None:
    (given / "SHA256SUMS").unlink()
    with h5py.File(given / "features.h5", "r+") as file:
        change(file)
    there = Workdir(tmp_path / "there")
    with pytest.raises((ImportFileError, ConsolidatedError), match=words) as found:
        import_export(there, given, None)
    assert "\n" not in str(found.value)
    assert not there.features.exists()


def test_rows_that_no_manifest_may_have_are_refused(given: Path, tmp_path: Path) -> None:
    (given / "SHA256SUMS").unlink()
    with h5py.File(given / "features.h5", "r+") as file:
        file["file"][1] = "../../etc/passwd"
    with pytest.raises(ManifestError, match="outside the audio root"):
        import_export(Workdir(tmp_path / "there"), given, None)


@pytest.mark.parametrize("text", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_file_that_is_no_hdf5_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "features.h5").write_bytes(text)
    with pytest.raises(ConsolidatedError, match="cannot be read as an export"):
        import_export(Workdir(tmp_path / "there"), tmp_path / "features.h5", None)


def test_a_folder_without_an_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match=r"is not there; expected an exported features\.h5"):
        import_export(Workdir(tmp_path / "there"), tmp_path, None)


def test_features_of_another_width_than_the_stores_are_refused(given: Path, tmp_path: Path) -> None:
    there = Workdir(tmp_path / "there")
    import_export(there, given, None)
    (given / "SHA256SUMS").unlink()
    with h5py.File(given / "features.h5", "r+") as file:
        replaced("features", lambda x: x[:, :4])(file)
    with pytest.raises(ImportFileError, match="has 4 features a segment; expected 5"):
        import_export(there, given, None)
    assert Store(there.store_folder(recipe().recipe_id)).snapshot.number == 1


def test_other_audio_under_a_known_name_is_told_and_changes_nothing(
    given: Path, tmp_path: Path
) -> None:
    there = Workdir(tmp_path / "there")
    import_export(there, given, None)
    before = Store(there.store_folder(recipe().recipe_id)).stack("u03")
    (given / "SHA256SUMS").unlink()
    with h5py.File(given / "features.h5", "r+") as file:
        file["key"][3] = "1" * 64
        file["features"][:] = 1.0
    done = import_export(there, given, None)
    assert {"u03"} <= {conflict["utterance_id"] for conflict in done["conflicts"]}
    after = Store(there.store_folder(recipe().recipe_id)).stack("u03")
    np.testing.assert_array_equal(before, after)


def test_paths_of_the_exporter_stay_at_home(tmp_path: Path) -> None:
    files = [f"/home/me/corpus/day/{i}.wav" for i in range(len(UTTERANCES))]
    files[0] = "/home/me/corpus/other/0.wav"
    filled = selection_of(tmp_path / "store", UTTERANCES, file=files)
    out = give(filled, tmp_path / "out")
    assert all(b"/home/me" not in path.read_bytes() for path in out.iterdir())
    done = import_export(Workdir(tmp_path / "there"), out, None)
    found = read_manifest(Path(done["manifest"]))["file"].tolist()
    assert found[:2] == ["other/0.wav", "day/1.wav"]


@pytest.mark.parametrize("name", ["m", "m.txt", "file/m.csv", "precious.csv"])
def test_a_manifest_that_cannot_be_written_is_told_before_anything_is_taken_in(
    given: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "precious.csv").write_text("utterance_id,file,speaker,emotion\na,a.wav,s,joy\n")
    there = Workdir(tmp_path / "there")
    with pytest.raises((ImportFileError, ManifestError), match="expected"):
        import_export(there, given, tmp_path / name)
    assert not there.features.exists()
    assert "a.wav" in (tmp_path / "precious.csv").read_text()
