"""Plans: what is new, changed, renamed, relabelled, gone, and already there."""

import math
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features_cache.audio_hashes import AudioHashes, FileState
from features_cache.generation import empty_rows
from stages.extract import MostlyBrokenError, refuse_vanished
from stages.manifest import audio_paths, complete
from stages.plan import Plan, make_plan

ROOT = Path("/audio")


def manifest(files: dict[str, str], **columns: object) -> pd.DataFrame:
    """One row an utterance: id -> file."""
    rows = pd.DataFrame({"utterance_id": list(files), "file": list(files.values())})
    return complete(rows.assign(**{"corpus": "c", "speaker": "", "emotion": "", **columns}))


def states(files: list[str], contents: dict[str, str]) -> pd.DataFrame:
    """State of each file; the content stands in for the digest, and ``!code`` for a failure."""
    found = [
        FileState(code=content[1:])
        if (content := contents[file]).startswith("!")
        else FileState(sha256=content, size=1000, mtime_ns=1)
        for file in files
    ]
    return pd.DataFrame(found, columns=list(FileState._fields)).astype(
        {"sha256": "str", "code": "str", "message": "str"}
    )


class World:
    """A store that is extracted into by filling in places."""

    def __init__(self) -> None:
        self.rows = empty_rows()
        self.places: dict[str, str] = {}

    def plan(self, rows: pd.DataFrame, contents: dict[str, str], **how: Any) -> Plan:  # noqa: ANN401
        places = pd.DataFrame(
            [(key, shard, 0, 1) for key, shard in self.places.items()],
            columns=["key", "shard", "row_start", "row_end"],
        ).astype({"key": "str", "shard": "str", "row_start": "int64", "row_end": "int64"})
        return make_plan(
            rows,
            audio_paths(rows, ROOT),
            states(rows["file"].tolist(), contents),
            self.rows,
            places,
            **how,
        )

    def carry_out(self, plan: Plan, failing: dict[str, str] | None = None) -> None:
        rows = plan.rows.copy()
        for item in plan.items():
            code = (failing or {}).get(item.utterance_id)
            mine = rows["key"] == item.key
            if code:
                rows.loc[mine, ["status", "reason"]] = "quarantined", code
            else:
                self.places[item.key] = "s.h5"
                rows.loc[mine, ["status", "reason", "shard"]] = "live", "", "s.h5"
                rows.loc[mine, "row_end"] = 1
        self.rows = pd.concat([plan.carried, rows.drop(columns="change")], ignore_index=True)


@pytest.fixture
def world() -> World:
    """Three utterances, extracted."""
    world = World()
    files = {"a": "a.wav", "b": "b.wav", "c": "c.wav"}
    world.carry_out(world.plan(manifest(files), {"a.wav": "A", "b.wav": "B", "c.wav": "C"}))
    return world


def changes(plan: Plan) -> dict[str, str]:
    return dict(zip(plan.rows["utterance_id"], plan.rows["change"], strict=True))


def test_an_empty_store_lacks_everything() -> None:
    plan = World().plan(manifest({"a": "a.wav", "b": "b.wav"}), {"a.wav": "A", "b.wav": "B"})
    assert changes(plan) == {"a": "new", "b": "new"}
    assert [item.utterance_id for item in plan.items()] == ["a", "b"]
    assert next(plan.items()).path == "/audio/a.wav"


def test_the_same_again_is_skipped(world: World) -> None:
    plan = world.plan(
        manifest({"a": "a.wav", "b": "b.wav", "c": "c.wav"}),
        {"a.wav": "A", "b.wav": "B", "c.wav": "C"},
    )
    assert set(changes(plan).values()) == {"skipped"}
    assert plan.pending.empty
    assert plan.gone == ()


def test_one_changed_one_renamed_one_deleted_is_exactly_that(world: World) -> None:
    plan = world.plan(manifest({"a": "a.wav", "bee": "bee.wav"}), {"a.wav": "A2", "bee.wav": "B"})
    assert changes(plan) == {"a": "changed", "bee": "renamed"}
    assert plan.gone == ("c",)
    assert [item.utterance_id for item in plan.items()] == ["a"]


def test_a_moved_file_is_renamed_and_costs_nothing(world: World) -> None:
    files = {"a": "new/a.wav", "b": "b.wav", "c": "c.wav"}
    plan = world.plan(manifest(files), {"new/a.wav": "A", "b.wav": "B", "c.wav": "C"})
    assert changes(plan) == {"a": "renamed", "b": "skipped", "c": "skipped"}
    assert plan.pending.empty


def test_a_changed_label_touches_no_audio(world: World) -> None:
    rows = manifest({"a": "a.wav", "b": "b.wav", "c": "c.wav"}, emotion=["joy", "", ""])
    plan = world.plan(rows, {"a.wav": "A", "b.wav": "B", "c.wav": "C"})
    assert changes(plan) == {"a": "relabelled", "b": "skipped", "c": "skipped"}
    assert plan.pending.empty


def test_equal_audio_under_two_names_is_extracted_once() -> None:
    plan = World().plan(manifest({"a": "a.wav", "b": "b.wav"}), {"a.wav": "A", "b.wav": "A"})
    assert changes(plan) == {"a": "new", "b": "new"}
    assert len(plan.pending) == 1


def test_two_ranges_of_one_file_are_two_utterances() -> None:
    rows = manifest({"a": "x.wav", "b": "x.wav"}, start=[0.0, 1.0], end=[1.0, math.nan])
    assert len(World().plan(rows, {"x.wav": "X"}).pending) == 2


def test_a_gone_utterance_that_comes_back_costs_nothing(world: World) -> None:
    all_three = {"a.wav": "A", "b.wav": "B", "c.wav": "C"}
    world.carry_out(world.plan(manifest({"a": "a.wav"}), {"a.wav": "A"}))
    assert sorted(world.rows["status"]) == ["gone", "gone", "live"]
    again = world.plan(manifest({"a": "a.wav", "b": "b.wav", "c": "c.wav"}), all_three)
    assert set(changes(again).values()) == {"skipped"}
    world.carry_out(again)
    assert set(world.rows["status"]) == {"live"}


def test_an_utterance_is_gone_once_not_every_night(world: World) -> None:
    rows = manifest({"a": "a.wav"})
    first = world.plan(rows, {"a.wav": "A"})
    assert set(first.gone) == {"b", "c"}
    world.carry_out(first)
    assert world.plan(rows, {"a.wav": "A"}).gone == ()


def test_another_corpus_in_the_same_store_is_left_alone(world: World) -> None:
    other = manifest({"a": "other.wav"}).assign(corpus="other")
    plan = world.plan(other, {"other.wav": "O"})
    assert changes(plan) == {"a": "new"}
    assert plan.gone == ()
    assert len(plan.carried) == 3


@pytest.mark.parametrize("code", ["missing", "empty", "permission", "io"])
def test_a_file_that_cannot_be_read_is_quarantined_and_is_news_once(
    world: World, code: str
) -> None:
    rows = manifest({"a": "a.wav", "b": "b.wav", "c": "c.wav"})
    contents = {"a.wav": f"!{code}", "b.wav": "B", "c.wav": "C"}
    plan = world.plan(rows, contents)
    assert changes(plan)["a"] == "quarantined"
    assert plan.newly_bad == {"a"}
    world.carry_out(plan)
    assert world.plan(rows, contents).newly_bad == frozenset()


def test_a_file_that_was_away_for_a_night_costs_nothing_when_it_is_back(world: World) -> None:
    rows = manifest({"a": "a.wav", "b": "b.wav", "c": "c.wav"})
    world.carry_out(world.plan(rows, {"a.wav": "!missing", "b.wav": "B", "c.wav": "C"}))
    assert sorted(world.rows["status"]) == ["live", "live", "quarantined"]
    named = world.rows[world.rows["shard"] != ""]["key"]
    world.places = {key: world.places[key] for key in named}  # all that a store would know
    back = world.plan(rows, {"a.wav": "A", "b.wav": "B", "c.wav": "C"})
    assert set(changes(back).values()) == {"skipped"}


def test_a_bad_file_is_tried_again_when_its_bytes_change() -> None:
    world = World()
    rows = manifest({"a": "a.wav"})
    world.carry_out(world.plan(rows, {"a.wav": "A"}), failing={"a": "silent"})
    assert changes(world.plan(rows, {"a.wav": "A"})) == {"a": "quarantined"}
    assert changes(world.plan(rows, {"a.wav": "A2"})) == {"a": "changed"}


@pytest.mark.parametrize(
    ("code", "tried"),
    [("io", True), ("memory", True), ("missing", True), ("silent", False), ("truncated", False)],
)
def test_a_transient_reason_is_tried_again_by_itself(code: str, tried: bool) -> None:
    world = World()
    rows = manifest({"a": "a.wav"})
    world.carry_out(world.plan(rows, {"a.wav": "A"}), failing={"a": code})
    assert len(world.plan(rows, {"a.wav": "A"}).pending) == tried
    assert len(world.plan(rows, {"a.wav": "A"}, retry_quarantined=True).pending) == 1


def test_planning_changes_nothing(world: World) -> None:
    before = world.rows.copy(deep=True)
    world.plan(manifest({"x": "x.wav"}), {"x.wav": "X"})
    pd.testing.assert_frame_equal(world.rows, before)


def test_a_column_that_the_manifest_gains_relabels(world: World) -> None:
    files = {"a": "a.wav", "b": "b.wav", "c": "c.wav"}
    rows = manifest(files, room=["hall", "", ""])
    plan = world.plan(rows, {"a.wav": "A", "b.wav": "B", "c.wav": "C"})
    assert changes(plan) == {"a": "relabelled", "b": "skipped", "c": "skipped"}


def test_a_part_leaves_what_is_known_of_the_others_alone(world: World) -> None:
    files = {"a": "a.wav", "b": "b.wav", "c": "c.wav"}
    rows = manifest(files)
    mine, others = rows[rows["utterance_id"] == "a"], rows[rows["utterance_id"] != "a"]
    plan = world.plan(mine, {"a.wav": "A2"}, elsewhere=others)
    assert changes(plan) == {"a": "changed"}
    assert plan.gone == ()
    assert set(plan.carried["utterance_id"]) == {"b", "c"}
    gone = world.plan(mine, {"a.wav": "A"}, elsewhere=others[others["utterance_id"] == "b"])
    assert gone.gone == ("c",)


def test_a_calm_night_is_no_news_and_any_change_is(world: World) -> None:
    files = {"a": "a.wav", "b": "b.wav", "c": "c.wav"}
    contents = {"a.wav": "A", "b.wav": "B", "c.wav": "C"}
    assert not world.plan(manifest(files), contents).is_news
    assert world.plan(manifest(files, speaker=["x", "", ""]), contents).is_news
    assert world.plan(manifest(files, room="hall"), contents).is_news
    assert world.plan(manifest({"a": "a.wav", "b": "b.wav"}), contents).is_news
    assert world.plan(manifest(files), {**contents, "a.wav": "A2"}).is_news
    assert world.plan(manifest(files), {**contents, "a.wav": "!missing"}).is_news


def test_calm_stays_calm_whatever_the_order_of_the_manifest(world: World) -> None:
    rows = manifest({"c": "c.wav", "a": "a.wav", "b": "b.wav"})
    assert not world.plan(rows, {"a.wav": "A", "b.wav": "B", "c.wav": "C"}).is_news


def test_what_has_vanished_is_counted_whether_its_row_or_its_file_has(world: World) -> None:
    rows = manifest({"a": "a.wav", "b": "b.wav"})
    plan = world.plan(rows, {"a.wav": "!missing", "b.wav": "B"})
    assert (plan.n_vanished, plan.n_known) == (2, 3)
    world.carry_out(plan)
    again = world.plan(rows, {"a.wav": "!missing", "b.wav": "B"})
    assert (again.n_vanished, again.n_known) == (0, 1)


@pytest.mark.parametrize(
    ("n_known", "n_vanished", "threshold", "refused"),
    [
        (100, 25, 25, False),
        (100, 26, 25, True),
        (100, 100, 99, True),
        (100, 100, 100, False),
        (4, 2, 25, False),  # two are few
        (4, 3, 25, True),
        (2, 2, 25, True),  # but not when they are all
        (1, 1, 25, True),
        (0, 0, 0, False),
    ],
)
def test_a_vanished_disk_is_told_from_a_few_removed_files(
    n_known: int, n_vanished: int, threshold: float, refused: bool
) -> None:
    empty = empty_rows()
    plan = Plan(
        rows=empty,
        before=empty,
        carried=empty,
        gone=(),
        n_known=n_known,
        n_vanished=n_vanished,
        pending=empty,
        newly_bad=frozenset(),
        is_news=True,
    )
    if refused:
        with pytest.raises(MostlyBrokenError, match=r"have vanished .* nothing was changed"):
            refuse_vanished(plan, threshold)
    else:
        refuse_vanished(plan, threshold)


def test_rows_of_a_rebuilt_store_are_taken_over_by_the_manifest_that_knows_them(
    world: World,
) -> None:
    bare = ["corpus", "file", "audio_sha256"]
    world.rows = world.rows.assign(**dict.fromkeys(bare, ""))
    plan = world.plan(manifest({"a": "a.wav", "b": "b.wav"}), {"a.wav": "A", "b.wav": "B"})
    assert plan.pending.empty
    assert plan.carried["utterance_id"].tolist() == ["c"]


def test_hashes_are_remembered_by_size_and_time(tmp_path: Path) -> None:
    audio, cache = tmp_path / "a.wav", tmp_path / "hashes.parquet"
    audio.write_bytes(b"first")
    os.utime(audio, ns=(10**18, 10**18))
    hashes = AudioHashes(cache)
    first = _state(hashes, audio)
    hashes.save()
    audio.write_bytes(b"other")  # same size; with the old time it must be taken for the old bytes
    os.utime(audio, ns=(10**18, 10**18))
    assert _state(AudioHashes(cache), audio) == first
    os.utime(audio, ns=(10**18, 10**18 + 1))
    assert _state(AudioHashes(cache), audio).sha256 != first.sha256


def test_a_file_written_just_now_is_hashed_again(tmp_path: Path) -> None:
    audio = tmp_path / "a.wav"
    audio.write_bytes(b"first")
    hashes = AudioHashes(tmp_path / "hashes.parquet")
    _state(hashes, audio)
    hashes.save()
    assert not (tmp_path / "hashes.parquet").exists()


def test_files_that_cannot_be_hashed_say_why(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    names = ["empty.wav", "folder.wav", "none.wav", "x" * 300 + ".wav"]
    hashes = AudioHashes(tmp_path / "h.parquet")
    assert [_state(hashes, tmp_path / name).code for name in names] == [
        "empty",
        "not_a_file",
        "missing",
        "missing",
    ]


def _state(hashes: AudioHashes, path: Path) -> FileState:
    rows = hashes.states(pd.Series([str(path)], dtype="str"))
    return FileState(*rows.iloc[0])


def test_a_file_that_stands_in_many_rows_is_hashed_once(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    paths = pd.Series([f"{tmp_path}/{name}" for name in "abaab"], dtype="str")
    hashed: list[tuple[int, int]] = []
    states = AudioHashes(tmp_path / "h.parquet").states(paths, lambda *n: hashed.append(n))
    assert hashed == [(2, 2)]
    assert states["sha256"].nunique() == 2
    assert (states["sha256"].iloc[[0, 2, 3]] == states["sha256"].iloc[0]).all()


def test_a_torn_memory_of_hashes_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / "h.parquet").write_bytes(b"PAR1 torn")
    (tmp_path / "a.wav").write_bytes(b"first")
    assert _state(AudioHashes(tmp_path / "h.parquet"), tmp_path / "a.wav").sha256
