"""What is wanted through views: what a view costs, what it leaves alone, and what becomes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.frontend.views.table import views
from stages.next_snapshot import Made, counted_once, outcome, told
from stages.plan import Plan
from tests.test_plan import CONTENTS, DECODER, FILES, World, digest, manifest, to_extract

ROWS = manifest(FILES)
VIEW = "speed-0.9"


class Views(World):
    """A store whose plans ask for views by name."""

    def ask(
        self,
        *names: str,
        rows: pd.DataFrame = ROWS,
        contents: Mapping[str, str] | None = None,
        **how: Any,  # noqa: ANN401
    ) -> Plan:
        return self.plan(rows, CONTENTS | (contents or {}), views=views(names), **how)

    def of(self, view: str) -> pd.DataFrame:
        return self.snapshot.rows(view=view).set_index("utterance_id")

    def rename(self, view: str) -> None:
        """Let the store have the view under a name that this version does not know."""
        rows = self.rows
        self.rewrite(rows.assign(view=rows["view"].replace(VIEW, view)))


@pytest.fixture
def empty(tmp_path: Path) -> Views:
    return Views(tmp_path / "store")


@pytest.fixture
def store(empty: Views) -> Views:
    """Three utterances, clean and at another speed."""
    empty.carry_out(empty.ask(VIEW))
    return empty


def told_once(plan: Plan, *, news: bool = False) -> list[str]:
    """Say who would be told as bad if nothing more were done."""
    found = outcome(plan, Made(made_by=DECODER))
    mask = found.is_news if news else np.ones(len(found.is_news), bool)
    rows = told(found, counted_once(found, mask))
    return [f"{row.utterance_id} {row.view} {row.reason}" for row in rows.itertuples()]


def all_of(state: str) -> dict[str, str]:
    return dict.fromkeys(FILES, state)


def test_clean_is_made_first_and_each_view_under_a_key_of_its_own(empty: Views) -> None:
    plan = empty.ask(VIEW, "masks")
    assert to_extract(plan) == [f"{u} {v}" for v in ("clean", VIEW, "masks") for u in "abc"]
    assert plan.pending["key"].is_unique
    assert plan.count("new") == 3
    assert plan.n_by_view() == {VIEW: (3, 0), "masks": (3, 0)}


def test_a_view_that_is_added_costs_itself_and_nothing_else(store: Views) -> None:
    plan = store.ask(VIEW, "noise-20db")
    assert to_extract(plan) == ["a noise-20db", "b noise-20db", "c noise-20db"]
    assert (plan.count("skipped"), plan.count("new")) == (3, 0)
    assert plan.n_by_view() == {VIEW: (0, 3), "noise-20db": (3, 0)}
    store.carry_out(plan)
    assert not store.is_news(store.ask(VIEW, "noise-20db"))


def test_clean_keys_are_what_they_were_without_views(empty: Views) -> None:
    keys = [plan.wanted.key[:3].tolist() for plan in (empty.ask(), empty.ask(VIEW))]
    assert keys[0] == keys[1]


def test_a_view_that_is_not_asked_for_stays(store: Views) -> None:
    plan = store.ask()
    assert plan.pending.empty
    assert plan.gone == ()
    assert plan.n_by_view() == {VIEW: (0, 3)}
    assert not store.is_news(plan)
    store.carry_out(store.ask("masks"))
    assert store.status(VIEW) == store.status("masks") == all_of("live")


def test_views_of_an_utterance_that_has_left_go_with_it(store: Views) -> None:
    plan = store.ask(rows=ROWS[ROWS["utterance_id"] != "c"])
    assert plan.gone == ("c",)
    store.carry_out(plan)
    assert store.status(VIEW) == store.status() == {"a": "live", "b": "live"}
    back = store.ask(VIEW)
    assert back.pending.empty


def test_a_changed_file_redoes_the_views_that_are_asked_for(store: Views) -> None:
    plan = store.ask(VIEW, contents={"a.wav": "A2"})
    assert to_extract(plan) == ["a clean", f"a {VIEW}"]
    assert plan.count("changed") == 1


def test_a_changed_file_outgrows_the_views_that_are_not_asked_for(store: Views) -> None:
    plan = store.ask(contents={"a.wav": "A2"})
    assert to_extract(plan) == ["a clean"]
    store.carry_out(plan)
    assert store.status(VIEW) == {"b": "live", "c": "live"}
    again = store.ask(VIEW, contents={"a.wav": "A2"})
    assert to_extract(again) == [f"a {VIEW}"]
    back = store.ask(VIEW)
    assert back.pending.empty, "the old bytes' features are still there"


def test_outgrown_views_stay_as_long_as_their_utterance_was_not_reached(store: Views) -> None:
    before = store.rows
    store.carry_out(store.ask(contents={"a.wav": "A2"}), n_reached=0)
    pd.testing.assert_frame_equal(store.rows, before)


def test_an_utterance_and_its_views_that_were_not_reached_are_of_the_same_bytes(
    store: Views,
) -> None:
    plan = store.ask(VIEW, contents={"a.wav": "A2"})
    store.carry_out(plan, n_reached=1)
    assert store.of("clean").loc["a", "audio_sha256"] == digest("A2")
    assert store.status(VIEW) == all_of("live"), "what was live stays live until it is made anew"
    assert store.of(VIEW).loc["a", "audio_sha256"] == digest("A")
    assert to_extract(store.ask(VIEW, contents={"a.wav": "A2"})) == [f"a {VIEW}"]
    store.carry_out(store.ask(contents={"a.wav": "A2"}))
    assert store.status(VIEW) == {"b": "live", "c": "live"}


def test_a_new_view_that_was_not_reached_is_pending(store: Views) -> None:
    store.carry_out(store.ask("masks"), n_reached=1)
    assert store.status("masks") == {"a": "live", "b": "pending", "c": "pending"}
    assert to_extract(store.ask()) == ["b masks", "c masks"], "it was wanted, and still is"
    assert store.ask().newly_bad == frozenset()


def test_a_moved_file_takes_its_views_along(store: Views) -> None:
    rows = manifest({**FILES, "a": "new/a.wav"})
    plan = store.ask(rows=rows, contents={"new/a.wav": "A"})
    assert plan.pending.empty
    assert plan.count("renamed") == 1
    store.carry_out(plan)
    assert store.of("clean").loc["a", "file"] == store.of(VIEW).loc["a", "file"] == "new/a.wav"


@pytest.mark.parametrize("asked", [(), (VIEW,)])
def test_a_renamed_utterance_takes_its_views_along(store: Views, asked: tuple[str, ...]) -> None:
    rows = manifest({"aa": "aa.wav", "b": "b.wav", "c": "c.wav"})
    plan = store.ask(*asked, rows=rows, contents={"aa.wav": "A"})
    assert plan.pending.empty
    assert plan.gone == ()
    assert plan.ids("renamed") == ["aa"]
    store.carry_out(plan)
    assert store.status(VIEW) == {"aa": "live", "b": "live", "c": "live"}
    assert not store.is_news(store.ask(*asked, rows=rows, contents={"aa.wav": "A"}))


def test_names_that_change_places_take_their_views_along(store: Views) -> None:
    rows = manifest({"a": "b.wav", "b": "a.wav", "c": "c.wav"})
    before = store.of(VIEW)["key"]
    plan = store.ask(VIEW, rows=rows)
    assert plan.pending.empty
    assert plan.count("changed") == 2
    store.carry_out(plan)
    assert store.of(VIEW)["key"].tolist() == before[["b", "a", "c"]].tolist()


def test_a_new_label_is_a_views_too(store: Views) -> None:
    plan = store.ask(rows=manifest(FILES, emotion=["joy", "", ""]))
    assert plan.count("relabelled") == 1
    store.carry_out(plan)
    assert store.of("clean").loc["a", "emotion"] == store.of(VIEW).loc["a", "emotion"] == "joy"


def test_a_file_out_of_reach_is_bad_once_and_costs_nothing_when_it_is_back(store: Views) -> None:
    plan = store.ask(VIEW, contents={"a.wav": "!missing"})
    assert plan.newly_bad == {"a"}
    assert plan.n_vanished == 1
    assert plan.count("quarantined") == 1
    assert told_once(plan, news=True) == ["a clean missing"]
    store.carry_out(plan)
    assert store.status() == store.status(VIEW) == {"a": "missing", "b": "live", "c": "live"}
    again = store.ask(VIEW, contents={"a.wav": "!missing"})
    assert told_once(again) == ["a clean missing"]
    assert told_once(again, news=True) == []
    assert not store.is_news(again)
    back = store.ask(VIEW)
    assert back.pending.empty
    assert back.count("skipped") == 3


def test_a_reason_of_the_utterance_settles_its_views(empty: Views) -> None:
    empty.carry_out(empty.ask(VIEW), failing={"a clean": "silent"})
    assert empty.status() == empty.status(VIEW) == {"a": "silent", "b": "live", "c": "live"}
    assert empty.of(VIEW).loc["a", "message"] == "so it is"
    assert told_once(empty.ask(VIEW)) == ["a clean silent"]
    assert empty.ask(VIEW).pending.empty


def test_a_passing_reason_is_tried_again_with_its_views(empty: Views) -> None:
    empty.carry_out(empty.ask(VIEW), failing={"a clean": "io"})
    assert empty.status(VIEW) == {"a": "io", "b": "live", "c": "live"}
    assert to_extract(empty.ask(VIEW)) == ["a clean", f"a {VIEW}"]


def test_a_new_view_does_not_try_what_is_given_up(empty: Views) -> None:
    empty.carry_out(empty.ask(), failing={"a clean": "silent"})
    plan = empty.ask(VIEW)
    assert to_extract(plan) == [f"b {VIEW}", f"c {VIEW}"]
    assert plan.newly_bad == frozenset()
    empty.carry_out(plan)
    assert empty.status(VIEW)["a"] == "silent"
    again = empty.ask(VIEW)
    assert told_once(again) == ["a clean silent"]
    assert not empty.is_news(again)
    retried = empty.ask(VIEW, retry_quarantined=True)
    assert to_extract(retried) == ["a clean", f"a {VIEW}"]


def test_what_fails_in_a_view_alone_is_told_of_once(empty: Views) -> None:
    plan = empty.ask("masks", VIEW)
    empty.carry_out(plan, failing={"a clean": "silent", "b masks": "short", f"b {VIEW}": "short"})
    assert told_once(empty.ask("masks", VIEW)) == ["a clean silent", "b masks short"]
    assert empty.status(VIEW) == {"a": "silent", "b": "short", "c": "live"}
    assert empty.status() == {"a": "silent", "b": "live", "c": "live"}
    assert empty.ask("masks", VIEW).pending.empty


def test_what_the_store_has_lost_of_a_view_is_made_again_unasked(store: Views) -> None:
    store.lose(store.of(VIEW).loc["b", "key"])
    assert to_extract(store.ask()) == [f"b {VIEW}"]


def test_views_of_a_withdrawn_decoder_are_made_again_asked_for_or_not(store: Views) -> None:
    for asked in ((), (VIEW,)):
        plan = store.ask(*asked, withdrawn={DECODER})
        assert plan.n_withdrawn == len(plan.pending) == 6
    store.carry_out(plan, n_reached=4, made_by="ears 2")
    rest = store.ask(withdrawn={DECODER})
    assert to_extract(rest) == [f"b {VIEW}", f"c {VIEW}"]
    assert store.status(VIEW) == all_of("live")


def test_a_view_of_an_earlier_revision_stays_until_it_is_asked_for(
    store: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = store.of(VIEW)["key"].tolist()
    monkeypatch.setattr("stages.frontend.views.speed.Speed.revision", 2)
    unasked = store.ask(rows=manifest(FILES, emotion="joy"))
    assert unasked.pending.empty
    store.carry_out(unasked)
    assert store.of(VIEW)["key"].tolist() == keys
    asked = store.ask(VIEW)
    assert to_extract(asked) == [f"a {VIEW}", f"b {VIEW}", f"c {VIEW}"]
    assert asked.count("changed") == 0


def test_a_view_of_an_earlier_revision_leaves_when_its_features_are_lost(
    store: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.frontend.views.speed.Speed.revision", 2)
    store.lose(store.of(VIEW).loc["b", "key"])
    plan = store.ask()
    assert plan.pending.empty
    assert plan.n_by_view() == {VIEW: (0, 2)}
    assert store.carry_out(plan)
    assert store.status(VIEW) == {"a": "live", "c": "live"}
    assert not store.is_news(store.ask())


def test_a_view_of_an_earlier_revision_and_a_withdrawn_decoder_leaves(
    store: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.frontend.views.speed.Speed.revision", 2)
    plan = store.ask(withdrawn={DECODER})
    assert to_extract(plan) == ["a clean", "b clean", "c clean"]
    store.carry_out(plan, made_by="ears 2")
    assert store.status() == all_of("live")
    assert store.status(VIEW) == {}


def test_a_view_that_this_version_does_not_know_is_left_alone(store: Views) -> None:
    store.rename("hologram-3")
    plan = store.ask("masks")
    assert to_extract(plan) == ["a masks", "b masks", "c masks"]
    store.carry_out(plan)
    assert store.status("hologram-3") == all_of("live")
    store.carry_out(store.ask(contents={"a.wav": "A2"}))
    assert store.status("hologram-3") == {"b": "live", "c": "live"}


def test_an_unknown_view_leaves_when_its_features_are_lost(store: Views) -> None:
    store.rename("hologram-3")
    store.lose(*store.of("hologram-3")["key"])
    plan = store.ask()
    assert plan.pending.empty
    store.carry_out(plan)
    assert store.status("hologram-3") == {}
    assert store.status() == all_of("live")


@pytest.mark.parametrize("asked", [(), (VIEW,)])
def test_views_of_a_rebuilt_store_are_taken_over(store: Views, asked: tuple[str, ...]) -> None:
    store.rewrite(store.rows.assign(corpus="", file="", audio_sha256=""))
    plan = store.ask(*asked)
    assert plan.pending.empty
    store.carry_out(plan)
    assert store.status(VIEW) == all_of("live")
    assert store.rows[["corpus", "file", "audio_sha256"]].ne("").all(axis=None)
    assert len(store.rows) == 6


def test_a_part_leaves_the_views_of_the_others_alone(store: Views) -> None:
    mine = ROWS["utterance_id"] == "a"
    plan = store.ask("masks", rows=ROWS[mine], elsewhere=ROWS[~mine])
    assert to_extract(plan) == ["a masks"]
    assert plan.gone == ()
    store.carry_out(plan)
    assert store.status(VIEW) == all_of("live")


def test_equal_audio_under_two_names_is_seen_once_a_view(empty: Views) -> None:
    rows = manifest({"a": "a.wav", "b": "b.wav"})
    plan = empty.ask(VIEW, rows=rows, contents={"b.wav": "A"})
    assert to_extract(plan) == ["a clean", f"a {VIEW}"]
    empty.carry_out(plan)
    assert empty.status() == empty.status(VIEW) == {"a": "live", "b": "live"}


def test_two_ranges_of_one_file_keep_their_views_apart(empty: Views) -> None:
    rows = manifest({"a": "x.wav", "b": "x.wav"}, start=[0.0, 1.0], end=[1.0, np.nan])
    plan = empty.ask("masks", rows=rows, contents={"x.wav": "X"})
    assert len(plan.pending) == 4
    empty.carry_out(plan)
    assert not empty.is_news(empty.ask("masks", rows=rows, contents={"x.wav": "X"}))
    assert empty.of("masks")["key"].is_unique


def opaque(store: Views) -> None:
    """Make the store one of which nobody knows the audio, as an anonymised import is."""
    store.rewrite(store.rows.assign(audio_sha256=""))


def test_keys_of_audio_that_nobody_knows_are_kept_while_it_is_away(store: Views) -> None:
    keys = store.rows["key"].tolist()
    opaque(store)
    plan = store.ask(VIEW, contents=dict.fromkeys(CONTENTS, "!missing"))
    assert plan.pending.empty
    store.carry_out(plan)
    assert store.rows["key"].tolist() == keys
