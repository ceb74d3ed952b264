"""Databases in audformat become a manifest, or a line that says what is wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.corpora.reader import CorpusError
from stages.corpora.table import reader
from tests.layouts import DB_YAML, MADE, audformat, cells, table, touch, write


def test_audformat_reads_the_table_of_emotions(tmp_path: Path) -> None:
    audformat(tmp_path)
    manifest, problems = reader("audformat").read(tmp_path)
    columns = ["utterance_id", "file", "speaker", "gender", "emotion", "emotion.confidence"]
    assert cells(manifest, *columns) == [
        ['a,"1"', 'a,"1".wav', "3", "male", "anger", "0.9"],
        ["b", "b.wav", "", "", "", ""],
    ]
    assert problems == ["labels are emotion/emotion; not read: ['segments/mood']", MADE]


def test_audformat_reads_segments_and_keeps_splits_apart(tmp_path: Path) -> None:
    header = DB_YAML.replace("  emotion:\n    type", "  emotion.test:\n    type")
    audformat(tmp_path, header)
    (tmp_path / "db.emotion.csv").rename(tmp_path / "db.emotion.test.csv")
    manifest, problems = reader("audformat").read(tmp_path)
    assert cells(manifest, "utterance_id", "start", "emotion", "split") == [
        ['a,"1"', 0.0, "anger", "test"],
        ["b#1", 0.0, "", "test"],
        ["b#2", 0.0, "anger", "train"],
        ["b#3", 0.655, "neutral", "train"],
    ]
    np.testing.assert_array_equal(manifest["end"], [np.nan, np.nan, 0.655, np.nan])
    assert problems[0] == "labels are emotion.test/emotion, segments/mood"


def test_audformat_reads_parquet(tmp_path: Path) -> None:
    audformat(tmp_path, DB_YAML.replace("  emotion:\n    type", "  other:\n    type"))
    for name in ["segments", "files", "speaker"]:
        (tmp_path / f"db.{name}.csv").unlink()
    (tmp_path / "db.emotion.csv").rename(tmp_path / "db.other.csv")
    nanoseconds = pa.duration("ns")
    columns = {
        "file": pa.array(["b.wav", "b.wav"], pa.large_string()),
        "start": pa.array([0, 655_000_000], nanoseconds),
        "end": pa.array([655_000_000, None], nanoseconds),
        "mood": pa.array(["anger", None]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "db.segments.parquet")
    speakers = {"file": ["b.wav"], "speaker": pa.array([3], pa.int64())}
    pq.write_table(pa.table(speakers), tmp_path / "db.files.parquet")
    frame = pd.DataFrame({"speaker": pd.array([3, 8], dtype="Int64"), "gender": ["male", "female"]})
    frame.to_parquet(tmp_path / "db.speaker.parquet")
    manifest, _ = reader("audformat").read(tmp_path)
    segments = manifest[manifest["split"] == "train"]
    assert cells(segments, "start", "speaker", "gender", "emotion") == [
        [0.0, "3", "male", "anger"],
        [0.655, "3", "male", ""],
    ]
    assert segments["end"].tolist()[0] == 0.655


def test_audformat_takes_gender_from_a_schemes_labels(tmp_path: Path) -> None:
    header = DB_YAML.replace("labels: speaker", "labels: {3: {gender: female}, 4: 5}")
    audformat(tmp_path, header)
    manifest, _ = reader("audformat").read(tmp_path)
    assert manifest["gender"].tolist() == ["female", ""]


def test_audformat_takes_speakers_from_the_same_table(tmp_path: Path) -> None:
    tables = "tables: {t: {type: filewise, columns: {e.0: {scheme_id: emotion}, e.1: {scheme_id: "
    tables += "emotion}, who: {scheme_id: speaker}, sex: {}}}}"
    write(tmp_path, "db.yaml", tables)
    rows = [["file", "e.0", "e.1", "who", "sex"], ["a.wav", "joy", "fear", "7", "female"]]
    table(tmp_path, "db.t.csv", rows)
    touch(tmp_path, "a.wav")
    manifest, problems = reader("audformat").read(tmp_path)
    assert cells(manifest, "emotion", "speaker", "gender", "e.1") == [
        ["joy", "7", "female", "fear"]
    ]
    assert problems == ["labels are t/e.0; not read: ['t/e.1']", MADE]


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ("tables: {}\n", "no column of emotions; its tables are: none"),
        ("tables: {files: {columns: {speaker: {}, age: }}}\n", r"files \(speaker, age\)"),
        ("name: x\n", "names no tables"),
        ("- 1\n", "names no tables"),
        ("tables: [\n", "is no YAML"),
        ("a: " + "[" * 20000, "is no YAML"),
        ("a: 0000-99-99\ntables: {}", "is no YAML"),
        ("x: !!python/object/apply:os.system ['exit 1']\n", "is no YAML"),
        ("tables: {t: {columns: {emotion: {}}}}\n", "lacks the table 't'; expected db.t.csv"),
        ("tables: {../t: {columns: {emotion: {}}}}\n", "lacks the table '../t'"),
    ],
)
def test_a_header_that_lies_is_refused(header: str, match: str, tmp_path: Path) -> None:
    write(tmp_path, "in/db.yaml", header)
    write(tmp_path, "t.csv", "file,emotion\na.wav,joy\n")
    with pytest.raises(CorpusError, match=match):
        reader("audformat").read(tmp_path / "in")


def test_a_header_that_would_fill_the_memory_does_not(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for one, two in zip("abcdefghijk", "bcdefghijkl", strict=True):
        lines.append(f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]")
    lines.append("tables: {t: {split_id: *l, columns: {emotion: {scheme_id: *l}}}}")
    lines.append("misc_tables: {speaker: {levels: [*l], columns: {gender: }}}")
    write(tmp_path, "db.yaml", "\n".join(lines))
    table(tmp_path, "db.t.csv", [["file", "emotion"], ["a.wav", "joy"]])
    table(tmp_path, "db.speaker.csv", [["speaker", "gender"], ["1", "male"]])
    manifest, _ = reader("audformat").read(tmp_path)
    assert cells(manifest, "file", "emotion", "split") == [["a.wav", "joy", ""]]


def test_a_pickled_table_is_never_opened(tmp_path: Path) -> None:
    write(tmp_path, "db.yaml", "tables: {t: {columns: {emotion: {}}}}\n")
    write(tmp_path, "db.t.pkl", b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(CorpusError, match="save it as CSV: a pickle may run code"):
        reader("audformat").read(tmp_path)


def test_a_table_that_lacks_what_the_header_names_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "db.yaml", "tables: {t: {columns: {emotion: {}}}}\n")
    table(tmp_path, "db.t.csv", [["file", "mood"], ["a.wav", "joy"]])
    with pytest.raises(CorpusError, match=r"lacks the columns \['emotion'\]"):
        reader("audformat").read(tmp_path)
