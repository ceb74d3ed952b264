"""One folder a class become a manifest, or a line that says what is wrong."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.corpora.reader import CorpusError
from stages.corpora.table import reader
from tests.layouts import MADE, cells, touch


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
