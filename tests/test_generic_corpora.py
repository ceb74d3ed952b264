"""Readers of layouts that any corpus may have, each on a small corpus in that very layout."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.corpora.reader import CorpusError
from stages.corpora.table import reader
from stages.manifest import ManifestError, read_manifest, write_manifest
from tests.layouts import cells, table, touch, write

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


def test_the_documentation_shows_every_layout() -> None:
    text = (Path(__file__).parent.parent / "docs" / "corpora.md").read_text(encoding="utf-8")
    section = text.partition("## Your own corpus")[2].partition("\n## ")[0]
    for name in READERS:
        assert f"**`{name}`**" in section
        assert f"emostack manifest {name} " in section
