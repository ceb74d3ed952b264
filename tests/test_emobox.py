"""EmoBox' lists become a manifest, or a line that says what is wrong."""

from pathlib import Path

import pytest

from stages.corpora.reader import CorpusError
from stages.corpora.table import reader
from tests.layouts import cells, emobox, line, touch, write


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
