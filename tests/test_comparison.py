"""Runs side by side: who is held against whom, and the numbers that come of it."""

import json
from typing import Any

import pandas as pd
import pytest

from reports.comparison import METRICS, compare_runs
from reports.metrics import evaluate
from reports.pairing import CompareError
from reports.run_folder import Run
from reports.significance import holm
from tests.fake_run import LABELS, fake_predictions, run_in_memory

SKILLS = {"speaker": 3.3, "train": 2.6, "svm-speaker": 2.9, "svm-train": 2.4}


def predictions(kind: str, **how: Any) -> pd.DataFrame:  # noqa: ANN401
    return fake_predictions(**{"skill": SKILLS[kind], "counts": (30,) * 7, **how})


def run(name: str, *kinds: str, headline: str = "speaker", **how: object) -> Run:
    tables = {kind: predictions(kind, **how) for kind in kinds or SKILLS}
    return run_in_memory(name, tables, headline=headline)


def groups(comparison: dict[str, Any]) -> list[tuple[str, list[tuple[int, str]]]]:
    return [
        (group["what"], [(row["number"], row["evaluation"]) for row in group["rows"]])
        for group in comparison["groups"]
    ]


@pytest.fixture(scope="module")
def one() -> Run:
    return run("one")


@pytest.fixture(scope="module")
def worse() -> Run:
    return run("worse", skill=1.5, seeds=(0,))


@pytest.fixture(scope="module")
def comparison(one: Run, worse: Run) -> dict[str, Any]:
    return compare_runs([one, worse])


def test_runs_are_compared_by_headline_then_inductively_then_by_name(
    comparison: dict[str, Any],
) -> None:
    assert groups(comparison) == [
        ("headline", [(1, "speaker"), (2, "speaker")]),
        ("inductive", [(1, "train"), (2, "train")]),
        ("evaluation", [(1, "svm-speaker"), (2, "svm-speaker")]),
        ("evaluation", [(1, "svm-train"), (2, "svm-train")]),
    ]


def test_an_inductive_headline_meets_the_inductive_of_the_other(one: Run) -> None:
    other = run("two", "train", headline="train")
    assert groups(compare_runs([one, other])) == [
        ("headline", [(1, "speaker"), (2, "train")]),
        ("inductive", [(1, "train"), (2, "train")]),
    ]


def test_headlines_that_all_are_inductive_are_compared_once() -> None:
    one, two = (run(name, "train", headline="train") for name in ("one", "two"))
    assert groups(compare_runs([one, two])) == [("headline", [(1, "train"), (2, "train")])]


def test_a_single_run_holds_its_baselines_against_its_own_classifier(one: Run) -> None:
    assert groups(compare_runs([one])) == [
        ("normalisation", [(1, "speaker"), (3, "svm-speaker")]),
        ("normalisation", [(2, "train"), (4, "svm-train")]),
        ("across", [(1, "speaker"), (2, "train"), (4, "svm-train")]),
    ]


def test_baselines_meet_the_runs_own_classifier_whatever_their_order() -> None:
    rows = predictions("train")
    kinds = ("egemaps-train", "svm-train", "train", "speaker", "egemaps-speaker")
    compared = compare_runs([run_in_memory("one", dict.fromkeys(kinds, rows))])
    assert groups(compared)[:2] == [
        ("normalisation", [(1, "speaker"), (5, "egemaps-speaker")]),
        ("normalisation", [(4, "train"), (2, "egemaps-train"), (3, "svm-train")]),
    ]


def test_the_inductive_number_is_of_the_same_features() -> None:
    tables = {kind: predictions("train", draw=i) for i, kind in enumerate(SKILLS)}
    tables["egemaps-speaker"] = predictions("train", draw=8)
    tables["egemaps-train"] = predictions("train", skill=0.5)
    rows = compare_runs([run_in_memory("one", tables)])["groups"][0]["rows"]
    seen = {row["evaluation"]: row["uar_inductive"] for row in rows}
    for kind in ("speaker", "svm-speaker", "egemaps-speaker"):
        partner = evaluate(tables[kind.replace("speaker", "train")], LABELS, n_boot=1)
        assert seen[kind] == pytest.approx(partner["uar_pooled"])


def test_a_single_evaluation_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(CompareError, match="run 'one' holds one evaluation; expected two"):
        compare_runs([run("one", "speaker")])


def test_numbers_are_those_of_the_runs_own_reports(comparison: dict[str, Any]) -> None:
    row = comparison["groups"][0]["rows"][0]
    metrics = evaluate(predictions("speaker"), LABELS)
    assert {name: row[name] for name in METRICS} == {name: metrics[name] for name in METRICS}
    partner = evaluate(predictions("train"), LABELS)
    assert row["uar_inductive"] == pytest.approx(partner["uar_pooled"])
    assert row["against"] is None
    assert len(row["seeds"]) == 2
    group = comparison["groups"][0]
    assert (group["n_utterances"], group["n_left_out"], group["n_speakers"]) == (210, 0, 10)
    assert group["classes"] == [{"label": label, "n": 30} for label in LABELS]


def test_the_difference_is_that_of_the_two_uars(comparison: dict[str, Any]) -> None:
    for group in comparison["groups"]:
        first, second = group["rows"]
        gap = second["uar_pooled"] - first["uar_pooled"]
        assert second["against"]["difference"] == pytest.approx(gap)


def test_a_clearly_worse_run_gets_a_small_p(comparison: dict[str, Any]) -> None:
    against = comparison["groups"][0]["rows"][1]["against"]
    assert against["difference"] < -15
    assert against["interval"][1] < 0
    assert against["interval_utterances"][1] < 0
    assert against["p"] <= 0.004
    assert against["p_utterances"] < 0.001


def test_a_run_against_itself_is_no_difference(one: Run) -> None:
    for group in compare_runs([one, one])["groups"]:
        against = group["rows"][1]["against"]
        assert (against["difference"], against["p"], against["p_utterances"]) == (0.0, 1.0, 1.0)
        assert against["interval"] == against["interval_utterances"] == [0.0, 0.0]
        assert all(a["only_first"] == a["only_this"] == 0 for a in against["answers"])


def test_answers_are_counted_once_and_by_class(comparison: dict[str, Any]) -> None:
    for group in comparison["groups"]:
        first, second = group["rows"]
        answers = second["against"]["answers"]
        for each in answers:
            assert sum(each[k] for k in ("both", "only_first", "only_this", "neither")) == 30
        right = sum(a["both"] + a["only_first"] for a in answers)
        assert first["uar_ensemble"] == pytest.approx(100 * right / 210)


def test_p_values_are_corrected_within_their_group(one: Run, worse: Run) -> None:
    near = run("near", skill=3.0, draw=4)
    compared = compare_runs([one, near, worse])
    for group in compared["groups"]:
        for name in ("p", "p_utterances"):
            p_values = [row["against"][name] for row in group["rows"][1:]]
            assert [r["against"][f"{name}_holm"] for r in group["rows"][1:]] == holm(p_values)


def test_only_shared_utterances_count_and_the_rest_is_told(one: Run) -> None:
    table = one.predictions
    assert table is not None
    keep = table["utterance_id"].isin(sorted(set(table["utterance_id"]))[10:])
    smaller = {kind: t.drop(columns="evaluation") for kind, t in table[keep].groupby("evaluation")}
    compared = compare_runs([one, run_in_memory("two", smaller)])
    group = compared["groups"][0]
    assert (group["n_utterances"], group["n_left_out"]) == (200, 10)
    assert group["rows"][0]["uar_pooled"] == group["rows"][1]["uar_pooled"]
    assert group["rows"][0]["uar_inductive"] == group["rows"][1]["uar_inductive"]
    assert any("compared on the 200 utterances" in each for each in compared["remarks"])
    assert any("10 that only some" in each for each in compared["remarks"])


def test_an_evaluation_of_another_corpus_is_left_out_with_a_remark(one: Run) -> None:
    elsewhere = predictions("train")
    elsewhere["utterance_id"] = "there-" + elsewhere["utterance_id"]
    other = run_in_memory("two", {"speaker": predictions("speaker"), "train": elsewhere})
    compared = compare_runs([one, other])
    assert ("inductive", [(1, "train"), (2, "train")]) not in groups(compared)
    assert compared["groups"][0]["rows"][1]["uar_inductive"] is None
    assert any("shares no utterance" in each for each in compared["remarks"])
    with pytest.raises(CompareError, match="share no utterance"):
        compare_runs([one, run_in_memory("two", {"train": elsewhere}, headline="train")])


def test_a_comparison_is_json_and_repeats(one: Run, worse: Run, comparison: dict[str, Any]) -> None:
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison
    assert compare_runs([one, worse]) == comparison
    assert comparison["remarks"] == ["run 2 is the mean over 1 seed, run 1 over 2 seeds"]
    assert [each["run"] for each in comparison["runs"]] == ["one", "worse"]
