"""NPZ as NumPy reads it, without pickles."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features_cache.store import Store
from stages.manifest import COLUMNS
from stages.sharing import npz
from stages.sharing.content import Content, content_of, pooled
from stages.sharing.format import ExportError
from stages.sharing.npz import FILE, write
from tests.shared_store import BREAKING, HOSTILE, recipe, rows_of, selection_of

NAMES = [*HOSTILE, *BREAKING, "007", "NA"]
TEXTS = [name for name in COLUMNS if name not in ("start", "end")]
MEMBERS = [
    *("features", "offsets", "segment_start", "segment_end", "start", "end"),
    *TEXTS,
    *("key", "feature_names", "recipe_id", "recipe_json", "snapshot", "rows"),
]


def written(content: Content, folder: Path) -> dict[str, NDArray[Any]]:
    """Write, and read with NumPy."""
    folder.mkdir(exist_ok=True)
    write(content, folder)
    with np.load(folder / FILE, allow_pickle=False) as file:
        return dict(file)


def check(arrays: dict[str, NDArray[Any]], content: Content) -> None:
    """Compare what was read with the content."""
    stacks = list(content.stacks())
    for i, name in enumerate(("features", "segment_start", "segment_end")):
        np.testing.assert_array_equal(arrays[name], np.concatenate([each[i] for each in stacks]))
    assert arrays["features"].dtype == content.dtype
    np.testing.assert_array_equal(np.diff(arrays["offsets"]), content.n_rows)
    for name in TEXTS:
        assert arrays[name].tolist() == content.manifest[name].tolist(), name
    for name in ("start", "end"):
        np.testing.assert_array_equal(arrays[name], content.manifest[name].to_numpy())
    assert arrays["key"].tolist() == list(content.keys)
    assert arrays["feature_names"].tolist() == list(content.feature_names)
    assert {name: arrays[name].item() for name in content.origin()} == content.origin()


@pytest.fixture
def hostile(tmp_path: Path) -> Content:
    n = len(NAMES)
    ends = [np.nan if i % 2 else 100.0 + i / 3 for i in range(n)]
    filled = selection_of(
        tmp_path / "store", NAMES, speaker=["", *NAMES[1:]], emotion=[*NAMES[:-1], ""], end=ends
    )
    return content_of(*filled, recipe())


def test_it_holds_the_arrays_of_hdf5_little_endian_and_of_fixed_width(
    hostile: Content, tmp_path: Path
) -> None:
    arrays = written(hostile, tmp_path / "out")
    assert list(arrays) == MEMBERS
    kinds = {name: array.dtype.str for name, array in arrays.items()}
    assert kinds["features"] == "<f2"
    assert kinds["offsets"] == "<i8"
    assert {kinds[name] for name in ("segment_start", "segment_end", "start", "end")} == {"<f8"}
    assert (kinds["utterance_id"], kinds["speaker"], kinds["key"]) == ("<U300", "<U300", "<U64")
    assert (kinds["gender"], kinds["session"]) == ("<U6", "<U5")
    assert arrays["features"].shape == (hostile.n_rows.sum(), 5)
    assert {arrays[name].shape for name in hostile.origin()} == {()}


def test_hostile_names_and_features_read_back(hostile: Content, tmp_path: Path) -> None:
    check(written(hostile, tmp_path / "out"), hostile)


def test_pooled_rows_read_back(hostile: Content, tmp_path: Path) -> None:
    content = pooled(hostile)
    arrays = written(content, tmp_path / "out")
    assert arrays["features"].shape == (len(NAMES), 10)
    assert arrays["features"].dtype == np.float32
    check(arrays, content)


def test_one_segment_without_any_words_reads_back(tmp_path: Path) -> None:
    nothing = {"emotion": "", "speaker": "", "gender": "", "session": "", "corpus": ""}
    content = content_of(*selection_of(tmp_path / "store", ["u"], **nothing), recipe())
    arrays = written(content, tmp_path / "out")
    assert arrays["emotion"].tolist() == [""]
    check(arrays, content)


def test_blocks_of_texts_change_nothing(
    hostile: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz, "BLOCK_BYTES", 4 * 300 * 3)
    check(written(hostile, tmp_path / "out"), hostile)


@pytest.mark.parametrize("column", ["utterance_id", "speaker", "emotion"])
def test_a_nul_at_the_end_of_a_name_is_refused_by_name(tmp_path: Path, column: str) -> None:
    names = rows_of(["u", "v"])[column].tolist()
    values = [names[0], f"{names[1]}\0"]
    filled = selection_of(tmp_path / "store", ["u", "v"])
    filled[0].manifest[column] = values
    content = content_of(*filled, recipe())
    told = rf"{column} '{names[1]}\\x00' ends in a NUL .*; expected .*; .* --anonymise"
    with pytest.raises(ExportError, match=told):
        write(content, tmp_path)
    assert not (tmp_path / FILE).exists()


def test_features_are_stored_texts_deflated_and_nothing_bears_the_time(
    hostile: Content, tmp_path: Path
) -> None:
    written(hostile, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / FILE) as archive:
        assert archive.testzip() is None
        members = {member.filename: member for member in archive.infolist()}
    assert {member.date_time for member in members.values()} == {(1980, 1, 1, 0, 0, 0)}
    assert members["features.npy"].compress_type == zipfile.ZIP_STORED
    assert members["utterance_id.npy"].compress_type == zipfile.ZIP_DEFLATED
    assert members["utterance_id.npy"].compress_size < 2000


def test_each_stack_is_read_once_and_none_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    filled = selection_of(tmp_path / "store", [f"u{i}" for i in range(20)])
    read = Store.read

    def counted(store: Store, place: Any) -> NDArray[np.floating]:  # noqa: ANN401
        seen.append(place.row_start)
        return read(store, place)

    content = content_of(*filled, recipe())
    monkeypatch.setattr(Store, "read", counted)
    (tmp_path / "out").mkdir()
    write(content, tmp_path / "out")
    assert seen == [place.row_start for place in filled[0].places]


@given(st.lists(st.text().filter(lambda text: not text.endswith("\0")), min_size=1))
def test_any_texts_are_an_array_that_reads_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("npz") / FILE
    with zipfile.ZipFile(path, "w") as archive:
        npz._write_texts(archive, "names", pd.Series(texts, dtype=object))
    with np.load(path, allow_pickle=False) as file:
        assert file["names"].tolist() == texts
