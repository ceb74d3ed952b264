"""The picture of where the time goes: from numbers to parts, a table and an SVG."""

import re
import runpy
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import draw_stages
from benchmarks.draw_stages import COLOURS, NETWORK, REST, WRITING, draw, parts_of, print_parts
from benchmarks.frontend_stages import OURS

STAGES = dict.fromkeys(OURS, 0.05)
BARS = {
    "Keras": parts_of(STAGES, network=1.5, writing=0.1, whole=2.0),
    "OpenVINO": parts_of(STAGES, network=1.0, writing=0.1, whole=1.3),
}


def test_the_rest_is_what_the_measured_parts_leave_of_the_whole() -> None:
    parts = BARS["Keras"]
    assert parts[REST] == pytest.approx(2.0 - 1.5 - 0.1 - 6 * 0.05)
    assert sum(parts.values()) == pytest.approx(2.0)


def test_every_part_has_a_colour_of_its_own() -> None:
    assert list(BARS["Keras"]) == list(COLOURS)
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_the_table_tells_what_noise_has_made_negative(capsys: pytest.CaptureFixture[str]) -> None:
    print_parts(BARS)
    out = capsys.readouterr().out
    assert re.search(r"\| network +\| 1\.500 \(75\.0 %\) +\| 1\.000 \(76\.9 %\)", out)
    assert "-0.100 (-7.7 %)" in out


def test_the_same_numbers_give_the_same_picture_and_no_date(tmp_path: Path) -> None:
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    draw(BARS, first)
    draw(BARS, second)
    text = first.read_text(encoding="utf-8")
    assert text == second.read_text(encoding="utf-8")
    assert "<dc:date>" not in text
    colours = set(
        re.findall(r"fill: (#[0-9a-f]{6})", ElementTree.tostring(_root(first), "unicode"))
    )
    assert {colour.lower() for colour in COLOURS.values()} - {"#000000"} <= colours


def test_a_part_that_noise_has_made_negative_has_no_width(tmp_path: Path) -> None:
    only = parts_of(dict.fromkeys(OURS, 0.0), network=1.0, writing=0.0, whole=0.9)
    assert only[WRITING] == 0.0
    assert only[REST] < 0 < only[NETWORK]
    draw({"Keras": only}, tmp_path / "one.svg")
    assert _root(tmp_path / "one.svg").tag.endswith("svg")


def _root(path: Path) -> ElementTree.Element:
    return ElementTree.parse(path).getroot()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated")
def test_it_measures_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "pictures" / "stages.svg"
    monkeypatch.setattr(sys, "argv", ["draw_stages.py", str(picture), "--size", "tiny"])
    runpy.run_path(str(draw_stages.__file__), run_name="__main__")
    out = capsys.readouterr().out
    assert all(f"| {part} " in out for part in COLOURS)
    assert _root(picture).tag.endswith("svg")
