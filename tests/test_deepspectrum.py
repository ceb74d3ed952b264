"""DeepSpectrum's label files become a manifest, or a line that says what is wrong."""

from pathlib import Path

import pytest

from stages.corpora.reader import CorpusError
from stages.corpora.table import reader
from tests.layouts import MADE, cells, table, touch, write


def test_deepspectrum_reads_nominal_and_numeric_columns(tmp_path: Path) -> None:
    rows = [
        ["filename", "arousal", "class", "speaker", "emotion", "file"],
        ["./x/1.mp3", "0.5", "seagull", "s1", "1", "odd"],
        ["x//2.mp3", "-1e3", "dove", "s2", "2", "odd"],
    ]
    path = table(tmp_path, "labels.csv", rows)
    touch(tmp_path, "x/1.mp3", "x/2.mp3")
    for place in [path, tmp_path]:
        manifest, problems = reader("deepspectrum").read(place)
        columns = ["file", "emotion", "speaker", "arousal", "emotion_given", "file_given"]
        assert cells(manifest, *columns) == [
            ["x/1.mp3", "seagull", "s1", "0.5", "1", "odd"],
            ["x/2.mp3", "dove", "s2", "-1e3", "2", "odd"],
        ]
        assert problems == [MADE]


def test_deepspectrum_takes_the_first_nominal_column_and_tells_of_others(tmp_path: Path) -> None:
    rows = [["name", "n", "animal", "colour"], ["a.wav", "1", "dove", "grey"]]
    manifest, problems = reader("deepspectrum").read(table(tmp_path, "l.tsv", rows))
    assert cells(manifest, "emotion", "colour", "n") == [["dove", "grey", "1"]]
    assert problems[0] == "labels are the column 'animal'; there are ['colour'] as well"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("filename,timestamp,class\na.wav,0,x\n", "time-continuous label file"),
        ("filename,class\na.wav,1\nb.wav,2\n", "and no class"),
        ("filename\na.wav\n", "and no class"),
        ("filename,class\na.wav\n", "row 1 of another length"),
        ("filename,class\n", "and 0 rows"),
        ("filename,class,class\na,b,c\n", "expected a label file"),
        ('filename,class\na,"b\n', "is no label file"),
        ("", "is no label file"),
    ],
)
def test_a_label_file_that_lies_is_refused(text: str, match: str, tmp_path: Path) -> None:
    path = write(tmp_path, "labels.csv", text)
    with pytest.raises(CorpusError, match=match):
        reader("deepspectrum").read(path)


def test_several_label_files_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv", "b.tsv")
    with pytest.raises(CorpusError, match=r"\['a.csv', 'b.tsv'\]; expected a label file"):
        reader("deepspectrum").read(tmp_path)
