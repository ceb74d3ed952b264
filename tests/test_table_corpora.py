"""Corpora that come with tables: IEMOCAP, MELD, MSP-Podcast, each made small in its own layout."""

import csv
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.corpora.iemocap import COUNTS, SESSIONS, SPEAKERS, turn_fields
from stages.corpora.labels import CANONICAL
from stages.corpora.meld import speaker_of
from stages.corpora.msp_podcast import UNUSABLE
from stages.corpora.reader import CorpusError
from stages.corpora.table import reader
from stages.manifest import COLUMNS, read_manifest, validate, write_manifest

READERS = ["iemocap", "iemocap-improvised", "iemocap-5", "meld", "msp-podcast"]
every_reader = pytest.mark.parametrize("name", READERS)


def touch(folder: Path, *files: str) -> None:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(folder: Path, file: str, text: str | bytes) -> None:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def without_counts(problems: Iterable[str]) -> list[str]:
    return [text for text in problems if " utterances of " not in text]


# IEMOCAP


def evaluation(turns: Iterable[tuple[str, str]]) -> str:
    """One dialog's file, as the release has it: a header, then a block a turn."""
    blocks = [
        f"[6.2901 - 8.2357]\t{turn}\t{label}\t[2.5000, 3.0000, 3.5000]\n"
        "C-E2:\tNeutral;\t()\nC-F1:\tNeutral;\t(curious)\nA-E3:\tval 3; act 2; dom  2;\t()\n"
        for turn, label in turns
    ]
    return "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n" + "\n".join(blocks)


def iemocap(folder: Path, turns: Sequence[tuple[str, str]], *, audio: bool = True) -> None:
    ordered = sorted(turns)
    for dialog, group in itertools.groupby(ordered, key=lambda turn: turn[0].rpartition("_")[0]):
        session, said = f"Session{dialog[4]}", list(group)
        write(folder, f"{session}/dialog/EmoEvaluation/{dialog}.txt", evaluation(said))
        for turn, _ in said if audio else []:
            touch(folder, f"{session}/sentences/wav/{dialog}/{turn}.wav")


TURNS = [
    ("Ses01F_impro01_F000", "neu"),
    ("Ses01F_impro01_M000", "exc"),
    ("Ses03M_impro05a_F001", "hap"),
    ("Ses03M_impro05a_M003", "fru"),
    ("Ses05M_script01_1b_F010", "ang"),
    ("Ses05M_script03_2_M045", "sad"),
    ("Ses02F_script01_1_F000", "xxx"),
    ("Ses02F_script01_1_F001", "oth"),
]


def test_iemocap_is_read(tmp_path: Path) -> None:
    iemocap(tmp_path, TURNS)
    manifest, problems = reader("iemocap").read(tmp_path)
    columns = ["utterance_id", "speaker", "session", "gender", "emotion", "label"]
    assert manifest[columns].to_numpy().tolist() == [
        ["Ses01F_impro01_F000", "Ses01F", "Ses01", "female", "neutral", "neu"],
        ["Ses01F_impro01_M000", "Ses01M", "Ses01", "male", "happiness", "exc"],
        ["Ses03M_impro05a_F001", "Ses03F", "Ses03", "female", "happiness", "hap"],
        ["Ses05M_script01_1b_F010", "Ses05F", "Ses05", "female", "anger", "ang"],
        ["Ses05M_script03_2_M045", "Ses05M", "Ses05", "male", "sadness", "sad"],
    ]
    row = manifest.iloc[2]
    assert row["file"] == "Session3/sentences/wav/Ses03M_impro05a/Ses03M_impro05a_F001.wav"
    assert row[["valence", "activation", "dominance"]].tolist() == ["2.5000", "3.0000", "3.5000"]
    assert row["corpus"] == "iemocap"
    assert list(manifest.columns) == [*COLUMNS, "label", "valence", "activation", "dominance"]
    assert validate(manifest, root=tmp_path) == []
    assert without_counts(problems) == ["3 turn(s) left out for their label: fru 1, oth 1, xxx 1"]
    assert "1 utterances of anger; iemocap has 1103" in problems
    assert "2 utterances of Ses01; iemocap has 1085" in problems
    assert "1 utterances of Ses05M; iemocap has 651" in problems


def test_iemocap_improvised_leaves_scripts_out(tmp_path: Path) -> None:
    iemocap(tmp_path, TURNS)
    manifest, problems = reader("iemocap-improvised").read(tmp_path)
    assert manifest["utterance_id"].tolist() == [
        "Ses01F_impro01_F000", "Ses01F_impro01_M000", "Ses03M_impro05a_F001",
    ]  # fmt: skip
    assert without_counts(problems) == [
        "4 scripted turn(s) left out, the first: 'Ses02F_script01_1_F000'",
        "1 turn(s) left out for their label: fru 1",
    ]
    assert "1 utterances of neutral; iemocap-improvised has 1099" in problems


def test_iemocap_5_keeps_frustration(tmp_path: Path) -> None:
    iemocap(tmp_path, TURNS)
    manifest, problems = reader("iemocap-5").read(tmp_path)
    assert len(manifest) == 6
    frustrated = manifest[manifest["emotion"] == "frustration"]
    assert frustrated["utterance_id"].tolist() == ["Ses03M_impro05a_M003"]
    assert "1 utterances of frustration; iemocap-5 has 1849" in problems


@pytest.mark.parametrize(
    ("name", "total"), [("iemocap", 5531), ("iemocap-improvised", 2943), ("iemocap-5", 7380)]
)
def test_iemocap_counts_add_up(name: str, total: int) -> None:
    assert reader(name).n_utterances == total


def test_iemocap_counts_by_session_and_speaker_add_up() -> None:
    assert sum(SESSIONS.values()) == sum(SPEAKERS.values()) == sum(COUNTS.values()) == 5531
    for session, count in SESSIONS.items():
        assert SPEAKERS[f"{session}F"] + SPEAKERS[f"{session}M"] == count


def whole_iemocap() -> list[tuple[str, str]]:
    """Turns with the release's counts by speaker and label; 2750 by the one without markers."""
    labels = itertools.chain.from_iterable(
        [code] * count
        for code, count in [
            ("ang", 1103),
            ("hap", 595),
            ("exc", 1041),
            ("neu", 1708),
            ("sad", 1084),
        ]
    )
    turns, number = [], itertools.count()
    for speaker, count in SPEAKERS.items():
        session, who = speaker[:-1], speaker[-1]
        for i in range(count):
            wearer = "FM".replace(who, "") if next(number) < 2750 else who
            name = f"{session}{wearer}_script{i // 400 + 1:02d}_{i // 200 % 2}_{who}{i % 200:03d}"
            turns.append((name, next(labels)))
    return turns


def test_who_wears_the_markers_does_not_speak_for_2750_turns(tmp_path: Path) -> None:
    turns = whole_iemocap()
    assert sum(name[5] != name[-4] for name, _ in turns) == 2750
    iemocap(tmp_path, turns)
    manifest, problems = reader("iemocap").read(tmp_path)
    assert problems == []
    assert manifest["speaker"].value_counts().to_dict() == SPEAKERS
    assert manifest["emotion"].value_counts().to_dict() == COUNTS
    worn = manifest["utterance_id"].str[:6]
    assert (worn != manifest["speaker"]).sum() == 2750


def test_iemocap_tells_what_is_odd(tmp_path: Path) -> None:
    iemocap(tmp_path, [("Ses01F_impro01_F000", "neu"), ("Ses01F_impro01_FXX0", "ang")])
    folder = "Session1/dialog/EmoEvaluation"
    write(tmp_path, f"{folder}/._Ses01F_impro01.txt", evaluation([("Ses01F_impro09_F000", "neu")]))
    touch(tmp_path, "Session1/sentences/wav/Ses01F_impro09/Ses01F_impro09_F000.wav")
    write(tmp_path, f"{folder}/Categorical/Ses01F_impro01_cat.txt", evaluation([TURNS[1]]))
    write(tmp_path, f"{folder}/Self-evaluation/x.txt", "[junk]")
    more = (
        "[1.0 - 2.0]\tSes01F_impro01_F000\tang\t[1.0, 2.0, 3.0]\r\n"
        "[1.0 - 2.0]\tSes01F_impro01_F001\tang\t[1.0, 2.0]\n"
        "[1.0 - 2.0]\tSes01F_impro01_F002\tang\t[1.0, 2.0, 3.0]\n"
        "[1.0 - 2.0]\t../../../../etc/passwd\tang\t[1.0, 2.0, 3.0]\n"
        "[1.0 - 2.0]\tSes01"
    )
    write(tmp_path, f"{folder}/Ses01F_impro02.txt", more)
    manifest, problems = reader("iemocap").read(tmp_path)
    assert manifest["utterance_id"].tolist() == ["Ses01F_impro01_F000"]
    assert manifest["emotion"].tolist() == ["neutral"]
    assert without_counts(problems) == [
        (
            "2 line(s) of EmoEvaluation of another form left out, the first: "
            f"'{folder}/Ses01F_impro02.txt:2'"
        ),
        "2 turn(s) not named like Ses01F_impro01_F000 left out, the first: 'Ses01F_impro01_FXX0'",
        "1 turn(s) evaluated twice, taken once, the first: 'Ses01F_impro01_F000'",
        (
            "1 turn(s) without audio left out, the first: "
            "'Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F002.wav'"
        ),
    ]


def test_iemocap_may_lie_below_the_folder(tmp_path: Path) -> None:
    iemocap(tmp_path / "IEMOCAP_full_release", TURNS)
    manifest, _ = reader("iemocap").read(tmp_path)
    assert manifest["file"].str.startswith("IEMOCAP_full_release/Session").all()


def test_iemocap_without_audio_is_refused(tmp_path: Path) -> None:
    iemocap(tmp_path, TURNS, audio=False)
    with pytest.raises(CorpusError, match="none of the audio of 5 turns; expected DIR/Session1"):
        reader("iemocap").read(tmp_path)


DIALOG = st.one_of(
    st.builds("impro{:02d}{}".format, st.integers(1, 8), st.sampled_from(["", "a", "b"])),
    st.builds(
        "script{:02d}_{}{}".format,
        st.integers(1, 3), st.integers(1, 3), st.sampled_from(["", "b"]),
    ),
)  # fmt: skip


@given(st.integers(1, 5), st.sampled_from("FM"), DIALOG, st.sampled_from("FM"), st.integers(0, 999))
def test_a_turns_name_says_who_speaks_and_not_who_wears_the_markers(
    session: int, wearer: str, dialog: str, who: str, number: int
) -> None:
    assert turn_fields(f"Ses0{session}{wearer}_{dialog}_{who}{number:03d}") == {
        "session": f"Ses0{session}",
        "speaker": f"Ses0{session}{who}",
        "gender": {"F": "female", "M": "male"}[who],
    }


@pytest.mark.parametrize(
    "name",
    [
        "", "Ses06F_impro01_F000", "Ses01F_impro01_FXX0", "Ses01X_impro01_F000", "Ses01F_impro1_F000",
        "Ses01F_impro01_F00", "Ses01F_script01_F000", "ses01F_impro01_F000", "Ses01F_impro01_F000\n",
        "Ses01F_impro01_F\u0660\u0660\u0660",
    ],
)  # fmt: skip
def test_what_is_no_turn_is_refused(name: str) -> None:
    with pytest.raises(CorpusError, match="expected a name such as Ses01F_impro01_F000"):
        turn_fields(name)


# MELD

MELD_HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season"


def meld_table(*rows: tuple[str, str, str, int, int], encoding: str = "utf-8") -> bytes:
    lines = [MELD_HEADER]
    for i, (words, speaker, emotion, dialogue, utterance) in enumerate(rows):
        quoted = words.replace('"', '""')
        lines.append(f'{i},"{quoted}","{speaker}",{emotion},x,{dialogue},{utterance},4')
    return "\r\n".join([*lines, ""]).encode(encoding)


def meld(folder: Path) -> None:
    """The published archive, with its own folders, one table in another encoding."""
    train = [
        ("He\u2019s \u201clost\u201d it.", "Phoebe", "sadness", 0, 0),
        ('"Wanted." Nice!', "Mr. Geller", "joy", 0, 1),
        ("Hey!", "All", "joy", 0, 2),
        ("More,\ncoffee?", "Joey\u2019s Waiter", "neutral", 1, 0),
    ]
    write(folder, "train/train_sent_emo.csv", meld_table(*train, encoding="cp1252"))
    write(folder, "dev_sent_emo.csv", meld_table(("Oh", "Ross", "Surprise", 0, 0)))
    write(folder, "test_sent_emo.csv", meld_table(("Ugh", "JOEY", "disgust", 0, 0)))
    touch(folder, *(f"train/train_splits/dia{d}_utt{u}.wav" for d, u in [(0, 0), (0, 1), (0, 2)]))
    touch(folder, "train/train_splits/dia1_utt0.wav", "train/train_splits/dia0_utt0.mp4")
    touch(folder, "dev_splits_complete/dia0_utt0.wav", "output_repeated_splits_test/dia0_utt0.wav")


def test_meld_is_read(tmp_path: Path) -> None:
    meld(tmp_path)
    manifest, problems = reader("meld").read(tmp_path)
    columns = ["utterance_id", "file", "speaker", "gender", "emotion", "split", "character"]
    assert manifest[columns].to_numpy().tolist() == [
        ["dev_dia0_utt0", "dev_splits_complete/dia0_utt0.wav",
         "Ross", "male", "surprise", "dev", "Ross"],
        ["test_dia0_utt0", "output_repeated_splits_test/dia0_utt0.wav",
         "Joey", "male", "disgust", "test", "JOEY"],
        ["train_dia0_utt0", "train/train_splits/dia0_utt0.wav",
         "Phoebe", "female", "sadness", "train", "Phoebe"],
        ["train_dia0_utt1", "train/train_splits/dia0_utt1.wav",
         "Mr. Geller", "", "happiness", "train", "Mr. Geller"],
        ["train_dia0_utt2", "train/train_splits/dia0_utt2.wav",
         "", "", "happiness", "train", "All"],
        ["train_dia1_utt0", "train/train_splits/dia1_utt0.wav",
         "", "", "neutral", "train", "Joey\u2019s Waiter"],
    ]  # fmt: skip
    assert without_counts(problems) == []
    assert "2 utterances of happiness; meld has 2308" in problems
    assert "4 utterances of train; meld has 9989" in problems
    assert validate(manifest, root=tmp_path) == []


def test_meld_tells_what_is_odd(tmp_path: Path) -> None:
    rows = [
        ("a", "Ross", "joy", 3, 1),
        ("again", "Ross", "anger", 3, 1),
        ("gone", "Ross", "joy", 125, 3),
        ("b", "Ross", "awe", 3, 2),
    ]
    write(tmp_path, "train_sent_emo.csv", meld_table(*rows))
    write(tmp_path, "dev_sent_emo.csv", MELD_HEADER + "\n1,x,Ross,joy,y,one,2,4\n")
    touch(tmp_path, "train/dia3_utt1.wav", "train/._dia3_utt1.wav", "train/dia9_utt9.wav")
    touch(tmp_path, "copy/train/dia3_utt1.wav", "dia3_utt1.wav", "train/song.wav")
    manifest, problems = reader("meld").read(tmp_path)
    assert manifest["file"].tolist() == ["copy/train/dia3_utt1.wav"]
    assert without_counts(problems) == [
        "no test_sent_emo.csv, test is left out",
        (
            "2 audio file(s) not named like train_splits/dia0_utt0.wav left out, the first: "
            "'dia3_utt1.wav'"
        ),
        (
            "1 audio file(s) there already in another folder left out, the first: "
            "'train/dia3_utt1.wav'"
        ),
        (
            "2 row(s) whose numbers are none, or were there before, left out, the first: "
            "'train_sent_emo.csv: 3, 1'"
        ),
        "1 row(s) left out for their label: 'awe' 1",
        "1 utterance(s) without audio left out, the first: 'train_dia125_utt3'",
        "1 audio file(s) that no table names left out, the first: 'train/dia9_utt9.wav'",
    ]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (MELD_HEADER + "\n1,x,Ross,joy,y,1\n", "row of another length .* line 2"),
        (MELD_HEADER + '\n1,"x,Ross,joy,y,1,2,4\n', "is no CSV file at line 2"),
        ("a,b\n1,2\n", r"lacks the columns \['Dialogue_ID'"),
        ("", "lacks the columns"),
    ],
)
def test_a_meld_table_that_is_cut_off_is_refused(tmp_path: Path, content: str, match: str) -> None:
    write(tmp_path, "train_sent_emo.csv", content)
    with pytest.raises(CorpusError, match=match):
        reader("meld").read(tmp_path)


def test_meld_without_sound_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, "train_sent_emo.csv", meld_table(("a", "Ross", "joy", 0, 0)))
    touch(tmp_path, "train_splits/dia0_utt0.mp4")
    with pytest.raises(CorpusError, match="take the sound out of the films"):
        reader("meld").read(tmp_path)


@pytest.mark.parametrize(
    ("character", "speaker"),
    [
        ("Ross", "Ross"), (" rachel ", "Rachel"), ("Gunther", "Gunther"), ("Dr. Harad", "Dr. Harad"),
        ("Mrs. Green", "Mrs. Green"), ("Sandra", "Sandra"),
        ("All", ""), ("Everybody", ""), ("Ross and Joey", ""), ("Monica/Rachel", ""),
        ("Chandler, Joey", ""), ("Phoebe & Ross", ""), ("The Girls", ""), ("Both", ""),
        ("Waiter", ""), ("Another Woman", ""), ("The Fireman", ""), ("Guy #1", ""), ("Nurse 2", ""),
        ("Joey's Doctor", ""), ("Ross\u2019 Neighbour", ""), ("", ""), ("Casting Director", ""),
    ],
)  # fmt: skip
def test_only_named_characters_are_speakers(character: str, speaker: str) -> None:
    assert speaker_of(character) == speaker


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["train", "dev", "test"]), st.integers(0, 10**6), st.integers(0, 99), st.data()
)
def test_numbers_of_meld_go_into_names_and_back(
    tmp_path_factory: pytest.TempPathFactory, split: str, d: int, u: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("meld")
    write(folder, f"{split}_sent_emo.csv", meld_table(("a", "Ross", "joy", d, u)))
    zeros = "0" * data.draw(st.integers(0, 2))
    touch(folder, f"{split}/dia{zeros}{d}_utt{u}.wav")
    manifest, _ = reader("meld").read(folder)
    assert manifest["utterance_id"].tolist() == [f"{split}_dia{d}_utt{u}"]


# MSP-Podcast

MSP_COLUMNS = (
    "FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set",
)  # fmt: skip


def msp(folder: Path, rows: Sequence[tuple[str, str, str, str]], *, name: str, audio: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(MSP_COLUMNS)
        for file_name, label, speaker, gender in rows:
            table.writerow([file_name, label, "5.2", "3.1", "4.4", speaker, gender, "Train"])
            touch(folder, f"{audio}/{file_name.rpartition('/')[2]}")


@pytest.mark.parametrize(
    ("name", "audio"),
    [
        ("Labels/labels_consensus.csv", "Audios"),
        ("Labels/labels_concensus.csv", "Audio"),
        ("labels_consensus.csv", "Audios"),
    ],
)
def test_msp_podcast_is_read(tmp_path: Path, name: str, audio: str) -> None:
    rows = [
        ("MSP-PODCAST_0001_0008.wav", "N", "127", "Male"),
        ("MSP-PODCAST_0001_0019.wav", "U", "Unknown", "Unknown"),
        ("MSP-PODCAST_0002_0001.wav", "C", "Unknown", "Female"),
        ("MSP-PODCAST_0002_0002.wav", "O", "", ""),
        ("MSP-PODCAST_0002_0003.wav", "X", "127", "Male"),
        (UNUSABLE, "H", "5", "Male"),
    ]
    msp(tmp_path, rows, name=name, audio=audio)
    manifest, problems = reader("msp-podcast").read(tmp_path)
    columns = ["utterance_id", "file", "speaker", "gender", "emotion", "split", "valence"]
    assert manifest[columns].to_numpy().tolist() == [
        [stem, f"{audio}/{stem}.wav", speaker, gender, emotion, "Train", "3.1"]
        for stem, speaker, gender, emotion in [
            ("MSP-PODCAST_0001_0008", "127", "male", "neutral"),
            ("MSP-PODCAST_0001_0019", "", "", "surprise"),
            ("MSP-PODCAST_0002_0001", "", "female", "contempt"),
            ("MSP-PODCAST_0002_0002", "", "", "other"),
        ]
    ]
    assert problems == [
        f"1 file(s) left out as unusable: stereo, 44.1 kHz, the first: '{UNUSABLE}'",
        "1 turn(s) left out for want of agreement",
        "3 turn(s) have no known speaker",
    ]


def test_msp_podcast_tells_what_is_odd(tmp_path: Path) -> None:
    rows = [
        ("a.wav", "A", "1", "Male"),
        ("a.wav", "S", "1", "Male"),
        ("../../secret.wav", "S", "1", "Male"),
        ("b.wav", "Q", "1", "Male"),
        ("gone.wav", "S", "1", "Male"),
    ]
    msp(tmp_path, rows, name="Labels/labels_consensus.csv", audio="Audios")
    (tmp_path / "Audios" / "gone.wav").unlink()
    manifest, problems = reader("msp-podcast").read(tmp_path)
    assert manifest[["utterance_id", "emotion"]].to_numpy().tolist() == [["a", "anger"]]
    assert problems == [
        "2 row(s) whose file is none, or was there before, left out, the first: 'a.wav'",
        "1 turn(s) left out for their label: 'Q' 1",
        "1 turn(s) without audio left out, the first: 'Audios/gone.wav'",
    ]


def test_msp_podcast_without_its_audio_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "Labels/labels_consensus.csv", ",".join(MSP_COLUMNS) + "\n")
    with pytest.raises(CorpusError, match="holds no folder of audio; expected DIR/Labels"):
        reader("msp-podcast").read(tmp_path)
    touch(tmp_path, "Audios/other.wav")
    with pytest.raises(CorpusError, match="holds none of the 0 labelled turns"):
        reader("msp-podcast").read(tmp_path)


HOSTILE = ['a,"b"', "=cmd()", "<script>", "日本", "x" * 200, "two words"]


@pytest.mark.parametrize("stem", HOSTILE)
def test_hostile_names_of_msp_podcast_survive_the_manifest(tmp_path: Path, stem: str) -> None:
    rows = [(f"{stem}.wav", "A", stem, "Male")]
    msp(tmp_path, rows, name="Labels/labels_consensus.csv", audio="Audios")
    manifest, _ = reader("msp-podcast").read(tmp_path)
    write_manifest(manifest, tmp_path / "m.csv")
    again = read_manifest(tmp_path / "m.csv")
    assert again[["utterance_id", "speaker"]].to_numpy().tolist() == [[stem, stem]]
    pd.testing.assert_frame_equal(again, manifest)


# All of them


@every_reader
def test_readers_say_what_may_be_done_with_the_corpus(name: str) -> None:
    entry = reader(name)
    assert entry.sharing == ("unclear" if name == "meld" else "forbidden")
    assert entry.language == "en"
    assert set(entry.classes) <= set(CANONICAL)


@every_reader
def test_a_wrong_folder_is_told_what_was_expected(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "wav/03a01Fa.wav", "readme.txt")
    with pytest.raises(CorpusError, match=r"holds no .*; expected DIR/.*; check the path"):
        reader(name).read(tmp_path)
