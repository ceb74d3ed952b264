"""What a night costs is arithmetic, and held to what can be worked out by hand."""

import doctest
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import nightly_cost
from benchmarks.nightly_cost import (
    RATES,
    Audio,
    audio_of,
    costs_of,
    hours_on_cores,
    hours_on_gpu,
    rate_of,
    serial_share,
)
from stages.recipe import DEFAULT, RECIPES

GIVEN = {
    "front-end": 1000.0, "keras-float32": 500.0, "openvino-float32": 1000.0,
    "openvino-bfloat16": 2000.0, "gpu": 1e5, "write-s": 0.0001, "segment-bytes": 8000.0,
    "hash-mb-s": 320.0, "start-s": 10.0, "one-worker": 400.0, "two-workers": 750.0,
}  # fmt: skip
AUDIO = Audio(hours=1, segments_a_second=10, bytes_a_second=32_000)
RATE = st.floats(1.0, 1e6)


def _words(**changed: str) -> list[str]:
    texts = {**{name: str(rate) for name, rate in GIVEN.items()}, **changed}
    return [word for name, text in texts.items() for word in (f"--{name}", text)]


def test_the_examples_are_true() -> None:
    assert doctest.testmod(nightly_cost).failed == 0
    assert doctest.testmod(nightly_cost).attempted >= 5


def test_every_rate_comes_from_the_command_line() -> None:
    assert GIVEN.keys() == RATES.keys()


def test_what_every_engine_pays_is_front_end_writing_hashing_and_starting() -> None:
    costs = costs_of(AUDIO, GIVEN)
    assert costs.cpu_s == pytest.approx(0.1 / 1000 + 0.0001)
    assert costs.once_s == pytest.approx(10.0 + 3600 * 32_000 / 320e6)


def test_the_recipe_says_how_many_segments_there_are() -> None:
    recipe = RECIPES[DEFAULT]
    audio = audio_of(recipe, 2.0)
    shift_s = recipe.segments.shift_frames * recipe.frontend.hop_s
    assert audio.n_segments == pytest.approx(7200 / shift_s)


@given(rate=RATE, n_segments=st.floats(1.0, 1e9))
def test_a_device_of_its_own_is_never_slower_than_shared_cores(
    rate: float, n_segments: float
) -> None:
    costs = costs_of(AUDIO, GIVEN)
    assert hours_on_gpu(n_segments, rate, costs) <= hours_on_cores(n_segments, rate, costs)


@given(one=RATE, gain=st.floats(1.0, 2.0))
def test_the_model_goes_through_both_measured_rates(one: float, gain: float) -> None:
    share = serial_share(one, gain * one)
    assert rate_of(1, one, share) == pytest.approx(one)
    assert rate_of(2, one, share) == pytest.approx(gain * one)


def test_both_tables_are_printed_and_the_model_is_called_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["nightly_cost.py", *_words()])
    nightly_cost.main()
    out = capsys.readouterr().out
    assert "1000 hours of audio" in out
    assert "a GPU of 100000 segments/s (assumed)" in out
    assert "a model (Amdahl's), serial share 6.7 %" in out
    assert "| 32 " in out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gpu": "0"}, "expected a number above 0"),
        ({"gpu": "nan"}, "expected a number above 0"),
        ({"gpu": "fast"}, "'fast'; expected a number"),
        ({"two-workers": "399"}, "expected no fewer with two"),
    ],
)
def test_a_rate_that_cannot_be_is_refused(
    changed: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["nightly_cost.py", *_words(**changed)])
    with pytest.raises(SystemExit):
        nightly_cost.main()
    assert message in capsys.readouterr().err
