"""What a reader of a layout is, as against a reader of a corpus."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.corpora.reader import Sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class Generic:
    """Reader of a layout that any corpus may have; see `stages.corpora.reader.Reader`.

    Attributes
    ----------
    reading : reads a folder, or the one file in it that says all; raises as `Reader.read` does
    """

    name: str
    layout: str
    reading: Callable[[Path], tuple[pd.DataFrame, list[str]]]
    classes: tuple[str, ...] = ()
    n_utterances: int | None = None
    licence: str = "that of your corpus"
    sharing: Sharing = "unclear"
    language: str = ""
    citation: str = "that of your corpus"

    def read(self, folder: Path) -> tuple[pd.DataFrame, list[str]]:
        """Read the folder; see `Reader.read`."""
        return self.reading(folder)
