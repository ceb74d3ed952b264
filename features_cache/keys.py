"""Content keys: what makes two features the same feature.

Conventions
-----------
A key is a SHA-256: of the audio file's SHA-256, the range read from it and the view's canonical text.
Names, folders and labels have no part in it, so a renamed file costs nothing and a changed file is
never mistaken for the old one. The recipe is not in the key either: a store holds one recipe.

One key is 64 lower-case hexadecimal digits; many are a column of 32 bytes each, see
`features_cache.key_columns`. Files' digests come in the same two forms.
"""

import functools
import hashlib
import json
import math
from pathlib import Path

CLEAN = "clean"
"""The view that leaves the audio as it is; its canonical text is its name."""


def content_key(audio_sha256: str, start: float, end: float, view: str = CLEAN) -> str:
    """Key of one utterance seen through one view.

    Parameters
    ----------
    audio_sha256 : hexadecimal SHA-256 of the whole audio file
    start : seconds from the beginning of the file
    end : seconds; NaN stands for the end of the file
    view : canonical text of the view

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> content_key("ab" * 32, 0.0, float("nan"))[:16]
    '45542e58e0eff46e'
    >>> content_key("ab" * 32, 0.00005, 2)[:16]
    'b0341b751721a481'
    """
    rest = _rest(float(start) + 0.0, None if math.isnan(end) else float(end), view)  # -0.0 is 0.0
    is_plain = audio_sha256.isascii() and audio_sha256.isalnum()
    digest = f'"{audio_sha256}"' if is_plain else json.dumps(audio_sha256)
    return hashlib.sha256(f"[{digest},{rest}".encode("ascii")).hexdigest()


@functools.lru_cache(maxsize=4096)
def _rest(start: float, end: float | None, view: str) -> str:
    """Write what most utterances of a corpus share: a million of them ask in one go."""
    return json.dumps([start, end, view], separators=(",", ":"))[1:]


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
