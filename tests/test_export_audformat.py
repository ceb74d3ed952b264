"""Exports to audformat: what `audformat.Database.load` reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features_cache.store import Store
from stages.sharing import audformat as format_
from stages.sharing.anonymity import anonymised
from stages.sharing.content import Content, content_of, pooled
from stages.sharing.format import ExportError
from tests.shared_store import BREAKING, HOSTILE, recipe, rows_of, selection_of

audformat = pytest.importorskip("audformat")

UTTERANCES = [f"u{i:02}" for i in range(12)]
TEXTS = ["utterance_id", "corpus", "speaker", "session"]


def content(
    folder: Path, names: list[str] = UTTERANCES, **columns: object
) -> tuple[Content, Store]:
    selection, store = selection_of(folder, names, **columns)
    return content_of(selection, store, recipe()), store


def give(folder: Path, names: list[str] = UTTERANCES, **columns: object) -> tuple[Any, Store]:
    filled, store = content(folder / "store", names, **columns)
    return load(filled, folder), store


def load(filled: Content, folder: Path) -> Any:  # noqa: ANN401 - a database
    (folder / "out").mkdir()
    format_.write(filled, folder / "out")
    return audformat.Database.load(str(folder / "out"), load_data=True)


def stacks(database: Any) -> dict[str, Any]:  # noqa: ANN401
    """Features of each utterance, as a receiver would take them apart."""
    features, owners = database["features"].get(), database["segments"]["utterance_id"].get()
    assert features.index.equals(owners.index)
    return {name: features[(owners == name).to_numpy()] for name in owners.unique()}


def texts(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(word) else word for word in column]


def test_the_database_has_what_the_store_has(tmp_path: Path) -> None:
    database, store = give(tmp_path)
    found = stacks(database)
    assert list(found) == UTTERANCES
    for name, frame in found.items():
        assert set(frame.dtypes) == {np.dtype(np.float32)}
        np.testing.assert_array_equal(frame, store.stack(name).astype(np.float32))
        start, end = store.read_times(store.place(name))
        assert set(frame.index.get_level_values("file")) == {f"audio/{name}.wav"}
        assert frame.index.get_level_values("start").tolist() == _times(start)
        assert frame.index.get_level_values("end").tolist() == _times(end)


def _times(seconds: Any) -> list[pd.Timedelta]:  # noqa: ANN401
    return [pd.Timedelta(round(second * 1e9), unit="ns") for second in seconds]


def test_whole_files_have_labels_by_file(tmp_path: Path) -> None:
    database, _ = give(tmp_path)
    manifest = rows_of(UTTERANCES)
    emotion = database["emotion"]["emotion"].get()
    assert database["emotion"].type == database["files"].type == "filewise"
    assert emotion.index.tolist() == manifest["file"].tolist()
    assert emotion.tolist() == manifest["emotion"].tolist()
    assert database.schemes["emotion"].labels == ["anger", "fear", "neutral"]
    for name in [*TEXTS, "gender"]:
        assert database["files"][name].get().tolist() == manifest[name].tolist()


def test_parts_of_files_have_labels_by_time(tmp_path: Path) -> None:
    start = [float(10 * i) for i in range(12)]
    end = [*(float(10 * i + 7) for i in range(11)), np.nan]
    database, store = give(tmp_path, file="dialogue.wav", start=start, end=end)
    index = database["emotion"].index
    assert database["files"].type == "segmented"
    assert index.get_level_values("start").tolist() == _times(start)
    assert index.get_level_values("end")[:-1].tolist() == _times(end[:-1])
    assert index.get_level_values("end")[-1] is pd.NaT
    frame = stacks(database)["u03"]
    np.testing.assert_array_equal(frame, store.stack("u03"))
    assert frame.index.get_level_values("start").tolist() == _times(30 + 0.16 * np.arange(4))


def test_the_header_says_licence_language_and_recipe(tmp_path: Path) -> None:
    database, _ = give(tmp_path)
    assert (database.name, database.usage, database.license) == ("emodb-features", "research", "CC0-1.0")  # fmt: skip
    assert database.languages == ["deu"]
    assert database.source.startswith("F. Burkhardt")
    assert database.meta["recipe_id"] == recipe().recipe_id
    assert database.media["recordings"].format == "wav"
    assert database.is_portable


@pytest.mark.parametrize(
    ("corpus", "usage", "licence", "languages"),
    [
        ("iemocap", "restricted", None, ["eng"]),
        (["emodb", "cafe"] * 6, "research", None, ["deu", "fra"]),
        (["emodb", "iemocap"] * 6, "restricted", None, ["deu", "eng"]),
        ("somebody's", "research", None, []),
    ],
)
def test_the_header_promises_no_more_than_the_licences(
    tmp_path: Path, corpus: str | list[str], usage: str, licence: str | None, languages: list[str]
) -> None:
    database, _ = give(tmp_path, corpus=corpus)
    assert (database.usage, database.languages) == (usage, languages)
    assert corpus == "iemocap" or database.license == licence


def test_every_name_survives(tmp_path: Path) -> None:
    names = [*HOSTILE, *BREAKING]
    database, store = give(
        tmp_path, names, speaker=names, session=names, gender=names, emotion=names, corpus=names
    )
    assert database["emotion"]["emotion"].get().tolist() == names
    for name in [*TEXTS, "gender"]:
        assert database["files"][name].get().tolist() == names
    for name, frame in stacks(database).items():
        np.testing.assert_array_equal(frame, store.stack(name))
    assert database.files.tolist() == sorted(f"{name}/audio/{name}.wav" for name in names)


def test_what_is_not_known_is_missing(tmp_path: Path) -> None:
    database, _ = give(
        tmp_path, speaker=["", "s"] * 6, session="", gender="", emotion=["joy", ""] * 6
    )
    assert texts(database["files"]["speaker"].get()) == [None, "s"] * 6
    assert database["files"]["session"].get().isna().all()
    assert texts(database["emotion"]["emotion"].get()) == ["joy", None] * 6
    assert database.schemes["emotion"].labels == ["joy"]


def test_a_corpus_without_any_label_opens(tmp_path: Path) -> None:
    database, _ = give(tmp_path, emotion="")
    assert database["emotion"]["emotion"].get().isna().all()


def test_names_such_as_nan_are_names(tmp_path: Path) -> None:
    names = ["NA", "nan", "null", "NaT", "None", "1", "true"]
    database, _ = give(tmp_path, names, speaker=names, emotion=names)
    assert database["files"]["speaker"].get().tolist() == names
    assert database["emotion"]["emotion"].get().tolist() == names


def test_one_file_in_two_corpora_is_two_files(tmp_path: Path) -> None:
    files = [f"{i // 2}.wav" for i in range(12)]
    database, _ = give(tmp_path, file=files, corpus=["emodb", ""] * 6)
    expected = [f"{'' if i % 2 else 'emodb/'}{i // 2}.wav" for i in range(12)]
    assert database["emotion"].index.tolist() == expected


def test_a_file_shared_without_times_is_told_apart_by_utterance(tmp_path: Path) -> None:
    start = [float(10 * i) for i in range(12)]
    files = ["dialogue.wav"] * 11 + ["alone.wav"]
    filled, _ = content(tmp_path / "store", file=files, start=start)
    hidden = anonymised(filled, b"salt")
    database = load(hidden, tmp_path)
    assert database["emotion"].type == "filewise"
    where = zip(hidden.manifest["file"], hidden.manifest["utterance_id"], strict=True)
    is_shared = hidden.manifest["file"].duplicated(keep=False)
    expected = [
        f"{f}/{u}" if shared else f for (f, u), shared in zip(where, is_shared, strict=True)
    ]
    assert sum(is_shared) == 11
    assert database["emotion"].index.tolist() == expected
    first = stacks(database)[hidden.manifest["utterance_id"][0]]
    np.testing.assert_array_equal(first, hidden.stack(0)[0])
    assert first.index[0][1] == pd.Timedelta(0)


def test_two_utterances_in_one_place_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="'u01' and 'u02' would be the same part of 'a"):
        give(
            tmp_path,
            file="a.wav",
            start=[1.0, 1.0, 1.0, 2.0, *map(float, range(2, 10))],
            end=[9.0] + [20.0] * 11,
        )


def test_pooled_features_are_one_row_an_utterance(tmp_path: Path) -> None:
    filled, _ = content(tmp_path / "store")
    database = load(pooled(filled), tmp_path)
    frame = database["features"].get()
    assert frame.columns[[0, 5]].tolist() == ["mean_f0", "sd_f0"]
    np.testing.assert_array_equal(frame.iloc[[7]], pooled(filled).stack(7)[0])
    assert frame.index[5][1:] == (pd.Timedelta(0), pd.Timedelta(1455, unit="ms"))


def test_many_segments_are_in_several_tables_of_few_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(format_, "GROUP_ROWS", 1)
    monkeypatch.setattr(format_, "TABLE_ENTRIES", 3 * 5)
    database, store = give(tmp_path)
    n_segments = sum(1 + i % 6 for i in range(12))
    names = [name for name in database.tables if name.startswith("features")]
    assert names == [f"features-{i:02}" for i in range(n_segments // 3)]
    for name in names:
        footer = pq.read_metadata(tmp_path / "out" / f"db.{name}.parquet")
        assert (footer.num_rows, footer.num_row_groups) == (3, 3)
    owners = database["segments"]["utterance_id"].get()
    features = pd.concat([database[name].get() for name in names])
    assert features.index.equals(owners.index)
    expected = np.concatenate([store.stack(name) for name in UTTERANCES])
    np.testing.assert_array_equal(features, expected)


def test_the_snippet_reads_several_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_, "GROUP_ROWS", 1)
    monkeypatch.setattr(format_, "TABLE_ENTRIES", 3)
    _, store = give(tmp_path)
    assert (tmp_path / "out" / "db.features-41.parquet").exists()
    monkeypatch.chdir(tmp_path / "out")
    read: dict[str, Any] = {}
    exec(format_.FORMAT.snippet, read)  # noqa: S102 - what the card tells a receiver to do
    assert len(read["rows"]) == len(read["owners"])
    assert set(read["rows"].index.get_level_values("file")[-6:]) == {"audio/u11.wav"}
    np.testing.assert_array_equal(read["features"], store.stack("u00"))


@pytest.mark.parametrize(
    ("n_rows", "dim", "n_tables"), [(7851, 4320, 1), (1_000_000, 4320, 18), (1_000_000, 256, 1)]
)
def test_only_large_and_wide_exports_have_several_tables(
    n_rows: int, dim: int, n_tables: int
) -> None:
    filled = Content(
        manifest=rows_of(["u"]), keys=pd.Series(["k"]), n_rows=np.array([n_rows]),
        feature_names=("f",) * dim, dtype=np.dtype(np.float16), rows_are="segment",
        recipe=recipe(), snapshot=1, stack=lambda _: (np.empty(0), np.empty(0), np.empty(0)),
    )  # fmt: skip
    assert len(format_._feature_tables(filled)) == n_tables


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 3))
def test_blocks_hold_every_row_once_and_in_order(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = [rng.normal(size=(n, 3)).astype(np.float16) for n in lengths]
    manifest = rows_of([str(i) for i in range(len(data))])
    filled = Content(
        manifest=manifest, keys=pd.Series([], dtype="str"), n_rows=np.array(lengths), feature_names=("a", "b", "c"),
        dtype=np.dtype(np.float16), rows_are="segment", recipe=recipe(), snapshot=1,
        stack=lambda i: (data[i], np.arange(lengths[i]) * 1.0, np.arange(lengths[i]) + 0.5),
    )  # fmt: skip
    owners, columns, starts = [], [], []
    for where, owner, values in format_._blocks(filled, format_._places(manifest)):
        owners += owner.tolist()
        starts += where[1].cast("int64").to_pylist()
        columns.append(np.stack([np.asarray(value) for value in values]))
    assert owners == np.repeat(np.arange(len(lengths)), lengths).tolist()
    np.testing.assert_array_equal(np.concatenate(columns, axis=1).T, np.concatenate(data))
    assert starts == [i * 10**9 for n in lengths for i in range(n)]
