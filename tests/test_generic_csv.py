"""CSV, TSV and Parquet tables become a manifest, or a line that says what is wrong."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.corpora.foreign_table import seconds
from stages.corpora.table import reader
from stages.manifest import read_manifest, write_manifest
from tests.layouts import MADE, cells, table, touch


def test_csv_reads_tabs_of_tsv_files(tmp_path: Path) -> None:
    touch(tmp_path, "a,b.wav")
    rows = [["file", "speaker", "emotion", "note"], ["a,b.wav", "s 1", "Wut", 'x "y"']]
    given_path = table(tmp_path, "list.tsv", rows)
    for place in [tmp_path, given_path]:
        manifest, problems = reader("csv").read(place)
        assert cells(manifest, "file", "speaker", "emotion", "note") == [
            ["a,b.wav", "s 1", "Wut", 'x "y"']
        ]
        assert problems == [MADE]


def test_csv_tells_which_columns_no_manifest_can_hold(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    path = tmp_path / "t.parquet"
    columns = {
        "file": ["a.wav"], "speaker": [3], "emotion": ["x"], "utterance_id": ["u"], "key": ["k"],
        "vector": [[1.0, 2.0]], "age": pa.array([31], pa.int8()), "": ["y"],
        "took": pa.array([5], pa.duration("s")), "start": pa.array([0.5], pa.float32()),
    }  # fmt: skip
    pq.write_table(pa.table(columns), path)
    manifest, problems = reader("csv").read(path)
    assert cells(manifest, "utterance_id", "speaker", "start", "age") == [["u", "3", 0.5, "31"]]
    assert problems == [
        "column 'key' is left out: a store keeps that name for itself",
        "column 'vector' is left out: it holds list<element: double>",
        "a column without a name is left out",
        "column 'took' is left out: it holds duration[s]",
    ]
    write_manifest(manifest, tmp_path / "m.csv")
    assert len(read_manifest(tmp_path / "m.csv")) == 1


def test_csv_says_where_files_are_that_a_folder_above_holds(tmp_path: Path) -> None:
    touch(tmp_path, "downloads/x/a.wav")
    path = table(tmp_path, "data/x/t.csv", [["file"], ["downloads/x/a.wav"]])
    _, problems = reader("csv").read(path)
    assert problems[-1] == (
        "1 of 1 files are not there, the first: 'downloads/x/a.wav'; it lies below "
        f"{tmp_path}: pass --audio {tmp_path} along"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""), ("NaT", ""), (" 1.5 ", "1.5"), ("1e-3", "1e-3"), ("0 days", "0.0"),
        ("0 days 00:00:00.655000", "0.655"), ("1 days 01:00:00", "90000.0"), ("00:01:30", "90.0"),
        ("P0DT0H1M0.5S", "60.5"), ("PT2S", "2.0"), ("P1D", "86400.0"),
        ("soon", "soon"), ("P", "P"), ("-1 days +23:59:59", "-1 days +23:59:59"), ("1:2", "1:2"),
        ("-0.5", "-0.5"), ("--1", "--1"),
    ],
)  # fmt: skip
def test_times_of_all_forms_become_seconds(text: str, expected: str) -> None:
    assert seconds(text) == expected


@given(st.integers(0, 10**15))
def test_what_pandas_writes_for_a_time_is_read_as_that_time(microseconds: int) -> None:
    time = pd.Timedelta(microseconds, unit="us")
    for text in [str(time), time.isoformat()]:
        assert float(seconds(text)) == pytest.approx(time.total_seconds(), rel=1e-12, abs=1e-9)
