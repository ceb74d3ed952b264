"""Readers by file names, each on a tiny corpus in its exact layout; the expected rows stand beside."""

import csv
import re
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages.corpora.named_files import NamedFiles
from stages.corpora.reader import CorpusError
from stages.corpora.table import READERS, reader
from stages.frontend.audio import AudioError, read_blocks
from stages.manifest import COLUMNS, read_manifest, validate, write_manifest

NAMED = {name: each for name, each in READERS.items() if isinstance(each, NamedFiles)}
every_named = pytest.mark.parametrize("name", NAMED)

# name: further columns; then a line a file: path | utterance_id speaker gender emotion and those.
TINY = {
    "cafe": """ intensity sentence
        Colère/Faible/01-C-1-1.wav   | 01-C-1-1 01 male   anger     low  1
        Dégoût/Fort/02-D-2-2.wav     | 02-D-2-2 02 female disgust   high 2
        Joie/Faible/03-J-1-3.aiff    | 03-J-1-3 03 male   happiness low  3
        Neutre/04-N-4.wav            | 04-N-4   04 female neutral   -    4
        Peur/Fort/06-P-2-5.wav       | 06-P-2-5 06 female fear      high 5
        Surprise/Faible/11-S-1-6.AIF | 11-S-1-6 11 male   surprise  low  6
        Tristesse/Fort/12-T-2-1.wav  | 12-T-2-1 12 female sadness   high 1
    """,
    "cremad": """ intensity sentence
        AudioWAV/1001_DFA_ANG_XX.wav | 1001_DFA_ANG_XX 1001 male   anger     -      DFA
        AudioWAV/1001_IEO_DIS_LO.wav | 1001_IEO_DIS_LO 1001 male   disgust   low    IEO
        AudioWAV/1002_IEO_FEA_MD.wav | 1002_IEO_FEA_MD 1002 female fear      medium IEO
        AudioWAV/1002_IEO_HAP_HI.wav | 1002_IEO_HAP_HI 1002 female happiness high   IEO
        AudioWAV/1002_WSI_NEU_XX.wav | 1002_WSI_NEU_XX 1002 female neutral   -      WSI
        AudioWAV/1040_ITH_SAD_X.wav  | 1040_ITH_SAD_X  1040 male   sadness   -      ITH
    """,
    "emodb": """
        wav/03a01Fa.wav | 03a01Fa 03 male   happiness
        wav/03a02Wc.wav | 03a02Wc 03 male   anger
        wav/08a07La.wav | 08a07La 08 female boredom
        wav/08b01Eb.wav | 08b01Eb 08 female disgust
        wav/09b10Ad.wav | 09b10Ad 09 female fear
        wav/15a04N.wav  | 15a04N  15 male   neutral
        wav/16b03Td.wav | 16b03Td 16 female sadness
    """,
    "emovo": """ sentence
        EMOVO/f1/dis-f1-b1.wav | dis-f1-b1 f1 female disgust   b1
        EMOVO/f2/gio-f2-l4.wav | gio-f2-l4 f2 female happiness l4
        EMOVO/f3/neu-f3-n5.wav | neu-f3-n5 f3 female neutral   n5
        EMOVO/m1/pau-m1-d2.wav | pau-m1-d2 m1 male   fear      d2
        EMOVO/m2/rab-m2-b3.wav | rab-m2-b3 m2 male   anger     b3
        EMOVO/m2/sor-m2-n1.wav | sor-m2-n1 m2 male   surprise  n1
        EMOVO/m3/tri-m3-l1.wav | tri-m3-l1 m3 male   sadness   l1
    """,
    "enterface": """ sentence
        subject 1/anger/sentence 1/s1_an_1.wav         | s1_an_1  s1  - anger     1
        subject 11/disgust/sentence 5/s12_di_5.wav     | s11_di_5 s11 - disgust   5
        subject 12/disgust/sentence 5/s12_di_5.wav     | s12_di_5 s12 - disgust   5
        subject 16/surprise/sentence 3/s16_su_3avi.wav | s16_su_3 s16 - surprise  3
        subject 3/fear/sentence 4/s3_fe_4.avi.wav      | s3_fe_4  s3  - fear      4
        subject 3/happiness/sentence 2/s_3_ha_2.wav    | s3_ha_2  s3  - happiness 2
        subject 44/sadness/sentence 2/s44_sa_2.wav     | s44_sa_2 s44 - sadness   2
    """,
    "esd": """ language
        0001/Angry/0001_000351.wav            | 0001_000351 0001 female anger     zh
        0010/Happy/train/0010_000751.wav      | 0010_000751 0010 male   happiness zh
        0011/Neutral/evaluation/0011_000001.wav | 0011_000001 0011 male neutral   en
        0015/Sad/test/0015_001051.wav         | 0015_001051 0015 female sadness   en
        0020/Surprise/0020_001750.wav         | 0020_001750 0020 male   surprise  en
    """,
    "esd-english": """ language
        0011/Angry/0011_000351.wav        | 0011_000351 0011 male   anger     en
        0015/Happy/train/0015_000751.wav  | 0015_000751 0015 female happiness en
        0016/Neutral/0016_000001.wav      | 0016_000001 0016 female neutral   en
        0019/Sad/test/0019_001051.wav     | 0019_001051 0019 female sadness   en
        0020/Surprise/0020_001750.wav     | 0020_001750 0020 male   surprise  en
    """,
    "ravdess": """ channel intensity sentence repetition
        Actor_01/03-01-01-01-01-01-01.wav | 03-01-01-01-01-01-01 01 male   neutral   speech normal 01 01
        Actor_02/03-01-02-01-01-02-02.wav | 03-01-02-01-01-02-02 02 female calm      speech normal 01 02
        Actor_03/03-01-03-02-02-01-03.wav | 03-01-03-02-02-01-03 03 male   happiness speech strong 02 01
        Actor_04/03-01-04-01-01-01-04.wav | 03-01-04-01-01-01-04 04 female sadness   speech normal 01 01
        Actor_09/03-01-05-02-01-01-09.wav | 03-01-05-02-01-01-09 09 male   anger     speech strong 01 01
        Actor_12/03-01-06-01-02-01-12.wav | 03-01-06-01-02-01-12 12 female fear      speech normal 02 01
        Actor_20/03-01-07-01-02-02-20.wav | 03-01-07-01-02-02-20 20 female disgust   speech normal 02 02
        Actor_24/03-01-08-02-02-02-24.wav | 03-01-08-02-02-02-24 24 female surprise  speech strong 02 02
    """,
    "ravdess-song": """ channel intensity sentence repetition
        Actor_01/03-02-01-01-01-01-01.wav | 03-02-01-01-01-01-01 01 male   neutral   song normal 01 01
        Actor_02/03-02-02-01-01-02-02.wav | 03-02-02-01-01-02-02 02 female calm      song normal 01 02
        Actor_03/03-02-03-02-02-01-03.wav | 03-02-03-02-02-01-03 03 male   happiness song strong 02 01
        Actor_04/03-02-04-01-01-01-04.wav | 03-02-04-01-01-01-04 04 female sadness   song normal 01 01
        Actor_09/03-02-05-02-01-01-09.wav | 03-02-05-02-01-01-09 09 male   anger     song strong 01 01
        Actor_12/03-02-06-01-02-01-12.wav | 03-02-06-01-02-01-12 12 female fear      song normal 02 01
    """,
    "savee": """
        AudioData/DC/a01.wav  | DC_a01  DC male anger
        AudioData/DC/sa15.wav | DC_sa15 DC male sadness
        AudioData/JE/d02.wav  | JE_d02  JE male disgust
        AudioData/JE/su03.wav | JE_su03 JE male surprise
        AudioData/JK/f04.wav  | JK_f04  JK male fear
        AudioData/KL/h05.wav  | KL_h05  KL male happiness
        AudioData/KL/n30.wav  | KL_n30  KL male neutral
    """,
    "shemo": """
        female/F02S05.wav | F02S05 F02 female sadness
        female/F21N23.wav | F21N23 F21 female neutral
        female/F21W09.wav | F21W09 F21 female surprise
        male/M02H14.wav   | M02H14 M02 male   happiness
        male/M12A42.wav   | M12A42 M12 male   anger
        male/M21F01.wav   | M21F01 M21 male   fear
    """,
    "subesco": """ sentence repetition
        F_01_OISHI_S_10_ANGRY_1.wav     | F_01_OISHI_S_10_ANGRY_1    F_01 female anger     10 1
        F_02_MONIKA_S_2_SURPRISE_3].wav | F_02_MONIKA_S_2_SURPRISE_3 F_02 female surprise  2  3
        F_10_FAHMEE_S_6_FEAR_5.wav      | F_10_FAHMEE_S_6_FEAR_5     F_10 female fear      6  5
        M_01_BASHIR_S_1_SAD_5.wav       | M_01_BASHIR_S_1_SAD_5      M_01 male   sadness   1  5
        M_08_PRASUN_S_2_NEUTRAL_2.wav   | M_08_PRASUN_S_2_NEUTRAL_2  M_08 male   neutral   2  2
        M_10_EVAN_S_3_HAPPY_4.wav       | M_10_EVAN_S_3_HAPPY_4      M_10 male   happiness 3  4
        M_10_EVAN_S_8_DISGUST_2.wav     | M_10_EVAN_S_8_DISGUST_2    M_10 male   disgust   8  2
    """,
    "tess": """ sentence
        OAF_Fear/OAF_lid_fear.wav             | OAF_lid_fear     OAF female fear      lid
        OAF_Pleasant_surprise/OAF_nice_ps.wav | OAF_nice_ps      OAF female surprise  nice
        OAF_angry/OAF_back_angry.wav          | OAF_back_angry   OAF female anger     back
        OAF_neutral/OA_bite_neutral.wav       | OAF_bite_neutral OAF female neutral   bite
        YAF_disgust/YAF_dog_disgust.wav       | YAF_dog_disgust  YAF female disgust   dog
        YAF_happy/YAF_good_happy.wav          | YAF_good_happy   YAF female happiness good
        YAF_sad/YAF_king_sad.wav              | YAF_king_sad     YAF female sadness   king
    """,
    "urdu": """
        Angry/SM1_F10_A010.wav   | SM1_F10_A010  SM1  male   anger
        Happy/SF1_F12_H012.wav   | SF1_F12_H012  SF1  female happiness
        Neutral/SM5_F61_N089.wav | SM5_F61_N089  SM5  male   neutral
        Sad/SM24_F38_S0100.wav   | SM24_F38_S0100 SM24 male  sadness
    """,
}  # fmt: skip
SEXES = 'ActorID,Age,Sex\n1001,51,"Male"\n1002,21,"Female"\n1040,42,"Male"\n'
CORPUS = {"esd-english": "esd", "ravdess-song": "ravdess"}


def expected(name: str) -> pd.DataFrame:
    """Read the rows that a tiny corpus must give."""
    header, *lines = TINY[name].splitlines()
    columns = ["utterance_id", "speaker", "gender", "emotion", *header.split()]
    rows = []
    for line in filter(str.strip, lines):
        file, cells = line.split(" | ")
        values = ["" if cell == "-" else cell for cell in cells.split()]
        rows.append({"file": file.strip(), **dict(zip(columns, values, strict=True))})
    return pd.DataFrame(rows)


def touch(folder: Path, *files: str) -> None:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def make(name: str, folder: Path) -> pd.DataFrame:
    """Lay a tiny corpus into a folder; returns the rows that it must give."""
    rows = expected(name)
    touch(folder, *rows["file"])
    if name == "cremad":
        (folder / "VideoDemographics.csv").write_text(SEXES)
    return rows


def test_every_reader_by_names_has_a_tiny_corpus() -> None:
    assert sorted(TINY) == sorted(NAMED)


@every_named
def test_a_tiny_corpus_gives_exactly_the_expected_rows(name: str, tmp_path: Path) -> None:
    rows = make(name, tmp_path)
    manifest, problems = reader(name).read(tmp_path)
    assert not [problem for problem in problems if "left out" in problem]
    assert list(manifest.columns)[: len(COLUMNS)] == list(COLUMNS)
    assert set(manifest["corpus"]) == {CORPUS.get(name, name)}
    assert set(manifest["session"]) == {""}
    assert set(manifest["emotion"]) == set(reader(name).classes)
    pd.testing.assert_frame_equal(manifest[list(rows)], rows)
    assert set(manifest.columns) == {*COLUMNS, *rows}
    assert validate(manifest, root=tmp_path) == []
    write_manifest(manifest, tmp_path / "m.csv")
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "m.csv"), manifest)


@every_named
def test_counts_that_differ_from_the_published_ones_are_told(name: str, tmp_path: Path) -> None:
    found = Counter(make(name, tmp_path)["emotion"])
    _, problems = reader(name).read(tmp_path)
    told = [problem for problem in problems if "; " + name + " has " in problem]
    known = {each: count for each, count in NAMED[name].counts.items() if count is not None}
    wanted = [f"{found[each]} utterances of {each}; {name} has {n}" for each, n in known.items()]
    if NAMED[name].total is not None:
        wanted.append(f"{found.total()} utterances; {name} has {NAMED[name].total}")
    assert told == wanted
    assert told


@every_named
def test_a_recording_in_a_second_folder_is_taken_once_and_told(name: str, tmp_path: Path) -> None:
    rows = make(name, tmp_path)
    touch(tmp_path, *("zz/" + file for file in rows["file"]))
    manifest, problems = reader(name).read(tmp_path)
    assert manifest["file"].tolist() == rows["file"].tolist()
    told = f"{len(rows)} audio file(s) there already in another folder, left out, the first: 'zz/"
    assert [problem for problem in problems if problem.startswith(told)]


@every_named
def test_a_folder_of_other_files_gets_an_error_that_says_what_was_expected(
    name: str, tmp_path: Path
) -> None:
    touch(tmp_path, "song.wav", "notes.txt", "interview 1.wav")
    with pytest.raises(CorpusError) as caught:
        reader(name).read(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path} holds no wav")
    for words in [NAMED[name].example, f"expected {NAMED[name].layout}", "check the path"]:
        assert words in message
    assert "\n" not in message


@every_named
def test_hostile_names_are_told_and_left_out(name: str, tmp_path: Path) -> None:
    rows = make(name, tmp_path)
    hostile = ["a,b.wav", 'say "x".wav', "two\nlines.wav", "=cmd().wav", "<script>.wav", "ü" * 120]
    touch(tmp_path / "0", *hostile, "n" * 251 + ".wav", "._" + PurePosixPath(rows["file"][0]).name)
    manifest, problems = reader(name).read(tmp_path)
    assert manifest["file"].tolist() == rows["file"].tolist()
    assert re.match(r"6 audio file\(s\) not named like .*, left out, the first: '0/", problems[0])
    assert not any("\n" in problem for problem in problems)


@every_named
def test_a_folder_may_be_called_anything(name: str, tmp_path: Path) -> None:
    folder = tmp_path / 'x, "y"\n=cmd() <script>' / "ü"
    rows = make(name, folder)
    manifest, _ = reader(name).read(folder.parent)
    assert manifest["utterance_id"].tolist() == rows["utterance_id"].tolist()
    assert manifest["file"].tolist() == ["ü/" + file for file in rows["file"]]
    write_manifest(manifest, tmp_path / "m.csv")
    again = read_manifest(tmp_path / "m.csv", audio=folder.parent)
    pd.testing.assert_frame_equal(again, manifest)


def test_paths_that_are_no_utf_8_are_told_and_left_out(tmp_path: Path) -> None:
    # An archive from elsewhere, unpacked without a word about its encoding.
    touch(tmp_path, "Col\udce8re/01-C-1-1.wav")
    with pytest.raises(CorpusError, match=r"the first: 'Col\\udce8re/.*names must be UTF-8"):
        reader("cafe").read(tmp_path)
    rows = make("cafe", tmp_path)
    manifest, problems = reader("cafe").read(tmp_path)
    assert manifest["file"].tolist() == rows["file"].tolist()
    assert problems[0].startswith("1 audio file(s) whose path is not UTF-8, left out, the first: ")


def test_ravdess_leaves_song_and_other_modalities_out_and_says_so(tmp_path: Path) -> None:
    speech, song = make("ravdess", tmp_path), make("ravdess-song", tmp_path)
    other = "Actor_01/01-01-01-01-01-01-01.wav"
    touch(tmp_path, other, "Actor_01/02-01-01-01-01-01-01.mp4")
    manifest, problems = reader("ravdess").read(tmp_path)
    assert manifest["file"].tolist() == speech["file"].tolist()
    assert problems[:2] == [
        f"1 audio file(s) not named like {NAMED['ravdess'].example}, left out, the first: {other!r}",
        f"6 audio file(s) of another part of the corpus, left out, the first: {song['file'][0]!r}",
    ]
    manifest, _ = reader("ravdess-song").read(tmp_path)
    assert manifest["file"].tolist() == song["file"].tolist()
    assert set(manifest["corpus"]) == {"ravdess"}


def test_cremad_tells_of_the_clip_without_sound_and_keeps_it(tmp_path: Path) -> None:
    make("cremad", tmp_path)
    silent = tmp_path / "AudioWAV" / "1076_MTI_SAD_XX.wav"
    soundfile.write(silent, np.zeros(0, np.float32), 16000)
    manifest, problems = reader("cremad").read(tmp_path)
    assert "1076_MTI_SAD_XX" in manifest["utterance_id"].tolist()
    flaw = "1076_MTI_SAD_XX: holds no sound in the published corpus; 'extract' will quarantine it"
    assert flaw in problems
    with pytest.raises(AudioError) as caught:
        list(read_blocks(silent, sample_rate=16000))
    assert caught.value.code == "empty"


def test_cremad_finds_the_actors_sex_beside_the_folder_of_wav_files(tmp_path: Path) -> None:
    make("cremad", tmp_path)
    manifest, problems = reader("cremad").read(tmp_path / "AudioWAV")
    genders = dict(zip(manifest["speaker"], manifest["gender"], strict=True))
    assert genders == {"1001": "male", "1002": "female", "1040": "male"}
    assert not any("gender" in problem for problem in problems)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (None, "no VideoDemographics.csv: gender left empty"),
        (b"", "has no columns ActorID and Sex: gender left empty"),
        (b"Actor,Gender\n1001,Male\n", "has no columns ActorID and Sex: gender left empty"),
        (b"ActorID,Sex\n1001\n1002,?\n", "has no columns ActorID and Sex: gender left empty"),
        (b"ActorID,Sex\n1001,\xe9\n", "does not read as CSV"),
        (b'ActorID,Sex\n"' + b"x" * 200_000, "does not read as CSV"),
    ],
)
def test_cremad_without_a_good_table_leaves_gender_empty_and_says_so(
    table: bytes | None, told: str, tmp_path: Path
) -> None:
    csv.field_size_limit(131_072)  # Python's own; a library that other tests import raises it
    make("cremad", tmp_path)
    (tmp_path / "VideoDemographics.csv").unlink()
    if table is not None:
        (tmp_path / "VideoDemographics.csv").write_bytes(table)
    manifest, problems = reader("cremad").read(tmp_path)
    assert set(manifest["gender"]) == {""}
    assert len([problem for problem in problems if told in problem]) == 1


def test_savee_knows_both_layouts_as_the_same_recordings(tmp_path: Path) -> None:
    rows = make("savee", tmp_path)
    flat = [f"{name}.wav" for name in rows["utterance_id"]]
    touch(tmp_path / "flat", *flat)
    manifest, _ = reader("savee").read(tmp_path / "flat")
    assert manifest["file"].tolist() == sorted(flat)
    columns = ["utterance_id", "speaker", "gender", "emotion"]
    pd.testing.assert_frame_equal(manifest[columns], rows[columns])
    manifest, _ = reader("savee").read(tmp_path)
    assert manifest["file"].tolist() == rows["file"].tolist()


def test_tess_takes_a_name_and_its_misspelt_copy_for_one_recording(tmp_path: Path) -> None:
    touch(tmp_path, "OAF_bite_neutral.wav", "OA_bite_neutral.wav")
    manifest, problems = reader("tess").read(tmp_path)
    assert manifest["utterance_id"].tolist() == ["OAF_bite_neutral"]
    assert "there already" in problems[0]


def test_enterface_asks_for_sound_where_there_is_only_video(tmp_path: Path) -> None:
    touch(tmp_path, "subject 1/anger/sentence 1/s1_an_1.avi")
    with pytest.raises(CorpusError, match=r"the sound of each \.avi as a \.wav beside it"):
        reader("enterface").read(tmp_path)


def test_enterface_leaves_sessions_that_were_never_cut_out(tmp_path: Path) -> None:
    make("enterface", tmp_path)
    touch(tmp_path, "subject 6/anger/s6_an.wav", "subject 1/anger/sentence 1/s1_an_1.avi")
    manifest, problems = reader("enterface").read(tmp_path)
    assert "s6" not in set(manifest["speaker"])
    assert problems[0].endswith("left out, the first: 'subject 6/anger/s6_an.wav'")


def test_enterface_without_folders_believes_the_names(tmp_path: Path) -> None:
    touch(tmp_path, "s12_di_5.wav", "s_3_ha_2.wav")
    manifest, _ = reader("enterface").read(tmp_path)
    assert manifest["speaker"].tolist() == ["s12", "s3"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_esd_without_emotion_folders_goes_by_the_speakers_tables(
    encoding: str, tmp_path: Path
) -> None:
    touch(tmp_path, "0001/0001_000001.wav", "0001/0001_000351.wav", "0001/0001_000352.wav")
    table = "0001_000001\t打远一看\t中立\r\n0001_000351\tsame\tAngry \r\n\r\nno tabs\n"
    (tmp_path / "0001" / "0001.txt").write_bytes(table.encode(encoding))
    manifest, problems = reader("esd").read(tmp_path)
    assert manifest["emotion"].tolist() == ["neutral", "anger"]
    assert problems[0].endswith("left out, the first: '0001/0001_000352.wav'")


def test_esd_reads_tables_in_latin_1_and_passes_over_broken_ones(tmp_path: Path) -> None:
    touch(tmp_path, "0016_000001.wav", "0017_000001.wav")
    # No GB 18030 either: 0xFF begins nothing there.
    (tmp_path / "0016.txt").write_bytes(b"0016_000001\tcaf\xe9 \xff\tNeutral\n")
    (tmp_path / "0017.txt").write_bytes(b"\xff\xfe\x00")
    manifest, _ = reader("esd").read(tmp_path)
    assert manifest["utterance_id"].tolist() == ["0016_000001"]


@pytest.mark.parametrize("folder", ["Angry", "angry", "ANGRY/train"])
def test_esd_believes_the_folder_rather_than_the_table(folder: str, tmp_path: Path) -> None:
    touch(tmp_path, f"0011/{folder}/0011_000351.wav")
    (tmp_path / "0011" / "0011.txt").write_text("0011_000351\tA text.\tSad\n")
    manifest, _ = reader("esd").read(tmp_path)
    assert manifest["emotion"].tolist() == ["anger"]


def test_esd_english_leaves_mandarin_out_and_keeps_the_corpus_name(tmp_path: Path) -> None:
    make("esd", tmp_path)
    manifest, problems = reader("esd-english").read(tmp_path)
    assert set(manifest["language"]) == {"en"}
    assert set(manifest["corpus"]) == {"esd"}
    assert problems[0].startswith("2 audio file(s) of another part of the corpus, left out")


def test_women_and_men_of_one_number_are_two_speakers() -> None:
    for name, files in [
        ("shemo", ["F01A01.wav", "M01A01.wav"]),
        ("subesco", ["F_10_FAHMEE_S_1_SAD_1.wav", "M_10_EVAN_S_1_SAD_1.wav"]),
        ("urdu", ["SF1_F1_H01.wav", "SM1_F1_A01.wav"]),
        ("emovo", ["dis-f1-b1.wav", "dis-m1-b1.wav"]),
    ]:
        rows = [NAMED[name].row(file) for file in files]
        assert len({row["speaker"] for row in rows if row}) == 2
