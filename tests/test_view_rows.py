"""Plans with views: what a view costs, what it leaves alone, and what becomes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.frontend.views.table import views
from stages.plan import Plan
from stages.view_rows import told_once
from tests.test_plan import World, manifest

FILES = {"a": "a.wav", "b": "b.wav", "c": "c.wav"}
CONTENTS = {"a.wav": "A", "b.wav": "B", "c.wav": "C"}
ROWS = manifest(FILES)


class Views(World):
    """A store whose plans ask for views by name."""

    def ask(
        self,
        *names: str,
        rows: pd.DataFrame = ROWS,
        contents: dict[str, str] | None = None,
        **how: Any,  # noqa: ANN401
    ) -> Plan:
        return self.plan(rows, CONTENTS | (contents or {}), views=views(names), **how)

    def status(self, view: str) -> dict[str, str]:
        rows = self.rows[self.rows["view"] == view].sort_values("status", ascending=False)
        return dict(zip(rows["utterance_id"], rows["status"], strict=True))


@pytest.fixture
def store() -> Views:
    """Three utterances, clean and at another speed."""
    world = Views()
    world.carry_out(world.ask("speed-0.9"))
    return world


def to_extract(plan: Plan) -> list[str]:
    return [f"{item.utterance_id} {item.view}" for item in plan.items()]


def all_of(view: str) -> dict[str, str]:
    return dict.fromkeys(FILES, view)


def test_clean_is_made_first_and_each_view_under_a_key_of_its_own() -> None:
    plan = Views().ask("speed-0.9", "masks")
    assert to_extract(plan) == [f"{u} {v}" for v in ("clean", "speed-0.9", "masks") for u in "abc"]
    assert plan.pending["key"].is_unique
    assert plan.count("new") == 3


def test_a_view_that_is_added_costs_itself_and_nothing_else(store: Views) -> None:
    plan = store.ask("speed-0.9", "noise-20db")
    assert to_extract(plan) == ["a noise-20db", "b noise-20db", "c noise-20db"]
    assert (plan.count("skipped"), plan.count("new")) == (3, 0)
    store.carry_out(plan)
    assert not store.ask("speed-0.9", "noise-20db").is_news


def test_clean_keys_are_what_they_were_without_views() -> None:
    keys = [
        plan.rows.loc[plan.rows["view"] == "clean", "key"].tolist()
        for plan in (Views().ask(), Views().ask("speed-0.9"))
    ]
    assert keys[0] == keys[1]


def test_a_view_that_is_not_asked_for_stays(store: Views) -> None:
    plan = store.ask()
    assert plan.pending.empty
    assert not plan.is_news
    assert plan.gone == ()
    store.carry_out(store.ask("masks"))
    assert store.status("speed-0.9") == store.status("masks") == all_of("live")


def test_views_of_an_utterance_that_has_left_go_with_it(store: Views) -> None:
    plan = store.ask(rows=ROWS[ROWS["utterance_id"] != "c"])
    assert plan.gone == ("c",)
    store.carry_out(plan)
    assert store.status("speed-0.9") == {"a": "live", "b": "live", "c": "gone"}
    assert store.status("clean") == {"a": "live", "b": "live", "c": "gone"}
    back = store.ask("speed-0.9")
    assert back.pending.empty


def test_a_changed_file_redoes_the_views_that_are_asked_for(store: Views) -> None:
    plan = store.ask("speed-0.9", contents={"a.wav": "A2"})
    assert to_extract(plan) == ["a clean", "a speed-0.9"]
    assert plan.count("changed") == 1


def test_a_changed_file_outgrows_the_views_that_are_not_asked_for(store: Views) -> None:
    plan = store.ask(contents={"a.wav": "A2"})
    assert to_extract(plan) == ["a clean"]
    store.carry_out(plan)
    assert store.status("speed-0.9") == {"a": "gone", "b": "live", "c": "live"}
    tomb = store.rows[(store.rows["status"] == "gone") & (store.rows["view"] == "speed-0.9")]
    assert tomb["reason"].tolist() == ["replaced"]
    again = store.ask("speed-0.9", contents={"a.wav": "A2"})
    assert to_extract(again) == ["a speed-0.9"]
    back = store.ask("speed-0.9")
    assert back.pending.empty, "the old bytes' features are still there"


def test_a_moved_file_takes_its_views_along(store: Views) -> None:
    rows = manifest({**FILES, "a": "new/a.wav"})
    plan = store.ask(rows=rows, contents={"new/a.wav": "A"})
    assert plan.pending.empty
    assert plan.count("renamed") == 1
    store.carry_out(plan)
    moved = store.rows[store.rows["utterance_id"] == "a"]
    assert moved["file"].unique().tolist() == ["new/a.wav"]


@pytest.mark.parametrize("asked", [(), ("speed-0.9",)])
def test_a_renamed_utterance_takes_its_views_along(store: Views, asked: tuple[str, ...]) -> None:
    rows = manifest({"aa": "aa.wav", "b": "b.wav", "c": "c.wav"})
    plan = store.ask(*asked, rows=rows, contents={"aa.wav": "A"})
    assert plan.pending.empty
    assert plan.gone == ()
    assert plan.ids("renamed") == ["aa"]
    store.carry_out(plan)
    assert store.status("speed-0.9") == {"aa": "live", "b": "live", "c": "live"}
    assert not store.ask(*asked, rows=rows, contents={"aa.wav": "A"}).is_news


def test_a_new_label_is_a_views_too(store: Views) -> None:
    plan = store.ask(rows=manifest(FILES, emotion=["joy", "", ""]))
    assert plan.count("relabelled") == 1
    store.carry_out(plan)
    labels = store.rows.loc[store.rows["utterance_id"] == "a", "emotion"]
    assert labels.tolist() == ["joy", "joy"]


def test_a_file_out_of_reach_is_bad_once_and_costs_nothing_when_it_is_back(store: Views) -> None:
    plan = store.ask("speed-0.9", contents={"a.wav": "!missing"})
    assert plan.newly_bad == {"a"}
    assert plan.n_vanished == 1
    assert plan.count("quarantined") == 1
    store.carry_out(plan)
    assert len(told_once(store.rows)) == 1
    assert not store.ask("speed-0.9", contents={"a.wav": "!missing"}).is_news
    back = store.ask("speed-0.9")
    assert back.pending.empty
    assert back.count("skipped") == 3


def test_a_new_view_does_not_try_what_is_given_up() -> None:
    world = Views()
    world.carry_out(world.ask(), failing={"a": "silent"})
    plan = world.ask("speed-0.9")
    assert to_extract(plan) == ["b speed-0.9", "c speed-0.9"]
    assert plan.newly_bad == frozenset()
    world.carry_out(plan)
    bad = world.rows[world.rows["status"] == "quarantined"]
    assert bad["reason"].tolist() == ["silent", "silent"]
    assert told_once(world.rows)["view"].tolist() == ["clean"]
    assert not world.ask("speed-0.9").is_news
    again = world.ask("speed-0.9", retry_quarantined=True)
    assert to_extract(again) == ["a clean", "a speed-0.9"]


def test_what_fails_in_a_view_alone_is_told_of() -> None:
    rows = pd.DataFrame(
        [
            ("c", "a", "clean", "quarantined"),
            ("c", "a", "masks", "quarantined"),
            ("c", "b", "clean", "live"),
            ("c", "b", "masks", "quarantined"),
            ("c", "b", "speed-2", "quarantined"),
            ("d", "a", "clean", "live"),
        ],
        columns=["corpus", "utterance_id", "view", "status"],
    )
    told = told_once(rows.sample(frac=1.0, random_state=1))
    assert sorted(told["utterance_id"]) == ["a", "b"]
    assert set(told["view"]) <= {"clean", "masks", "speed-2"}


def test_what_the_store_has_lost_of_a_view_is_made_again_unasked(store: Views) -> None:
    lost = (store.rows["utterance_id"] == "b") & (store.rows["view"] == "speed-0.9")
    key = store.rows.loc[lost, "key"].item()
    del store.places[key]
    store.rows.loc[lost, ["status", "reason", "shard"]] = "quarantined", "damaged", ""
    assert to_extract(store.ask()) == ["b speed-0.9"]


def test_a_view_of_an_earlier_revision_stays_until_it_is_asked_for(
    store: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.frontend.views.speed.Speed.revision", 2)
    unasked = store.ask()
    assert unasked.pending.empty
    assert not unasked.is_news
    asked = store.ask("speed-0.9")
    assert to_extract(asked) == ["a speed-0.9", "b speed-0.9", "c speed-0.9"]
    assert asked.count("changed") == 0


def test_a_view_that_this_version_does_not_know_is_left_alone(store: Views) -> None:
    is_view = store.rows["view"] == "speed-0.9"
    store.rows["view"] = store.rows["view"].mask(is_view, "hologram-3")
    plan = store.ask("masks")
    assert to_extract(plan) == ["a masks", "b masks", "c masks"]
    store.carry_out(plan)
    assert store.status("hologram-3") == all_of("live")
    store.carry_out(store.ask(contents={"a.wav": "A2"}))
    assert store.status("hologram-3")["a"] == "gone"


def test_a_lost_shard_of_an_unknown_view_is_left_to_repair(store: Views) -> None:
    is_view = store.rows["view"] == "speed-0.9"
    store.rows["view"] = store.rows["view"].mask(is_view, "hologram-3")
    for key in store.rows.loc[is_view, "key"]:
        del store.places[key]
    plan = store.ask()
    assert plan.pending.empty
    assert not plan.is_news
    store.carry_out(plan)
    assert store.status("hologram-3") == all_of("live")


@pytest.mark.parametrize("asked", [(), ("speed-0.9",)])
def test_views_of_a_rebuilt_store_are_taken_over(store: Views, asked: tuple[str, ...]) -> None:
    store.rows = store.rows.assign(**dict.fromkeys(["corpus", "file", "audio_sha256"], ""))
    plan = store.ask(*asked)
    assert plan.pending.empty
    assert plan.carried.empty
    store.carry_out(plan)
    assert store.status("speed-0.9") == all_of("live")
    assert store.rows["file"].ne("").all()


def test_a_part_leaves_the_views_of_the_others_alone(store: Views) -> None:
    mine = ROWS["utterance_id"] == "a"
    plan = store.ask("masks", rows=ROWS[mine], elsewhere=ROWS[~mine])
    assert to_extract(plan) == ["a masks"]
    assert plan.gone == ()
    store.carry_out(plan)
    assert store.status("speed-0.9") == all_of("live")


def test_equal_audio_under_two_names_is_seen_once_a_view() -> None:
    rows = manifest({"a": "a.wav", "b": "b.wav"})
    plan = Views().ask("speed-0.9", rows=rows, contents={"b.wav": "A"})
    assert to_extract(plan) == ["a clean", "a speed-0.9"]
    assert (plan.rows["status"] == "pending").all()


def test_two_ranges_of_one_file_keep_their_views_apart() -> None:
    rows = manifest({"a": "x.wav", "b": "x.wav"}, start=[0.0, 1.0], end=[1.0, np.nan])
    world = Views()
    plan = world.ask("masks", rows=rows, contents={"x.wav": "X"})
    assert len(plan.pending) == 4
    world.carry_out(plan)
    assert not world.ask("masks", rows=rows, contents={"x.wav": "X"}).is_news
    assert Path(next(plan.items()).path).name == "x.wav"
