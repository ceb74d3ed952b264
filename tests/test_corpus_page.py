import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from reports.corpus_page import (
    MEANINGS,
    N_COLUMNS,
    N_GROUPS,
    N_PROBLEMS,
    N_SPEAKERS,
    html,
    write_corpus_page,
)
from reports.text import visible
from stages.checking.overview import overview
from stages.checking.sound import Sound
from stages.checking.twins import CONFLICTING, DUPLICATED
from stages.corpora.table import reader
from stages.frontend.audio import CODES
from stages.manifest import complete, write_manifest
from tests.command_line import command_line
from tests.hostile_audio import voice_like
from tests.test_page import HOSTILE, Reading

EMODB = Path(__file__).parents[2] / "shared" / "emodb"


def fake_corpus(
    n: int = 60,
    *,
    n_speakers: int = 3,
    n_emotions: int = 4,
    problems: list[tuple[str, str]] | None = None,
    n_bad: int = 0,
    word: Callable[[str], str] = str,
    **columns: object,
) -> dict[str, Any]:
    """Make a corpus as the doctor describes it; `problems` are (utterance, code)."""
    i = np.arange(n)
    rows = pd.DataFrame({
        "emotion": [word(f"emotion{k}") for k in i % n_emotions],
        "speaker": [word(f"speaker{k}") for k in i % n_speakers],
        "gender": [word(("female", "male")[k % 2]) for k in i % n_speakers],
        "corpus": [word(f"corpus{k}") for k in i % 2],
    }).assign(**columns)  # fmt: skip
    sounds = [
        Sound(seconds=1 + k % 50 / 10, sample_rate=16000, n_channels=1 + int(k % 2),
              sample_format=word("PCM_16"), digest="")
        for k in i
    ]  # fmt: skip
    found = [
        {"utterance_id": word(name), "code": code, "message": word(f"{code} seen"), "manifest": ""}
        for name, code in problems or []
    ]
    return {
        "title": word("m.csv"),
        "n_ok": n - n_bad,
        "problems": found,
        "overview": overview(rows.astype("str"), sounds),
        "provenance": {"manifest": word("m.csv"), "emostack": "0.1.0"},
    }


BAD: dict[str, Any] = {
    "problems": [("u1", "silent"), ("u2", "clipped"), ("u3", CONFLICTING), ("u4", "clipped")],
    "n_bad": 4,
}
CORPORA: dict[str, dict[str, Any]] = {
    "sound": {},
    "one utterance": {"n": 1},
    "nothing": {"n": 0},
    "bad": BAD,
    "unknown": {"speaker": "", "emotion": "", "gender": "", "corpus": ""},
    "large": {
        "n": 4000, "n_speakers": 500, "n_emotions": 90,
        "problems": [(f"u{i}", "missing") for i in range(3000)], "n_bad": 3000,
    },
}  # fmt: skip
PROBLEM = re.compile(r'<tr><th scope="row">(\w+)</th><td>([\w ]+)</td></tr>')
every_corpus = pytest.mark.parametrize("facts", CORPORA.values(), ids=CORPORA)


@every_corpus
def test_the_page_answers_in_order_and_its_markup_is_balanced(facts: dict[str, Any]) -> None:
    reading = Reading(html(fake_corpus(**facts)))
    assert reading.open == []
    questions = (
        "What is wrong", "What to know before training", "Emotions", "Length", "Speakers", "Audio",
        "Provenance",
    )  # fmt: skip
    places = [reading.text.index(f" {question} ") for question in questions]
    assert places == sorted(places)


@every_corpus
def test_the_page_needs_no_network_and_runs_no_script(facts: dict[str, Any]) -> None:
    page = html(fake_corpus(**facts))
    reading = Reading(page)
    barred = {"script", "iframe", "object", "embed", "link", "form", "base", "img"}
    assert not barred & set(reading.tags)
    assert not [name for name, _ in reading.attributes if name.startswith("on") or "href" in name]
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert "url(" not in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("facts", "tone", "word"),
    [
        ({}, "good", "All is well"),
        ({"n_speakers": 1}, "look", "Sound, but look"),
        (BAD, "look", "Worth a look"),
        ({"n": 4, "n_bad": 3}, "bad", "Not fit for use"),
    ],
)
def test_the_verdict_comes_first_in_colour_and_in_a_word(
    facts: dict[str, Any], tone: str, word: str
) -> None:
    page = html(fake_corpus(**facts))
    assert f'<section class="verdict-box {tone}"' in page
    assert Reading(page).text.index(f" {word} ") < Reading(page).text.index("What is wrong")


def test_problems_stand_by_code_the_severe_ones_first_then_the_frequent() -> None:
    page = html(fake_corpus(**BAD))
    codes = re.findall(r'<summary><span class="(\w+)">(\w+)</span> <b>(\d+)</b>', page)
    assert codes == [
        ("reason", CONFLICTING, "1"), ("reason", "silent", "1"), ("code", "clipped", "2"),
    ]  # fmt: skip
    assert PROBLEM.findall(page) == [
        ("u3", f"{CONFLICTING} seen"), ("u1", "silent seen"), ("u2", "clipped seen"),
        ("u4", "clipped seen"),
    ]  # fmt: skip


def test_every_code_has_its_meaning_in_words() -> None:
    own = {"clipped", DUPLICATED, CONFLICTING, "missing_label", "missing_speaker"}
    assert set(MEANINGS) == {*CODES, *own}
    text = Reading(html(fake_corpus(problems=[("u", code) for code in MEANINGS]))).text
    for meaning in MEANINGS.values():
        assert meaning in text


def test_long_lists_are_cut_and_say_by_how_much() -> None:
    page = html(fake_corpus(**CORPORA["large"]))
    text = Reading(page).text
    assert f"and {3000 - N_PROBLEMS:,} utterances more; emostack check --json lists all" in text
    assert f"and {90 - N_GROUPS} emotions more" in text
    assert f"and {500 - N_SPEAKERS} speakers more" in text
    assert f"and {90 - N_COLUMNS} emotions more have no column of their own" in text
    assert PROBLEM.findall(page) == [(f"u{i}", "missing seen") for i in range(N_PROBLEMS)]
    assert len(page) < 250_000


def test_of_many_speakers_those_with_the_fewest_utterances_are_shown() -> None:
    n = 10 * N_SPEAKERS
    speakers = [f"s{i // 10}" for i in range(n)]
    speakers[-1] = "rare"
    page = html(fake_corpus(n, speaker=speakers, corpus="x"))
    assert f"Shown are the {N_SPEAKERS} with the fewest utterances" in page
    assert re.findall(r'scope="row"><span class="clip">(\w+)<', page)[:2] == ["rare", "s59"]


def test_bars_are_in_proportion() -> None:
    emotions = ["joy"] * 40 + ["fear"] * 10
    page = html(fake_corpus(50, emotion=emotions, corpus="x"))
    amounts = re.findall(
        r'class="amount"><span class="name">(\w+)</span>.*?width:([0-9.]+)%.*?class="value">(\d+)',
        page,
    )
    assert amounts == [("joy", "100.0", "40"), ("fear", "25.0", "10")]


def test_the_histogram_has_a_bar_for_every_length_and_places_them_within() -> None:
    corpus = fake_corpus()
    page = html(corpus)
    bars = re.findall(r'<rect class="column" x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)"', page)
    histogram = corpus["overview"]["histogram"]
    assert len(bars) == sum(n > 0 for n in histogram["counts"])
    assert all(float(x) + float(width) <= 100.01 for x, _, width in bars)
    assert all(0 <= float(y) < 100 for _, y, _ in bars)


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_words_stay_words_on_the_page(word: str) -> None:
    facts: dict[str, Any] = {"problems": [("u1", "silent"), ("u2", "clipped")], "n_bad": 2}
    plain = Reading(html(fake_corpus(word=lambda name: f"word {name}", **facts)))
    page = html(fake_corpus(word=lambda name: f"{word} {name}", **facts))
    reading = Reading(page)
    assert reading.tags == plain.tags
    assert [name for name, _ in reading.attributes] == [name for name, _ in plain.attributes]
    assert "\u202e" not in page
    for name in ("emotion1", "corpus1/", "female", "u1", "m.csv"):
        assert re.sub(r"\s+", " ", f"{visible(word)} {name}") in reading.text


def test_light_dark_print_and_narrow_screens_are_provided_for() -> None:
    page = html(fake_corpus())
    for words in ("prefers-color-scheme: dark", "@media print", "@media (max-width", "viewport"):
        assert words in page


def test_the_page_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_corpus_page(path, fake_corpus(**BAD))
    first = path.read_bytes()
    write_corpus_page(path, fake_corpus(**BAD))
    assert path.read_bytes() == first
    (tmp_path / "page.html.partial").mkdir()
    with pytest.raises(OSError, match=r"page\.html\.partial"):
        write_corpus_page(path, fake_corpus())
    assert path.read_bytes() == first


def test_a_corpus_of_one_hostile_utterance_has_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    name = '=cmd(),"<script>\n' + "x" * 180
    soundfile.write(tmp_path / f"{name[:9]}.wav", voice_like(), 16000)
    rows = {"utterance_id": name, "file": f"{name[:9]}.wav", "speaker": name, "emotion": name}
    write_manifest(complete(pd.DataFrame([rows])), tmp_path / "<b>m.csv")
    emostack = command_line(monkeypatch, capfd)
    done = emostack("check", tmp_path / "<b>m.csv", "--html", tmp_path / "page.html", "--json")
    assert (done.status, done.fields["n_ok"]) == (0, 1)
    assert done.fields["overview"]["speakers"][0]["name"] == name
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert Reading(page).open == []
    assert visible(name) in Reading(page).text
    assert "<script>" not in page
    assert "<b>m" not in page


@pytest.mark.skipif(not EMODB.is_dir(), reason="needs ../shared/emodb")
def test_the_real_corpus_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    emostack = command_line(monkeypatch, capfd)
    write_manifest(reader("emodb").read(EMODB)[0], tmp_path / "m.csv")
    done = emostack(
        "check", tmp_path / "m.csv", "--audio", EMODB, "--html", tmp_path / "page.html", "--json"
    )
    found = done.fields["overview"]
    assert (done.fields["n_ok"], done.fields["problems"], found["cautions"]) == (535, [], [])
    assert (found["n_speakers"], found["n_emotions"]) == (10, 7)
    assert found["seconds"] == pytest.approx(1487, abs=1)  # 24:47 min
    assert "All is well" in (tmp_path / "page.html").read_text(encoding="utf-8")
