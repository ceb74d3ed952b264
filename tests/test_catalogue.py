"""The catalogue: what exists, by key; the same from the file and from memory; torn versions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features_cache import catalogue as catalogue_module
from features_cache import numbered
from features_cache.catalogue import (
    FEW,
    SCHEMA,
    Catalogue,
    catalogue_rows,
    publish_catalogue,
    read_catalogue,
)
from features_cache.key_columns import KEY, NO_KEY, hex_of, keys_of
from features_cache.numbered import TableError, numbers, table_path
from features_cache.places import Places
from tests.small_store import key_of, tear_rows

Row = tuple[str, int, int, str]
"""Shard, first row, last row, and a reason."""

places = st.builds(
    lambda shard, first, n: (shard, first, first + n, ""),
    st.sampled_from(["a.h5", "b.h5", "c.h5"]),
    st.integers(0, 9),
    st.integers(1, 9),
)
reasons = st.sampled_from(["silent", "unreadable"]).map(lambda reason: ("", 0, 0, reason))
entries = st.dictionaries(st.integers(0, 30), st.one_of(places, reasons))
steps = st.lists(st.one_of(entries, st.sets(st.integers(0, 30))), max_size=6)
"""What is added to a catalogue, or left out of it, one after the other."""


def keys(numbers: list[int] | range) -> np.ndarray:
    return keys_of([key_of(str(i)) for i in numbers])


def rows_of(known: dict[int, Row]) -> pa.Table:
    shard, start, end, reason = zip(*known.values(), strict=True) if known else ((),) * 4
    message = [f"it is {each}" if each else "" for each in reason]
    return catalogue_rows(
        keys([*known]),
        shard=shard,
        row_start=start,
        row_end=end,
        reason=reason,
        message=message,
        made_by="decoder/1",
    )


def catalogue_of(known: dict[int, Row]) -> Catalogue:
    return Catalogue().plus(rows_of(known), {row[0]: "ab" * 32 for row in known.values() if row[0]})


def told(catalogue: Catalogue) -> dict[str, Row]:
    columns = (catalogue.rows[n].to_pylist() for n in ("shard", "row_start", "row_end", "reason"))
    return dict(zip(hex_of(catalogue.keys), zip(*columns, strict=True), strict=True))


def found(where: Places) -> list[tuple[str, int, int]]:
    return [(place.shard, place.row_start, place.row_end) for place in where]


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a row group hold four rows."""
    monkeypatch.setattr(numbered, "ROW_GROUP", 4)


@pytest.fixture
def read_groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note which row groups are read."""
    seen: list[int] = []
    read = Catalogue._read

    def note_and_read(catalogue: Catalogue, groups: list[int]) -> pa.Table:
        seen.extend(groups)
        return read(catalogue, groups)

    monkeypatch.setattr(Catalogue, "_read", note_and_read)
    return seen


@given(steps=steps)
def test_what_is_added_and_left_out_is_what_a_dictionary_would_have(
    steps: list[dict[int, Row] | set[int]],
) -> None:
    catalogue, known = Catalogue(), dict[int, Row]()
    for step in steps:
        if isinstance(step, dict):
            catalogue, known = catalogue.plus(rows_of(step)), {**known, **step}
        else:
            catalogue = catalogue.without(keys([*step]))
            known = {i: row for i, row in known.items() if i not in step}
    by_key = {key_of(str(i)): row for i, row in known.items()}
    assert told(catalogue) == by_key
    assert hex_of(catalogue.keys).tolist() == sorted(by_key)
    assert catalogue.rows.schema == SCHEMA
    assert catalogue.named_shards() == {row[0] for row in known.values()} - {""}
    is_place = [bool(by_key[key][0]) for key in sorted(by_key)]
    assert catalogue.is_place.tolist() == is_place
    assert told(catalogue.only(catalogue.is_place)) == {k: r for k, r in by_key.items() if r[0]}


def test_of_a_doubled_key_the_last_row_counts() -> None:
    twice = pa.concat_tables([rows_of({1: ("a.h5", 0, 2, "")}), rows_of({1: ("b.h5", 3, 4, "")})])
    assert told(Catalogue().plus(twice)) == {key_of("1"): ("b.h5", 3, 4, "")}


@settings(max_examples=30)
@given(known=entries, wanted=st.lists(st.integers(0, 40), max_size=FEW + 10), n=st.integers(1, 9))
def test_places_are_the_same_from_the_file_and_from_memory(
    tmp_path_factory: pytest.TempPathFactory, known: dict[int, Row], wanted: list[int], n: int
) -> None:
    folder = tmp_path_factory.mktemp("catalogues")
    memory = catalogue_of(known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbered, "ROW_GROUP", n)
        publish_catalogue(folder, memory)
    sought = np.append(keys(wanted), np.array([NO_KEY], KEY))
    expected = [known.get(i, ("", 0, 0, ""))[:3] for i in wanted] + [("", 0, 0)]
    for catalogue in (memory, read_catalogue(folder), read_catalogue(folder, whole=True)):
        where = catalogue.places(sought)
        assert found(where) == expected
        assert where.keys.tolist() == sought.tolist()
        assert where.is_there.tolist() == [bool(shard) for shard, *_ in expected]
    assert told(read_catalogue(folder)) == told(memory)


@pytest.mark.usefixtures("small_groups")
def test_few_keys_are_found_without_reading_all_rows(
    tmp_path: Path, read_groups: list[int]
) -> None:
    known = {i: ("a.h5", i, i + 1, "") for i in range(FEW + 4)}
    n_groups = len(known) // 4
    publish_catalogue(tmp_path, catalogue_of(known))
    catalogue = read_catalogue(tmp_path)
    assert found(catalogue.places(keys([7]))) == [("a.h5", 7, 8)]
    assert len(read_groups) == 1
    assert len(catalogue.places(keys(range(FEW + 4)))) == FEW + 4
    assert len(read_groups) == 1 + n_groups
    assert found(catalogue.places(keys([8]))) == [("a.h5", 8, 9)]
    assert len(read_groups) == 1 + n_groups


def test_rows_are_told_by_their_shard_their_maker_and_their_reason() -> None:
    known = {1: ("a.h5", 0, 2, ""), 2: ("b.h5", 0, 1, ""), 3: ("", 0, 0, "silent")}
    catalogue = catalogue_of(known).plus(
        catalogue_rows(keys([4]), shard="b.h5", row_start=1, row_end=2, made_by="decoder/2")
    )
    order = [sorted(key_of(str(i)) for i in range(1, 5)).index(key_of(str(i))) for i in range(1, 5)]
    assert catalogue.in_shards(["b.h5", "z.h5"])[order].tolist() == [False, True, False, True]
    assert catalogue.made_by(["decoder/1"])[order].tolist() == [True, True, True, False]
    assert catalogue.texts("message")[order].tolist() == ["", "", "it is silent", ""]
    assert not catalogue.made_by([]).any()
    rows = catalogue.by_shard()
    assert {name: sorted(order.index(i) for i in part) for name, part in rows.items()} == {
        "a.h5": [0],
        "b.h5": [1, 3],
    }


def test_an_empty_catalogue_knows_nothing() -> None:
    assert Catalogue().by_shard() == {}
    nothing = Catalogue()
    assert found(nothing.places(keys([1]))) == [("", 0, 0)]
    assert nothing.find(keys([1])).tolist() == [-1]
    assert (len(nothing.keys), len(nothing.is_place), len(nothing.texts("shard"))) == (0, 0, 0)
    assert (len(nothing.in_shards(["a.h5"])), nothing.named_shards()) == (0, set())
    assert told(nothing.without(keys([1]))) == {}


def test_without_a_folder_nothing_is_known(tmp_path: Path) -> None:
    assert read_catalogue(tmp_path / "none").number == 0


def test_two_versions_are_kept_and_the_newest_counts(tmp_path: Path) -> None:
    for i in range(1, 5):
        published = publish_catalogue(tmp_path, catalogue_of({i: ("a.h5", 0, i, "")}))
        assert published.number == i
    assert numbers(tmp_path) == [3, 4]
    assert told(read_catalogue(tmp_path)) == {key_of("4"): ("a.h5", 0, 4, "")}


def test_what_a_version_says_of_itself_comes_back(tmp_path: Path) -> None:
    known = Catalogue(recipe_id="r", retired=("b.h5",)).plus(
        rows_of({1: ("a.h5", 0, 2, "")}), {"a.h5": "ab" * 32}
    )
    publish_catalogue(tmp_path, known)
    again = read_catalogue(tmp_path)
    assert (again.number, again.recipe_id, again.retired) == (1, "r", ("b.h5",))
    assert again.shards == {"a.h5": "ab" * 32}


def two_versions(folder: Path) -> Path:
    """Publish two; return the file of the newest."""
    for i in (1, 2):
        publish_catalogue(folder, catalogue_of({i: ("a.h5", 0, i, "")}))
    return table_path(folder, 2)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all" * 99])
def test_a_version_with_a_torn_footer_is_passed_over(tmp_path: Path, content: bytes) -> None:
    two_versions(tmp_path).write_bytes(content)
    assert told(read_catalogue(tmp_path)) == {key_of("1"): ("a.h5", 0, 1, "")}
    assert publish_catalogue(tmp_path, catalogue_of({})).number == 3


def test_a_version_with_torn_rows_is_told_by_who_reads_them_and_passed_over_by_who_writes(
    tmp_path: Path,
) -> None:
    tear_rows(two_versions(tmp_path))
    late = read_catalogue(tmp_path)
    with pytest.raises(TableError, match=r"00000002\.parquet cannot be read"):
        late.places(keys([2]))
    with pytest.raises(TableError, match="emostack store verify"):
        _ = late.rows
    assert told(read_catalogue(tmp_path, whole=True)) == {key_of("1"): ("a.h5", 0, 1, "")}


def test_where_every_version_is_torn_nothing_is_known(tmp_path: Path) -> None:
    newest = two_versions(tmp_path)
    tear_rows(newest)
    table_path(tmp_path, 1).write_bytes(b"")
    assert read_catalogue(tmp_path, whole=True).number == 0


@pytest.mark.parametrize("n", [1, FEW + 1])
def test_a_reader_whose_version_was_removed_can_still_read_it(tmp_path: Path, n: int) -> None:
    two_versions(tmp_path)
    reader = read_catalogue(tmp_path)
    for _ in range(2):
        publish_catalogue(tmp_path, Catalogue())
    assert not table_path(tmp_path, 2).exists()
    assert set(found(reader.places(keys([2] * n)))) == {("a.h5", 0, 2)}


def test_two_writers_cannot_publish_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_versions(tmp_path)
    monkeypatch.setattr(catalogue_module, "numbers", lambda _: [1])
    with pytest.raises(FileExistsError):
        publish_catalogue(tmp_path, Catalogue())
    monkeypatch.undo()
    assert told(read_catalogue(tmp_path)) == {key_of("2"): ("a.h5", 0, 2, "")}
