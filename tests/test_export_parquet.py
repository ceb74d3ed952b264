"""Parquet as pandas and pyarrow read it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from stages.manifest import COLUMNS
from stages.sharing import parquet
from stages.sharing.content import Content, content_of, pooled
from stages.sharing.parquet import FILE, write
from tests.shared_store import BREAKING, HOSTILE, recipe, selection_of

NAMES = [*HOSTILE, *BREAKING, "007", "NA"]


def written(content: Content, folder: Path) -> Path:
    folder.mkdir()
    write(content, folder)
    return folder / FILE


def check(path: Path, content: Content) -> None:
    """Compare what pandas reads with the content."""
    table = pd.read_parquet(path)
    stacks = list(content.stacks())
    number = np.repeat(np.arange(content.n_utterances), content.n_rows)
    expected = content.manifest.iloc[number].reset_index(drop=True)
    pd.testing.assert_frame_equal(table[list(COLUMNS)], expected, check_dtype=False)
    segments = np.concatenate([np.arange(n) for n in content.n_rows])
    np.testing.assert_array_equal(table["segment"], segments)
    for i, name in ((1, "segment_start"), (2, "segment_end")):
        np.testing.assert_array_equal(table[name], np.concatenate([each[i] for each in stacks]))
    values = np.concatenate([features for features, _, _ in stacks])
    np.testing.assert_array_equal(np.stack(table["features"].to_list()), values)
    assert table["features"][0].dtype == np.float32


@pytest.fixture
def hostile(tmp_path: Path) -> Content:
    ends = [np.nan if i % 2 else 100.0 + i / 3 for i in range(len(NAMES))]
    filled = selection_of(
        tmp_path / "store", NAMES, speaker=["", *NAMES[1:]], emotion=[*NAMES[:-1], ""], end=ends
    )
    return content_of(*filled, recipe())


def test_hostile_names_and_features_read_back(hostile: Content, tmp_path: Path) -> None:
    check(written(hostile, tmp_path / "out"), hostile)


def test_pooled_rows_read_back(hostile: Content, tmp_path: Path) -> None:
    check(written(pooled(hostile), tmp_path / "out"), pooled(hostile))


def test_one_segment_reads_back(tmp_path: Path) -> None:
    content = content_of(*selection_of(tmp_path / "store", ["u"], emotion=""), recipe())
    check(written(content, tmp_path / "out"), content)


@pytest.mark.parametrize("rows", [1, 2, 4, 7, 1000])
def test_row_groups_hold_few_rows_and_change_nothing(
    hostile: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", rows)
    path = written(hostile, tmp_path / "out")
    groups = pq.read_metadata(path)
    sizes = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
    assert max(sizes) < 2 * rows
    assert min(sizes[:-1], default=rows) >= rows
    check(path, hostile)


def test_a_missing_end_is_null_and_the_recipe_stands_in_the_metadata(
    hostile: Content, tmp_path: Path
) -> None:
    path = written(hostile, tmp_path / "out")
    ends = pq.read_table(path, columns=["end"])["end"]
    n_missing = int(hostile.n_rows[hostile.manifest["end"].isna()].sum())
    assert ends.null_count == n_missing > 0
    metadata = pq.read_schema(path).metadata
    assert metadata[b"recipe_id"].decode() == recipe().recipe_id
    assert metadata[b"recipe_json"].decode() == recipe().to_json()
