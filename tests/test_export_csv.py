"""CSV as others read it: pandas, the csv module, pyarrow."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features_cache.store import Store
from stages.dataset import Selection
from stages.export import ExportOptions, export
from stages.manifest import COLUMNS
from stages.sharing.content import Content, content_of, pooled
from stages.sharing.csv import FILE, _cell, write
from tests.shared_store import BREAKING, HOSTILE, recipe, selection_of

LOOKING_LIKE_SOMETHING_ELSE = (
    "NA",
    "nan",
    "null",
    "None",
    "007",
    "1e3",
    "True",
    "2024-01-01",
    '""',
)
NAMES = [*HOSTILE, *BREAKING, "\r\n", "ends in\n", *LOOKING_LIKE_SOMETHING_ELSE]
TEXTS = [name for name in COLUMNS if name not in ("start", "end")]
HEADER = (
    "utterance_id,file,start,end,speaker,session,gender,emotion,corpus,"
    "segment,segment_start,segment_end,f0,f1,f2,f3,f4"
)
Rows = list[dict[str, str]]


def with_pandas(path: Path) -> Rows:
    texts = dict.fromkeys(TEXTS, str)
    table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={"end": ""})
    assert all(table[name].dtype.kind in "fi" for name in table.columns if name not in TEXTS)
    cells = table.astype(object).where(table.notna(), "").to_dict("records")
    return [{str(name): str(value) for name, value in row.items()} for row in cells]


def with_csv(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def with_pyarrow(path: Path) -> Rows:
    names = path.read_text(encoding="utf-8").partition("\n")[0].split(",")
    table = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pyarrow.string()), strings_can_be_null=False
        ),
    )
    return table.to_pylist()


every_reader = pytest.mark.parametrize("read", [with_pandas, with_csv, with_pyarrow])


def written(content: Content, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    write(content, folder)
    return folder / FILE


def check(rows: Rows, content: Content) -> None:
    """Compare what was read with the content, row for row."""
    stacks = list(content.stacks())
    number = np.repeat(np.arange(content.n_utterances), content.n_rows)
    assert len(rows) == len(number)
    for name in TEXTS:
        expected = content.manifest[name].iloc[number].tolist()
        assert [row[name] for row in rows] == expected, name
    ends = content.manifest["end"].iloc[number]
    assert [row["end"] for row in rows] == ["" if np.isnan(end) else str(end) for end in ends]
    assert [float(row["start"]) for row in rows] == content.manifest["start"].iloc[number].tolist()
    segments = np.concatenate([np.arange(n) for n in content.n_rows]).tolist()
    assert [int(row["segment"]) for row in rows] == segments
    for i, name in ((1, "segment_start"), (2, "segment_end")):
        expected = np.concatenate([stack[i] for stack in stacks]).tolist()
        assert [float(row[name]) for row in rows] == expected
    values = np.array([[row[name] for name in content.feature_names] for row in rows], np.float32)
    expected = np.concatenate([stack[0] for stack in stacks]).astype(np.float32)
    np.testing.assert_array_equal(values, expected)


@pytest.fixture
def hostile(tmp_path: Path) -> Content:
    return content_of(*hostile_selection(tmp_path), recipe())


def hostile_selection(folder: Path) -> tuple[Selection, Store]:
    n = len(NAMES)
    return selection_of(
        folder / "store",
        NAMES,
        file=[f"/{name}" for name in NAMES],
        speaker=["", *NAMES[1:]],
        emotion=[*NAMES[:-1], ""],
        start=[0.1 * i for i in range(n)],
        end=[np.nan if i % 2 else 100.0 + i / 3 for i in range(n)],
    )


def test_the_header_names_the_manifests_columns_the_segment_and_the_features(
    hostile: Content, tmp_path: Path
) -> None:
    path = written(hostile, tmp_path / "out")
    assert path.read_bytes().startswith(HEADER.encode() + b"\n")
    pooled_path = written(pooled(hostile), tmp_path / "pooled")
    names = [f"{how}_f{i}" for how in ("mean", "sd") for i in range(5)]
    head = pooled_path.read_text(encoding="utf-8").partition("\n")[0]
    assert head == HEADER.partition("f0")[0] + ",".join(names)


@every_reader
def test_hostile_names_and_features_read_back(
    hostile: Content, tmp_path: Path, read: Callable[[Path], Rows]
) -> None:
    check(read(written(hostile, tmp_path / "out")), hostile)


@every_reader
def test_pooled_rows_read_back(
    hostile: Content, tmp_path: Path, read: Callable[[Path], Rows]
) -> None:
    content = pooled(hostile)
    rows = read(written(content, tmp_path / "out"))
    assert len(rows) == len(NAMES)
    check(rows, content)


@every_reader
def test_one_segment_without_a_label_reads_back(
    tmp_path: Path, read: Callable[[Path], Rows]
) -> None:
    filled = selection_of(tmp_path / "store", ["u"], emotion="", speaker="", corpus="")
    content = content_of(*filled, recipe())
    rows = read(written(content, tmp_path / "out"))
    assert [row["emotion"] for row in rows] == [""]
    check(rows, content)


def test_lines_end_in_line_feeds_and_texts_alone_stand_in_quotes(tmp_path: Path) -> None:
    filled = selection_of(tmp_path / "store", ["u", "v"], emotion="joy", speaker=["1", ""])
    path = written(content_of(*filled, recipe()), tmp_path / "out")
    assert b"\r" not in path.read_bytes()
    header, first, second, third, rest = path.read_text(encoding="utf-8").split("\n")
    assert first.startswith('"u","audio/u.wav",0.0,,"1","day 0","male","joy","emodb",0,0.0,0.655,')
    assert third.startswith(
        '"v","audio/v.wav",0.0,,"","day 1","female","joy","emodb",1,0.16,0.8150000000000001,'
    )
    assert len(second.split(",")) == len(header.split(","))
    assert rest == ""


def test_what_looks_like_a_formula_is_as_it_was_and_told(tmp_path: Path) -> None:
    filled = selection_of(tmp_path / "store", ["=cmd('x')!A1", "+1", "u"], emotion="@joy")
    done = export(*filled, recipe(), tmp_path / "out", ExportOptions(to="csv"))
    assert [row["utterance_id"] for row in with_csv(tmp_path / "out" / FILE)] == [
        *["=cmd('x')!A1"] * 1, *["+1"] * 2, *["u"] * 3,
    ]  # fmt: skip
    assert any(remark.startswith("3 names begin like a formula") for remark in done.remarks)
    assert "3 names begin like a formula" in (tmp_path / "out" / "README.md").read_text()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_text_is_a_cell_that_the_csv_module_reads_back(texts: list[str]) -> None:
    line = ",".join(map(_cell, texts)) + "\n"
    assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [texts]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))  # fmt: skip
def test_any_text_is_a_cell_that_pandas_reads_back(texts: list[str]) -> None:
    lines = "name\n" + "".join(f"{_cell(text)}\n" for text in texts)
    read = pd.read_csv(io.StringIO(lines, newline=""), dtype=str, keep_default_na=False)
    assert read["name"].tolist() == texts
