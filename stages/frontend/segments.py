"""Segments: fixed-length windows of an utterance's log-Mel, cut as the frames arrive.

Conventions
-----------
What travels is static log-Mel alone.  A window holds a segment's ``n_frames`` and ``delta_width //
2`` frames of context on either side; at the utterance's ends the context repeats the outermost
frame.  So the deltas of a window without its context are those of the whole utterance
(`librosa.feature.delta` with ``mode="nearest"``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from stages.frontend.logmel import FrontEnd

LAST_RULES = ("align_end", "drop", "pad")
SHORT_RULES = ("repeat", "edge")


class SegmentsError(ValueError):
    """The segments' settings do not fit together, or there is nothing to cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """How a log-Mel spectrogram is cut into segments.

    Parameters
    ----------
    n_frames : frames a segment
    shift_frames : frames from the start of one segment to the start of the next, at most n_frames
    last : {"align_end", "drop", "pad"}
        Frames left over after the last whole segment: "align_end" adds a segment that ends with the
        utterance, "drop" leaves them out, "pad" fills a last segment by the rule ``short``.
    short : {"repeat", "edge"}
        How too few frames become n_frames: repeated from their start, or followed by copies of the
        last one.  An utterance shorter than one segment always becomes one segment this way.
    delta_width : odd, at least 3
        Frames that a delta looks at (Savitzky-Golay).

    Raises
    ------
    SegmentsError
        When a value is out of range.

    Examples
    --------
    >>> Segments().window_frames
    72
    """

    n_frames: int = 64
    shift_frames: int = 16
    last: str = "align_end"
    short: str = "repeat"
    delta_width: int = 9

    def __post_init__(self) -> None:
        for name, ok, expected in (
            ("n_frames", 1 <= self.n_frames <= 65536, "1 to 65536"),
            ("shift_frames", 1 <= self.shift_frames <= self.n_frames, "1 to n_frames"),
            ("last", self.last in LAST_RULES, f"one of {', '.join(LAST_RULES)}"),
            ("short", self.short in SHORT_RULES, f"one of {', '.join(SHORT_RULES)}"),
            (
                "delta_width",
                3 <= self.delta_width <= 255 and self.delta_width % 2 == 1,
                "an odd number from 3 to 255",
            ),
        ):
            if not ok:
                seen = getattr(self, name)
                raise SegmentsError(f"{name} is {seen!r}; expected {expected}; change the recipe")

    @property
    def context_frames(self) -> int:
        """Frames of context on either side of a segment."""
        return self.delta_width // 2

    @property
    def window_frames(self) -> int:
        """Frames of a window: a segment and its context."""
        return self.n_frames + self.delta_width - 1


def windows(
    blocks: Iterable[NDArray[np.float32]], settings: Segments
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Cut the overlapping windows of one utterance out of its log-Mel, as the blocks arrive.

    Parameters
    ----------
    blocks : float32, shape (n_mels, n), in time order
        However they are cut, the windows are the same.
    settings : Segments

    Yields
    ------
    windows : float32, shape (k, n_mels, n_frames + delta_width - 1), C-contiguous
    start_frames : int64, shape (k,)
        Frame of the utterance at which each segment (not its context) starts, ascending.

    Raises
    ------
    SegmentsError
        When the blocks hold no frame at all.

    Examples
    --------
    >>> ramp = np.arange(100, dtype=np.float32)[np.newaxis]
    >>> cut, start_frames = zip(*windows([ramp], Segments()), strict=True)
    >>> np.concatenate(start_frames)
    array([ 0, 16, 32, 36])
    """
    cutter = _Cutter(settings)
    for block in blocks:
        yield from cutter.add(block)
    yield from cutter.finish()


def n_segments(n_frames_total: int, settings: Segments) -> int:
    """Count the segments of an utterance of ``n_frames_total`` >= 1 frames.

    Examples
    --------
    >>> [n_segments(n, Segments()) for n in (1, 64, 65, 80, 81)]
    [1, 1, 2, 2, 3]
    """
    spare = n_frames_total - settings.n_frames
    if spare <= 0:
        return 1
    whole = spare // settings.shift_frames + 1
    is_left_over = spare % settings.shift_frames != 0
    return whole + (1 if is_left_over and settings.last != "drop" else 0)


def segment_times(
    start_frames: NDArray[np.int64],
    *,
    frontend: FrontEnd,
    segments: Segments,
    duration_s: float = math.inf,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Place segments in time.

    Parameters
    ----------
    start_frames : int64, shape (k,)
    frontend : FrontEnd
    segments : Segments
    duration_s : seconds
        Length of the utterance; no segment ends later.  Filled-up segments (rules "pad" and
        ``short``) would.

    Returns
    -------
    start_s, end_s : float64, shape (k,), seconds in the utterance
        From the first sample of the segment's first frame to the end of its last frame, without
        the context.
    """
    first_sample = start_frames * frontend.hop_length
    n_samples = (segments.n_frames - 1) * frontend.hop_length + frontend.n_fft
    start_s = first_sample / frontend.sample_rate
    end_s = np.minimum((first_sample + n_samples) / frontend.sample_rate, duration_s)
    return start_s, end_s


def deltas(window: NDArray[np.float32], *, delta_width: int = 9) -> NDArray[np.float32]:
    """Three channels of a window, in NumPy: the reference for the network's own first step.

    Parameters
    ----------
    window : float32, shape (..., n_mels, n_frames + delta_width - 1)
    delta_width : frames

    Returns
    -------
    float32, shape (..., n_mels, n_frames, 3)
        Static, delta (a frame) and delta-delta (a frame squared), by Savitzky-Golay smoothing
        with a polynomial of order 1 and of order 2, as `librosa.feature.delta` has it.

    Examples
    --------
    >>> ramp = 2 * np.arange(10, dtype=np.float32)[np.newaxis]
    >>> deltas(ramp, delta_width=9)[0, :, 1].round(3)
    array([2., 2.], dtype=float32)
    """
    from scipy.signal import savgol_coeffs  # a second that a night without work need not spend

    half = delta_width // 2
    around = np.lib.stride_tricks.sliding_window_view(window, delta_width, axis=-1)
    channels = [window[..., half : window.shape[-1] - half]]
    for order in (1, 2):
        weights = savgol_coeffs(delta_width, order, deriv=order, use="dot")
        channels.append(np.einsum("...w,w->...", around, weights.astype(np.float64)))
    return np.stack(channels, axis=-1).astype(np.float32)


class _Cutter:
    """Frames not yet cut, and where the next segment starts.

    ``held`` is a stretch of the utterance with its left context already in front; ``held_start`` is
    the frame whose segment would start at its first column.
    """

    def __init__(self, settings: Segments) -> None:
        self.settings = settings
        self.held: NDArray[np.float32] | None = None
        self.held_start = 0
        self.next_start = 0
        self.n_seen = 0

    def add(
        self, block: NDArray[np.float32]
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Take in frames; yield the segments that have all of their right context."""
        if block.shape[1] == 0:
            return
        if self.held is None:
            self.held = np.repeat(block[:, :1], self.settings.context_frames, axis=1)
        self.held = np.concatenate([self.held, block], axis=1)
        self.n_seen += block.shape[1]
        yield from self._cut_whole()
        # What the next segment needs stays, and what a last one would need that ends with the
        # utterance.
        keep_from = min(self.next_start, self.n_seen - self.settings.n_frames)
        if keep_from > self.held_start:
            self.held = self.held[:, keep_from - self.held_start :]
            self.held_start = keep_from

    def finish(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Yield what is left, by the rules for the end and for short utterances."""
        if self.held is None:
            raise SegmentsError(
                "the utterance has no frames; expected at least one; leave it out or widen its range"
            )
        n_frames, n_seen = self.settings.n_frames, self.n_seen
        if n_seen < n_frames:
            yield self._filled(self.held, 0)
            return
        last = self.held[:, -1:]
        self.held = np.concatenate(
            [self.held, np.repeat(last, self.settings.context_frames, axis=1)], axis=1
        )
        yield from self._cut_whole()
        covered = self.next_start - self.settings.shift_frames + n_frames
        if covered >= n_seen or self.settings.last == "drop":
            return
        if self.settings.last == "align_end":
            yield self._at(n_seen - n_frames)
        else:
            n_right = self.settings.context_frames
            yield self._filled(self.held[:, : self.held.shape[1] - n_right], self.next_start)

    def _cut_whole(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        assert self.held is not None
        offset = self.next_start - self.held_start
        n_spare = self.held.shape[1] - offset - self.settings.window_frames
        if n_spare < 0:
            return
        n_new = n_spare // self.settings.shift_frames + 1
        views = np.lib.stride_tricks.sliding_window_view(
            self.held[:, offset:], self.settings.window_frames, axis=1
        )[:, :: self.settings.shift_frames]
        starts = self.next_start + self.settings.shift_frames * np.arange(n_new, dtype=np.int64)
        self.next_start += n_new * self.settings.shift_frames
        yield np.ascontiguousarray(views[:, :n_new].transpose(1, 0, 2)), starts

    def _at(self, start: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        assert self.held is not None
        offset = start - self.held_start
        window = self.held[:, offset : offset + self.settings.window_frames]
        return np.ascontiguousarray(window[np.newaxis]), np.array([start], dtype=np.int64)

    def _filled(
        self, held: NDArray[np.float32], start: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Segment at ``start`` whose frames run out: fill it up, then repeat the outermost frame."""
        n_left = self.settings.context_frames
        stretch = held[:, start - self.held_start :]
        context, frames = stretch[:, :n_left], stretch[:, n_left:]
        column = np.arange(self.settings.n_frames)
        n_there = frames.shape[1]
        column = (
            column % n_there if self.settings.short == "repeat" else column.clip(0, n_there - 1)
        )
        frames = frames[:, column]
        right = np.repeat(frames[:, -1:], n_left, axis=1)
        window = np.concatenate([context, frames, right], axis=1)
        return np.ascontiguousarray(window[np.newaxis]), np.array([start], dtype=np.int64)
