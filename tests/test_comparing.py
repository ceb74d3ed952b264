"""``emostack compare`` as users call it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.comparing import summary
from reports.compare_page import html
from tests.command_line import Emostack, command_line
from tests.fake_run import write_fake_run


@pytest.fixture
def emostack(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Emostack:
    """Call the command line in this process."""
    return command_line(monkeypatch, capfd)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workdir with three runs, the last with a warning."""
    home = tmp_path_factory.mktemp("work")
    for i, (name, warning) in enumerate([("one", ""), ("two", ""), ("odd", "random\nweights")]):
        folder = write_fake_run(home / "runs" / name, counts=(20,) * 7, draw=i, warning=warning)
        facts = json.loads((folder / "run.json").read_text("utf-8"))
        (folder / "run.json").write_text(json.dumps(facts | {"run": name}), encoding="utf-8")
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A copy of it to write to."""
    return shutil.copytree(made, tmp_path / "work")


@pytest.fixture
def fields(home: Path, emostack: Emostack) -> dict[str, Any]:
    done = emostack("compare", "one", "two", "--workdir", home, "--json")
    assert done.status == 0, done.err
    return done.fields


def test_two_runs_give_a_page_and_its_numbers(home: Path, fields: dict[str, Any]) -> None:
    report = Path(fields["report"])
    assert report.is_relative_to(home / "comparisons")
    kept = json.loads(report.with_name("comparison.json").read_text("utf-8"))
    assert kept == {name: value for name, value in fields.items() if name != "report"}
    assert report.read_text("utf-8") == html(kept)
    first, second = fields["groups"][0]["rows"]
    assert (first["run"], second["run"]) == ("one", "two")
    gap = second["uar_pooled"] - first["uar_pooled"]
    assert second["against"]["difference"] == pytest.approx(gap)
    assert 0 < second["against"]["p"] <= 1


def test_the_terminal_is_told_each_number_with_its_kind(home: Path, emostack: Emostack) -> None:
    done = emostack("compare", home / "runs" / "one", "two", "--workdir", home)
    lines = done.out.splitlines()
    assert lines[:4] == [
        "1  one  EMO-DB, leave one speaker out",
        "2  two  EMO-DB, leave one speaker out",
        "",
        "The headline of each run: 140 utterances of 10 speakers",
    ]
    uars = [line for line in lines if " UAR " in line]
    assert len(uars) == 8
    assert all(line.endswith((", transductive", ", inductive")) for line in uars)
    assert sum("by speaker (corrected" in line for line in lines) == 4
    assert lines[-1].startswith("report ")
    assert done.err == ""


def test_one_run_is_held_against_its_baselines(home: Path, emostack: Emostack) -> None:
    done = emostack("compare", "one", "--workdir", home)
    titles = [line.partition(":")[0] for line in done.out.splitlines() if " utterances of " in line]
    assert titles == [
        "Normalisation speaker, transductive",
        "Normalisation train, inductive",
        "The headline against other normalisations",
    ]
    assert "Linear SVM (svm-speaker), transductive" in done.out


def test_a_warning_is_told_and_marks_each_number_it_touches(home: Path, emostack: Emostack) -> None:
    done = emostack("compare", "odd", "two", "--workdir", home)
    assert r"warning: run 1: random\nweights" in done.err
    lines = done.out.splitlines()
    marked = [line for line in lines if line.endswith(" [mind the warning, not a result]")]
    numbers = [line for line in lines if " UAR " in line or "by speaker" in line]
    assert len(numbers) == 12
    assert [line for line in numbers if line not in marked] == [
        line for line in numbers if line.startswith(" 2  UAR")
    ]


def test_conditions_that_differ_are_warned_of(home: Path, emostack: Emostack) -> None:
    path = home / "runs" / "two" / "run.json"
    facts = json.loads(path.read_text("utf-8"))
    facts["provenance"]["snapshot"] = 7
    path.write_text(json.dumps(facts), encoding="utf-8")
    done = emostack("compare", "one", "two", "--workdir", home, "--json")
    assert "warning: run 2 read snapshot 7 of the features, run 1 snapshot 1" in done.err
    assert len(done.fields["remarks"]) == 1


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["one", "none"], 1, "no run is named 'none'"),
        ([], 2, "Missing argument 'RUN...'"),
        (["one", "two"], 1, "run 'two' has no predictions.parquet; expected the whole folder"),
    ],
    ids=["unknown", "nothing", "predictions"],
)
def test_what_cannot_be_compared_is_told_in_one_line(
    home: Path, emostack: Emostack, words: list[str], status: int, message: str
) -> None:
    (home / "runs" / "two" / "predictions.parquet").unlink()
    done = emostack("compare", *words, "--workdir", home)
    assert (done.status, done.out) == (status, "")
    assert message in done.err
    assert "Traceback" not in done.err
    if status == 1:
        assert done.err.count("\n") == 1
    assert not (home / "comparisons").exists()


def test_a_table_of_noise_is_refused_by_name(home: Path, emostack: Emostack) -> None:
    (home / "runs" / "two" / "predictions.parquet").write_bytes(b"\x00noise")
    done = emostack("compare", "one", "two", "--workdir", home)
    assert done.status == 1
    assert "predictions.parquet cannot be read" in done.err


def test_titles_cannot_command_the_terminal(fields: dict[str, Any]) -> None:
    fields["runs"][1] |= {"title": "\x1b[31m" + "t" * 300, "run": "two\nlines"}
    line = summary(fields).splitlines()[1]
    assert line.startswith(r"2  two\nlines  \x1b[31mttt")
    assert len(line) < 90
