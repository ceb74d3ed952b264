"""A small source-filter voice in NumPy: tracks of what the voice does in, a waveform out.

Conventions
-----------
Everything that changes in time is a *track*: one value a frame of `FRAME_S` (5 ms). The glottal
source is the KLGLOTT88 pulse (Klatt & Klatt 1990, J. Acoust. Soc. Am. 87, 820-857) with a closing
one-pole tilt, each pulse with its own length (jitter) and height (shimmer); turbulence is added
where the folds do not close (aspiration). Both go through a cascade of second-order resonators
(Klatt 1980, J. Acoust. Soc. Am. 67, 971-995), lips radiate as a derivative, and friction noise,
made in front of the tract, is added last. It is an imitation, good for trying a program.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

SAMPLE_RATE = 16_000
FRAME_S = 0.005
FRAME_SAMPLES = round(FRAME_S * SAMPLE_RATE)
# Pulses have corners; drawn at this many times the rate, aliases below 7 kHz stay under -60 dB.
OVERSAMPLING = 4
# Two frames and the time in which even a narrow first formant has rung out (64 ms in all).
TRACT_SAMPLES = 1024

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """What the voice does, frame by frame; all arrays have the same number of frames.

    Parameters
    ----------
    f0_hz : float64, shape (n_frames,), pitch, also where nothing is voiced
    voicing : float64, shape (n_frames,), amplitude of the glottal pulses, 0 or more
    aspiration : float64, shape (n_frames,), amplitude of noise at the glottis
    formants_hz : float64, shape (n_frames, n_formants)
    friction : float64, shape (n_frames, n_places), amplitude of noise at each place
    friction_hz : one (low, high) band a place, 0 < low < high < 8000
    """

    f0_hz: Float
    voicing: Float
    aspiration: Float
    formants_hz: Float
    friction: Float
    friction_hz: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phonation:
    """How the vocal folds swing.

    Parameters
    ----------
    open_quotient : share of a period in which the folds are open, 0.3 to 0.9: small is pressed,
        large is breathy
    tilt_hz : corner of the low-pass over the pulses, in Hz: low is soft
    jitter : standard deviation of a period's length, relative
    shimmer : standard deviation of a pulse's height, relative
    """

    open_quotient: float
    tilt_hz: float
    jitter: float
    shimmer: float


def speak(tracks: Tracks, phonation: Phonation, rng: np.random.Generator) -> Float:
    """Turn tracks into sound.

    Parameters
    ----------
    tracks, phonation : what is said, and with which voice
    rng : the noise's, jitter's and shimmer's source

    Returns
    -------
    float64, shape (n_frames * FRAME_SAMPLES,)
        At `SAMPLE_RATE`, in arbitrary but constant units.
    """
    n_samples = tracks.f0_hz.size * FRAME_SAMPLES
    flow = _glottal_flow(tracks, phonation, rng)
    # Turbulence is strongest while the folds are open, so it rides on the flow.
    breath = _per_sample(tracks.aspiration) * rng.standard_normal(n_samples) * (0.4 + flow)
    source = _one_pole(np.diff(flow * _per_sample(tracks.voicing), prepend=0.0), phonation.tilt_hz)
    source += 0.006 * breath
    return _through_tract(source, tracks.formants_hz) + _friction(tracks, rng)


def smooth(track: Float, width_s: float) -> Float:
    """Round a track's corners with a Hann window of `width_s` seconds; its ends are held."""
    width = 2 * round(width_s / FRAME_S / 2) + 1
    window = signal.windows.hann(width + 2)[1:-1]
    padding = [(width // 2, width // 2)] + [(0, 0)] * (track.ndim - 1)
    padded = np.pad(track, padding, mode="edge")
    shape = (-1,) + (1,) * (track.ndim - 1)
    result: Float = signal.convolve(padded, (window / window.sum()).reshape(shape), mode="valid")
    return result


def _per_sample(track: Float, factor: int = 1) -> Float:
    """Draw straight lines between frames."""
    n_samples = track.size * FRAME_SAMPLES * factor
    frames = (np.arange(n_samples) + 0.5) / (FRAME_SAMPLES * factor) - 0.5
    return np.interp(frames, np.arange(track.size), track)


def _pulse_times(f0_hz: Float, jitter: float, rng: np.random.Generator) -> Float:
    """Give the seconds at which glottal pulses begin, one more than there are pulses."""
    times = [0.0]
    end = f0_hz.size * FRAME_S
    while times[-1] < end:
        frame = min(int(times[-1] / FRAME_S), f0_hz.size - 1)
        wobble = np.clip(jitter * rng.standard_normal(), -0.3, 0.3)
        times.append(times[-1] + (1.0 + wobble) / float(f0_hz[frame]))
    return np.array(times)


def _glottal_flow(tracks: Tracks, phonation: Phonation, rng: np.random.Generator) -> Float:
    """Give the air's flow through the folds, 0 to about 1, at `SAMPLE_RATE`."""
    starts = _pulse_times(smooth(tracks.f0_hz, 3 * FRAME_S), phonation.jitter, rng)
    heights = 1.0 + np.clip(phonation.shimmer * rng.standard_normal(starts.size), -0.5, 0.5)
    rate = SAMPLE_RATE * OVERSAMPLING
    times = np.arange(tracks.f0_hz.size * FRAME_SAMPLES * OVERSAMPLING) / rate
    pulse = np.searchsorted(starts, times, side="right") - 1
    phase = (times - starts[pulse]) / np.diff(starts)[pulse]
    opened = np.minimum(phase / phonation.open_quotient, 1.0)
    # KLGLOTT88: t**2 - t**3 while open, zero while closed; 27/4 makes its summit 1.
    flow = heights[pulse] * 6.75 * opened**2 * (1.0 - opened)
    thinned: Float = signal.resample_poly(flow, 1, OVERSAMPLING)
    return thinned


def _one_pole(samples: Float, corner_hz: float) -> Float:
    pole = np.exp(-2 * np.pi * corner_hz / SAMPLE_RATE)
    filtered: Float = signal.lfilter([1.0 - pole], [1.0, -pole], samples)
    return filtered


def _tract_response(formants_hz: Float) -> NDArray[np.complex128]:
    """Give the resonators' joint frequency response: shape (n_frames, TRACT_SAMPLES // 2 + 1).

    Each resonator passes 0 Hz with gain 1. Bandwidths grow with frequency, about 65 Hz for the
    first formant and 300 Hz at 7 kHz.
    """
    bandwidth_hz = 50.0 + 0.035 * formants_hz
    radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE)
    first = -2 * radius * np.cos(2 * np.pi * formants_hz / SAMPLE_RATE)
    second = radius**2
    delay = np.exp(-2j * np.pi * np.arange(TRACT_SAMPLES // 2 + 1) / TRACT_SAMPLES)
    response = np.ones((len(formants_hz), delay.size), dtype=np.complex128)
    for b, c in zip(first.T[:, :, None], second.T[:, :, None], strict=True):
        response *= (1.0 + b + c) / (1.0 + b * delay + c * delay**2)
    return response


def _through_tract(source: Float, formants_hz: Float) -> Float:
    """Filter each frame with its own tract and lay the overlapping results over each other.

    A recursive filter whose coefficients jump would click; triangles that add up to 1 do not.
    """
    padded = np.pad(source, FRAME_SAMPLES // 2)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, 2 * FRAME_SAMPLES)[::FRAME_SAMPLES]
    triangles = pieces * signal.windows.triang(2 * FRAME_SAMPLES)
    spectra = np.fft.rfft(triangles, TRACT_SAMPLES) * _tract_response(formants_hz)
    ringing = np.fft.irfft(spectra, TRACT_SAMPLES)
    spoken = np.zeros(padded.size + TRACT_SAMPLES)
    for frame, samples in enumerate(ringing):
        spoken[frame * FRAME_SAMPLES : frame * FRAME_SAMPLES + TRACT_SAMPLES] += samples
    return spoken[FRAME_SAMPLES // 2 : FRAME_SAMPLES // 2 + source.size]


def _friction(tracks: Tracks, rng: np.random.Generator) -> Float:
    n_samples = tracks.f0_hz.size * FRAME_SAMPLES
    total = np.zeros(n_samples)
    for place, band in enumerate(tracks.friction_hz):
        noise = rng.standard_normal(n_samples)
        if not tracks.friction[:, place].any():
            continue
        sections = signal.butter(2, band, btype="bandpass", fs=SAMPLE_RATE, output="sos")
        total += _per_sample(tracks.friction[:, place]) * signal.sosfilt(sections, noise)
    return total
