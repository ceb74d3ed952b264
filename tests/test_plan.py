"""Plans: what is new, changed, renamed, relabelled, gone, and already there."""

import hashlib
import math
import os
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features_cache.audio_hashes import AudioHashes, FileState
from features_cache.catalogue import Catalogue
from features_cache.key_columns import keys_of
from features_cache.numbered import in_parts
from features_cache.shard import PublishedShard, ShardEntry
from features_cache.snapshot import ORDER, Snapshot, as_table, publish_snapshot
from stages.extract import MostlyBrokenError, refuse_vanished
from stages.manifest import audio_paths, complete
from stages.next_snapshot import Made, differs, outcome, snapshot_parts
from stages.plan import Plan, make_plan
from stages.segment_features import Failed
from stages.shard_work import ShardResult
from stages.utterance import Utterance

ROOT = Path("/audio")
DECODER = "ears 1"

FILES = {"a": "a.wav", "b": "b.wav", "c": "c.wav"}
CONTENTS = {"a.wav": "A", "b.wav": "B", "c.wav": "C"}


def manifest(files: Mapping[str, str], **columns: object) -> pd.DataFrame:
    """One row an utterance: id -> file."""
    rows = pd.DataFrame({"utterance_id": list(files), "file": list(files.values())}, dtype="str")
    return complete(rows.assign(**{"corpus": "c", "speaker": "", "emotion": "", **columns}))


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def states(files: list[str], contents: Mapping[str, str]) -> pd.DataFrame:
    """State of each file, by its content; ``!code`` stands for a failure."""
    found = [
        FileState(code=content[1:])
        if (content := contents[file]).startswith("!")
        else FileState(sha256=digest(content), size=1000, mtime_ns=1)
        for file in files
    ]
    return pd.DataFrame(found, columns=list(FileState._fields)).astype(
        {"sha256": "str", "code": "str", "message": "str"}
    )


class World:
    """A snapshot and a catalogue, as a store would have them, without any audio or feature."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.snapshot = Snapshot()
        self.exists = Catalogue()

    @property
    def rows(self) -> pd.DataFrame:
        return self.snapshot.rows()

    def plan(self, rows: pd.DataFrame, contents: Mapping[str, str], **how: Any) -> Plan:  # noqa: ANN401
        paths = audio_paths(rows, ROOT)
        files = states(rows["file"].tolist(), contents)
        return make_plan(rows, paths, files, self.snapshot, self.exists, **how)

    def carry_out(
        self,
        plan: Plan,
        failing: Mapping[str, str] | None = None,
        *,
        n_reached: int | None = None,
        is_cut_short: bool = False,
        made_by: str = DECODER,
    ) -> bool:
        """Do what a plan says, or the first of it; whether that gave a new snapshot.

        `failing` says why, by "utterance view"; one that fails as `clean` is tried in no view.
        """
        made = Made(made_by=made_by)
        for utterance in plan.utterances(0, n_reached):
            if utterance.view == "clean" or not _has_failed(utterance, made):
                made.add(_result(utterance, failing or {}))
        if is_cut_short:
            made.failures.clear()
        found = outcome(plan, made, is_cut_short=is_cut_short)
        self.exists = made.added_to(self.exists)
        is_news = differs(found)
        if is_news:
            about = Snapshot(parent=self.snapshot.number)
            self.snapshot = publish_snapshot(self.folder, snapshot_parts(found), about)
            names = self.rows[list(ORDER)]
            assert not names.duplicated().any()
            pd.testing.assert_frame_equal(names, names.sort_values(list(ORDER)))
        return is_news

    def is_news(self, plan: Plan) -> bool:
        """Whether there would be a new snapshot."""
        world = copy(self)
        world.folder = self.folder / "aside"
        return world.carry_out(plan)

    def lose(self, *keys: str) -> None:
        """Lose what exists of some keys."""
        self.exists = self.exists.without(keys_of(keys))

    def rewrite(self, rows: pd.DataFrame) -> None:
        """Publish other rows."""
        parts = in_parts(as_table(rows))
        self.snapshot = publish_snapshot(self.folder, parts, Snapshot(parent=self.snapshot.number))

    def status(self, view: str = "clean") -> dict[str, str]:
        rows = self.snapshot.rows(["utterance_id", "status"], view=view)
        return dict(zip(rows["utterance_id"], rows["status"], strict=True))


def _has_failed(utterance: Utterance, made: Made) -> bool:
    bad = (f.utterance for f in made.failures if f.utterance.view == "clean")
    return any(each.utterance_id == utterance.utterance_id for each in bad)


def _result(utterance: Utterance, failing: Mapping[str, str]) -> ShardResult:
    name = utterance.utterance_id
    code = failing.get(f"{name} {utterance.view}")
    if code is not None:
        return ShardResult(failures=(Failed(utterance=utterance, code=code, message="so it is"),))
    entry = ShardEntry(
        key=utterance.key, row_start=0, row_end=1, utterance_id=name, view=utterance.view
    )
    shard = PublishedShard(name=f"{utterance.key[:8]}.h5", sha256="0" * 64, entries=(entry,))
    return ShardResult(shard=shard)


@pytest.fixture
def empty(tmp_path: Path) -> World:
    return World(tmp_path / "store")


@pytest.fixture
def world(empty: World) -> World:
    """Three utterances, extracted."""
    empty.carry_out(empty.plan(manifest(FILES), CONTENTS))
    return empty


def changes(plan: Plan) -> dict[str, str]:
    return dict(zip(plan.wanted.manifest["utterance_id"], plan.change, strict=True))


def to_extract(plan: Plan) -> list[str]:
    return [f"{each.utterance_id} {each.view}" for each in plan.utterances()]


def test_an_empty_store_lacks_everything(empty: World) -> None:
    plan = empty.plan(manifest({"a": "a.wav", "b": "b.wav"}), CONTENTS)
    assert changes(plan) == {"a": "new", "b": "new"}
    assert to_extract(plan) == ["a clean", "b clean"]
    first = next(plan.utterances())
    assert first.path == Path("/audio/a.wav")
    assert (first.audio_sha256, first.size, first.mtime_ns) == (digest("A"), 1000, 1)


def test_the_same_again_is_skipped(world: World) -> None:
    plan = world.plan(manifest(FILES), CONTENTS)
    assert set(changes(plan).values()) == {"skipped"}
    assert plan.pending.empty
    assert plan.gone == ()


def test_one_changed_one_renamed_one_deleted_is_exactly_that(world: World) -> None:
    plan = world.plan(manifest({"a": "a.wav", "bee": "bee.wav"}), {"a.wav": "A2", "bee.wav": "B"})
    assert changes(plan) == {"a": "changed", "bee": "renamed"}
    assert plan.gone == ("c",)
    assert to_extract(plan) == ["a clean"]


def test_a_moved_file_is_renamed_and_costs_nothing(world: World) -> None:
    files = {**FILES, "a": "new/a.wav"}
    plan = world.plan(manifest(files), {**CONTENTS, "new/a.wav": "A"})
    assert changes(plan) == {"a": "renamed", "b": "skipped", "c": "skipped"}
    assert plan.pending.empty


def test_a_changed_label_touches_no_audio(world: World) -> None:
    plan = world.plan(manifest(FILES, emotion=["joy", "", ""]), CONTENTS)
    assert changes(plan) == {"a": "relabelled", "b": "skipped", "c": "skipped"}
    assert plan.pending.empty
    assert world.carry_out(plan)
    assert world.rows["emotion"].tolist() == ["joy", "", ""]


def test_equal_audio_under_two_names_is_extracted_once(empty: World) -> None:
    plan = empty.plan(manifest({"a": "a.wav", "b": "b.wav"}), {"a.wav": "A", "b.wav": "A"})
    assert changes(plan) == {"a": "new", "b": "new"}
    assert len(plan.pending) == 1
    empty.carry_out(plan)
    assert empty.status() == {"a": "live", "b": "live"}


def test_two_ranges_of_one_file_are_two_utterances(empty: World) -> None:
    rows = manifest({"a": "x.wav", "b": "x.wav"}, start=[0.0, 1.0], end=[1.0, math.nan])
    assert len(empty.plan(rows, {"x.wav": "X"}).pending) == 2


def test_a_gone_utterance_that_comes_back_costs_nothing(world: World) -> None:
    world.carry_out(world.plan(manifest({"a": "a.wav"}), CONTENTS))
    assert world.status() == {"a": "live"}
    again = world.plan(manifest(FILES), CONTENTS)
    assert set(changes(again).values()) == {"skipped"}
    world.carry_out(again)
    assert world.status() == dict.fromkeys(FILES, "live")


def test_an_utterance_is_gone_once_not_every_night(world: World) -> None:
    rows = manifest({"a": "a.wav"})
    first = world.plan(rows, CONTENTS)
    assert set(first.gone) == {"b", "c"}
    world.carry_out(first)
    assert world.plan(rows, CONTENTS).gone == ()


def test_another_corpus_in_the_same_store_is_left_alone(world: World) -> None:
    before = world.rows
    other = manifest({"a": "other.wav"}, corpus="other", room="hall")
    plan = world.plan(other, {"other.wav": "O"})
    assert changes(plan) == {"a": "new"}
    assert plan.gone == ()
    world.carry_out(plan)
    after = world.rows
    assert after["room"].tolist() == ["", "hall", "", ""]
    kept = after[after["corpus"] == "c"].drop(columns="room").reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before, check_like=True)
    assert not world.is_news(world.plan(manifest(FILES), CONTENTS))


@pytest.mark.parametrize("code", ["missing", "empty", "permission", "io"])
def test_a_file_that_cannot_be_read_is_quarantined_and_is_news_once(
    world: World, code: str
) -> None:
    rows, contents = manifest(FILES), {**CONTENTS, "a.wav": f"!{code}"}
    plan = world.plan(rows, contents)
    assert changes(plan)["a"] == "quarantined"
    assert plan.newly_bad == {"a"}
    world.carry_out(plan)
    assert world.status()["a"] == code
    again = world.plan(rows, contents)
    assert again.newly_bad == frozenset()
    assert not world.is_news(again)


def test_a_file_that_was_away_for_a_night_costs_nothing_when_it_is_back(world: World) -> None:
    key = world.rows["key"][0]
    world.carry_out(world.plan(manifest(FILES), {**CONTENTS, "a.wav": "!missing"}))
    assert world.status() == {"a": "missing", "b": "live", "c": "live"}
    assert world.rows["key"][0] == key, "so that its features are not garbage"
    back = world.plan(manifest(FILES), CONTENTS)
    assert set(changes(back).values()) == {"skipped"}


def test_a_file_that_nobody_has_ever_seen_has_no_key(empty: World) -> None:
    plan = empty.plan(manifest({"a": "a.wav"}), {"a.wav": "!missing"})
    assert plan.pending.empty
    assert plan.n_vanished == 0
    empty.carry_out(plan)
    assert empty.rows[["key", "audio_sha256", "status"]].values.tolist() == [["", "", "missing"]]
    assert to_extract(empty.plan(manifest({"a": "a.wav"}), CONTENTS)) == ["a clean"]


def test_a_bad_file_is_tried_again_when_its_bytes_change(empty: World) -> None:
    rows = manifest({"a": "a.wav"})
    empty.carry_out(empty.plan(rows, {"a.wav": "A"}), failing={"a clean": "silent"})
    assert changes(empty.plan(rows, {"a.wav": "A"})) == {"a": "quarantined"}
    assert changes(empty.plan(rows, {"a.wav": "A2"})) == {"a": "changed"}


@pytest.mark.parametrize(
    ("code", "tried"),
    [("io", True), ("memory", True), ("missing", True), ("silent", False), ("truncated", False)],
)
def test_a_transient_reason_is_tried_again_by_itself(empty: World, code: str, tried: bool) -> None:
    rows = manifest({"a": "a.wav"})
    empty.carry_out(empty.plan(rows, {"a.wav": "A"}), failing={"a clean": code})
    assert empty.rows[["status", "message"]].values.tolist() == [[code, "so it is"]]
    again = empty.plan(rows, {"a.wav": "A"})
    assert len(again.pending) == tried
    assert changes(again)["a"] == ("retried" if tried else "quarantined")
    assert len(empty.plan(rows, {"a.wav": "A"}, retry_quarantined=True).pending) == 1


@pytest.mark.parametrize("corpus", ["c", "other"])
def test_a_bad_file_is_known_by_its_bytes_under_another_name(empty: World, corpus: str) -> None:
    empty.carry_out(empty.plan(manifest({"a": "a.wav"}), CONTENTS), failing={"a clean": "silent"})
    rows = manifest({"z": "z.wav"}, corpus=corpus)
    plan = empty.plan(rows, {"z.wav": "A"})
    assert plan.pending.empty
    assert changes(plan) == {"z": "quarantined"}
    empty.carry_out(plan)
    found = empty.rows.set_index("utterance_id").loc["z"]
    assert (found["status"], found["message"]) == ("silent", "so it is")
    retried = empty.plan(rows, {"z.wav": "A"}, retry_quarantined=True)
    assert to_extract(retried) == ["z clean"]


def test_what_was_not_reached_is_pending_and_new_once_more(empty: World) -> None:
    empty.carry_out(empty.plan(manifest(FILES), CONTENTS), n_reached=1)
    assert empty.status() == {"a": "live", "b": "pending", "c": "pending"}
    plan = empty.plan(manifest(FILES), CONTENTS)
    assert changes(plan) == {"a": "skipped", "b": "new", "c": "new"}
    assert (plan.n_known, plan.newly_bad) == (1, frozenset())
    empty.carry_out(plan, failing={"c clean": "silent"})
    assert empty.status() == {"a": "live", "b": "live", "c": "silent"}


def test_a_changed_file_that_was_not_reached_stays_as_it_was(world: World) -> None:
    before = world.rows
    rows, contents = manifest(FILES, emotion="joy"), {**CONTENTS, "a.wav": "A2"}
    world.carry_out(world.plan(rows, contents), n_reached=0)
    after = world.rows
    pd.testing.assert_frame_equal(after[:1], before[:1], check_like=True)
    assert after["emotion"].tolist() == ["", "joy", "joy"]
    assert changes(world.plan(rows, contents)) == {"a": "changed", "b": "skipped", "c": "skipped"}


def test_features_of_a_withdrawn_decoder_are_made_again(world: World) -> None:
    rows, mended = manifest(FILES), {"withdrawn": {DECODER, "ears 0"}}
    assert world.plan(rows, CONTENTS, withdrawn={"ears 0"}).n_withdrawn == 0
    plan = world.plan(rows, CONTENTS, **mended)
    assert plan.n_withdrawn == 3
    assert set(changes(plan).values()) == {"retried"}
    assert to_extract(plan) == ["a clean", "b clean", "c clean"]
    assert not world.carry_out(plan, n_reached=1, made_by="ears 2"), "who wants what is the same"
    rest = world.plan(rows, CONTENTS, **mended)
    assert (rest.n_withdrawn, to_extract(rest)) == (2, ["b clean", "c clean"])
    assert not world.carry_out(rest, made_by="ears 2")
    done = world.plan(rows, CONTENTS, **mended)
    assert (done.n_withdrawn, to_extract(done)) == (0, [])


def test_reasons_of_a_withdrawn_decoder_are_tried_again(empty: World) -> None:
    empty.carry_out(
        empty.plan(manifest({"a": "a.wav"}), CONTENTS), failing={"a clean": "unreadable"}
    )
    rows = manifest(FILES)
    empty.carry_out(empty.plan(rows, CONTENTS), made_by="ears 2")
    plan = empty.plan(rows, CONTENTS, withdrawn={DECODER})
    assert (plan.n_withdrawn, to_extract(plan)) == (1, ["a clean"])
    assert plan.newly_bad == frozenset()
    assert not empty.carry_out(plan, n_reached=0)
    assert empty.status()["a"] == "unreadable"
    assert empty.carry_out(plan, made_by="ears 2")
    assert empty.status()["a"] == "live"
    assert empty.plan(rows, CONTENTS, withdrawn={DECODER}).n_withdrawn == 0


def test_a_mended_decoder_that_fails_alike_is_no_news(empty: World) -> None:
    rows = manifest({"a": "a.wav"})
    empty.carry_out(empty.plan(rows, CONTENTS), failing={"a clean": "unreadable"})
    plan = empty.plan(rows, CONTENTS, withdrawn={DECODER})
    assert not empty.carry_out(plan, failing={"a clean": "unreadable"}, made_by="ears 2")
    again = empty.plan(rows, CONTENTS, withdrawn={DECODER})
    assert (again.n_withdrawn, to_extract(again), again.newly_bad) == (0, [], frozenset())


def test_an_interrupted_run_tells_nobody_of_bad_files_and_the_next_one_does(world: World) -> None:
    files = {**FILES, "d": "d.wav"}
    contents = {"a.wav": "!missing", "b.wav": "B2", "c.wav": "C2", "d.wav": "D"}
    failing = {"b clean": "silent", "d clean": "clipped"}
    before = world.rows
    plan = world.plan(manifest(files), contents)
    assert to_extract(plan) == ["b clean", "c clean", "d clean"]
    world.carry_out(plan, failing, is_cut_short=True)
    assert world.status() == {"a": "live", "b": "live", "c": "live", "d": "pending"}
    pd.testing.assert_frame_equal(world.rows[:2], before[:2], check_like=True)
    assert world.rows["audio_sha256"][2] == digest("C2"), "what was made counts"
    again = world.plan(manifest(files), contents)
    assert to_extract(again) == ["b clean", "d clean"]
    assert again.newly_bad == {"a"}
    world.carry_out(again, failing)
    assert world.status() == {"a": "missing", "b": "silent", "c": "live", "d": "clipped"}


def test_reasons_that_a_killed_run_left_in_the_catalogue_are_told_without_trying_again(
    world: World,
) -> None:
    before, contents = world.snapshot, {**CONTENTS, "b.wav": "B2"}
    plan = world.plan(manifest(FILES), contents)
    world.carry_out(plan, failing={"b clean": "silent"})
    world.snapshot = before  # it was killed before it had published its own
    told = world.plan(manifest(FILES), contents)
    assert told.pending.empty
    assert told.newly_bad == {"b"}
    assert world.carry_out(told)
    assert world.status() == {"a": "live", "b": "silent", "c": "live"}
    assert world.plan(manifest(FILES), contents).newly_bad == frozenset()


def test_lost_features_are_made_again_whoever_has_noticed(world: World) -> None:
    rows = world.rows
    world.lose(rows["key"][0], rows["key"][1])
    world.rewrite(rows.assign(status=["damaged", "live", "live"]))
    plan = world.plan(manifest(FILES), CONTENTS)
    assert to_extract(plan) == ["a clean", "b clean"]
    assert plan.newly_bad == frozenset()
    world.carry_out(plan)
    assert world.status() == dict.fromkeys(FILES, "live")


def test_planning_changes_nothing(world: World) -> None:
    rows, contents = manifest({"x": "x.wav", "a": "a.wav"}), {"x.wav": "!missing", "a.wav": "A2"}
    paths, files = audio_paths(rows, ROOT), states(rows["file"].tolist(), contents)
    given = [rows.copy(), paths.copy(), files.copy(), world.rows, world.exists.rows.to_pandas()]
    make_plan(rows, paths, files, world.snapshot, world.exists, retry_quarantined=True)
    for now, then in zip(
        [rows, paths, files, world.rows, world.exists.rows.to_pandas()], given, strict=True
    ):
        assert now.equals(then)


def test_a_column_that_the_manifest_gains_or_loses_relabels(world: World) -> None:
    rows = manifest(FILES, room=["hall", "", ""])
    plan = world.plan(rows, CONTENTS)
    assert changes(plan) == {"a": "relabelled", "b": "skipped", "c": "skipped"}
    world.carry_out(plan)
    back = world.plan(manifest(FILES), CONTENTS)
    assert changes(back) == {"a": "relabelled", "b": "skipped", "c": "skipped"}
    world.carry_out(back)
    assert set(world.rows["room"]) == {""}


def test_a_part_leaves_what_is_known_of_the_others_alone(world: World) -> None:
    rows, before = manifest(FILES), world.rows
    mine, others = rows[rows["utterance_id"] == "a"], rows[rows["utterance_id"] != "a"]
    plan = world.plan(mine, {"a.wav": "A2"}, elsewhere=others)
    assert changes(plan) == {"a": "changed"}
    assert plan.gone == ()
    gone = world.plan(mine, CONTENTS, elsewhere=others[others["utterance_id"] == "b"])
    assert gone.gone == ("c",)
    world.carry_out(plan)
    after = world.rows
    pd.testing.assert_frame_equal(after[1:], before[1:], check_like=True)
    assert after["audio_sha256"][0] == digest("A2")


def test_a_calm_night_is_no_news_and_any_change_is(world: World) -> None:
    assert not world.is_news(world.plan(manifest(FILES), CONTENTS))
    for rows, content in (
        (manifest(FILES, speaker=["x", "", ""]), "A"),
        (manifest(FILES, room="hall"), "A"),
        (manifest({"a": "a.wav", "b": "b.wav"}), "A"),
        (manifest({**FILES, "a": "./a.wav"}), "A"),
        (manifest({**FILES, "d": "a.wav"}), "A"),
        (manifest(FILES), "A2"),
        (manifest(FILES), "!missing"),
        (manifest(FILES, end=[1.0, math.nan, math.nan]), "A"),
    ):
        plan = world.plan(rows, {**CONTENTS, "a.wav": content, "./a.wav": content})
        assert world.is_news(plan)


def test_calm_stays_calm_whatever_the_order_of_the_manifest(world: World) -> None:
    rows = manifest({"c": "c.wav", "a": "a.wav", "b": "b.wav"})
    assert not world.is_news(world.plan(rows, CONTENTS))


def test_what_has_vanished_is_counted_whether_its_row_or_its_file_has(world: World) -> None:
    rows, contents = manifest({"a": "a.wav", "b": "b.wav"}), {**CONTENTS, "a.wav": "!missing"}
    plan = world.plan(rows, contents)
    assert (plan.n_vanished, plan.n_known) == (2, 3)
    world.carry_out(plan)
    again = world.plan(rows, contents)
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
    empty: World, n_known: int, n_vanished: int, threshold: float, refused: bool
) -> None:
    plan = replace(empty.plan(manifest({}), {}), n_known=n_known, n_vanished=n_vanished)
    if refused:
        with pytest.raises(MostlyBrokenError, match=r"have vanished .* nothing was changed"):
            refuse_vanished(plan, threshold)
    else:
        refuse_vanished(plan, threshold)


def test_rows_of_a_rebuilt_store_are_taken_over_by_the_manifest_that_knows_them(
    world: World,
) -> None:
    world.rewrite(world.rows.assign(corpus="", file="", audio_sha256=""))
    plan = world.plan(manifest({"a": "a.wav", "b": "b.wav"}), CONTENTS)
    assert plan.pending.empty
    assert plan.gone == ()
    world.carry_out(plan)
    assert world.rows["corpus"].tolist() == ["c", "c", ""]
    assert world.status() == dict.fromkeys(FILES, "live")


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
