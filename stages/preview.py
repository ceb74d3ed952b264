"""A picture of what the network sees: the first segments of one file, channel by channel."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.networks import CHANNELS
from stages.frontend.logmel import CLEAN_VIEW, logmel_blocks, mel_centres_hz
from stages.frontend.segments import deltas, segment_times, windows
from stages.listening import seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from stages.frontend.logmel import FrontEnd
    from stages.frontend.segments import Segments
    from stages.frontend.views.view import View

MAX_SEGMENTS = 8
_TICKS_HZ = (100, 250, 500, 1000, 2000, 4000, 8000)


def preview(
    path: Path,
    frontend: FrontEnd,
    segments: Segments,
    output: Path,
    *,
    start: float = 0.0,
    end: float = math.nan,
    max_segments: int = MAX_SEGMENTS,
    view: View = CLEAN_VIEW,
    channels: Sequence[str] = CHANNELS,
) -> Path:
    """Draw the first segments of an utterance, channel by channel, over time.

    Parameters
    ----------
    path : audio file
    frontend, segments : the recipe's settings
    output : PNG file to write; its folder is made, an older file is replaced
    start, end : seconds
        Range of the file; an ``end`` of NaN is its end.
    max_segments : at least 1
    view : through which the utterance is seen
    channels : the recipe's; one that the network sees several times is drawn once

    Returns
    -------
    Path
        ``output``.  It is there only when it is whole.

    Raises
    ------
    AudioError
        When the file cannot be read; ``output`` is left as it was.
    """
    blocks = logmel_blocks(
        path,
        start=start,
        end=end,
        settings=frontend,
        view=view,
        seed=seed(path, view, start=start, end=end),
    )
    cut, start_frames, n_total = _first_segments(blocks, segments, max_segments)
    start_s, end_s = segment_times(start_frames, frontend=frontend, segments=segments)
    values = deltas(cut, delta_width=segments.delta_width)
    shown = list(dict.fromkeys(channels))
    size = (1.6 + 1.7 * len(cut), 1.0 + 1.8 * len(shown))
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown), len(cut), squeeze=False, sharey=True)
    unit = "dB" if frontend.scaling == "fixed" else "deviations"
    units = dict(zip(CHANNELS, (unit, f"{unit} / frame", f"{unit} / frame²"), strict=True))
    for place, name in enumerate(shown):
        row, channel = list(axes[place]), CHANNELS.index(name)
        image = _draw_row(row, values[..., channel], start_s, end_s, is_signed=channel > 0)
        figure.colorbar(image, ax=row, label=units[name], pad=0.01, aspect=12)
        row[0].set_ylabel(f"{name}\nHz")
    _label(axes.tolist(), frontend)
    seen_as = "" if view == CLEAN_VIEW else f" as {view.name}"
    figure.suptitle(
        f"{Path(path).name!r}{seen_as}: segments 1 to {len(cut)} of {n_total}",
        fontsize=10,
        parse_math=False,
    )
    _save(figure, Path(output))
    return Path(output)


def _first_segments(
    blocks: Iterable[NDArray[np.float32]], segments: Segments, n_most: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    """Windows and start frames of the first segments, and how many there are in all."""
    kept, starts, n_total = [], [], 0
    for some, at in windows(blocks, segments):
        n_more = max(0, n_most - n_total)
        if n_more:
            kept.append(some[:n_more])
            starts.append(at[:n_more])
        n_total += len(some)
    return np.concatenate(kept), np.concatenate(starts), n_total


def _draw_row(
    row: list[Axes],
    values: NDArray[np.float32],
    start_s: NDArray[np.float64],
    end_s: NDArray[np.float64],
    *,
    is_signed: bool,
) -> AxesImage:
    """Draw one channel, shape (n_segments, n_mels, n_frames), in one range of colours."""
    low, high = _limits(values, is_signed=is_signed)
    images = [
        ax.imshow(
            segment,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            cmap="RdBu_r" if is_signed else "magma",
            vmin=low,
            vmax=high,
            extent=(left, right, -0.5, len(segment) - 0.5),
        )
        for ax, segment, left, right in zip(row, values, start_s, end_s, strict=True)
    ]
    return images[0]


def _limits(values: NDArray[np.float32], *, is_signed: bool) -> tuple[float, float]:
    """Colour range: all but the outermost percent, the same for every segment of a row."""
    if is_signed:
        far = max(float(np.percentile(np.abs(values), 99)), 1e-6)
        return -far, far
    low, high = np.percentile(values, [1, 99.5])
    return float(low), float(max(high, low + 1e-6))


def _label(axes: Sequence[Sequence[Axes]], frontend: FrontEnd) -> None:
    centres = mel_centres_hz(frontend)
    shown = [hz for hz in _TICKS_HZ if centres[0] <= hz <= centres[-1]]
    axes[0][0].set_yticks(
        np.interp(shown, centres, np.arange(len(centres))), [str(hz) for hz in shown]
    )
    for row in axes[:-1]:
        for ax in row:
            ax.tick_params(labelbottom=False)
    for ax in axes[-1]:
        ax.set_xlabel("s", fontsize=8)
    for row in axes:
        for ax in row:
            ax.tick_params(labelsize=7)


def _save(figure: Figure, output: Path) -> None:
    """Write beside the place, then move there: a reader never sees half a picture."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f"{output.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file, warnings.catch_warnings():
            # A file name may hold signs that the font lacks; boxes will do.
            warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
            figure.savefig(file, format="png")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
