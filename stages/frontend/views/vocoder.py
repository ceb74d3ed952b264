"""A phase vocoder that works as the samples arrive: longer or shorter, every pitch as it was.

The arithmetic is that of `librosa.phase_vocoder` (Ellis 2002), whose phases are carried from block to
block here: however the samples were cut, the same bytes come out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

OVERLAP = 4
"""Windows that lie over each sample."""

_FRAMES = 256  # a block


def stretched(
    samples: Iterable[NDArray[np.float32]],
    ratio: float,
    n_fft: int,
    change: Callable[[NDArray[np.complex64]], NDArray[np.complex64]] = lambda spectra: spectra,
) -> Iterator[NDArray[np.float32]]:
    """Make samples last `ratio` times as long.

    Parameters
    ----------
    samples : blocks of float32, shape (n,)
    ratio : more than 1 is longer
    n_fft : samples of the (Hann) window, a multiple of 4
    change : what is done to the spectra on the way, shape (n_frames, n_fft // 2 + 1)

    Yields
    ------
    float32, shape (n,)
        At least `ratio` times as many in all; what comes after them is the last window's rest.
    """
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    spectra = (
        change(np.fft.rfft(frames * window, axis=1).astype(np.complex64))
        for frames in _frames(samples, n_fft, _FRAMES)
    )
    n_unused = n_fft // 2  # the first window is centred on the first sample
    for block in _overlap_added(_resampled_in_time(spectra, ratio), window):
        yield block[n_unused:]
        n_unused = max(0, n_unused - len(block))


def _frames(
    samples: Iterable[NDArray[np.float32]], n_fft: int, n_most: int
) -> Iterator[NDArray[np.float32]]:
    """Cut overlapping frames, `n_most` at a time, zeros before the first and after the last one."""
    hop = n_fft // OVERLAP
    held = np.zeros(n_fft // 2, np.float32)
    for block in samples:
        held = np.concatenate([held, block])
        while len(held) >= (n_most - 1) * hop + n_fft:
            yield _cut(held, n_fft)[:n_most]
            held = held[n_most * hop :]
    yield _cut(np.concatenate([held, np.zeros(n_fft, np.float32)]), n_fft)


def _cut(samples: NDArray[np.float32], n_fft: int) -> NDArray[np.float32]:
    return np.lib.stride_tricks.sliding_window_view(samples, n_fft)[:: n_fft // OVERLAP]


def _resampled_in_time(
    spectra: Iterable[NDArray[np.complex64]], ratio: float
) -> Iterator[NDArray[np.complex64]]:
    """Take spectra at every ``1 / ratio`` of a frame, their phases run on from one to the next."""
    held = np.zeros((0, 0), np.complex64)
    phase = np.zeros(0)
    first, n_done = 0, 0  # the frame that held begins with; spectra made
    for block in spectra:
        if not len(phase):  # what the first frame begins with
            held, phase = block[:0], np.angle(block[0]).astype(np.float64)
        held = np.concatenate([held, block])
        n_ready = int(np.ceil((first + len(held) - 1) * ratio))
        place = np.arange(n_done, n_ready) / ratio - first
        place = place[place < len(held) - 1]
        if len(place):
            n_done += len(place)
            made, phase = _between(held, place, phase)
            yield made
        keep = min(len(held) - 1, int(n_done / ratio) - first)
        held, first = held[keep:], first + keep


def _between(
    spectra: NDArray[np.complex64],
    place: NDArray[np.float64],
    phase: NDArray[np.float64],
) -> tuple[NDArray[np.complex64], NDArray[np.float64]]:
    """Spectra at fractional places, and the phase that the next one begins with."""
    before = place.astype(int)
    share = (place - before)[:, np.newaxis].astype(np.float32)
    level, angle = np.abs(spectra), np.angle(spectra)
    size = (1 - share) * level[before] + share * level[before + 1]
    expected = 2.0 * np.pi * np.arange(spectra.shape[1]) / OVERLAP
    step = angle[before + 1] - angle[before] - expected
    step -= 2.0 * np.pi * np.round(step / (2.0 * np.pi))
    # Added up one after the other, so that the place of a block's end changes no byte.
    phases = np.cumsum(np.concatenate([phase[np.newaxis], expected + step]), axis=0)
    turned = np.exp(1j * np.remainder(phases[:-1], 2.0 * np.pi)).astype(np.complex64)
    return size * turned, phases[-1]


def _overlap_added(
    spectra: Iterable[NDArray[np.complex64]], window: NDArray[np.float32]
) -> Iterator[NDArray[np.float32]]:
    """Turn spectra back into samples, each divided by the windows that lie over it."""
    n_fft, hop = len(window), len(window) // OVERLAP
    rest = np.zeros((2, n_fft - hop), np.float32)
    for block in spectra:
        frames = np.fft.irfft(block, n_fft, axis=1) * window
        summed = np.zeros((2, (len(frames) - 1) * hop + n_fft), np.float32)
        summed[:, : rest.shape[1]] = rest
        for i, frame in enumerate(frames):
            summed[0, i * hop : i * hop + n_fft] += frame
            summed[1, i * hop : i * hop + n_fft] += window**2
        done, rest = summed[:, : len(frames) * hop], summed[:, len(frames) * hop :]
        yield done[0] / np.maximum(done[1], 1e-6)
    yield rest[0] / np.maximum(rest[1], 1e-6)
