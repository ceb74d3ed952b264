"""Exports to Kaldi: what kaldiio reads, and the rules that Kaldi's own tools check."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features_cache.store import Store
from stages.sharing import kaldi
from stages.sharing.anonymity import anonymised
from stages.sharing.content import Content, content_of, pooled
from stages.sharing.format import ExportError
from tests.shared_store import BREAKING, HOSTILE, recipe, rows_of, selection_of

kaldiio = pytest.importorskip("kaldiio")

UTTERANCES = [f"u{i:02}" for i in range(12)]
WITHOUT_SPACE = [name for name in HOSTILE if len(name.split()) == 1 and name.strip() == name]
WITH_SPACE = [name for name in HOSTILE if name not in WITHOUT_SPACE]


def content(folder: Path, names: list[str], **columns: object) -> tuple[Content, Store]:
    selection, store = selection_of(folder, names, **columns)
    return content_of(selection, store, recipe()), store


def give(folder: Path, names: list[str] = UTTERANCES, **columns: object) -> Store:
    """Write `names` into a folder, as the only thing there."""
    filled, store = content(folder / "store", names, **columns)
    (folder / "out").mkdir()
    kaldi.write(filled, folder / "out")
    return store


def records(path: Path) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines())


def matrices(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    return dict(kaldiio.load_scp("feats.scp"))


def test_kaldiio_reads_what_the_store_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = give(tmp_path)
    ids = records(tmp_path / "out" / "utt2id")
    found = matrices(tmp_path / "out", monkeypatch)
    assert found.keys() == ids.keys()
    for name, matrix in found.items():
        assert matrix.dtype == np.float32
        np.testing.assert_array_equal(matrix, store.stack(ids[name]).astype(np.float32))


def test_the_archive_can_be_read_without_its_index(tmp_path: Path) -> None:
    store = give(tmp_path)
    found = dict(kaldiio.load_ark(str(tmp_path / "out" / "feats.ark")))
    assert list(found) == list(records(tmp_path / "out" / "feats.scp"))
    np.testing.assert_array_equal(found["s1-u05"], store.stack("u05"))


def test_a_file_opens_from_elsewhere_by_the_offset_in_the_index(tmp_path: Path) -> None:
    store = give(tmp_path)
    place = records(tmp_path / "out" / "feats.scp")["s3-u11"]
    matrix = kaldiio.load_mat(str(tmp_path / "out" / place))
    np.testing.assert_array_equal(matrix, store.stack("u11"))


def test_the_lists_say_who_speaks_and_how(tmp_path: Path) -> None:
    give(tmp_path)
    lists = {path.name: records(path) for path in (tmp_path / "out").iterdir() if path.suffix != ".ark"}  # fmt: skip
    assert lists["utt2spk"]["s2-u06"] == "s2"
    assert lists["spk2utt"]["s2"] == "s2-u02 s2-u06 s2-u10"
    assert lists["utt2emo"]["s2-u02"] == "neutral"
    assert lists["utt2num_frames"]["s3-u11"] == "6"
    assert lists["spk2gender"] == {"s0": "m", "s1": "f", "s2": "m", "s3": "f"}


@pytest.mark.parametrize(
    ("speakers", "names", "ids"),
    [
        (["03", "08"], ["03a01Fa", "08a02N"], ["03a01Fa", "08a02N"]),
        (["s", "t"], ["a", "t-b"], ["s-a", "t-b"]),
        # "10b" would stand before "1a", and its speaker after.
        (["1", "10"], ["1a", "10b"], ["1-1a", "10-10b"]),
        (["", "10"], ["1a", "b"], ["10-b", "1a"]),
        (["ü", "z"], ["b", "a"], ["z-a", "ü-b"]),
    ],
)
def test_utterances_begin_with_their_speakers_and_sort_like_them(
    tmp_path: Path, speakers: list[str], names: list[str], ids: list[str]
) -> None:
    give(tmp_path, names, speaker=speakers)
    found = records(tmp_path / "out" / "utt2spk")
    assert list(found) == ids
    assert_valid(found)


def assert_valid(utt2spk: dict[str, str]) -> None:
    """Check what `utils/validate_data_dir.sh` does."""
    as_bytes = [(name.encode(), speaker.encode()) for name, speaker in utt2spk.items()]
    assert as_bytes == sorted(as_bytes)
    assert as_bytes == sorted(as_bytes, key=lambda pair: pair[::-1])
    assert all(name.startswith(speaker) for name, speaker in as_bytes)


def test_an_utterance_of_an_unknown_speaker_is_its_own(tmp_path: Path) -> None:
    give(tmp_path, speaker=["", "s"] * 6, gender=["female", ""] * 6)
    found = records(tmp_path / "out" / "utt2spk")
    assert {name for name in found if found[name] == name} == set(UTTERANCES[::2])
    assert {name for name in found if found[name] == "s"} == {f"s-{u}" for u in UTTERANCES[1::2]}
    assert records(tmp_path / "out" / "spk2gender") == dict.fromkeys(UTTERANCES[::2], "f")


def test_one_name_in_two_corpora_is_two_speakers(tmp_path: Path) -> None:
    give(tmp_path / "a", corpus=["emodb", "savee"] * 6, speaker="1", gender="")
    assert set(records(tmp_path / "a/out/spk2utt")) == {"emodb/1", "savee/1"}
    assert not (tmp_path / "a/out/spk2gender").exists()
    give(tmp_path / "b", corpus=["emodb", "savee"] * 6, speaker=["1", "2"] * 6)
    assert set(records(tmp_path / "b/out/spk2utt")) == {"1", "2"}


def test_a_gender_stands_only_where_it_is_certain(tmp_path: Path) -> None:
    genders = ["male", "Female", "other", "", "F", "f", "", "", "male", "F", "", ""]
    give(tmp_path, gender=genders)
    assert records(tmp_path / "out" / "spk2gender") == {"s1": "f"}


def test_a_missing_label_has_no_line_and_no_label_at_all_has_no_file(tmp_path: Path) -> None:
    give(tmp_path / "some", emotion=["", "joy"] * 6)
    found = records(tmp_path / "some/out/utt2emo")
    assert set(found) == {f"s{i % 4}-u{i:02}" for i in range(1, 12, 2)}
    give(tmp_path / "none", emotion="")
    assert not (tmp_path / "none/out/utt2emo").exists()


@pytest.mark.parametrize("name", [*BREAKING, *WITH_SPACE, "a\N{NO-BREAK SPACE}b", "a\x7f", "\x1cb"])
@pytest.mark.parametrize("column", ["utterance_id", "speaker", "emotion"])
def test_names_that_break_a_list_are_refused_by_name(name: str, column: str) -> None:
    manifest = rows_of(UTTERANCES)
    manifest.loc[3, column] = name
    remedy = "in the manifest" if column == "emotion" else "--anonymise"
    with pytest.raises(ExportError) as caught:
        kaldi._rows(manifest)
    assert f"{column} {name!r} cannot be a name in a Kaldi list" in str(caught.value)
    assert remedy in str(caught.value)


def test_names_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="and 1 more cannot be"):
        give(tmp_path, ["a b", "c\td", "e"])
    assert list((tmp_path / "out").iterdir()) == []


def test_names_without_blanks_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = WITHOUT_SPACE
    store = give(tmp_path, names, speaker=names, emotion=names)
    found = matrices(tmp_path / "out", monkeypatch)
    assert set(found) == set(names)
    for name in names:
        np.testing.assert_array_equal(found[name], store.stack(name))
    assert records(tmp_path / "out" / "utt2emo") == {name: name for name in names}


def test_anonymous_names_are_always_names(tmp_path: Path) -> None:
    names = [*HOSTILE, *BREAKING]
    filled, _ = content(tmp_path / "store", names, speaker=names, session=names)
    kaldi.write(anonymised(filled, b"salt"), tmp_path)
    found = records(tmp_path / "utt2spk")
    assert len(found) == len(names)
    assert_valid(found)


@pytest.mark.parametrize(
    ("speakers", "names", "match"),
    [
        (["a", "a-b"], ["b-c", "c"], "two utterances would be called 'a-b-c'"),
        (["s", ""], ["s-x", "s"], "'s' is a speaker, and an utterance without one"),
        (["a", "a!b"], ["x", "x"], "utterance 'a!b-x' of speaker 'a!b' sorts before 'a-x'"),
    ],
)
def test_names_that_kaldi_would_mix_up_are_refused(
    speakers: list[str], names: list[str], match: str
) -> None:
    with pytest.raises(ExportError, match=f"{match}.*--anonymise"):
        kaldi._rows(rows_of(names, speaker=speakers))


@given(
    st.lists(st.tuples(st.text("ab1-!é", min_size=1), st.text("ab1-!é")), min_size=1, unique_by=lambda pair: pair[0])
)  # fmt: skip
def test_whatever_is_not_refused_is_valid(rows: list[tuple[str, str]]) -> None:
    names, speakers = zip(*rows, strict=True)
    manifest = rows_of(names, speaker=list(speakers))
    try:
        found = kaldi._rows(manifest)
    except ExportError:
        return
    assert_valid(dict(zip(found["id"], found["kaldi_speaker"], strict=True)))
    assert found["id"].is_unique
    of_speakers = found.groupby("kaldi_speaker")["speaker"].nunique()
    assert (of_speakers == 1).all()
    unknown = found[found["speaker"] == ""]
    assert unknown["kaldi_speaker"].tolist() == unknown["utterance_id"].tolist()


def test_pooled_rows_are_matrices_of_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled, _ = content(tmp_path / "store", UTTERANCES)
    kaldi.write(pooled(filled), tmp_path)
    found = matrices(tmp_path, monkeypatch)
    np.testing.assert_array_equal(found["s3-u11"], pooled(filled).stack(11)[0])
    assert set(records(tmp_path / "utt2num_frames").values()) == {"1"}
