"""What a view sounds like: a file to listen to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import soundfile

from features_cache.atomic import atomic_write
from features_cache.keys import CLEAN, content_key, file_sha256
from stages.frontend.audio import duration_s, read_blocks
from stages.frontend.views.view import View, ViewError, seed_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def seed(path: Path, view: View, *, start: float = 0.0, end: float = math.nan) -> int:
    """Find the seed that an extraction draws with; 0 where there is nothing to draw.

    Raises
    ------
    AudioError
        When the file cannot be read.
    """
    if view.name == CLEAN:
        return 0
    duration_s(path)  # says what is wrong with a file in our own words
    return seed_of(content_key(file_sha256(path), start, end, view.text))


def write_sound(path: Path, view: View, sample_rate: int, output: Path) -> Path:
    """Write an audio file as a view has it, as WAV of 32-bit floats.

    Parameters
    ----------
    path : audio file
    view : one that changes the sound
    sample_rate : Hz, of the recipe and of the new file
    output : the file to write; its folder is made, an older file is replaced

    Raises
    ------
    ViewError
        The view changes only what is seen.
    AudioError
        When the file cannot be read; ``output`` is left as it was.
    """
    if type(view).sound is View.sound and view.name != CLEAN:
        raise ViewError(
            f"the view {view.name!r} changes what is seen and not what is heard; expected one that "
            "can be heard, such as speed-0.9; look at its picture"
        )

    def samples() -> Iterator[NDArray[np.float32]]:
        return read_blocks(path, sample_rate=sample_rate)

    drawn = seed(path, view)
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(output) as partial:
        how = {"samplerate": sample_rate, "channels": 1, "format": "WAV", "subtype": "FLOAT"}
        with soundfile.SoundFile(partial, "w", **how) as file:
            for block in view.sound(samples, sample_rate, drawn):
                file.write(block)
    return output
