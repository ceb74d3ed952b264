"""The spectral envelope: what the vocal tract does to a voice, without its pitch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIGHEST_PITCH_HZ = 400.0
"""Up to this pitch no harmonic is taken for a formant."""

ROUNDS = 12
"""Times that the envelope is raised towards the harmonics' peaks."""

RANGE_DB = 80.0
"""What lies further below a frame's peak counts as that far below."""

MOST_DB = 30.0
"""The envelope is moved by no more: silence stays silent."""


def envelope_ratio(
    magnitude: NDArray[np.float32], sample_rate: int, ratio: float
) -> NDArray[np.float32]:
    """Say by what to multiply spectra so that they have their old envelope once they are shifted.

    Parameters
    ----------
    magnitude : float32, shape (n_frames, n_fft // 2 + 1)
    sample_rate : Hz
    ratio : that every frequency is going to be multiplied by

    Returns
    -------
    float32, of the same shape
        Envelope at ``ratio * f`` over envelope at ``f``.
    """
    level_db = envelope_db(magnitude, sample_rate)
    n_bins = level_db.shape[1]
    source = np.minimum(np.arange(n_bins) * ratio, n_bins - 1)
    below = np.minimum(source.astype(int), n_bins - 2)
    share = (source - below).astype(np.float32)
    moved_db = level_db[:, below] * (1 - share) + level_db[:, below + 1] * share
    change_db = np.clip(moved_db - level_db, -MOST_DB, MOST_DB)
    change: NDArray[np.float32] = np.float32(10.0) ** (change_db / np.float32(20.0))
    return change


def envelope_db(magnitude: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Find the *true envelope* (Imai & Abe 1979; Roebel & Rodet 2005) of every frame.

    The cepstrum is cut off below the shortest pitch period; what the smooth curve leaves out of the
    spectrum's peaks is put back and smoothed again, until the curve lies on the peaks.

    Parameters
    ----------
    magnitude : float32, shape (n_frames, n_fft // 2 + 1)
    sample_rate : Hz

    Returns
    -------
    float32, of the same shape, dB
    """
    n_fft = 2 * (magnitude.shape[1] - 1)
    peak = np.maximum(magnitude.max(axis=1, keepdims=True), np.float32(1e-10))
    floor = np.float32(10.0 ** (-RANGE_DB / 20.0))
    level_db = np.float32(20.0) * np.log10(np.maximum(magnitude / peak, floor))
    n_kept = max(1, min(n_fft // 2, round(sample_rate / (2.0 * HIGHEST_PITCH_HZ))))
    smooth = _smoothed(level_db, n_kept)
    for _ in range(ROUNDS):
        smooth = _smoothed(np.maximum(level_db, smooth), n_kept)
    envelope: NDArray[np.float32] = smooth + np.float32(20.0) * np.log10(peak)
    return envelope


def _smoothed(level_db: NDArray[np.float32], n_kept: int) -> NDArray[np.float32]:
    """Keep the cepstrum's first coefficients; of the even sequence, those at either end."""
    n_fft = 2 * (level_db.shape[1] - 1)
    cepstrum = np.fft.irfft(level_db, n_fft, axis=1)
    cepstrum[:, n_kept + 1 : n_fft - n_kept] = 0.0
    return np.fft.rfft(cepstrum, axis=1).real.astype(np.float32)
