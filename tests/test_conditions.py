"""The conditions of two runs, and what is said where they differ."""

import re

import pytest

from reports.conditions import matching_remarks, run_remarks, what_differs
from reports.pairing import Entry, match
from reports.run_folder import Run
from tests.fake_run import fake_predictions, run_in_memory

ROWS = fake_predictions(labels=("a", "b"), counts=(12, 8), speakers=("s", "t", "u"))
EVALUATIONS = {"speaker": ROWS, "train": ROWS}


def made(name: str = "run", **facts: object) -> Run:
    return run_in_memory(name, EVALUATIONS, **facts)  # type: ignore[arg-type]


def test_runs_under_the_same_conditions_leave_nothing_to_say() -> None:
    assert run_remarks([made("one"), made("two")]) == []
    assert what_differs([made("one"), made("two")]) == []


@pytest.mark.parametrize(
    ("facts", "remark"),
    [
        ({"settings": {"folds": "session"}}, "run 2 is folded by session, run 1 by speaker"),
        ({"headline": "train"}, "run 2 has an inductive headline, run 1 a transductive one"),
        (
            {"provenance": {"recipe_id": "77aa", "snapshot": 4}},
            "run 2 has other features: recipe 77aa, run 1 9f2c",
        ),
        (
            {"provenance": {"recipe_id": "9f2c", "snapshot": 4}},
            "run 2 read snapshot 4 of the features, run 1 snapshot 1",
        ),
        (
            {"provenance": {"recipe_id": "9f2c", "generation": 4}},
            "run 2 read snapshot 4 of the features, run 1 snapshot 1",
        ),
        ({"labels": ("a", "b", "c")}, "run 2 chose among 3 emotions, run 1 among 2"),
    ],
    ids=["folds", "kind", "recipe", "snapshot", "run of version 0.1", "labels"],
)
def test_what_differs_in_a_way_that_matters_is_said(facts: dict[str, object], remark: str) -> None:
    (seen,) = run_remarks([made("one"), made("two", **facts)])
    assert re.match(re.escape(remark), seen)


def test_other_numbers_of_seeds_and_another_inductive_normalisation_are_said() -> None:
    one = run_in_memory("one", {"train": ROWS}, headline="train")
    two = run_in_memory("two", {"none": ROWS[ROWS["seed"] == 0]}, headline="none")
    assert run_remarks([one, two]) == [
        "run 2 is normalised by none, run 1 by train",
        "run 2 is the mean over 1 seed, run 1 over 2 seeds",
    ]


def test_every_run_is_held_against_the_first() -> None:
    other = {"settings": {"folds": "x" * 500}}
    seen = run_remarks([made(), made(**other), made(), made(**other)])
    assert [each[:5] for each in seen] == ["run 2", "run 4"]
    assert all(len(each) < 120 for each in seen)


def remarks_of(**columns: object) -> list[str]:
    runs = [made("one"), run_in_memory("two", {"speaker": ROWS.assign(**columns)})]
    numbered = enumerate(runs, start=1)
    entries = [Entry(number=n, run=run, evaluation=run.headline) for n, run in numbered]
    return matching_remarks(match(entries), "headline")


def test_folds_that_only_are_called_otherwise_are_the_same_folds() -> None:
    assert remarks_of(fold="fold " + ROWS["fold"]) == []


def test_other_folds_and_speakers_are_said() -> None:
    (folds,) = remarks_of(fold=ROWS["fold"].replace({"s": "t"}))
    assert "number 2 was tested in other folds than number 1" in folds
    assert remarks_of(speaker="corpus/" + ROWS["speaker"]) == []
    (speakers,) = remarks_of(speaker=ROWS["speaker"].replace({"s": "t"}))
    n = (ROWS["speaker"] == "s").sum() // 2
    assert f"number 2 names other speakers for {n} utterances; those of number 1" in speakers


def test_settings_and_origins_are_listed_where_they_differ() -> None:
    one = made("one", settings={"folds": "speaker", "classifier": {"dropout": 0.3, "units": 8}})
    two = made("two", settings={"folds": "speaker", "classifier": {"dropout": 0.5}, "new": [1, 2]})
    assert what_differs([one, two]) == [
        {"name": "classifier.dropout", "values": ["0.3", "0.5"]},
        {"name": "classifier.units", "values": ["8", ""]},
        {"name": "new", "values": ["", "1, 2"]},
    ]
