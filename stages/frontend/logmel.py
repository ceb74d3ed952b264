"""Log-Mel spectrograms in decibels, computed in blocks and equal to the one-shot computation.

Conventions
-----------
Frame ``i`` covers the samples ``i * hop_length`` up to ``i * hop_length + n_fft`` (frames are not
centred; samples after the last whole frame are left out).  The window of ``window_length`` samples
sits in the middle of these ``n_fft``.  Row 0 is the lowest frequency.  The Mel scale is Slaney's
with triangles of unit area, librosa's default.  Levels are ``10 * log10(power)``, in dB relative to
a Mel power of 1.
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import librosa
import numpy as np

from stages.frontend.audio import AudioError, read_blocks
from stages.frontend.views.view import Blocks, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

SCALINGS = ("fixed", "utterance")
WINDOWS = ("hamming", "hann", "blackman", "boxcar")
MIN_DEVIATION_DB = 1e-3  # scaling="utterance" never divides by less
CLEAN_VIEW = View()
BLOCK_FRAMES = 512  # frames a block; always counted from the utterance's first sample


class FrontEndError(ValueError):
    """The front end's settings do not fit together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """How samples become a log-Mel spectrogram: everything that decides its values.

    Parameters
    ----------
    sample_rate : Hz
        Rate that every file is brought to.
    preemphasis : in [0, 1)
        ``a`` in ``y[t] = x[t] - a * x[t - 1]``, with ``x[-1] = x[0]``; 0 leaves the samples alone.
    window_s, hop_s : seconds
        Length of the analysis window and the step from frame to frame; rounded to samples.
    n_fft : samples
        Length of the Fourier transform, at least the window.
    window : {"hamming", "hann", "blackman", "boxcar"}
    n_mels : number of Mel bands
    fmin_hz, fmax_hz : Hz
        Lower edge of the lowest band, upper edge of the highest.
    floor : power
        Mel powers below it are raised to it before the logarithm; 1e-10 is -100 dB.
    scaling : {"fixed", "utterance"}
        "fixed" gives decibels; "utterance" subtracts the utterance's mean level and divides by its
        standard deviation (over all bands and frames together).

    Raises
    ------
    FrontEndError
        When a value is out of range or two of them contradict each other.

    Examples
    --------
    >>> FrontEnd().hop_length, FrontEnd().window_length
    (160, 400)
    """

    sample_rate: int = 16000
    preemphasis: float = 0.0
    window_s: float = 0.025
    hop_s: float = 0.010
    n_fft: int = 512
    window: str = "hamming"
    n_mels: int = 64
    fmin_hz: float = 20.0
    fmax_hz: float = 8000.0
    floor: float = 1e-10
    scaling: str = "fixed"

    def __post_init__(self) -> None:
        for name, ok, expected in (
            ("sample_rate", 1000 <= self.sample_rate <= 384000, "1000 to 384000 Hz"),
            ("preemphasis", 0.0 <= self.preemphasis < 1.0, "0 (none) up to, not including, 1"),
            ("window", self.window in WINDOWS, f"one of {', '.join(WINDOWS)}"),
            ("scaling", self.scaling in SCALINGS, f"one of {', '.join(SCALINGS)}"),
            ("n_mels", 1 <= self.n_mels <= 1024, "1 to 1024"),
            ("n_fft", 16 <= self.n_fft <= 65536, "16 to 65536 samples"),
            ("floor", 1e-30 <= self.floor < 1.0, "a power of 1e-30 up to, not including, 1"),
        ):
            if not ok:
                seen = getattr(self, name)
                raise FrontEndError(f"{name} is {seen!r}; expected {expected}; change the recipe")
        self._check_lengths()
        self._check_band_edges()

    def _check_lengths(self) -> None:
        for name in ("window_s", "hop_s"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and 0.0 < seconds <= 10.0):
                raise FrontEndError(
                    f"{name} is {seconds!r}; expected more than 0 and at most 10 seconds; "
                    "change the recipe"
                )
        if self.window_length < 2 or self.hop_length < 1:
            raise FrontEndError(
                f"window_s {self.window_s!r} and hop_s {self.hop_s!r} are {self.window_length} and "
                f"{self.hop_length} samples at {self.sample_rate} Hz; expected at least 2 and 1; "
                "lengthen them"
            )
        if self.n_fft < self.window_length:
            raise FrontEndError(
                f"n_fft is {self.n_fft}; expected at least the window's {self.window_length} "
                "samples; raise n_fft or shorten window_s"
            )
        if self.hop_length > self.n_fft:
            raise FrontEndError(
                f"hop_s is {self.hop_length} samples; expected at most n_fft = {self.n_fft}, else "
                "samples are skipped; shorten hop_s"
            )

    def _check_band_edges(self) -> None:
        nyquist_hz = self.sample_rate / 2
        if not 0.0 <= self.fmin_hz < self.fmax_hz <= nyquist_hz:
            raise FrontEndError(
                f"fmin_hz and fmax_hz are {self.fmin_hz!r} and {self.fmax_hz!r}; expected "
                f"0 <= fmin_hz < fmax_hz <= {nyquist_hz:g} (half of sample_rate); change the recipe"
            )

    @property
    def window_length(self) -> int:
        """Samples of the analysis window."""
        return round(self.window_s * self.sample_rate)

    @property
    def hop_length(self) -> int:
        """Samples from frame to frame."""
        return round(self.hop_s * self.sample_rate)


def mel_filters(settings: FrontEnd, warp: float = 1.0) -> NDArray[np.float32]:
    """Triangular Mel filters: float32, shape (n_mels, n_fft // 2 + 1).

    Parameters
    ----------
    settings : FrontEnd
    warp : what lies at a frequency is seen at about `warp` times it, see `warped_hz`

    Raises
    ------
    FrontEndError
        When a filter lies between two Fourier bins, so that its band would be empty.
    """
    filters = _plain_filters(settings) if warp == 1.0 else _warped_filters(settings, warp)
    n_empty = int(np.sum(filters.max(axis=1) <= 0.0))
    if n_empty:
        warped = "" if warp == 1.0 else f" in the view 'vtlp-{warp:g}'"
        raise FrontEndError(
            f"{n_empty} of {settings.n_mels} Mel bands lie between two bins of an n_fft of "
            f"{settings.n_fft}{warped}; expected every band to hold a bin; lower n_mels or raise "
            "n_fft"
        )
    return filters


def warped_hz(
    frequency_hz: NDArray[np.float64], warp: float, settings: FrontEnd
) -> NDArray[np.float64]:
    """Say where a frequency is seen: `warp` times it, and half the sample rate where it is.

    Between the two a straight line, which begins where either it or its image reaches the upper band
    edge, or at 0.6 of half the sample rate if that is lower: Jaitly & Hinton 2013.

    Parameters
    ----------
    frequency_hz : Hz, 0 to half the sample rate
    warp : factor
    settings : FrontEnd
    """
    nyquist_hz = settings.sample_rate / 2
    bend_hz = min(settings.fmax_hz, 0.6 * nyquist_hz) * min(warp, 1.0) / warp
    return np.interp(frequency_hz, [0.0, bend_hz, nyquist_hz], [0.0, bend_hz * warp, nyquist_hz])


def _warped_filters(settings: FrontEnd, warp: float) -> NDArray[np.float32]:
    """Make the triangles that see every frequency where `warped_hz` puts it."""
    edges_hz = librosa.mel_frequencies(
        settings.n_mels + 2, fmin=settings.fmin_hz, fmax=settings.fmax_hz
    )
    bins_hz = librosa.fft_frequencies(sr=settings.sample_rate, n_fft=settings.n_fft)
    # The warp is monotonous, so its inverse is the interpolation with the axes exchanged.
    seen_hz = warped_hz(bins_hz, warp, settings)
    edges_hz = np.interp(edges_hz, seen_hz, bins_hz)
    low, centre, high = (edges_hz[i : i + settings.n_mels, np.newaxis] for i in range(3))
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (high - low))
    filters: NDArray[np.float32] = triangles.astype(np.float32)
    return filters


def _plain_filters(settings: FrontEnd) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        # librosa warns of empty filters and goes on; here that is an error of its own, below.
        warnings.filterwarnings("ignore", message="Empty filters detected", category=UserWarning)
        filters: NDArray[np.float32] = librosa.filters.mel(
            sr=settings.sample_rate,
            n_fft=settings.n_fft,
            n_mels=settings.n_mels,
            fmin=settings.fmin_hz,
            fmax=settings.fmax_hz,
            dtype=np.float32,
        )
    return filters


def mel_centres_hz(settings: FrontEnd) -> NDArray[np.float64]:
    """Centre of each Mel band: float64, shape (n_mels,), in Hz."""
    edges: NDArray[np.float64] = librosa.mel_frequencies(
        settings.n_mels + 2, fmin=settings.fmin_hz, fmax=settings.fmax_hz
    )
    return edges[1:-1]


def logmel_blocks(
    path: Path,
    *,
    start: float = 0.0,
    end: float = math.nan,
    settings: FrontEnd,
    view: View = CLEAN_VIEW,
    seed: int = 0,
) -> Iterator[NDArray[np.float32]]:
    """Log-Mel spectrogram of one utterance of a file, in blocks, in bounded memory.

    Parameters
    ----------
    path : audio file, anything libsndfile reads
    start, end : seconds
        The utterance's place in the file; an ``end`` of NaN is the end of the file.
    settings : FrontEnd
    view : what is done to the utterance before it is seen
    seed : decides the view's random draws

    Yields
    ------
    float32, shape (n_mels, n), n >= 1
        Frames in time order, in dB (``scaling="fixed"``) or in deviations from the utterance's mean
        (``scaling="utterance"``, which reads the file twice).

    Raises
    ------
    AudioError
        At the first block or, for what only the whole file shows (silence, a cut-off end), after
        the last one: what was yielded before is then to be thrown away.
    FrontEndError
        When a Mel band would be empty.
    """

    def samples() -> Iterator[NDArray[np.float32]]:
        return read_blocks(path, start=start, end=end, sample_rate=settings.sample_rate)

    def levels() -> Iterator[NDArray[np.float32]]:
        sound = view.sound(samples, settings.sample_rate, seed)
        return logmel_of(sound, settings, warp=view.warp)

    def scaled() -> Iterator[NDArray[np.float32]]:
        return levels() if settings.scaling == "fixed" else _scaled(levels)

    yield from view.picture(scaled, seed)


def logmel_of(
    samples: Iterable[NDArray[np.float32]], settings: FrontEnd, *, warp: float = 1.0
) -> Iterator[NDArray[np.float32]]:
    """Log-Mel spectrogram of samples that come in blocks of any length.

    Parameters
    ----------
    samples : blocks of float32, shape (n_samples,), at ``settings.sample_rate``
    settings : FrontEnd
        ``scaling`` is not applied here.
    warp : factor by which frequencies are seen moved, see `warped_hz`

    Yields
    ------
    float32, shape (n_mels, n), in dB
        512 frames a block, fewer in the last one: however the samples were cut, each frame is
        computed among the same neighbours, so its bytes are the same.

    Raises
    ------
    AudioError
        ``too_short`` when there are fewer samples than one analysis window.  Fewer than ``n_fft``
        are padded with zeros at the end.

    Examples
    --------
    >>> tone = np.sin(np.arange(16000, dtype=np.float32))
    >>> [block.shape for block in logmel_of([tone], FrontEnd())]
    [(64, 97)]
    """
    hop, n_fft = settings.hop_length, settings.n_fft
    needed = (BLOCK_FRAMES - 1) * hop + n_fft
    held = np.zeros(0, dtype=np.float32)
    n_seen = 0
    for block in _preemphasised(samples, settings.preemphasis):
        n_seen += len(block)
        held = np.concatenate([held, block])
        while len(held) >= needed:
            yield _logmel(held[:needed], settings, warp)
            held = held[BLOCK_FRAMES * hop :]
    if n_seen < settings.window_length:
        raise AudioError(
            f"the utterance has {n_seen} samples at {settings.sample_rate} Hz; expected at least "
            f"one analysis window of {settings.window_length}; leave it out or widen its range",
            code="too_short",
        )
    if n_seen < n_fft:
        held = np.concatenate([held, np.zeros(n_fft - n_seen, dtype=np.float32)])
    if len(held) >= n_fft:
        yield _logmel(held, settings, warp)


def spectrum_of(samples: NDArray[np.float32], settings: FrontEnd) -> NDArray[np.complex64]:
    """Transform windowed frames: shape (n_fft // 2 + 1, n_frames)."""
    spectrum: NDArray[np.complex64] = librosa.stft(
        samples,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        win_length=settings.window_length,
        window=settings.window,
        center=False,
        dtype=np.complex64,
    )
    return spectrum


def _logmel(samples: NDArray[np.float32], settings: FrontEnd, warp: float) -> NDArray[np.float32]:
    spectrum = spectrum_of(samples, settings)
    power = spectrum.real**2 + spectrum.imag**2
    # A sparse product goes bin by bin in one order: no BLAS, so that neither the number of frames
    # nor the number of threads can change a byte.
    mel: NDArray[np.float32] = _sparse_filters(settings, warp) @ power
    np.maximum(mel, np.float32(settings.floor), out=mel)
    np.log10(mel, out=mel)
    mel *= np.float32(10.0)
    return mel


@functools.lru_cache(maxsize=8)
def _sparse_filters(settings: FrontEnd, warp: float) -> csr_array:
    from scipy.sparse import csr_array  # a moment that a verb which hears nothing need not spend

    return csr_array(mel_filters(settings, warp))


def _preemphasised(
    blocks: Iterable[NDArray[np.float32]], coefficient: float
) -> Iterator[NDArray[np.float32]]:
    previous: NDArray[np.float32] | None = None
    for block in blocks:
        if coefficient == 0.0 or not len(block):
            yield block
            continue
        before = block[:1] if previous is None else previous
        yield np.subtract(
            block, np.float32(coefficient) * np.concatenate([before, block[:-1]]), dtype=np.float32
        )
        previous = block[-1:]


def _scaled(levels: Blocks) -> Iterator[NDArray[np.float32]]:
    """Give levels in deviations from the utterance's mean."""
    mean_db, deviation_db = _mean_and_deviation(levels())
    scale = np.float32(max(deviation_db, MIN_DEVIATION_DB))
    for block in levels():
        yield np.divide(block - np.float32(mean_db), scale, dtype=np.float32)


def _mean_and_deviation(blocks: Iterable[NDArray[np.float32]]) -> tuple[float, float]:
    """Mean and standard deviation over all values, merged block by block (Chan et al. 1979)."""
    count, mean, squares = 0, 0.0, 0.0
    for block in blocks:
        values = block.astype(np.float64)
        block_mean = float(values.mean())
        gap, total = block_mean - mean, count + values.size
        squares += float(((values - block_mean) ** 2).sum()) + gap**2 * count * values.size / total
        mean += gap * values.size / total
        count = total
    return mean, math.sqrt(squares / count)
