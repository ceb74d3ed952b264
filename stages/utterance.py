"""One utterance on its way through planning, extraction, prediction and baselines."""

import math
from dataclasses import dataclass
from pathlib import Path

from features_cache.keys import CLEAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One utterance, as it is or through a view.

    Attributes
    ----------
    utterance_id : shown in messages and results; a hint for whoever reads a shard
    path : audio file, absolute where it travels to workers
    start, end : seconds in the file; an `end` of NaN is the end of the file
    view : name of the view
    key : content key, hexadecimal; empty where nothing is kept of it
    audio_sha256 : hexadecimal, of the whole file as its features were made; empty where nobody knows
    speaker : may be empty
    size, mtime_ns : bytes and modification time of the file when it was hashed; 0 if it was not
    """

    utterance_id: str
    path: Path
    start: float = 0.0
    end: float = math.nan
    view: str = CLEAN
    key: str = ""
    audio_sha256: str = ""
    speaker: str = ""
    size: int = 0
    mtime_ns: int = 0
