import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.page import write_report
from reports.run_folder import RunError, read_run
from tests.fake_run import LABELS, write_fake_run

HOSTILE = (
    "<script>alert(1)</script>",
    r"$x$ \frac{1}{",
    "new\nline",
    "L" * 300,
    "Wut \u202eübel 感情",
    "a&b\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
)
VOID = {"meta", "link", "img", "br", "hr"}


class Reading(HTMLParser):
    """What a browser would see: the tags, their attributes and the words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(run_folder: Path) -> str:
    return write_report(run_folder).read_text(encoding="utf-8")


@pytest.fixture
def run_copy(run_folder: Path, tmp_path: Path) -> Path:
    """A run folder to be spoilt, without a report."""
    return shutil.copytree(run_folder, tmp_path / "run", ignore=lambda *_: ["report.html"])


def change_facts(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "run.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    change(facts)
    path.write_text(json.dumps(facts), encoding="utf-8")


def test_the_headline_comes_first_with_its_interval_and_the_inductive_beside_it(
    run_folder: Path, page: str
) -> None:
    run = read_run(run_folder)
    text = Reading(page).text
    places = []
    for evaluation in run.evaluations[:2]:
        low, high = evaluation.metrics["uar_interval"]
        places.append(text.index(f"{evaluation.metrics['uar_pooled']:.1f}%"))
        places.append(text.index(f"{low:.1f} \u2013 {high:.1f} 95"))
    assert places == sorted(places)
    assert places[-1] < text.index("Against the baselines")
    assert "Unweighted average recall, transductive" in text
    assert "Transductive: a test speaker\u2019s features were standardised" in text
    assert "guessing gives 14.3" in text


def test_every_section_is_there_and_the_markup_is_balanced(page: str) -> None:
    reading = Reading(page)
    assert reading.open == []
    for heading in (
        "Against the baselines", "Recall of each emotion", "Who is taken for whom",
        "Fold by fold", "Learning curves", "Where it listened", "Surest mistakes", "Provenance",
        "Settings",
    ):  # fmt: skip
        assert heading in reading.text
    assert reading.tags.count("polyline") == 2 * (20 + 1)
    assert reading.tags.count("img") == 3
    assert "no spectrogram: the audio was not at hand" in reading.text
    assert "9f2c4e1ab07d35f66c8e0d4471b2a9e3" in reading.text
    assert "frontend.window_s" in reading.text


def test_confusions_show_counts_and_shares(run_folder: Path, page: str) -> None:
    counts = read_run(run_folder).headline.metrics["confusion"]
    share = f"{100 * counts[0][0] / sum(counts[0]):.0f}"
    assert f"<b>{share}</b><small>{counts[0][0]}</small>" in page


def test_the_page_needs_no_network_and_runs_no_script(page: str) -> None:
    reading = Reading(page)
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & set(reading.tags)
    for name, value in reading.attributes:
        assert not name.startswith("on")
        assert "href" not in name
        if name == "src":
            assert value.startswith("data:image/png;base64,")
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert "url(" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_light_dark_print_and_narrow_screens_are_provided_for(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "@media (max-width" in page
    assert 'name="viewport" content="width=device-width' in page


def test_hostile_names_stay_words(tmp_path: Path) -> None:
    folder = write_fake_run(
        tmp_path / "run",
        labels=HOSTILE,
        speakers=("<i>s</i>", "S" * 300, "line\nbreak", "$d$"),
        title="<script>title</script>",
        warning="<b onclick=x>",
    )
    change_facts(
        folder,
        lambda f: f.update(
            run="<run>",
            provenance={"<key>": "<value>", "name": "caf\udce9"},
            settings={"<s>": ["<t>"]},
        ),
    )
    page = write_report(folder).read_text(encoding="utf-8")
    reading = Reading(page)
    assert reading.open == []
    assert not {"script", "i>s", "run", "key", "value", "s", "t"} & set(reading.tags)
    assert reading.tags.count("img") == 3
    assert not any(name.startswith("on") for name, _ in reading.attributes)
    for words in (
        "<script>alert(1)</script>", r"$x$ \frac{1}{", r"new\nline", "L" * 300,
        r"Wut \u202eübel 感情", HOSTILE[5], "{{ 7 * 7 }}{% raw %}", "<script>title</script>",
        "<b onclick=x>", "<i>s</i>", r"line\nbreak", "<run>", "<key>", "<value>", "<s>", "<t>",
        r"caf\udce9",
    ):  # fmt: skip
        assert words in reading.text
    assert "\u202e" not in page


def test_a_warning_stands_on_top_and_beside_every_block_of_numbers(tmp_path: Path) -> None:
    warning = "The network's weights are seeded random numbers: nothing here is a result"
    page = write_report(write_fake_run(tmp_path / "run", warning=warning)).read_text("utf-8")
    text = Reading(page).text
    n_blocks = page.count("<section") - page.count('<section class="source"')
    assert text.count(warning) == 1 + n_blocks
    assert text.index(warning) < text.index("Unweighted average recall")


def test_no_warning_leaves_no_mark(page: str) -> None:
    assert "\N{WARNING SIGN}" not in Reading(page).text


def test_the_same_run_gives_the_same_bytes_and_leaves_no_partial(run_folder: Path) -> None:
    first = write_report(run_folder).read_bytes()
    assert write_report(run_folder).read_bytes() == first
    assert not list(run_folder.glob("*.partial"))
    assert len(first) < 1_000_000


def test_an_inductive_headline_has_the_transductive_number_beside_it(tmp_path: Path) -> None:
    page = write_report(write_fake_run(tmp_path / "run", headline="train")).read_text("utf-8")
    text = Reading(page).text
    assert "Unweighted average recall, inductive" in text
    assert text.index("Unweighted average recall, inductive") < text.index("transductive")


def test_every_number_of_the_headline_is_called_what_it_is(run_folder: Path, page: str) -> None:
    text = Reading(page).text
    for tile in (
        "Ensemble of seeds", "Mean over folds", "Weighted accuracy", "Macro F1", "Each seed"
    ):  # fmt: skip
        assert re.search(f"{tile} ?transductive", text)
    heads = text[text.index("Fold by fold") :].split("Utterances")[1][:80]
    for head in ("UAR, transductive", "WA, transductive", "UAR, inductive", "WA, inductive"):
        assert head in heads
    metrics = read_run(run_folder).headline.metrics
    low, high = metrics["uar_interval_utterances"]
    assert re.search(
        f"the transductive {metrics['uar_pooled']:.1f} would be {low:.1f}.+?{high:.1f}, which", text
    )
    assert "first seed\u2019s of BLSTM, attention, DNN, transductive;" in text
    assert "The loss is the network\u2019s, label smoothing and dropout included" in text


@pytest.mark.parametrize("kind", ["train", "none"])
def test_a_run_without_a_transductive_number_does_not_speak_of_one(
    run_copy: Path, kind: str
) -> None:
    def keep_inductive(facts: dict) -> None:
        facts["evaluations"] = [e for e in facts["evaluations"] if not e["transductive"]]
        for evaluation in facts["evaluations"]:
            evaluation["name"] = evaluation["name"].replace("train", kind)
            evaluation["normalise"] = kind
        facts["headline"] = kind

    change_facts(run_copy, keep_inductive)
    text = Reading(write_report(run_copy).read_text("utf-8")).text
    assert "transductive" not in text.lower()
    assert "Unweighted average recall, inductive" in text
    assert "Inductive: nothing of a test speaker was known but the utterance at hand" in text
    assert "UAR, inductive" in text


def test_one_evaluation_one_seed_and_one_speaker_make_a_page(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", speakers=("only",), seeds=(0,))
    change_facts(folder, lambda f: f.update(evaluations=f["evaluations"][:1]))
    text = Reading(write_report(folder).read_text("utf-8")).text
    assert "no interval: a single speaker tells nothing of others" in text
    assert "Against the baselines" not in text
    assert "Side by side" not in text


def test_a_class_without_utterances_is_shown_with_a_dash(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", counts=(40, 30, 30, 30, 30, 30, 0))
    text = Reading(write_report(folder).read_text("utf-8")).text
    assert re.search(r"sadness 0 \u2013 \u2013", text)


def test_predictions_and_examples_may_be_missing(run_copy: Path) -> None:
    (run_copy / "predictions.parquet").unlink()
    (run_copy / "examples.npz").unlink()
    text = Reading(write_report(run_copy).read_text("utf-8")).text
    assert "Where it listened" not in text
    assert "Surest mistakes" not in text
    assert "Fold by fold" in text


def test_mistakes_are_those_the_classifier_is_surest_of(run_folder: Path, page: str) -> None:
    rows = pd.read_parquet(run_folder / "predictions.parquet")
    rows = rows[rows["evaluation"] == "speaker"]
    columns = [f"p:{label}" for label in LABELS]
    mean = rows.groupby("utterance_id")[columns].mean()
    truth = rows.groupby("utterance_id")["truth"].first()
    heard = mean.idxmax(axis=1).str.removeprefix("p:")
    surest = mean.max(axis=1)[heard != truth].idxmax()
    text = Reading(page).text
    assert text.index(surest, text.index("Surest mistakes")) < text.index("Worth listening to")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("labels"), "lacks 'labels'"),
        (lambda f: f.update(headline="other"), "lacks 'other'"),
        (lambda f: f["evaluations"][0]["metrics"].pop("wa"), "lacks 'wa'"),
        (lambda f: f.update(format=2), "is of format 2; expected 1"),
        (lambda f: f.update(evaluations=3), "not laid out as format 1"),
        (lambda f: f["labels"].pop(), r"confusion of shape \(7, 7\) for 6 labels"),
        (lambda f: f["evaluations"][0]["curves"][0].update(seed="x"), "not laid out"),
        (lambda f: f["examples"].append(dict(f["examples"][0])), "lacks .*of an example"),
    ],
    ids=["labels", "headline", "metrics", "format", "type", "shape", "curve", "examples"],
)
def test_a_run_that_is_not_whole_is_refused(
    run_copy: Path, change: Callable[[dict], object], message: str
) -> None:
    change_facts(run_copy, change)
    with pytest.raises(RunError, match=message):
        write_report(run_copy)
    assert not (run_copy / "report.html").exists()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run\.json is missing; expected the folder of a finished"):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "predictions.parquet", "examples.npz"])
def test_a_file_of_noise_is_refused_by_name(run_copy: Path, name: str) -> None:
    (run_copy / name).write_bytes(b"\x00noise")
    with pytest.raises(RunError, match=re.escape(name)):
        write_report(run_copy)


def test_examples_are_never_unpickled(run_copy: Path) -> None:
    with np.load(run_copy / "examples.npz") as arrays:
        kept = dict(arrays)
    kept["attention_0"] = np.array([{"a": 1}], dtype=object)
    np.savez(run_copy / "examples.npz", **kept)
    with pytest.raises(RunError, match="allow_pickle=False"):
        write_report(run_copy)


def test_segments_of_unequal_number_are_refused(run_copy: Path) -> None:
    with np.load(run_copy / "examples.npz") as arrays:
        kept = dict(arrays)
    kept["attention_0"] = kept["attention_0"][:-1]
    np.savez(run_copy / "examples.npz", **kept)
    with pytest.raises(RunError, match="example 0 has segments of unequal number"):
        write_report(run_copy)
