import itertools
from collections.abc import Iterator

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.frontend.logmel import FrontEnd
from stages.frontend.segments import (
    LAST_RULES,
    SHORT_RULES,
    Segments,
    SegmentsError,
    deltas,
    n_segments,
    segment_times,
    windows,
)

N_MELS = 5


def logmel(n_frames: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(n_frames)
    return rng.normal(-30, 15, (N_MELS, n_frames)).astype(np.float32)


def cut(
    spectrogram: NDArray[np.float32], settings: Segments, borders: tuple[int, ...] = ()
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    blocks = np.split(spectrogram, sorted(borders), axis=1)
    pieces = list(windows(blocks, settings))
    return (
        np.concatenate([piece for piece, _ in pieces]),
        np.concatenate([start_frames for _, start_frames in pieces]),
    )


@st.composite
def settings_of_segments(draw: st.DrawFn) -> Segments:
    n_frames = draw(st.integers(1, 40))
    return Segments(
        n_frames=n_frames,
        shift_frames=draw(st.integers(1, n_frames)),
        last=draw(st.sampled_from(LAST_RULES)),
        short=draw(st.sampled_from(SHORT_RULES)),
        delta_width=draw(st.sampled_from([3, 5, 9, 15])),
    )


def filled(frames: NDArray[np.float32], n_frames: int, rule: str) -> NDArray[np.float32]:
    n_there = frames.shape[1]
    if rule == "repeat":
        return np.concatenate(list(itertools.repeat(frames, n_frames // n_there + 1)), 1)[
            :, :n_frames
        ]
    return np.pad(frames, ((0, 0), (0, n_frames - n_there)), mode="edge")


@given(st.integers(1, 200), settings_of_segments())
def test_segments_start_every_shift_and_end_by_the_named_rule(n: int, settings: Segments) -> None:
    _, starts = cut(logmel(n), settings)
    n_frames, shift = settings.n_frames, settings.shift_frames
    assert len(starts) == n_segments(n, settings)
    grid = list(range(0, max(n - n_frames, 0) + 1, shift))
    left_over = n - (grid[-1] + n_frames)
    extra = {"drop": [], "align_end": [n - n_frames], "pad": [grid[-1] + shift]}[settings.last]
    assert starts.tolist() == grid + (extra if left_over > 0 else [])
    if settings.last != "drop":
        heard = np.zeros(n, dtype=bool)
        for start in starts:
            heard[start : start + n_frames] = True
        assert heard.all()


@given(st.integers(1, 200), settings_of_segments(), st.data())
def test_how_the_blocks_are_cut_changes_no_byte(
    n: int, settings: Segments, data: st.DataObject
) -> None:
    borders = data.draw(st.lists(st.integers(0, n), max_size=8))
    whole, in_pieces = cut(logmel(n), settings), cut(logmel(n), settings, tuple(borders))
    np.testing.assert_array_equal(whole[0], in_pieces[0])
    np.testing.assert_array_equal(whole[1], in_pieces[1])


@given(st.integers(1, 200), settings_of_segments())
def test_three_channels_of_a_window_are_librosas_on_the_whole_utterance(
    n: int, settings: Segments
) -> None:
    spectrogram, n_frames = logmel(n), settings.n_frames
    cut_windows, starts = cut(spectrogram, settings)
    assert cut_windows.shape == (len(starts), N_MELS, settings.window_frames)
    assert cut_windows.dtype == np.float32
    if n < n_frames:
        spectrogram = filled(spectrogram, n_frames, settings.short)
    elif starts[-1] + n_frames > n:  # the rule "pad"
        tail = filled(spectrogram[:, starts[-1] :], n_frames, settings.short)
        check(np.concatenate([spectrogram[:, : starts[-1]], tail], axis=1), settings,
              cut_windows[-1:], starts[-1:])  # fmt: skip
        cut_windows, starts = cut_windows[:-1], starts[:-1]
    check(spectrogram, settings, cut_windows, starts)


def check(
    utterance: NDArray[np.float32],
    settings: Segments,
    cut_windows: NDArray[np.float32],
    starts: NDArray[np.int64],
) -> None:
    channels = [utterance] + [
        librosa.feature.delta(utterance, width=settings.delta_width, order=order, mode="nearest")
        for order in (1, 2)
    ]
    found = deltas(cut_windows, delta_width=settings.delta_width)
    for start, segment in zip(starts, found, strict=True):
        for channel in range(3):
            expected = channels[channel][:, start : start + settings.n_frames]
            np.testing.assert_allclose(segment[..., channel], expected, atol=2e-5)


def test_a_short_utterance_is_repeated_or_held() -> None:
    ramp = np.arange(3, dtype=np.float32)[np.newaxis]
    repeated, _ = cut(ramp, Segments(n_frames=7, shift_frames=7, delta_width=3))
    held, _ = cut(ramp, Segments(n_frames=7, shift_frames=7, delta_width=3, short="edge"))
    assert repeated[0, 0].tolist() == [0, 0, 1, 2, 0, 1, 2, 0, 0]
    assert held[0, 0].tolist() == [0, 0, 1, 2, 2, 2, 2, 2, 2]


def test_windows_come_as_the_frames_arrive() -> None:
    n_drawn = 0

    def blocks() -> Iterator[NDArray[np.float32]]:
        nonlocal n_drawn
        for _ in range(1000):
            n_drawn += 1
            yield logmel(100)

    _, starts = next(windows(blocks(), Segments()))
    assert n_drawn == 1
    assert starts.tolist() == [0, 16, 32]


def test_windows_own_their_memory() -> None:
    cut_windows, _ = cut(logmel(500), Segments())
    for window, _ in windows([logmel(500)], Segments()):
        assert window.flags.c_contiguous
        assert window.flags.writeable
    cut_windows[0] = 0
    assert cut_windows[1].any()


def test_an_utterance_without_frames_is_an_error() -> None:
    with pytest.raises(SegmentsError, match="has no frames"):
        list(windows([logmel(5)[:, :0]], Segments()))


def test_a_segments_time_runs_from_its_first_sample_to_its_last() -> None:
    start_s, end_s = segment_times(
        np.array([0, 16]), frontend=FrontEnd(), segments=Segments(), duration_s=0.8
    )
    assert start_s.tolist() == [0.0, 0.16]
    assert end_s.tolist() == pytest.approx([0.63 + 0.032, 0.16 + 0.63 + 0.010])
    assert start_s.dtype == end_s.dtype == np.float64


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"n_frames": 0}, "n_frames is 0; expected 1 to"),
        ({"shift_frames": 0}, "shift_frames is 0; expected 1 to n_frames"),
        ({"shift_frames": 65}, "shift_frames is 65; expected 1 to n_frames"),
        ({"last": "keep"}, "last is 'keep'; expected one of align_end, drop, pad"),
        ({"short": ""}, "short is ''; expected one of repeat, edge"),
        ({"delta_width": 8}, "delta_width is 8; expected an odd number"),
        ({"delta_width": 1}, "delta_width is 1; expected an odd number"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(SegmentsError, match=match):
        Segments(**wrong)  # type: ignore[arg-type]
