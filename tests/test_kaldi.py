"""Kaldi data directories become a manifest, or a line that says what is wrong."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.corpora.reader import CorpusError
from stages.corpora.table import reader
from stages.manifest import ManifestError
from tests.layouts import cells, touch, write


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
