"""Readers of layouts that any corpus may have, each on a small corpus in that very layout."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.corpora.foreign_table import seconds
from stages.corpora.reader import CorpusError
from stages.corpora.splits import split_of_name, split_of_path
from stages.corpora.table import reader
from stages.manifest import ManifestError, read_manifest, write_manifest

READERS = [
    "csv", "folders", "audiofolder", "kaldi", "audformat", "nkululeko", "emobox", "deepspectrum",
]  # fmt: skip
HOSTILE = [
    'a,"b"',
    "two\nlines",
    "back\rto\r\nstart",
    "=cmd()",
    "<script>",
    "日本 é",
    "x" * 200,
    "#",
    "' ;\t|",
]
MADE = "no column 'utterance_id': made from file"
NOBODY = "no column 'speaker': left empty"


def touch(folder: Path, *files: str) -> None:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(folder: Path, file: str, text: str | bytes) -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def table(folder: Path, file: str, rows: Sequence[Sequence[object]]) -> Path:
    path = write(folder, file, "")
    delimiter = "\t" if file.endswith(".tsv") else ","
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    return path


def cells(manifest: pd.DataFrame, *columns: str) -> list[list[object]]:
    values: list[list[object]] = manifest[list(columns)].to_numpy().tolist()
    return values


@pytest.mark.parametrize("name", READERS)
def test_readers_of_layouts_say_nothing_of_a_corpus_that_they_do_not_know(name: str) -> None:
    entry = reader(name)
    assert (entry.sharing, entry.language, entry.classes) == ("unclear", "", ())
    assert entry.n_utterances is None
    assert entry.licence == entry.citation == "that of your corpus"


@pytest.mark.parametrize("name", READERS)
def test_a_wrong_folder_is_told_what_was_expected(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "readme.txt", "sub/notes.txt", "._x.wav")
    with pytest.raises(CorpusError, match=r"holds .*expected"):
        reader(name).read(tmp_path)


# Every reader takes these names whole, and the manifest gives them back.


def as_csv(folder: Path, stem: str, label: str) -> Path:
    return table(folder, "t.csv", [["file", "emotion"], [f"{stem}.wav", label]])


def as_tsv(folder: Path, stem: str, label: str) -> Path:
    return table(folder, "t.tsv", [["file", "emotion"], [f"{stem}.wav", label]])


def as_parquet(folder: Path, stem: str, label: str) -> Path:
    pq.write_table(pa.table({"file": [f"{stem}.wav"], "emotion": [label]}), folder / "t.parquet")
    return folder


def as_metadata(folder: Path, stem: str, label: str) -> Path:
    table(folder, "metadata.csv", [["file_name", "label"], [f"{stem}.wav", label]])
    return folder


def as_json_metadata(folder: Path, stem: str, label: str) -> Path:
    row = json.dumps({"file_name": f"{stem}.wav", "emotion": label})
    write(folder, "metadata.jsonl", row + "\n")
    return folder


def as_audformat(folder: Path, stem: str, label: str) -> Path:
    tables = "tables: {t: {type: filewise, columns: {c: {scheme_id: emotion}}}}"
    write(folder, "db.yaml", f"name: x\n{tables}\n")
    table(folder, "db.t.csv", [["file", "c"], [f"{stem}.wav", label]])
    return folder


def as_emobox(folder: Path, stem: str, label: str) -> Path:
    return write(folder, "x.jsonl", json.dumps({"key": stem, "wav": f"{stem}.wav", "emo": label}))


def as_deepspectrum(folder: Path, stem: str, label: str) -> Path:
    return table(folder, "labels.tsv", [["name", "class"], [f"{stem}.wav", label]])


FORMS = {
    "csv": as_csv, "tsv": as_tsv, "parquet": as_parquet, "audiofolder": as_metadata,
    "jsonl": as_json_metadata, "audformat": as_audformat, "emobox": as_emobox,
    "deepspectrum": as_deepspectrum, "nkululeko": as_csv,
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("form", FORMS)
def test_hostile_names_and_labels_survive(form: str, text: str, tmp_path: Path) -> None:
    name = form if form in READERS else {"jsonl": "audiofolder"}.get(form, "csv")
    touch(tmp_path, f"{text}.wav")
    manifest, problems = reader(name).read(FORMS[form](tmp_path, text, text))
    assert not [problem for problem in problems if "not there" in problem]
    assert cells(manifest, "file", "emotion") == [[f"{text}.wav", text]]
    assert cells(manifest, "utterance_id") == [[text]]
    write_manifest(manifest, tmp_path / "m.csv")
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "m.csv"), manifest)


NAME = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=8
).filter(lambda text: text.strip(" .") == text and not text.startswith("-"))


@settings(max_examples=15, deadline=None)
@given(stem=NAME, label=NAME)
@example(stem="\r", label="0")
@pytest.mark.parametrize("form", [as_csv, as_metadata, as_audformat, as_emobox, as_deepspectrum])
def test_any_name_goes_in_and_comes_back(
    form: Callable[[Path, str, str], Path],
    stem: str,
    label: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    names = {as_csv: "csv", as_metadata: "audiofolder", as_audformat: "audformat"}
    name = names.get(form, form.__name__.removeprefix("as_"))
    folder = form(tmp_path_factory.mktemp("x"), stem, f"l{label}")
    manifest, _ = reader(name).read(folder)
    assert cells(manifest, "utterance_id", "file", "emotion") == [
        [stem, f"{stem}.wav", f"l{label}"]
    ]


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl", "emobox", "deepspectrum"])
def test_files_outside_the_folder_and_nul_are_refused(form: str, tmp_path: Path) -> None:
    name = form if form in READERS else {"jsonl": "audiofolder"}.get(form, "csv")
    for stem in ["../../etc/passwd", "a\0b"]:
        with pytest.raises(ManifestError, match=r"has \d problems?; expected none"):
            reader(name).read(FORMS[form](tmp_path, stem, "anger"))


@pytest.mark.parametrize("form", ["csv", "jsonl", "audformat", "emobox", "deepspectrum"])
def test_names_that_no_disk_can_hold_are_told_as_not_there(form: str, tmp_path: Path) -> None:
    name = form if form in READERS else "audiofolder"
    manifest, problems = reader(name).read(FORMS[form](tmp_path, "x" * 300, "y" * 300))
    assert cells(manifest, "file", "emotion") == [["x" * 300 + ".wav", "y" * 300]]
    assert any("1 of 1 files are not there" in problem for problem in problems)


# csv


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


# folders


def test_folders_are_classes(tmp_path: Path) -> None:
    touch(tmp_path, "anger/a.wav", "anger/anna/a.FLAC", "joy, mild/a.mp3", "joy, mild/a.ogg")
    touch(tmp_path, "loose.wav", "anger/notes.txt", "anger/._a.wav", ".git/x.wav")
    manifest, problems = reader("folders").read(tmp_path)
    assert cells(manifest, "utterance_id", "file", "emotion", "speaker") == [
        ["anger/a", "anger/a.wav", "anger", ""],
        ["anger/anna/a", "anger/anna/a.FLAC", "anger", ""],
        ["joy, mild/a#1", "joy, mild/a.mp3", "joy, mild", ""],
        ["joy, mild/a#2", "joy, mild/a.ogg", "joy, mild", ""],
    ]
    assert problems == [
        "1 audio file(s) in no class' folder left out, the first: 'loose.wav'",
        MADE,
    ]


def test_one_folder_alone_is_hardly_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "wav/a.wav", "wav/b.wav")
    _, problems = reader("folders").read(tmp_path)
    assert problems[0] == "only one class, 'wav'; is it the right folder?"


def test_folders_that_are_splits_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/anger/a.wav", "Test/anger/b.wav")
    with pytest.raises(CorpusError, match=r"\['Test', 'train'\], which are splits.*audiofolder"):
        reader("folders").read(tmp_path)


def test_a_name_that_is_no_unicode_is_left_out_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "joy/a.wav", "anger/b.wav")
    try:
        (tmp_path / "joy" / "\udcff.wav").touch()
    except (OSError, UnicodeError):
        pytest.skip("this file system takes Unicode only")
    manifest, problems = reader("folders").read(tmp_path)
    assert len(manifest) == 2
    assert problems[0].startswith("1 audio file(s) whose names are no Unicode left out")
    assert problems[0].isascii()


@settings(max_examples=20, deadline=None)
@given(
    labels=st.sets(
        st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6), min_size=2
    )
)
def test_folder_names_become_labels_and_back(
    labels: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("folders")
    touch(folder, *(f"x{label}/a.wav" for label in labels))
    manifest, _ = reader("folders").read(folder)
    assert set(manifest["emotion"]) == {f"x{label}" for label in labels}
    assert (manifest["file"] == manifest["emotion"] + "/a.wav").all()


# audiofolder


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


# kaldi


def kaldi(folder: Path, **files: str) -> None:
    for name, text in files.items():
        write(folder, name.replace("wav_scp", "wav.scp"), text)


def test_a_kaldi_directory_without_segments(tmp_path: Path) -> None:
    kaldi(
        tmp_path,
        wav_scp="s2-b  my audio/b, 1.wav\r\ns1-a\ta.wav\n",
        utt2spk="s1-a s1\ns2-b s2\n",
        spk2gender="s2 f\ns1 m\n",
        utt2emo="s2-b very happy\ns1-a ang\n",
        text="s1-a hello\n",
    )
    touch(tmp_path, "my audio/b, 1.wav", "a.wav")
    manifest, problems = reader("kaldi").read(tmp_path)
    assert cells(manifest, "utterance_id", "file", "speaker", "gender", "emotion") == [
        ["s2-b", "my audio/b, 1.wav", "s2", "female", "very happy"],
        ["s1-a", "a.wav", "s1", "male", "ang"],
    ]
    assert np.isnan(manifest["end"]).all()
    assert problems == []


def test_a_kaldi_directory_with_segments(tmp_path: Path) -> None:
    kaldi(
        tmp_path,
        wav_scp="rec /data/long.wav\n",
        segments="u1 rec 0.5 1.75\nu2 rec 2 -1\nu3 lost 0 1\n",
        utt2spk="u1 u1\n",
        utt2emo="u1 neutral\n",
    )
    manifest, problems = reader("kaldi").read(tmp_path)
    assert cells(manifest, "utterance_id", "file", "start", "speaker", "emotion") == [
        ["u1", "/data/long.wav", 0.5, "", "neutral"],
        ["u2", "/data/long.wav", 2.0, "", ""],
    ]
    np.testing.assert_array_equal(manifest["end"], [1.75, np.nan])
    assert problems[:4] == [
        "1 utterance(s) of recordings that wav.scp lacks left out, the first: 'u3'",
        "1 utterance(s) are their own speaker, so it is not known, the first: 'u1'",
        "1 utterance(s) that utt2spk lacks have no speaker, the first: 'u2'",
        "1 utterance(s) that utt2emo lacks have no label, the first: 'u2'",
    ]


def test_a_kaldi_directory_without_labels_tells_so(tmp_path: Path) -> None:
    kaldi(tmp_path, wav_scp="a a.wav\n")
    touch(tmp_path, "a.wav")
    _, problems = reader("kaldi").read(tmp_path)
    assert problems == [
        "1 utterance(s) that utt2spk lacks have no speaker, the first: 'a'",
        "no utt2emo: no utterance has a label",
    ]


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"wav_scp": "a a.wav\nb sox b.mp3 -t wav - |\n"}, "1 of 2 .* commands, the first: 'b'"),
        ({"wav_scp": "a a.wav\na b.wav\n"}, "'a' a second time at line 2"),
        ({"wav_scp": "a a.wav\nb\n"}, "nothing after 'b' at line 2"),
        (
            {"wav_scp": "a a.wav\n", "segments": "u a 0\n"},
            "expected a recording, a start and an end",
        ),
        ({"wav_scp": "a a.wav\n", "segments": "u b 0 1\n"}, "names no utterance"),
        ({"wav_scp": ""}, "names no utterance"),
    ],
)
def test_a_kaldi_directory_that_lies_is_refused(
    files: dict[str, str], match: str, tmp_path: Path
) -> None:
    kaldi(tmp_path, **files)
    with pytest.raises(CorpusError, match=match):
        reader("kaldi").read(tmp_path)


def test_times_that_are_none_are_listed_by_row(tmp_path: Path) -> None:
    kaldi(tmp_path, wav_scp="a a.wav\n", segments="u a 1 soon\nv a 2 1\n")
    with pytest.raises(ManifestError, match="has 2 problems"):
        reader("kaldi").read(tmp_path)


KALDI_KEY = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(pairs=st.lists(st.tuples(KALDI_KEY, KALDI_KEY), min_size=1, unique_by=lambda pair: pair[0]))
def test_keys_of_kaldi_go_in_and_come_back_in_any_order(
    pairs: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("kaldi")
    lines = {name: f"x/{i}.wav" for i, (name, _) in enumerate(pairs)}
    kaldi(
        folder,
        wav_scp="".join(f"{name} {file}\n" for name, file in lines.items()),
        utt2spk="".join(f"{name} s-{speaker}\n" for name, speaker in reversed(pairs)),
    )
    manifest, _ = reader("kaldi").read(folder)
    given_speakers = {name: f"s-{speaker}" for name, speaker in pairs}
    expected = {n: s if s != n else "" for n, s in given_speakers.items()}
    assert dict(cells(manifest, "utterance_id", "file")) == lines
    assert dict(cells(manifest, "utterance_id", "speaker")) == expected


# audformat

DB_YAML = """\
name: mydb
description: 'Line one: with colon

  line two # hash'
usage: research
languages: [deu]
schemes:
  emotion:
    dtype: str
    labels: [anger, neutral]
  speaker: {dtype: int, labels: speaker}
splits:
  train: {type: train}
tables:
  emotion:
    type: filewise
    columns:
      emotion: {scheme_id: emotion, rater_id: gold}
      emotion.confidence: {}
  files:
    type: filewise
    columns:
      duration: {scheme_id: duration}
      speaker: {scheme_id: speaker}
  segments:
    type: segmented
    split_id: train
    columns:
      mood: {scheme_id: emotion}
misc_tables:
  speaker:
    levels: {speaker: int}
    columns:
      gender: {scheme_id: gender}
"""


def audformat(folder: Path, header: str = DB_YAML) -> None:
    write(folder, "db.yaml", header)
    rows = [
        ["file", "emotion", "emotion.confidence"],
        ['a,"1".wav', "anger", "0.9"], ["b.wav", "", ""],
    ]  # fmt: skip
    table(folder, "db.emotion.csv", rows)
    rows = [
        ["file", "duration", "speaker"],
        ['a,"1".wav', "0 days 00:00:01.5", 3],
        ["b.wav", "", ""],
    ]
    table(folder, "db.files.csv", rows)
    rows = [
        ["file", "start", "end", "mood"],
        ["b.wav", "0 days 00:00:00.000000", "0 days 00:00:00.655000", "anger"],
        ["b.wav", "0 days 00:00:00.655000", "", "neutral"],
    ]  # fmt: skip
    table(folder, "db.segments.csv", rows)
    table(folder, "db.speaker.csv", [["speaker", "gender"], [3, "male"]])
    touch(folder, 'a,"1".wav', "b.wav")


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


# nkululeko


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


# emobox


def emobox(folder: Path, file: str, *rows: dict[str, object]) -> None:
    write(folder, file, "".join(json.dumps(row) + "\n" for row in rows))


def line(key: str, label: str, *, old: bool = False, **more: object) -> dict[str, object]:
    wav, emo = ("audio", "label") if old else ("wav", "emo")
    path = f"downloads/x/{key}.wav"
    named = {"key": f"x-{key}", "dataset": "x", wav: path, "type": "raw", "sample_rate": 16000}
    return {**named, "num_frame": 30045.0, "length": 1.8778, emo: label, "channel": 1, **more}


def test_emobox_reads_a_corpus_and_its_folds(tmp_path: Path) -> None:
    data = tmp_path / "data" / "x"
    touch(tmp_path, *(f"downloads/x/{key}.wav" for key in "abc"))
    emobox(data, "x.jsonl", line("a", "ang"), line("b", "hap"), line("c", "sad", spk="s3"))
    emobox(data, "fold_1/x_test_fold_1.jsonl", line("a", "ang"))
    emobox(data, "fold_2/x_test_fold_2.jsonl", line("b", "hap"))
    manifest, problems = reader("emobox").read(data)
    columns = ["utterance_id", "file", "emotion", "speaker", "corpus", "fold"]
    assert cells(manifest, *columns) == [
        ["x-a", "downloads/x/a.wav", "ang", "", "x", "1"],
        ["x-b", "downloads/x/b.wav", "hap", "", "x", "2"],
        ["x-c", "downloads/x/c.wav", "sad", "s3", "x", ""],
    ]
    assert problems == [
        (
            "3 of 3 files are not there, the first: 'downloads/x/a.wav'; it lies below "
            f"{tmp_path}: pass --audio {tmp_path} along"
        )
    ]


def test_emobox_reads_the_lists_of_one_fold_as_one(tmp_path: Path) -> None:
    for fold in [10, 2]:
        name = f"fold_{fold}/x_{{}}_fold_{fold}.jsonl"
        emobox(tmp_path, name.format("train"), line("a", "ang", old=True), line("b", "hap"))
        emobox(tmp_path, name.format("valid"), line("c", "neu"))
        emobox(tmp_path, name.format("test"), line("d", "sad"), line("a", "ang", old=True))
    for place in [tmp_path, tmp_path / "fold_2"]:
        manifest, problems = reader("emobox").read(place)
        assert sorted(cells(manifest, "utterance_id", "emotion", "split")) == [
            ["x-a", "ang", "test"], ["x-b", "hap", "train"],
            ["x-c", "neu", "dev"], ["x-d", "sad", "test"],
        ]  # fmt: skip
        assert "fold" not in manifest.columns, "the folds' test lists overlap"
        assert problems[:2] == [
            "read as one: x_test_fold_2.jsonl, x_train_fold_2.jsonl, x_valid_fold_2.jsonl",
            "1 utterance(s) in more than one list, taken once, the first: 'x-a'",
        ]


def test_emobox_reads_ranges_of_long_recordings(tmp_path: Path) -> None:
    emobox(tmp_path, "x.jsonl", line("a", "ang", start_time=0.25, end_time=1))
    manifest, _ = reader("emobox").read(tmp_path / "x.jsonl")
    assert cells(manifest, "start", "end") == [[0.25, 1.0]]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        ('{"key": "a"}\n', r"fields \['key'\]; expected key, wav and emo"),
        ('{"key": "a", "wav": ["x"]}\n', r"fields \['key'\]"),
        ('{"key": "a", "wav"', "no JSON at line 1"),
        ("", "is empty"),
    ],
)
def test_a_list_that_lies_is_refused(text: str, match: str, tmp_path: Path) -> None:
    path = write(tmp_path, "x.jsonl", text)
    with pytest.raises(CorpusError, match=match):
        reader("emobox").read(path)


def test_several_lists_are_refused(tmp_path: Path) -> None:
    for name in ["a.jsonl", "b.jsonl"]:
        emobox(tmp_path, name, line("a", "ang"))
    with pytest.raises(CorpusError, match=r"\['a.jsonl', 'b.jsonl'\].*name the file itself"):
        reader("emobox").read(tmp_path)


# deepspectrum


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


def test_the_documentation_shows_every_layout() -> None:
    text = (Path(__file__).parent.parent / "docs" / "corpora.md").read_text(encoding="utf-8")
    section = text.partition("## Your own corpus")[2].partition("\n## ")[0]
    for name in READERS:
        assert f"**`{name}`**" in section
        assert f"emostack manifest {name} " in section
