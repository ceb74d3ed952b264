"""Tables as nkululeko has them become a manifest, or a line that says what is wrong."""

from pathlib import Path

import pytest

from stages.corpora.reader import CorpusError
from stages.corpora.table import reader
from tests.layouts import MADE, cells, table, touch


def test_nkululeko_reads_one_table_or_one_a_split(tmp_path: Path) -> None:
    header = ["", "file", "speaker", "gender", "emotion", "start", "end"]
    touch(tmp_path, "a.wav", "b.wav")
    rows = [header, [0, "a.wav", "s1", "female", "happy", "0 days 00:00:01", "NaT"]]
    path = table(tmp_path, "x_train.csv", rows)
    table(tmp_path, "notes.csv", [["word"], ["x"]])
    for place in [path, tmp_path]:
        manifest, problems = reader("nkululeko").read(place)
        columns = ["utterance_id", "file", "speaker", "gender", "emotion", "start"]
        assert cells(manifest, *columns) == [["a", "a.wav", "s1", "female", "happy", 1.0]]
        assert problems == ["a column without a name is left out", MADE]
    table(tmp_path, "x_test.csv", [["file", "emotion", "valence"], ["b.wav", "sad", "0.1"]])
    manifest, problems = reader("nkululeko").read(tmp_path)
    assert cells(manifest, "file", "emotion", "split", "valence", "speaker") == [
        ["b.wav", "sad", "test", "0.1", ""],
        ["a.wav", "happy", "train", "", "s1"],
    ]
    assert problems[0] == "read as one: x_test.csv, x_train.csv"


def test_nkululeko_refuses_tables_that_are_no_splits(tmp_path: Path) -> None:
    for name in ["a.csv", "b.csv"]:
        table(tmp_path, name, [["file"], ["x.wav"]])
    with pytest.raises(CorpusError, match=r"\['a.csv', 'b.csv'\]; expected a .csv"):
        reader("nkululeko").read(tmp_path)
