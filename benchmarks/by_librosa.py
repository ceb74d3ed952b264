"""Windows and pictures of segments as scripts make them: librosa and matplotlib, an utterance at one go."""

from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt

from stages.recipe import Recipe

Float32 = npt.NDArray[np.float32]


def librosa_windows(path: Path, recipe: Recipe) -> Float32:
    """Load, transform and cut an utterance at one go, as a script would.

    Returns
    -------
    float32, shape (n, n_mels, n_frames + delta_width - 1)
    """
    cuts, context = recipe.segments, recipe.segments.context_frames
    levels = librosa_logmel(path, recipe)
    last = max(0, levels.shape[1] - cuts.n_frames)
    starts = [*range(0, last, cuts.shift_frames), last]
    around = np.pad(levels, ((0, 0), (context, context)), mode="edge")
    return np.stack([around[:, start : start + cuts.window_frames] for start in starts])


def librosa_logmel(path: Path, recipe: Recipe) -> Float32:
    """Log-Mel spectrogram of a file by librosa alone: (n_mels, n) in dB."""
    settings = recipe.frontend
    samples, rate = librosa.load(path, sr=settings.sample_rate)
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=rate,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        win_length=settings.window_length,
        window=settings.window,
        center=False,
        n_mels=settings.n_mels,
        fmin=settings.fmin_hz,
        fmax=settings.fmax_hz,
    )
    levels: Float32 = librosa.power_to_db(power, amin=settings.floor, top_db=None)
    return levels


def plotted(levels: Float32, size: int) -> npt.NDArray[np.uint8]:
    """Draw a segment with matplotlib, in colours, without axes; (size, size, 3) pixels."""
    import librosa.display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = FigureCanvasAgg(Figure(figsize=(1, 1), dpi=size, frameon=False))
    axes = canvas.figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    librosa.display.specshow(levels, ax=axes, cmap="viridis")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3]
