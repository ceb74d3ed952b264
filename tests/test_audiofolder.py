"""Hugging Face's audiofolder become a manifest, or a line that says what is wrong."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.corpora.reader import CorpusError
from stages.corpora.splits import split_of_name, split_of_path
from stages.corpora.table import reader
from stages.manifest import ManifestError
from tests.layouts import MADE, cells, table, touch, write


def test_audiofolder_with_metadata_a_split(tmp_path: Path) -> None:
    for split, label in [("train", "joy"), ("validation", "fear")]:
        rows = [["file_name", "label", "speaker_id", "text"], ["a/./u.wav", label, 7, "x,y"]]
        table(tmp_path, f"{split}/metadata.csv", rows)
        touch(tmp_path, f"{split}/a/u.wav", f"{split}/a/more.wav")
    manifest, problems = reader("audiofolder").read(tmp_path)
    columns = ["utterance_id", "file", "emotion", "speaker", "text", "split"]
    assert cells(manifest, *columns) == [
        ["train/a/u", "train/a/u.wav", "joy", "7", "x,y", "train"],
        ["validation/a/u", "validation/a/u.wav", "fear", "7", "x,y", "dev"],
    ]
    assert problems == [
        "2 audio file(s) that no metadata names left out, the first: 'train/a/more.wav'",
        MADE,
    ]


def test_audiofolder_with_json_and_parquet_metadata(tmp_path: Path) -> None:
    lines = [
        {"file_name": "a.wav", "emotion": "joy", "label": 3, "speaker": None, "more": [1]},
        {"file_name": "b.wav", "emotion": None, "speaker": "anna", "age": 31, "ok": True},
    ]
    write(tmp_path, "j/metadata.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")
    touch(tmp_path, "j/a.wav", "j/b.wav")
    manifest, problems = reader("audiofolder").read(tmp_path / "j")
    assert cells(manifest, "file", "emotion", "speaker", "age", "ok", "label") == [
        ["a.wav", "joy", "", "", "", "3"],
        ["b.wav", "", "anna", "31", "True", ""],
    ]
    assert problems == ["labels are the column 'emotion', not 'label'", MADE]

    touch(tmp_path, "p/test/a.wav")
    labels = pa.array(["joy"]).dictionary_encode()
    columns = {"clip_file_name": ["a.wav"], "label": labels, "v": [[1]], "file": ["old"]}
    pq.write_table(pa.table(columns), tmp_path / "p" / "test" / "metadata.parquet")
    manifest, problems = reader("audiofolder").read(tmp_path / "p")
    assert cells(manifest, "file", "emotion", "split") == [["test/a.wav", "joy", "test"]]
    assert problems[0] == "column 'v' is left out: it holds list<element: int64>"


def test_audiofolder_without_metadata_takes_the_folders_names(tmp_path: Path) -> None:
    touch(tmp_path, "train/joy/a.wav", "train/fear/b.wav", "test/joy/c.wav", "test/d.wav")
    manifest, problems = reader("audiofolder").read(tmp_path)
    assert cells(manifest, "file", "emotion", "split") == [
        ["test/d.wav", "", "test"],
        ["test/joy/c.wav", "joy", "test"],
        ["train/fear/b.wav", "fear", "train"],
        ["train/joy/a.wav", "joy", "train"],
    ]
    assert problems[0] == "labels are the names of the folders that files lie in"


def test_audiofolder_without_labels_tells_so(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    manifest, problems = reader("audiofolder").read(tmp_path)
    assert set(manifest["emotion"]) == {""}
    assert "no column 'emotion': left empty" in problems


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"metadata.csv": "file_name\na.wav\n", "x/metadata.jsonl": "{}"}, "of several kinds"),
        ({"metadata.csv": "name\na.wav\n"}, "expected one called 'file_name'"),
        ({"metadata.jsonl": '{"file_name": "a.wav"}\n{"file_'}, "no JSON at line 2"),
        ({"metadata.jsonl": '["a.wav"]\n'}, "a list at line 1; expected an object"),
        ({"metadata.jsonl": "[" * 100000}, "no JSON at line 1"),
        ({"metadata.jsonl": '{"file_name": "\\ud800.wav"}'}, "text that is no Unicode"),
        ({"metadata.parquet": "PAR1"}, "does not read as .parquet"),
        ({"metadata.csv": "file_name,label\na.wav\n"}, "does not read as .csv"),
    ],
)
def test_metadata_that_lies_is_refused(files: dict[str, str], match: str, tmp_path: Path) -> None:
    for file, text in files.items():
        write(tmp_path, file, text)
    with pytest.raises((CorpusError, ManifestError), match=match):
        reader("audiofolder").read(tmp_path)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training", "train"), ("x_train.v2", "train"), ("fold-1 valid", "dev"),
        ("devel", "dev"), ("eval2", "test"), ("contest", ""), ("retrain", ""), ("train_test", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_split_is_a_word_of_its_own(name: str, split: str) -> None:
    assert split_of_name(name) == split


def test_the_innermost_folder_says_the_split() -> None:
    assert split_of_path("train/x/dev/joy/test.wav") == "dev"
    assert split_of_path("joy/test.wav") == ""
