import base64
import io

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from reports.figures import (
    MAX_COLUMNS,
    attention_plot,
    axis,
    line_chart,
    spectrogram_png,
    uar_axis,
)
from tests.fake_run import fake_logmel

finite = st.floats(-1e6, 1e6)


def pixels(uri: str) -> np.ndarray:
    head, data = uri.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(imread(io.BytesIO(base64.b64decode(data)), format="png"))


@given(finite, finite, st.booleans())
def test_ticks_lie_on_the_axis_and_values_within_it(low: float, high: float, snap: bool) -> None:
    drawn = axis(low, high, snap=snap)
    assert drawn.low < drawn.high
    assert all(-1e-6 <= tick.at <= 100 + 1e-6 for tick in drawn.ticks)
    assert all(0.0 <= drawn.at(value) <= 100.0 for value in (low, high, 2 * high - low))


def test_a_snapped_axis_ends_at_round_numbers() -> None:
    drawn = axis(0.0, 1.87, snap=True)
    assert [tick.text for tick in drawn.ticks] == ["0", "0.5", "1", "1.5", "2"]
    assert [tick.at for tick in drawn.ticks] == [0, 25, 50, 75, 100]


def test_lines_run_from_the_first_epoch_to_the_last() -> None:
    chart = line_chart("train", [[2.0, 1.0, 0.0]])
    assert chart is not None
    (line,) = chart.lines
    assert line.points == "0.00,0.00 50.00,50.00 100.00,100.00"
    assert [tick.text for tick in chart.x.ticks] == ["1", "2", "3"]


def test_three_curves_have_a_median() -> None:
    chart = line_chart("train", [[3.0, 2.0], [3.0, 1.0], [3.0, 0.0]])
    assert chart is not None
    assert [line.kind for line in chart.lines] == [*["train thin"] * 3, "train median"]
    assert chart.lines[-1].points == chart.lines[1].points


def test_a_median_stops_when_fewer_than_half_still_train() -> None:
    chart = line_chart("train", [[1.0] * 4, [1.0] * 3, [1.0] * 2, [1.0]])
    assert chart is not None
    assert len(chart.lines[-1].points.split()) == 3


def test_values_that_are_not_finite_are_left_out() -> None:
    nan, inf = float("nan"), float("inf")
    chart = line_chart("train", [[nan, 1.0, inf, 0.5]])
    assert chart is not None
    assert len(chart.lines[0].points.split()) == 2
    assert line_chart("train", [[nan], []]) is None
    assert line_chart("train", []) is None


def test_a_single_epoch_can_be_drawn() -> None:
    chart = line_chart("train", [[1.0]])
    assert chart is not None
    assert chart.lines[0].points.startswith("0.00,")
    assert [tick.text for tick in chart.x.ticks] == ["1"]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40), st.floats(0.01, 0.64))
def test_attention_bars_stand_side_by_side_around_their_centres(
    weights: list[float], shift_s: float
) -> None:
    start = np.arange(len(weights)) * shift_s
    plot = attention_plot(start, start + 0.64, np.array(weights))
    assert len(plot.bars) == len(weights)
    assert all(bar.left >= 0 and bar.left + bar.width <= 100.01 for bar in plot.bars)
    assert all(0 <= bar.height <= 100 for bar in plot.bars)
    for bar, following in zip(plot.bars[:-1], plot.bars[1:], strict=True):
        assert bar.left + bar.width == pytest.approx(following.left, abs=0.01)
    assert plot.segment_s == pytest.approx(0.64)


def test_uniform_attention_reaches_the_dashed_line() -> None:
    start = np.arange(5) * 0.16
    plot = attention_plot(start, start + 0.64, np.full(5, 0.2), duration_s=3.0)
    assert [bar.height for bar in plot.bars] == [100.0] * 5
    assert plot.uniform == pytest.approx(100.0)
    assert plot.x.high == 3.0


def test_a_spectrogram_stands_on_its_lowest_band() -> None:
    logmel = np.full((4, 10), -80.0, np.float32)
    logmel[0] = 0.0
    picture = pixels(spectrogram_png(logmel, cmap="gray"))
    assert picture.shape[:2] == (4, 10)
    assert picture[-1, :, 0].min() == 1.0
    assert picture[0, :, 0].max() == 0.0


@pytest.mark.parametrize(
    "logmel",
    [
        np.full((4, 3), np.nan, np.float32),
        np.full((4, 3), -np.inf, np.float32),
        np.zeros((1, 1), np.float32),
        fake_logmel(30.0),
    ],
    ids=["nan", "silence", "one-value", "long"],
)
def test_any_spectrogram_can_be_painted_at_a_bounded_size(logmel: np.ndarray) -> None:
    picture = pixels(spectrogram_png(logmel))
    assert picture.shape[0] == logmel.shape[0]
    assert picture.shape[1] == min(MAX_COLUMNS, logmel.shape[1])


def test_the_same_spectrogram_gives_the_same_bytes_and_leaves_no_trace() -> None:
    # "backend" is left out: reading it is what chooses one.
    names = [name for name in mpl.rcParams if name != "backend"]
    before = [mpl.rcParams[name] for name in names]
    assert spectrogram_png(fake_logmel(1.0)) == spectrogram_png(fake_logmel(1.0))
    assert [mpl.rcParams[name] for name in names] == before


def scores(uar: float, interval: tuple[float, float] | None = None) -> dict[str, object]:
    return {"uar_pooled": uar, "uar_seeds": [uar - 1, uar + 1], "uar_interval": interval}


@pytest.mark.parametrize(
    ("metrics", "chance", "low", "high"),
    [
        ([scores(83.7, (79.8, 86.4)), scores(79.3, (76.0, 82.0))], None, 75.0, 90.0),
        ([scores(83.7), scores(62.1)], None, 60.0, 85.0),
        ([scores(83.7, (79.8, 86.4))], 14.3, 10.0, 100.0),
        ([scores(83.7, (8.0, 86.4))], 14.3, 0.0, 100.0),
        ([scores(99.0)], None, 95.0, 100.0),
        ([scores(1.0)], None, 0.0, 5.0),
    ],
)
def test_all_uars_lie_on_one_axis(
    metrics: list[dict[str, object]], chance: float | None, low: float, high: float
) -> None:
    seen = uar_axis(metrics, chance)
    assert (seen.low, seen.high) == (low, high)
    assert len(seen.ticks) > 1


@pytest.mark.parametrize("uar", [0.0, 50.0, 100.0])
def test_scores_that_all_are_one_number_have_an_axis_around_it(uar: float) -> None:
    one = {"uar_pooled": uar, "uar_seeds": [uar], "uar_interval": [uar, uar]}
    seen = uar_axis([one])
    assert 0.0 <= seen.low <= uar <= seen.high <= 100.0
    assert seen.high - seen.low == 5.0
