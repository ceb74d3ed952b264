"""Geometry of a report's figures: numbers in, plain shapes out.

Conventions
-----------
A figure is drawn by the page as an SVG that stretches with its box, while its words stay words
of the page: so it follows the reader's colours, width and font, and no name is ever parsed as
mathematics. Positions are percent of the plot's box; x runs from the left. In SVG points y runs
from the top, and in ticks and heights from the bottom. Only spectrograms are pixels (PNG).
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.image import imsave
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "AttentionPlot",
    "Axis",
    "Bar",
    "Line",
    "LineChart",
    "Tick",
    "attention_plot",
    "axis",
    "line_chart",
    "spectrogram_png",
    "uar_axis",
]

MAX_COLUMNS = 1200
"""Columns of a spectrogram's picture at most: longer utterances are averaged down."""

DYNAMIC_RANGE_DB = 70.0
"""How far below its maximum a spectrogram is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis: where (percent) and what to write there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A linear axis over [low, high] with round ticks inside."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Place a value: percent of the axis, held within it."""
        return float(np.clip(100.0 * (value - self.low) / (self.high - self.low), 0.0, 100.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart.

    Attributes
    ----------
    kind : its class in the page's style sheet
    points : of the SVG, ``"x,y x,y"``
    """

    kind: str
    points: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Lines over epochs."""

    x: Axis
    y: Axis
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar that stands on the axis; ``text`` says its value."""

    left: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPlot:
    """Attention over time: one bar a segment, and the height that uniform attention has."""

    x: Axis
    bars: tuple[Bar, ...]
    uniform: float
    highest: float
    segment_s: float


def axis(low: float, high: float, *, n_ticks: int = 5, snap: bool = False) -> Axis:
    """Make an axis with about `n_ticks` round ticks.

    Parameters
    ----------
    low, high : finite; an empty range is widened by one
    n_ticks : number of ticks wanted
    snap : move the ends outwards to round numbers

    Examples
    --------
    >>> axis(0.0, 1.9, snap=True).high
    2.0
    """
    high = high if high > low else low + 1.0
    locator = MaxNLocator(nbins=n_ticks, steps=[1, 2, 2.5, 5, 10])
    values = [float(value) for value in np.asarray(locator.tick_values(low, high))]
    if snap:
        low, high = values[0], values[-1]
    slack = 1e-9 * (high - low)
    ticks = tuple(
        Tick(at=100.0 * (value - low) / (high - low), text=f"{value:.10g}")
        for value in values
        if low - slack <= value <= high + slack
    )
    return Axis(low=low, high=high, ticks=ticks)


def uar_axis(metrics: Iterable[Mapping[str, Any]], chance: float | None = None) -> Axis:
    """Make one axis on which all UARs can be seen with their intervals.

    Parameters
    ----------
    metrics : of evaluations, as `reports.metrics.evaluate` has them
    chance : UAR of guessing, percent: to be seen, too, on an axis that ends at 100; None: the axis
        is as short as the intervals allow
    """
    values = [value for each in metrics for value in _seen(each)]
    if chance is not None:
        lowest = min([chance, *values])
        return axis(max(0.0, 10.0 * math.floor(lowest / 10.0)), 100.0, n_ticks=6)
    low, high = 5.0 * math.floor(min(values) / 5.0), 5.0 * math.ceil(max(values) / 5.0)
    low = low if high > low else low - 5.0
    return axis(max(0.0, low), min(100.0, max(high, 5.0)), n_ticks=4)


def _seen(metrics: Mapping[str, Any]) -> list[float]:
    seeds, interval = metrics["uar_seeds"], metrics["uar_interval"]
    return [metrics["uar_pooled"], *seeds, *(interval or ())]


def line_chart(kind: str, curves: Sequence[Sequence[float]]) -> LineChart | None:
    """Draw curves, each thin, and their median over them, as far as at least half of them run.

    Parameters
    ----------
    kind : what they are called in the page's style sheet
    curves : one value an epoch, from epoch 1

    Returns
    -------
    chart : None if there is not one finite value
    """
    values = [v for curve in curves for v in curve if np.isfinite(v)]
    if not values:
        return None
    x = _epoch_axis(max(map(len, curves)))
    y = axis(min(0.0, *values), max(values), snap=True)
    lines = [Line(kind=f"{kind} thin", points=_points(x, y, curve)) for curve in curves]
    if len(curves) > 2:
        lines.append(Line(kind=f"{kind} median", points=_points(x, y, _median(curves))))
    return LineChart(x=x, y=y, lines=tuple(lines))


def attention_plot(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    attention: NDArray[np.float64],
    *,
    duration_s: float = 0.0,
) -> AttentionPlot:
    """Draw attention over time.

    Segments overlap, so a bar does not span its segment: it stands around the segment's centre
    and reaches half way to its neighbours, the first and last one as far on their outer side.

    Parameters
    ----------
    start, end : shape (n_segments,), seconds
    attention : shape (n_segments,), in [0, 1]
    duration_s : of the picture below it; default: the end of the last segment
    """
    time = axis(0.0, max(float(end.max()), duration_s), n_ticks=8)
    order = np.argsort(start + end, kind="stable")
    centres = ((start + end) / 2)[order]
    edges = _edges(centres, half_s=float(np.max(end - start)) / 2)
    highest = max(float(attention.max()), 1e-12)
    bars = tuple(
        Bar(
            left=round(time.at(left), 3),
            width=round(time.at(right) - time.at(left), 3),
            height=round(100.0 * max(weight, 0.0) / highest, 2),
            text=f"{centre:.2f} s: {100.0 * weight:.1f} %",
        )
        for left, right, centre, weight in zip(
            edges[:-1], edges[1:], centres, attention[order], strict=True
        )
    )
    return AttentionPlot(
        x=time,
        bars=bars,
        uniform=min(100.0, 100.0 / (len(attention) * highest)),
        highest=100.0 * highest,
        segment_s=float(np.median(end - start)),
    )


def _edges(centres: NDArray[np.float64], *, half_s: float) -> NDArray[np.float64]:
    """Find where bars meet: (n + 1,) for n ascending centres."""
    inner = (centres[1:] + centres[:-1]) / 2
    if len(inner) == 0:
        return np.array([centres[0] - half_s, centres[0] + half_s])
    return np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])


def spectrogram_png(logmel: NDArray[np.float32], *, cmap: str = "magma") -> str:
    """Paint a spectrogram, the lowest band at the bottom.

    Parameters
    ----------
    logmel : shape (n_mels, n_frames), dB; values that are not finite are drawn as silence

    Returns
    -------
    uri : ``data:image/png;base64,...``
    """
    finite = logmel[np.isfinite(logmel)]
    top = float(finite.max()) if finite.size else 0.0
    floor = np.where(np.isfinite(logmel), logmel, top - DYNAMIC_RANGE_DB)
    level = np.clip(1.0 + (_fewer_columns(floor) - top) / DYNAMIC_RANGE_DB, 0.0, 1.0)
    pixels = mpl.colormaps[cmap](level[::-1], bytes=True)[..., :3]
    buffer = io.BytesIO()
    # The default would name the library's version: the same run gives the same bytes.
    imsave(buffer, np.ascontiguousarray(pixels), format="png", metadata={"Software": "emostack"})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _fewer_columns(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    n_columns = picture.shape[1]
    if n_columns <= MAX_COLUMNS:
        return picture
    edges = np.linspace(0, n_columns, MAX_COLUMNS + 1).astype(np.int64)
    sums = np.add.reduceat(picture, edges[:-1], axis=1)
    return np.asarray(sums / np.diff(edges), np.float32)


def _epoch_axis(n_epochs: int) -> Axis:
    """Make an axis whose ticks are whole epochs, the first one among them."""
    plain = axis(1.0, float(max(n_epochs, 2)))
    locator = MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10])
    round_values = np.asarray(locator.tick_values(1, n_epochs))
    values = {1, *(int(v) for v in round_values if 2 <= v <= n_epochs)}
    ticks = tuple(Tick(at=plain.at(v), text=str(v)) for v in sorted(values))
    return Axis(low=plain.low, high=plain.high, ticks=ticks)


def _points(x: Axis, y: Axis, curve: Sequence[float]) -> str:
    pairs = [
        f"{x.at(epoch):.2f},{100.0 - y.at(value):.2f}"
        for epoch, value in enumerate(curve, start=1)
        if np.isfinite(value)
    ]
    return " ".join(pairs)


def _median(curves: Sequence[Sequence[float]]) -> list[float]:
    lengths = sorted((len(curve) for curve in curves), reverse=True)
    n_epochs = lengths[(len(curves) - 1) // 2]
    columns = [[c[i] for c in curves if i < len(c) and np.isfinite(c[i])] for i in range(n_epochs)]
    return [float(np.median(column)) if column else float("nan") for column in columns]
