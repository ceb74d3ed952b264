"""Snapshots: what was wanted comes back as it was, row by row, and torn ones are told."""

import json
import math
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features_cache import numbered, snapshot
from features_cache.numbered import TableError, in_parts, read_metadata, table_path
from features_cache.snapshot import (
    ORDER,
    OWN_COLUMNS,
    Snapshot,
    as_frame,
    as_table,
    publish_snapshot,
    read_snapshot,
)
from tests.small_store import key_of, tear_rows

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
keys = st.sampled_from(["", *map(key_of, "abc")])
rows = st.lists(
    st.fixed_dictionaries(
        {
            "utterance_id": texts,
            "corpus": st.sampled_from(["", "c", "ü"]),
            "view": st.sampled_from(["clean", "speed-0.9"]),
            "start": st.floats(0, 9),
            "end": st.one_of(st.floats(0, 9), st.just(math.nan)),
            "note": texts,
            "emotion": st.sampled_from(["joy", "fear", ""]),
            "key": keys,
            "audio_sha256": keys,
            "status": st.sampled_from(["live", "pending", "silent"]),
            "message": texts,
        }
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: tuple(row[name] for name in ORDER),
)


def frame(*names: str, **columns: object) -> pd.DataFrame:
    """Make rows of these names."""
    plain = {"utterance_id": list(names), "corpus": "c", "view": "clean", "status": "live"}
    return pd.DataFrame({**plain, "key": [key_of(name) for name in names], **columns})


def publish(folder: Path, rows: pd.DataFrame, about: Snapshot | None = None) -> Snapshot:
    return publish_snapshot(folder, in_parts(as_table(rows)), about or Snapshot())


@settings(max_examples=30)
@given(rows=rows, n=st.integers(1, 5))
def test_rows_come_back_sorted_and_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], n: int
) -> None:
    folder = tmp_path_factory.mktemp("snapshots")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbered, "ROW_GROUP", n)
        published = publish(folder, pd.DataFrame(rows, columns=list(rows[0])))
    again = read_snapshot(folder)
    assert again == published
    assert (again.number, again.n_rows) == (1, len(rows))
    expected = sorted(rows, key=lambda row: [str(row[name]).encode() for name in ORDER])
    plain = pd.DataFrame(expected, columns=list(rows[0]))
    assert again.columns == tuple(plain)
    pd.testing.assert_frame_equal(again.rows(), plain)
    pd.testing.assert_frame_equal(as_frame(as_table(again.rows())), plain)
    name = str(rows[0]["utterance_id"])
    named = again.rows(["view", "corpus"], utterance_id=name).to_dict("records")
    assert named == [
        {"view": row["view"], "corpus": row["corpus"]}
        for row in expected
        if row["utterance_id"] == name
    ]
    clean = again.rows(["utterance_id"], view="clean")["utterance_id"].tolist()
    assert clean == [row["utterance_id"] for row in expected if row["view"] == "clean"]


def test_a_column_that_is_not_there_reads_as_empty_texts(tmp_path: Path) -> None:
    found = publish(tmp_path, frame("b", "a")).rows(["utterance_id", "mood"])
    assert found.to_dict("list") == {"utterance_id": ["a", "b"], "mood": ["", ""]}


def test_what_rows_lack_is_filled_in(tmp_path: Path) -> None:
    bare = frame("a").drop(columns="view").assign(speaker=None, key=None)
    (row,) = publish(tmp_path, bare).rows().to_dict("records")
    assert {name: row[name] for name in (*OWN_COLUMNS, "speaker")} == {
        "view": "clean",
        "key": "",
        "audio_sha256": "",
        "status": "live",
        "message": "",
        "speaker": "",
    }


def test_keys_that_are_not_known_are_null(tmp_path: Path) -> None:
    table = publish(tmp_path, frame("a", "b", key=["", key_of("b")])).table(["key"])
    assert table["key"].type == pa.binary(32)
    assert table["key"].to_pylist() == [None, bytes.fromhex(key_of("b"))]


def test_the_empty_snapshot_before_the_first_has_columns_and_no_rows(tmp_path: Path) -> None:
    nothing = read_snapshot(tmp_path)
    assert nothing == read_snapshot(tmp_path, 0) == Snapshot()
    assert list(nothing.rows()) == ["utterance_id", "corpus", *OWN_COLUMNS]
    assert len(nothing.rows(["key", "start", "emotion"], view="clean")) == 0


def test_a_snapshot_of_no_rows_is_one(tmp_path: Path) -> None:
    published = publish(tmp_path, frame())
    assert (published.number, published.n_rows) == (1, 0)
    assert len(read_snapshot(tmp_path).rows(["utterance_id"], view="clean")) == 0


def test_what_a_snapshot_says_of_itself_comes_back(tmp_path: Path) -> None:
    about = Snapshot(parent=7, recipe_id="r", audio={"c": "/audio"}, forgotten=2)
    published = publish(tmp_path, frame("a"), about)
    again = read_snapshot(tmp_path, 1)
    assert (again.parent, again.recipe_id, again.audio, again.forgotten) == (
        7,
        "r",
        {"c": "/audio"},
        2,
    )
    assert again.created == published.created
    assert publish(tmp_path, frame("a")).created > again.created


def test_one_utterance_is_found_by_the_row_groups_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbered, "ROW_GROUP", 4)
    published = publish(tmp_path, frame(*(f"u{i:02}" for i in range(40))))
    tear_rows(table_path(tmp_path, 1), groups=(0, 9))
    assert published.rows(["utterance_id"], utterance_id="u20")["utterance_id"].tolist() == ["u20"]
    with pytest.raises(TableError, match=r"00000001\.parquet cannot be read"):
        published.rows(["utterance_id"])


def test_the_newest_is_read_unless_another_is_asked_for(tmp_path: Path) -> None:
    publish(tmp_path, frame("a"))
    publish(tmp_path, frame("b"))
    assert read_snapshot(tmp_path).rows(["utterance_id"])["utterance_id"].tolist() == ["b"]
    assert read_snapshot(tmp_path, 1).rows(["utterance_id"])["utterance_id"].tolist() == ["a"]


def test_a_number_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    publish(tmp_path, frame("a"))
    with pytest.raises(TableError, match=r"no snapshot 7; expected one of \[1\]"):
        read_snapshot(tmp_path, 7)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all" * 99])
def test_a_torn_file_is_told_by_name(tmp_path: Path, content: bytes) -> None:
    publish(tmp_path, frame("a"))
    table_path(tmp_path, 1).write_bytes(content)
    with pytest.raises(TableError, match=r"00000001\.parquet cannot be read"):
        read_snapshot(tmp_path)


@pytest.mark.parametrize("about", [None, "no JSON", "{}", '{"number": "x"}', "[]"])
def test_a_table_that_is_no_snapshot_is_told_by_name(tmp_path: Path, about: str | None) -> None:
    meta = {} if about is None else {"emostack": about}
    path = table_path(tmp_path, 1)
    pq.write_table(as_table(frame("a")).replace_schema_metadata(meta), path)
    with pytest.raises(TableError, match=r"00000001\.parquet cannot be read"):
        read_snapshot(tmp_path)


def test_two_writers_cannot_publish_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, frame("mine"))
    monkeypatch.setattr(snapshot, "numbers", lambda _: [])
    with pytest.raises(FileExistsError):
        publish(tmp_path, frame("yours"))
    monkeypatch.undo()
    assert read_snapshot(tmp_path).rows()["utterance_id"].tolist() == ["mine"]
    assert [path.name for path in tmp_path.iterdir()] == ["00000001.parquet"]


def test_a_table_of_many_rows_is_cut_into_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbered, "ROW_GROUP", 4)
    publish(tmp_path, frame(*"abcdefghij"))
    footer = pq.read_metadata(table_path(tmp_path, 1))
    sizes = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    assert sizes == [4, 4, 2]


def test_what_a_table_says_of_itself_is_json_in_its_schema(tmp_path: Path) -> None:
    publish(tmp_path, frame("a"), Snapshot(recipe_id="r"))
    meta, n_rows = read_metadata(table_path(tmp_path, 1))
    assert (meta["format"], meta["number"], meta["recipe_id"], n_rows) == (2, 1, "r", 1)
    assert json.loads(pq.read_schema(table_path(tmp_path, 1)).metadata[b"emostack"]) == meta


def test_a_frame_and_a_table_say_the_same() -> None:
    rows = frame("a", "b", start=0.5, end=math.nan, audio_sha256="", message="")
    pd.testing.assert_frame_equal(
        as_frame(as_table(rows)), rows.astype({n: "str" for n in rows if n not in ("start", "end")})
    )
