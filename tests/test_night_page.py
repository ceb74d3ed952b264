import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reports.night import html, markdown, prometheus, summary_line, write_night
from reports.text import visible
from tests.fake_night import fake_night
from tests.test_page import HOSTILE, Reading

NOTHING: dict[str, Any] = {
    "changed": False,
    "counts": {"new": 0, "changed": 0, "gone": 0, "skipped": 1550, "quarantined": 0},
    "names": {"new": [], "changed": [], "gone": []},
    "segments": 0,
    "segments_per_second": 0.0,
    "audio_seconds": None,
    "drift": None,
    "train": None,
    "train_skipped": "nothing changed",
    "failures_total": {},
    "seconds": 12.4,
}
BAD: dict[str, Any] = {
    "status": "stopped",
    "stopped_by": "--until 06:00",
    "exit_status": 3,
    "counts": {"new": 20480, "left": 1200, "newly_quarantined": 53, "quarantined": 61},
    "names": {"new": [f"clip_{i}" for i in range(20)]},
    "failures": {"silent": 50, "io_error": 3},
    "failures_total": {"silent": 57, "io_error": 3, "too_short": 1},
    "quarantined": [
        {
            "utterance_id": f"bad_{i}",
            "file": f"in/bad_{i}.wav",
            "reason": "silent",
            "message": f"message {i}; expected speech; listen to it",
        }
        for i in range(50)
    ],
    "checks": {"clipped": 3},
    "check_findings": [{"utterance_id": "loud_1", "code": "clipped", "message": "4 % at full"}],
    "train": None,
    "train_skipped": "no time left",
    "warnings": ["the disk is 91 % full"],
}
FAILED: dict[str, Any] = {
    **NOTHING,
    "status": "failed",
    "exit_status": 1,
    "error": "1412 of 1550 files are gone; expected few; mount the disk",
    "train_skipped": "",
}
DIED_BEFORE = {"previous": {"night": "20261122-020000", "status": "running", "ended": ""}}
NIGHTS = {"calm": {}, "nothing": NOTHING, "bad": BAD, "failed": FAILED, "died": DIED_BEFORE}
every_night = pytest.mark.parametrize("changes", NIGHTS.values(), ids=NIGHTS)


def with_words(value: Any, word: Callable[[str], str], *, name: str = "") -> Any:  # noqa: ANN401
    """Replace every word of a night that comes from outside."""
    if isinstance(value, dict):
        is_free = name in ("failures", "failures_total", "checks")
        return {
            word(key) if is_free else key: with_words(each, word, name=key)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [with_words(each, word) for each in value]
    fixed = name in ("status", "verdict", "began", "ended") or not isinstance(value, str)
    return value if fixed else word(value)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"counts": {"newly_quarantined": 1, "quarantined": 3}, "seconds": 41.0},
            ("emostack emodb: ok, +12 new, 1 changed, 2 gone, 1 newly quarantined (3 in all), "
             "1234 segments in 41 s, UAR 83.1 (was 82.5), snapshot 17"),
        ),
        (NOTHING, "emostack emodb: ok, nothing changed, in 12 s, snapshot 17"),
        (
            FAILED,
            ("FAILED emostack emodb: 1412 of 1550 files are gone; expected few; mount the disk, "
             "snapshot 17"),
        ),
        (
            {**NOTHING, "status": "interrupted", "stopped_by": "SIGTERM", "counts": {
                "new": 3, "changed": 0, "gone": 0, "quarantined": 0, "left": 9}},
            "INTERRUPTED emostack emodb: by SIGTERM, 9 left, +3 new, in 12 s, snapshot 17",
        ),
        (
            {**NOTHING, "status": "stopped", "stopped_by": "--until 06:00", **DIED_BEFORE},
            ("emostack emodb: stopped by --until 06:00, the night before died, in 12 s, "
             "snapshot 17"),
        ),
        (
            {"status": "running", "ended": ""},
            "DIED emostack emodb: it ended without a word, snapshot 17",
        ),
        (
            {**NOTHING, "train_skipped": "one speaker only; expected two; record more"},
            "emostack emodb: ok, nothing changed, in 12 s, no training, snapshot 17",
        ),
    ],
)  # fmt: skip
def test_one_line_says_the_night(changes: dict[str, Any], line: str) -> None:
    assert summary_line(fake_night(**changes)) == line


@every_night
@pytest.mark.parametrize("word", [*HOSTILE, "x" * 5000])
def test_the_line_is_one_short_line_whatever_the_names(changes: dict, word: str) -> None:
    line = summary_line(with_words(fake_night(**changes), lambda _: word))
    assert len(line) < 200
    assert line.isprintable()
    assert "emostack " in line


@pytest.mark.parametrize(
    ("changes", "tone", "word"),
    [
        ({}, "good", "All went well"),
        (NOTHING, "good", "All went well"),
        ({"counts": {"newly_quarantined": 1}}, "look", "Done, but look"),
        ({"warnings": ["w"]}, "look", "Done, but look"),
        ({"drift": {"verdict": "strong"}}, "look", "Done, but look"),
        ({"train": {"warning": "few speakers"}}, "look", "Done, but look"),
        ({"train": None, "train_skipped": "one speaker only"}, "look", "Done, but look"),
        (DIED_BEFORE, "look", "Done, but look"),
        (BAD, "look", "Stopped by the clock"),
        ({"status": "interrupted", "stopped_by": "SIGTERM"}, "bad", "Interrupted"),
        (FAILED, "bad", "Failed"),
        ({"status": "running", "ended": ""}, "bad", "Died"),
    ],
)
def test_the_verdict_comes_first_in_colour_and_in_a_word(
    changes: dict[str, Any], tone: str, word: str
) -> None:
    night = fake_night(**changes)
    page, text = html(night), Reading(html(night)).text
    assert f'<section class="verdict-box {tone}"' in page
    assert text.index(f" {word} ") < text.index("What came in and went")
    assert f"\n\n**{word}.** " in markdown(night)


@every_night
def test_the_page_answers_in_order_and_its_markup_is_balanced(changes: dict) -> None:
    reading = Reading(html(fake_night(**changes)))
    assert reading.open == []
    questions = ["What came in and went", "What failed", "Time", "Disk", "Drift", "Recall",
                 *(["Warnings"] if changes.get("warnings") else []), "Provenance"]  # fmt: skip
    places = [reading.text.index(f" {question} ") for question in questions]
    assert places == sorted(places)
    headings = re.findall(r"^## (.*)$", markdown(fake_night(**changes)), re.MULTILINE)
    assert headings == questions


def test_a_predecessor_that_died_is_told_before_anything_else() -> None:
    night = fake_night(**DIED_BEFORE)
    for page in (Reading(html(night)).text, markdown(night)):
        told = page.index("night before (20261122-020000) died without a word")
        assert told < page.index("What came in and went")
    assert "died" not in html(fake_night()).casefold()
    assert "died" not in markdown(fake_night()).casefold()


@pytest.mark.parametrize("write", [lambda night: Reading(html(night)).text, markdown])
def test_every_bad_file_is_named_with_its_reason(write: Callable[[dict], str]) -> None:
    text = write(fake_night(**BAD))
    for i in range(50):
        assert f"bad_{i}" in text
        assert f"in/bad_{i}.wav" in text
        assert f"message {i}; expected speech" in text
    for words in ("3 files more", "20,460 more", "loud_1", "4 % at full", "the disk is 91 % full"):
        assert words.casefold() in text.casefold()


@pytest.mark.parametrize("write", [lambda night: Reading(html(night)).text, markdown])
def test_the_new_recall_stands_against_the_last_one(write: Callable[[dict], str]) -> None:
    text = write(fake_night())
    for words in ("83.1", "78.2", "79.4", "86.6", "82.5", "+0.6", "inductive", "transductive",
                  "/data/runs/20261123-020031/report.html"):  # fmt: skip
        assert words in text
    assert "no earlier one" in write(fake_night(train={"previous_uar": None}))
    unknown = {"previous_uar": None, "uar_inductive": None, "uar_interval": None}
    assert "no earlier one" in write(fake_night(train=unknown))


@pytest.mark.parametrize("write", [lambda night: Reading(html(night)).text, markdown])
def test_a_training_that_could_not_run_is_no_calm_matter(write: Callable[[dict], str]) -> None:
    why = "one speaker only; expected two"
    text = write(fake_night(train=None, train_skipped=why)).replace("**", "")
    assert f"No new classifier: {why}" in text
    assert "No training: nothing changed" in write(fake_night(**NOTHING))


def test_a_last_recall_outside_the_interval_is_told_so() -> None:
    assert "inside the interval, which shows no change" in html(fake_night())
    assert "-8.4: outside the interval" in html(fake_night(train={"previous_uar": 91.5}))


@pytest.mark.parametrize("uar", [0.0, 95.0, 100.0, float("nan"), None])
def test_any_recall_has_its_place_on_the_scale(uar: float | None) -> None:
    train = {
        "uar_pooled": uar, "uar_interval": [uar, uar], "previous_uar": uar, "uar_inductive": uar
    }  # fmt: skip
    places = re.findall(
        r'class="(?:mean|was)" style="left:([0-9.]+)%"', html(fake_night(train=train))
    )
    assert len(places) == (0 if uar is None or math.isnan(uar) else 2)
    assert all(0 <= float(place) <= 100 for place in places)


def test_steps_show_their_share_and_the_rest() -> None:
    night = fake_night(
        steps=[{"name": "plan", "seconds": 5.0}, {"name": "extract", "seconds": 25.0}], seconds=50.0
    )
    shares = re.findall(r'class="fill" style="width:([0-9.]+)%"', html(night))
    assert shares == ["10.0", "50.0", "40.0"]
    assert "| the rest | 20 s | 40 % |" in markdown(night)


@every_night
def test_the_page_needs_no_network_and_runs_no_script(changes: dict) -> None:
    page = html(fake_night(**changes))
    reading = Reading(page)
    barred = {"script", "iframe", "object", "embed", "link", "form", "base", "img"}
    assert not barred & set(reading.tags)
    assert not [name for name, _ in reading.attributes if name.startswith("on") or "href" in name]
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert "url(" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_light_dark_print_and_narrow_screens_are_provided_for() -> None:
    page = html(fake_night())
    for words in ("prefers-color-scheme: dark", "@media print", "@media (max-width", "viewport"):
        assert words in page


@every_night
@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_words_stay_words_on_the_page(changes: dict, word: str) -> None:
    night = fake_night(**changes)
    plain = Reading(html(with_words(night, lambda _: "word")))
    page = html(with_words(night, lambda _: word))
    reading = Reading(page)
    assert reading.tags == plain.tags
    assert [name for name, _ in reading.attributes] == [name for name, _ in plain.attributes]
    assert "\u202e" not in page
    assert re.sub(r"\s+", " ", visible(word)) in reading.text


def structure(text: str) -> list[str]:
    """What Markdown makes of a text, the words left out."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    found: list[Any] = []
    for token in tokens:
        found += [token, *(token.children or [])]
    return [token.type for token in found if token.type not in ("text", "text_special")]


MARKUP = (
    *HOSTILE, "a|b", "`code`", "**bold**", "_slanted_", "![x](y)", "[l]: /u", "<https://e.x>", "#",
    "~~gone~~", "&lt;b&gt;", "\\", "a\\|b", "__init__", "\r\n# head", "|\n|---|", "x #", "\u2028- a",
)  # fmt: skip


@every_night
@pytest.mark.parametrize("word", MARKUP)
def test_hostile_words_stay_words_in_markdown(changes: dict, word: str) -> None:
    night = fake_night(**changes)
    text = markdown(with_words(night, lambda _: word))
    assert structure(text) == structure(markdown(with_words(night, lambda _: "word")))


@given(title=st.text(st.characters(), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_markdown_gives_any_title_back(title: str) -> None:
    tokens = MarkdownIt("commonmark").parse(markdown(fake_night(title=title)))
    words = "".join(child.content for child in tokens[1].children or [])
    assert words.split() == f"emostack night: {visible(title)}".split()


@pytest.mark.parametrize("address", ["https://e.x/y", "WWW.e.x", "a@e.x", "mailto:a", "ftp://e"])
def test_addresses_in_names_do_not_become_links(address: str) -> None:
    assert address not in markdown(fake_night(warnings=[address], title=address))


SAMPLE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([a-zA-Z_]\w*=\"(?:[^\"\\\n]|\\[\\n\"])*\""
    r"(?:,[a-zA-Z_]\w*=\"(?:[^\"\\\n]|\\[\\n\"])*\")*)\} (-?[0-9.]+(?:e[+-]?[0-9]+)?)"
)
LABEL = re.compile(r"(\w+)=\"((?:[^\"\\]|\\.)*)\"")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse_exposition(text: str) -> Samples:
    """Read the text format 0.0.4 strictly: HELP, TYPE, then samples, each family once."""
    assert text.endswith("\n")
    samples: Samples = {}
    families: list[str] = []
    lines = text[:-1].split("\n")
    while lines:
        found = re.fullmatch(r"# HELP (\w+) ([^\\]+)", lines.pop(0))
        assert found
        family = found[1]
        assert family not in families
        families.append(family)
        assert lines.pop(0) == f"# TYPE {family} gauge"
        assert lines
        assert not lines[0].startswith("#")
        while lines and not lines[0].startswith("#"):
            sample = SAMPLE.fullmatch(lines.pop(0))
            assert sample
            assert sample[1] == family
            labels = [(name, unescape(value)) for name, value in LABEL.findall(sample[2])]
            assert len(dict(labels)) == len(labels)
            key = (family, frozenset(labels))
            assert key not in samples
            samples[key] = float(sample[3])
    return samples


def unescape(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), value)


def gauge(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"emostack_night_{name}", frozenset({"title": "emodb", **labels}.items())))


@every_night
def test_prometheus_can_read_every_night(changes: dict) -> None:
    night = fake_night(**changes)
    samples = parse_exposition(prometheus(night))
    assert gauge(samples, "exit_status") == night["exit_status"]
    assert gauge(samples, "success") == (night["status"] in ("done", "stopped"))
    assert gauge(samples, "duration_seconds") == night["seconds"]
    assert gauge(samples, "left") == night["counts"]["left"]
    assert gauge(samples, "newly_quarantined") == night["counts"]["newly_quarantined"]
    for change in ("new", "changed", "renamed", "relabelled", "gone", "retried", "skipped"):
        assert gauge(samples, "utterances", change=change) == night["counts"][change]
    for reason, n in night["failures_total"].items():
        assert gauge(samples, "quarantined", reason=reason) == n
    assert gauge(samples, "snapshot") == gauge(samples, "generation") == 17
    assert gauge(samples, "store_bytes") == night["disk"]["store_bytes"]
    assert gauge(samples, "free_bytes") == night["disk"]["free_bytes"]
    assert gauge(samples, "segments") == night["segments"]
    assert gauge(samples, "segments_per_second") == night["segments_per_second"]


def test_prometheus_gets_the_recall_by_kind_only_where_one_was_trained() -> None:
    samples = parse_exposition(prometheus(fake_night()))
    assert gauge(samples, "uar_percent", kind="transductive") == 83.1
    assert gauge(samples, "uar_percent", kind="inductive") == 78.2
    for train in (None, {"uar_pooled": float("nan"), "uar_inductive": None}):
        assert "uar_percent" not in prometheus(fake_night(train=train))


def test_the_end_of_a_night_is_unix_time_and_left_out_where_there_was_none() -> None:
    samples = parse_exposition(prometheus(fake_night(ended="1970-01-01T01:00:01+01:00")))
    assert gauge(samples, "end_timestamp_seconds") == 1.0
    assert "end_timestamp" not in prometheus(fake_night(ended="", status="running"))


@given(title=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"])
                     | st.sampled_from('\\"\n'), max_size=30))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_title_is_a_label(title: str) -> None:
    samples = parse_exposition(prometheus(fake_night(title=title)))
    assert {dict(labels)["title"] for _, labels in samples} == {title}


def test_a_night_is_written_whole_and_the_same_each_time(tmp_path: Path) -> None:
    night = fake_night(title="caf\udce9 <b>", segments_per_second=float("inf"))
    folder, textfile = tmp_path / "nights" / "n", tmp_path / "prom" / "emodb.prom"
    write_night(folder, night, textfile)
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert set(first) == {"night.json", "night.md", "night.html"}
    assert [file.name for file in textfile.parent.iterdir()] == ["emodb.prom"]
    again = json.loads(first["night.json"], parse_constant=pytest.fail)
    assert again == {**night, "segments_per_second": None}
    write_night(folder, again, textfile)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == first
    assert r"caf\\udce9 <b>" in textfile.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_night(tmp_path, fake_night(), tmp_path / "n.prom")
    (tmp_path / "night.html.partial").mkdir()
    before = (tmp_path / "night.html").read_bytes()
    with pytest.raises(OSError, match=r"night\.html\.partial"):
        write_night(tmp_path, fake_night(title="other"), tmp_path / "n.prom")
    assert (tmp_path / "night.html").read_bytes() == before
