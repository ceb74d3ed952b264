"""The page of a comparison, as a browser would read it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reports.compare_page import html, verdict, write_comparison
from reports.comparison import compare_runs
from reports.run_folder import Run
from reports.text import signed
from tests.fake_run import LABELS, fake_predictions, run_in_memory
from tests.test_page import HOSTILE, Reading


def made(name: str, *, skill: float = 3.3, draw: int = 0, **how: Any) -> Run:  # noqa: ANN401
    predictions = {"labels": LABELS, "counts": (20,) * len(how.get("labels", LABELS))}
    predictions |= {key: how.pop(key) for key in ("labels", "speakers") if key in how}
    kinds = {"speaker": skill, "train": skill - 0.6, "svm-speaker": skill - 0.3}
    tables = {
        kind: fake_predictions(**predictions, skill=own, draw=draw)  # type: ignore[arg-type]
        for kind, own in kinds.items()
    }
    return run_in_memory(name, tables, **how)


@pytest.fixture(scope="module")
def comparison() -> dict[str, Any]:
    return compare_runs([made("first"), made("near", draw=1), made("worse", skill=1.8)])


@pytest.fixture(scope="module")
def page(comparison: dict[str, Any]) -> str:
    return html(comparison)


def test_every_run_stands_there_with_its_numbers(comparison: dict[str, Any], page: str) -> None:
    reading = Reading(page)
    assert reading.open == []
    rows = comparison["groups"][0]["rows"]
    for row in rows:
        low, high = row["uar_interval"]
        assert re.search(
            rf"{row['uar_pooled']:.2f} {low:.1f}.\u2013.{high:.1f} {row['uar_inductive']:.1f} "
            rf"{row['uar_ensemble']:.1f} {row['uar_fold_mean']:.1f} ±.{row['uar_fold_sd']:.1f} "
            rf"{row['wa']:.1f} {row['macro_f1']:.1f} 2 ",
            reading.text,
        )
    for row in rows[1:]:
        against = row["against"]
        low, high = against["interval"]
        assert f"{signed(against['difference'], 2)} {signed(low)} to {signed(high)}" in reading.text
        assert f"{against['p']:.3f} {against['p_holm']:.3f}" in reading.text


def test_every_group_and_table_has_its_heading(page: str) -> None:
    text = Reading(page).text
    places = [
        text.index(heading)
        for heading in (
            "3 runs side by side", "Who is who", "The headline of each run", "Against number 1",
            "Emotion by emotion", "Utterances that only one of two gets right",
            "Inductive: nothing of the test speaker", "Linear SVM, speaker-normalised",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    assert "All swaps of 10 speakers were tried: no p below 0.002 can come out." in text


def test_recalls_and_lone_answers_are_counted(comparison: dict[str, Any], page: str) -> None:
    text = Reading(page).text.replace(" ", "")
    rows = comparison["groups"][0]["rows"]
    recalls = "".join(f"{row['recall_by_class']['fear']:.1f}" for row in rows)
    assert f"fear20{recalls}" in text
    answers = [row["against"]["answers"][LABELS.index("fear")] for row in rows[1:]]
    cells = "".join(f"{each['only_first']}{each['only_this']}" for each in answers)
    assert f"fear{cells}" in text


def test_a_run_by_itself_is_told_by_evaluation() -> None:
    text = Reading(html(compare_runs([made("alone")]))).text
    assert "Who is who" not in text
    assert "title of alone" in text
    for words in (
        "Speaker-normalised, transductive",
        "The headline against other normalisations",
        "svm-speaker · each speaker's own statistics",
    ):
        assert words in text


def test_warnings_and_remarks_come_before_any_number() -> None:
    runs = [
        made("first", warning="random <b>weights</b>"),
        made("other", warning="random <b>weights</b>", settings={"folds": "session"}),
    ]
    text = Reading(html(compare_runs(runs))).text
    warning = "Runs 1, 2: random <b>weights</b>"
    assert text.count(warning) == 1 + 3  # and beside each group
    assert text.index(warning) < text.index("run 2 is folded by session, run 1 by speaker")
    assert text.index("run 2 is folded by session") < text.index("The headline of each run")
    assert "Settings and origins that differ" in text


def test_no_warning_and_no_remark_leave_no_mark(page: str) -> None:
    text = Reading(page).text
    assert "\N{WARNING SIGN}" not in text
    assert "Mind when comparing" not in text


def test_the_page_needs_no_network_and_runs_no_script(page: str) -> None:
    reading = Reading(page)
    assert not {"script", "iframe", "object", "embed", "link", "form", "img"} & set(reading.tags)
    for name, _ in reading.attributes:
        assert not name.startswith("on")
        assert name not in {"href", "src"}
    assert "default-src 'none'; style-src 'unsafe-inline'\"" in page
    assert "url(" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_hostile_names_stay_words() -> None:
    how = {"labels": HOSTILE, "speakers": ("<i>s</i>", "S" * 300, "line\nbreak", "$d$")}
    runs = [
        made("<run>", **how),
        made(
            "r" * 300,
            **how,
            title="<script>title</script>",
            warning="<b onclick=x>",
            created="<time>",
            settings={"<s>": "<t>", "folds": "\u202efold"},
            provenance={"recipe_id": "{{ 1 }}", "snapshot": "<g>"},
        ),
    ]
    page = html(compare_runs(runs))
    reading = Reading(page)
    assert reading.open == []
    assert not {"script", "run", "time", "s", "t", "g", "img"} & set(reading.tags)
    assert not any(name.startswith("on") for name, _ in reading.attributes)
    for words in (
        *("<script>alert(1)</script>", r"new\nline", "L" * 300, HOSTILE[5], "{{ 7 * 7 }}{% raw %}"),
        *("<run>", "r" * 300, "<script>title</script>", "<b onclick=x>", "<time>", "<s>", "<t>"),
        *("{{ 1 }}", "<g>", r"\u202efold"),
    ):
        assert words in reading.text
    assert "\u202e" not in page


@pytest.mark.parametrize(
    ("difference", "p_holm", "least_p", "word"),
    [
        (2.0, 0.01, 0.002, "higher"),
        (-2.0, 0.049, 0.002, "lower"),
        (-2.0, 0.05, 0.002, "not told apart"),
        (0.0, 1.0, 0.002, "not told apart"),
        (9.0, 0.0625, 0.0625, "too few speakers"),
    ],
)
def test_a_difference_is_called_one_only_where_it_is_told(
    difference: float, p_holm: float, least_p: float, word: str
) -> None:
    test = {"n_units": 10, "is_exact": True, "least_p": least_p / 4}
    against = {"difference": difference, "p_holm": p_holm, "test": test, "least_p_holm": least_p}
    assert verdict(against) == word


def test_a_single_speaker_is_too_few() -> None:
    runs = [made(name, speakers=("only",), skill=skill) for name, skill in [("a", 3), ("b", 1)]]
    text = Reading(html(compare_runs(runs))).text
    assert "too few speakers" in text
    assert "A single speaker tells nothing of others." in text


def test_many_speakers_are_swapped_at_random() -> None:
    speakers = tuple(f"s{i}" for i in range(30))
    runs = [made("a", speakers=speakers), made("b", speakers=speakers, skill=0.5)]
    assert "20,000 random swaps of 30 speakers." in Reading(html(compare_runs(runs))).text


def test_the_same_comparison_gives_the_same_bytes(
    comparison: dict[str, Any], page: str, tmp_path: Path
) -> None:
    path = write_comparison(tmp_path, comparison)
    assert path.read_text(encoding="utf-8") == page == html(comparison)
    assert json.loads((tmp_path / "comparison.json").read_text("utf-8")) == comparison
    assert not list(tmp_path.glob("*.partial"))
    assert len(page) < 300_000
