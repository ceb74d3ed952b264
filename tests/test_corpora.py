from pathlib import Path

import pandas as pd
import pytest

from stages.corpora.emodb import COUNTS, EMOTIONS
from stages.corpora.reader import CorpusError
from stages.corpora.table import READERS, reader
from stages.manifest import COLUMNS, ManifestError, read_manifest, validate, write_manifest

EMODB = Path(__file__).parents[2] / "shared" / "emodb"


def touch(folder: Path, *files: str) -> None:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("name", READERS)
def test_every_reader_says_what_it_is(name: str) -> None:
    entry = READERS[name]
    assert entry.name == name == name.lower()
    for text in [entry.layout, entry.licence, entry.citation]:
        assert text
        assert "\n" not in text


@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_a_folder_without_its_corpus(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="expected"):
        reader(name).read(tmp_path)
    with pytest.raises(CorpusError, match="is not a folder"):
        reader(name).read(tmp_path / "nowhere")


def test_an_unknown_reader_names_the_nearest() -> None:
    with pytest.raises(CorpusError, match="did you mean 'emodb'"):
        reader("EmoBD")
    with pytest.raises(CorpusError, match="see 'emostack corpora'"):
        reader("xyz")


@pytest.mark.parametrize("below", ["", "wav/", "EMO-DB/wav/"])
def test_emodb_is_found_wherever_its_files_lie(tmp_path: Path, below: str) -> None:
    touch(tmp_path, f"{below}16b10Wb.wav", f"{below}03a01Fa.WAV", f"{below}08a02N.wav")
    manifest, _ = reader("emodb").read(tmp_path)
    assert list(manifest.columns) == list(COLUMNS)
    assert manifest["utterance_id"].tolist() == ["03a01Fa", "08a02N", "16b10Wb"]
    assert manifest["file"].tolist()[0] == f"{below}03a01Fa.WAV"
    assert manifest["speaker"].tolist() == ["03", "08", "16"]
    assert manifest["gender"].tolist() == ["male", "female", "female"]
    assert manifest["emotion"].tolist() == ["happiness", "neutral", "anger"]
    assert set(manifest["corpus"]) == {"emodb"}
    assert set(manifest["session"]) == {""}
    assert validate(manifest, root=tmp_path) == []


def test_emodb_tells_what_is_odd(tmp_path: Path) -> None:
    touch(tmp_path, "a/03a01Fa.wav", "b/03a01Fa.wav", "._03a01Wa.wav", "note.txt")
    touch(tmp_path, "song.wav", "99a01Fa.wav", "03a01Xa.wav")
    manifest, problems = reader("emodb").read(tmp_path)
    assert manifest["file"].tolist() == ["a/03a01Fa.wav"]
    assert (
        "3 audio file(s) not named like 03a01Fa.wav, left out, the first: '03a01Xa.wav'" in problems
    )
    assert "1 audio file(s) there already in another folder" in problems[1]
    assert "1 utterances of happiness; emodb has 71" in problems
    assert "0 utterances of anger; emodb has 127" in problems


def test_emodb_counts_add_up() -> None:
    assert sum(COUNTS.values()) == 535
    assert sorted(COUNTS) == sorted(EMOTIONS.values())


@pytest.mark.skipif(not EMODB.is_dir(), reason="needs ../shared/emodb")
def test_the_real_emodb_is_read_whole(tmp_path: Path) -> None:
    manifest, problems = reader("emodb").read(EMODB)
    assert problems == []
    assert len(manifest) == 535
    assert manifest["speaker"].nunique() == 10
    assert manifest["emotion"].value_counts().to_dict() == COUNTS
    assert set(manifest.loc[manifest["gender"] == "male", "speaker"]) == {
        "03",
        "10",
        "11",
        "12",
        "15",
    }
    write_manifest(manifest, tmp_path / "m.csv")
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "m.csv", audio=EMODB), manifest)


def test_csv_takes_a_folder_or_the_table_itself(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.wav")
    (tmp_path / "other.csv").write_text("word,meaning\na,b\n")
    (tmp_path / "list.csv").write_text("file,speaker,emotion,utterance_id\nx/a.wav,1,anger,u\n")
    for given in [tmp_path, tmp_path / "list.csv"]:
        manifest, problems = reader("csv").read(given)
        assert problems == []
        assert manifest.iloc[0][["utterance_id", "file", "speaker"]].tolist() == [
            "u",
            "x/a.wav",
            "1",
        ]


def test_csv_makes_names_and_tells_what_it_left_empty(tmp_path: Path) -> None:
    text = "file,start,end\nx/a.b.wav,,\nlong.flac,0,1\nlong.flac,1,2\n.hidden,,\nnoend,,\n"
    (tmp_path / "list.csv").write_text(text)
    manifest, problems = reader("csv").read(tmp_path)
    names = ["x/a.b", "long#1", "long#2", ".hidden", "noend"]
    assert manifest["utterance_id"].tolist() == names
    assert problems == [
        "no column 'utterance_id': made from file",
        "no column 'speaker': left empty",
        "no column 'emotion': left empty",
        "4 of 4 files are not there, the first: 'x/a.b.wav'",
    ]


def test_csv_tells_of_files_elsewhere(tmp_path: Path) -> None:
    touch(tmp_path, "out.wav", "in/in.wav")
    text = f"file,utterance_id,speaker,emotion\n{tmp_path}/out.wav,a,,\n{tmp_path}/in/in.wav,b,,\n"
    (tmp_path / "in" / "list.csv").write_text(text)
    _, problems = reader("csv").read(tmp_path / "in")
    assert len(problems) == 1
    assert "1 files are absolute and outside" in problems[0]


def test_csv_refuses_more_than_one_table(tmp_path: Path) -> None:
    for name in ["a.csv", "b.csv"]:
        (tmp_path / name).write_text("file\nx.wav\n")
    with pytest.raises(CorpusError, match=r"more than one table.*'a.csv', 'b.csv'"):
        reader("csv").read(tmp_path)


def test_csv_without_a_file_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path\nx.wav\n")
    with pytest.raises(CorpusError, match=r"\['path'\]; expected one called 'file'"):
        reader("csv").read(tmp_path / "a.csv")
    with pytest.raises(CorpusError, match=r"no such table \(seen: \['a.csv'\]\)"):
        reader("csv").read(tmp_path)


def test_csv_lists_all_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,end\n../x.wav,1\n,2\nz.wav,soon\n")
    with pytest.raises(ManifestError, match="has 4 problems") as caught:
        reader("csv").read(tmp_path)
    found = [problem.code for problem in caught.value.problems]
    assert found == ["outside_root", "empty_id", "empty_file", "bad_end"]
