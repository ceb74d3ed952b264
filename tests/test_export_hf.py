"""Exports for Hugging Face `datasets`: what `load_dataset` reads, and what the card tells it."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from features_cache.store import Store
from stages.export import ExportOptions, export
from stages.sharing import hf
from stages.sharing.content import content_of, pooled
from tests.shared_store import BREAKING, HOSTILE, recipe, rows_of, selection_of

UTTERANCES = [f"u{i:02}" for i in range(12)]
TEXTS = ("corpus", "speaker", "session", "gender", "file")


@pytest.fixture(scope="module")
def datasets() -> ModuleType:
    module = pytest.importorskip("datasets")
    module.disable_progress_bars()
    return module  # type: ignore[no-any-return]


def give(folder: Path, names: list[str] = UTTERANCES, **columns: object) -> Store:
    selection, store = selection_of(folder / "store", names, **columns)
    options = ExportOptions(to="hf", version="0", has_right=True)
    export(selection, store, recipe(), folder / "out", options)
    return store


def load(datasets: ModuleType, folder: Path, *what: str, **how: Any) -> Any:  # noqa: ANN401
    return datasets.load_dataset(*(what or [str(folder / "out")]), split="train",
                                 cache_dir=str(folder / "cache"), **how)  # fmt: skip


def matter(folder: Path) -> dict[str, Any]:
    _, text, _ = (folder / "out" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return dict(yaml.safe_load(text))


def test_load_dataset_reads_what_the_store_has(datasets: ModuleType, tmp_path: Path) -> None:
    store = give(tmp_path)
    manifest = rows_of(UTTERANCES)
    data = load(datasets, tmp_path)
    assert data["id"][:] == UTTERANCES
    for name in TEXTS:
        assert data[name][:] == manifest[name].tolist()
    names = data.features["emotion"]
    assert [names.int2str(label) for label in data["emotion"]] == manifest["emotion"].tolist()
    assert (data["start"][:], data["end"][:]) == ([0.0] * 12, [None] * 12)
    for row, numbers, name in zip(data, data.with_format("numpy"), UTTERANCES, strict=True):
        assert numbers["features"].dtype == np.float32
        np.testing.assert_array_equal(numbers["features"], store.stack(name))
        np.testing.assert_array_equal(row["features"], store.stack(name))
        start, end = store.read_times(store.place(name))
        assert (row["segment_start"], row["segment_end"]) == (start.tolist(), end.tolist())


def test_the_files_say_their_types_without_the_card(datasets: ModuleType, tmp_path: Path) -> None:
    give(tmp_path)
    with_card = load(datasets, tmp_path)
    files = str(tmp_path / "out" / "data" / "*.parquet")
    without = load(datasets, tmp_path, "parquet", data_files=files)
    assert without.features == with_card.features
    assert without.features["features"].feature.length == 5
    assert without[3] == with_card[3]


def test_it_streams(datasets: ModuleType, tmp_path: Path) -> None:
    store = give(tmp_path)
    rows = list(load(datasets, tmp_path, streaming=True))
    assert [row["id"] for row in rows] == UTTERANCES
    np.testing.assert_array_equal(rows[7]["features"], store.stack("u07"))


def test_every_name_survives(datasets: ModuleType, tmp_path: Path) -> None:
    names = [*HOSTILE, *BREAKING]
    give(tmp_path, names, speaker=names, session=names, gender=names, emotion=names, corpus=names)
    data = load(datasets, tmp_path)
    assert data["id"][:] == names
    assert data["speaker"][:] == data["gender"][:] == data["corpus"][:] == names
    labels = data.features["emotion"]
    assert labels.names == sorted(names)
    assert [labels.int2str(label) for label in data["emotion"]] == names
    assert matter(tmp_path)["pretty_name"] == f"Features of {', '.join(sorted(names))}"


def test_what_is_not_known_is_null_and_a_missing_label_is_minus_one(
    datasets: ModuleType, tmp_path: Path
) -> None:
    give(tmp_path, speaker=["", "s"] * 6, session="", gender="", corpus="", emotion=["joy", ""] * 6)
    data = load(datasets, tmp_path)
    assert data["speaker"][:] == [None, "s"] * 6
    assert data["session"][:] == data["gender"][:] == data["corpus"][:] == [None] * 12
    assert data["emotion"][:] == [0, -1] * 6
    assert data.features["emotion"].names == ["joy"]


def test_a_corpus_without_any_label_opens(datasets: ModuleType, tmp_path: Path) -> None:
    give(tmp_path, emotion="")
    data = load(datasets, tmp_path)
    assert data["emotion"][:] == [-1] * 12
    assert data.features["emotion"].names == []


def test_pooled_features_are_one_row(datasets: ModuleType, tmp_path: Path) -> None:
    selection, store = selection_of(tmp_path / "store", UTTERANCES)
    options = ExportOptions(to="hf", pool=True, version="0")
    export(selection, store, recipe(), tmp_path / "out", options)
    data = load(datasets, tmp_path).with_format("numpy")
    expected = pooled(content_of(selection, store, recipe()))
    for number in range(12):
        np.testing.assert_array_equal(data[number]["features"], expected.stack(number)[0])


@pytest.mark.parametrize("shard_bytes", [1, 100, 500])
def test_shards_are_bounded_numbered_and_in_order(
    datasets: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(hf, "SHARD_BYTES", shard_bytes)
    monkeypatch.setattr(hf, "GROUP_BYTES", shard_bytes // 2)
    give(tmp_path)
    files = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    n = len(files)
    assert files == [f"train-{i:05}-of-{n:05}.parquet" for i in range(n)]
    assert n == {1: 12, 100: 8, 500: 2}[shard_bytes]
    for file in files:
        table = pq.read_table(tmp_path / "out" / "data" / file)
        sizes = [20 * len(stack) for stack in table["features"].to_pylist()]
        assert sum(sizes[:-1]) < shard_bytes
    assert load(datasets, tmp_path)["id"][:] == UTTERANCES


def test_the_card_tells_the_hub_what_it_is(tmp_path: Path) -> None:
    give(tmp_path)
    said = matter(tmp_path)
    assert said["language"] == ["de"]
    assert said["license"] == "cc0-1.0"
    assert said["pretty_name"] == "Features of emodb"
    assert said["task_categories"] == ["audio-classification"]
    assert said["size_categories"] == ["n<1K"]
    assert said["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*"}]
    (split,) = said["dataset_info"]["splits"]
    assert (split["name"], split["num_examples"]) == ("train", 12)


def test_the_bytes_that_the_card_tells_are_about_those_of_datasets(
    datasets: ModuleType, tmp_path: Path
) -> None:
    give(tmp_path)
    (split,) = matter(tmp_path)["dataset_info"]["splits"]
    counted = load(datasets, tmp_path).data.nbytes
    assert counted / 2 < split["num_bytes"] <= counted


@pytest.mark.parametrize(
    ("corpus", "licence", "name"),
    [
        (["emodb", "cafe"] * 6, "other", None),
        ("iemocap", "other", "USC SAIL's release form: research, by request, not to be handed on"),
        ("somebody's", "other", None),
        ("cafe", "cc-by-nc-sa-4.0", None),
    ],
)
def test_a_licence_is_the_hubs_or_another(
    tmp_path: Path, corpus: str | list[str], licence: str, name: str | None
) -> None:
    give(tmp_path, corpus=corpus)
    said = matter(tmp_path)
    assert (said["license"], said.get("license_name")) == (licence, name)


@pytest.mark.parametrize(
    ("n", "words"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**6, "1M<n<10M"),
     (10**9, "n>1B")],
)  # fmt: skip
def test_sizes_are_in_the_hubs_words(n: int, words: str) -> None:
    assert hf._size(n) == words
