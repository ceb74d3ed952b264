import pickle
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.manifest import (
    COLUMNS,
    ManifestError,
    audio_paths,
    complete,
    read_manifest,
    validate,
    write_manifest,
)

HEADER = "utterance_id,file,start,end,speaker,session,gender,emotion,corpus\n"


def table(**columns: object) -> pd.DataFrame:
    """Three sound rows, with some columns replaced."""
    rows = {
        "utterance_id": ["a", "b", "c"],
        "file": ["a.wav", "sub/b.wav", "c.wav"],
        "speaker": ["s1", "s2", ""],
        "emotion": ["anger", "", "neutral"],
    }
    return complete(pd.DataFrame({**rows, **columns}))


def written(folder: Path, text: str) -> Path:
    path = folder / "manifest.csv"
    path.write_bytes(text.encode())
    return path


def codes(manifest: pd.DataFrame, **options: object) -> list[tuple[int, str]]:
    return [(problem.row, problem.code) for problem in validate(manifest, **options)]


@pytest.mark.parametrize("name", ["m.csv", "m.parquet", "new/folder/m.CSV"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    manifest = table(start=[0.1 + 0.2, 0.0, 1e-9], end=[np.nan, 1 / 3, 5.0], fold=["1", "2", "1"])
    write_manifest(manifest, tmp_path / name)
    again = read_manifest(tmp_path / name)
    pd.testing.assert_frame_equal(again, manifest, check_exact=True)
    assert list(again.columns) == [*COLUMNS, "fold"]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SECONDS = st.floats(0, 1e6, allow_subnormal=True)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cells=st.lists(st.tuples(TEXT, TEXT, SECONDS, SECONDS), min_size=1, max_size=4),
    suffix=st.sampled_from([".csv", ".parquet"]),
)
def test_any_text_and_any_time_survive_the_file(
    tmp_path: Path, cells: list[tuple[str, str, float, float]], suffix: str
) -> None:
    manifest = complete(
        pd.DataFrame(
            {
                "utterance_id": [f"{i}{cell[0]}" for i, cell in enumerate(cells)],
                "file": [f"x{cell[1]}".replace("/", "") for cell in cells],
                "start": [cell[2] for cell in cells],
                "end": [cell[2] + cell[3] + 1 for cell in cells],
                "speaker": [cell[1] for cell in cells],
                "emotion": [cell[0] for cell in cells],
            }
        )
    )
    write_manifest(manifest, tmp_path / f"m{suffix}")
    pd.testing.assert_frame_equal(
        read_manifest(tmp_path / f"m{suffix}"), manifest, check_exact=True
    )


@pytest.mark.parametrize(
    "file",
    ["Ärger/日本.wav", "new\nline.wav", "carriage\rreturn.wav", 'quote".wav', "a,b.wav", " x "],
)
def test_odd_file_names_survive_csv(tmp_path: Path, file: str) -> None:
    write_manifest(table(file=[file, "b", "c"]), tmp_path / "m.csv")
    assert read_manifest(tmp_path / "m.csv")["file"].tolist() == [file, "b", "c"]


def test_words_that_look_missing_stay_words(tmp_path: Path) -> None:
    manifest = table(speaker=["NA", "nan", "null"], emotion=["None", "01", "1.0"])
    write_manifest(manifest, tmp_path / "m.csv")
    again = read_manifest(tmp_path / "m.csv")
    assert again["speaker"].tolist() == ["NA", "nan", "null"]
    assert again["emotion"].tolist() == ["None", "01", "1.0"]


def test_optional_columns_take_their_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufefffile,utterance_id,emotion,speaker\nx.wav,x,,\n")
    manifest = read_manifest(path)
    assert list(manifest.columns) == list(COLUMNS)
    row = manifest.iloc[0]
    assert (row["start"], row["speaker"], row["session"], row["corpus"]) == (0.0, "", "", "")
    assert np.isnan(row["end"])
    assert manifest["start"].dtype == manifest["end"].dtype == np.float64


def test_empty_times_take_their_defaults(tmp_path: Path) -> None:
    path = written(
        tmp_path, HEADER + "a,a.wav,,,,,,,\nb,b.wav, 1.5 ,2e0,,,,,\nc,c.wav,0,nan,,,,,\n"
    )
    manifest = read_manifest(path)
    assert manifest["start"].tolist() == [0.0, 1.5, 0.0]
    np.testing.assert_array_equal(manifest["end"], [np.nan, 2.0, np.nan])


def test_parquet_columns_of_other_types_become_text(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "utterance_id": pd.Categorical(["a", "b"]),
            "file": ["a.wav", "b.wav"],
            "speaker": [3, 14],
            "emotion": ["anger", None],
            "start": np.array([0.5, 0.25], dtype=np.float32),
            "end": [1, 2],
        }
    )
    frame.to_parquet(tmp_path / "m.parquet")
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest["utterance_id"].tolist() == ["a", "b"]
    assert manifest["speaker"].tolist() == ["3", "14"]
    assert manifest["emotion"].tolist() == ["anger", ""]
    assert manifest["end"].tolist() == [1.0, 2.0]


def test_a_manifest_without_rows_is_a_manifest(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, HEADER))
    assert len(manifest) == 0
    write_manifest(manifest, tmp_path / "m.parquet")
    assert list(read_manifest(tmp_path / "m.parquet").columns) == list(COLUMNS)


def test_all_missing_columns_are_named_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "file,label\na.wav,x\n")
    with pytest.raises(ManifestError, match=r"\['utterance_id', 'speaker', 'emotion'\]") as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        ({}, {}, []),
        ({"utterance_id": ["a", "b", "a"]}, {}, [(3, "duplicate_id")]),
        ({"utterance_id": ["", "b", ""]}, {}, [(1, "empty_id"), (3, "empty_id")]),
        ({"file": ["", "b", "c"]}, {}, [(1, "empty_file")]),
        ({"file": ["a\0b", "b", "c"]}, {}, [(1, "nul_in_file")]),
        ({"file": ["../a", "x/../b", "x/../../c"]}, {}, [(1, "outside_root"), (3, "outside_root")]),
        ({"file": ["..a/b", "a..", ".../c"]}, {}, []),
        ({"file": ["/r/a", "/r", "/q/b"]}, {"root": Path("/r")}, [(3, "outside_root")]),
        (
            {"file": ["/r/../q", "/r/./a", "/rr/a"]},
            {"root": Path("/r")},
            [(1, "outside_root"), (3, "outside_root")],
        ),
        ({"file": ["../r/a", "//r/a", "b"]}, {"root": Path("/r")}, [(2, "outside_root")]),
        ({"file": ["/q/a", "/x/../b", "../c"]}, {"allow_absolute": True}, [(3, "outside_root")]),
        ({"file": ["/q/a", "b", "c"]}, {}, [(1, "outside_root")]),
        ({"file": ["/q/a", "b", "c"]}, {"root": Path("/")}, []),
        ({"start": [-1.0, np.inf, 0.0]}, {}, [(1, "bad_start"), (2, "bad_start")]),
        ({"end": [np.inf, -np.inf, 0.0]}, {}, [(1, "bad_end"), (2, "bad_end"), (3, "reversed")]),
        (
            {"start": [1.0, 2.0, 3.0], "end": [1.0, 2.5, 2.9]},
            {},
            [(1, "reversed"), (3, "reversed")],
        ),
    ],
)
def test_bad_rows_are_found(
    columns: dict[str, list[object]], options: dict[str, object], expected: list[tuple[int, str]]
) -> None:
    assert codes(table(**columns), **options) == expected


def test_a_start_that_is_not_a_number_is_found() -> None:
    manifest = table()
    manifest.loc[1, "start"] = np.nan
    assert codes(manifest) == [(2, "bad_start")]


def test_a_duplicate_names_the_row_that_had_the_name_first() -> None:
    (problem,) = validate(table(utterance_id=["x", "y", "y"]))
    assert str(problem) == "row 3 ('y'): utterance_id is that of row 2 too; expected each once"


def test_all_problems_come_in_one_listing(tmp_path: Path) -> None:
    rows = "a,../x.wav,soon,,,,,,\na,a.wav,0,-1,,,,,\n,c.wav,nan,inf,,,,,\n"
    with pytest.raises(ManifestError, match="has 7 problems") as caught:
        read_manifest(written(tmp_path, HEADER + rows))
    found = [(problem.row, problem.code) for problem in caught.value.problems]
    assert sorted(found) == [
        (1, "bad_start"),
        (1, "outside_root"),
        (2, "duplicate_id"),
        (2, "reversed"),
        (3, "bad_end"),
        (3, "bad_start"),
        (3, "empty_id"),
    ]
    assert "'soon' is not a number" in str(caught.value)


def test_a_long_listing_is_cut_but_counted(tmp_path: Path) -> None:
    text = HEADER + "same,a.wav,,,,,,,\n" * 100
    with pytest.raises(ManifestError, match="99 problems") as caught:
        read_manifest(written(tmp_path, text))
    assert str(caught.value).endswith("... and 79 more")
    assert len(caught.value.problems) == 99


def test_files_may_lie_below_another_root(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + f"a,{tmp_path}/audio/a.wav,,,,,,,\nb,b.wav,,,,,,,\n")
    manifest = read_manifest(path)
    found = audio_paths(manifest, tmp_path).tolist()
    assert found == [f"{tmp_path}/audio/a.wav", f"{tmp_path}/b.wav"]
    read_manifest(path, audio=tmp_path / "audio")
    with pytest.raises(ManifestError, match="outside the audio root"):
        read_manifest(path, audio=tmp_path / "other")
    read_manifest(path, audio=tmp_path / "other", allow_absolute=True)


def test_a_relative_root_is_compared_as_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    path = written(Path("in"), HEADER + f"a,{tmp_path}/in/a.wav,,,,,,,\n")
    assert len(read_manifest(path)) == 1


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("m.txt", b"", r"ends in '\.txt'; expected"),
        ("m.csv", b"", "does not read as .csv"),
        ("m.parquet", b"PAR1 not really", "does not read as .parquet"),
        ("m.parquet", b"PAR1garbage\x04\x00\x00\x00PAR1", "does not read as .parquet"),
        ("m.csv", b"utterance_id,file,speaker,emotion\na,b\n", "does not read as .csv"),
        ("m.csv", b"utterance_id,file,speaker,emotion\na,b,c,d,e\n", "does not read as .csv"),
        ("m.csv", b"utterance_id,file,speaker,emotion\na,\xff\xfe,c,d\n", "does not read as .csv"),
        ("m.csv", b"file,file,speaker,emotion\na,b,c,d\n", r"\['file'\] twice"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=match):
        read_manifest(tmp_path / name)


def test_a_manifest_that_is_not_there_is_told() -> None:
    with pytest.raises(ManifestError, match="is not there"):
        read_manifest(Path("nowhere.csv"))


def test_a_failed_write_leaves_the_old_manifest_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.csv"
    write_manifest(table(), path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("features_cache.atomic.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(table(speaker=["x", "y", "z"]), path)
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["m.csv"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_names_that_are_not_unicode_are_refused(tmp_path: Path, suffix: str) -> None:
    rows = {"utterance_id": ["a"], "file": ["\udcff.wav"], "speaker": [""], "emotion": [""]}
    with pytest.raises(ManifestError, match="not text"):
        write_manifest(pd.DataFrame(rows, dtype=object), tmp_path / f"m{suffix}")


def test_the_same_manifest_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ["1.csv", "2.csv", "1.parquet", "2.parquet"]:
        write_manifest(table(), tmp_path / name)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_the_error_travels_between_processes() -> None:
    problems = tuple(validate(table(utterance_id=["a", "a", "b"])))
    again = pickle.loads(pickle.dumps(ManifestError("text", problems=problems)))
    assert (str(again), again.problems) == ("text", problems)


def test_a_hundred_thousand_rows_are_read_in_seconds(tmp_path: Path) -> None:
    n_rows = 100_000
    numbers = pd.Series(np.arange(n_rows)).astype(str)
    manifest = pd.DataFrame(
        {
            "utterance_id": "u" + numbers,
            "file": "some/folder/of/audio/" + numbers + ".wav",
            "start": np.linspace(0, 1, n_rows),
            "speaker": "s" + numbers.str[-2:],
            "emotion": "neutral",
        }
    )
    write_manifest(manifest, tmp_path / "m.csv")
    began = time.monotonic()
    assert len(read_manifest(tmp_path / "m.csv")) == n_rows
    assert time.monotonic() - began < 5
