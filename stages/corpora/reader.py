"""What a corpus reader is."""

from pathlib import Path
from typing import Literal, Protocol

import pandas as pd

Sharing = Literal["free", "forbidden", "unclear"]
"""Whether features made of a corpus may be handed on: its licence allows it (maybe under conditions,
such as naming the source), forbids it, or does not say."""


class CorpusError(ValueError):
    """A corpus folder does not hold what its reader expects."""


class Reader(Protocol):
    """Turn a corpus folder into a manifest.

    A reader knows one corpus (or one layout), and is found by its name in
    `stages.corpora.table.READERS`. It opens no audio.
    """

    @property
    def name(self) -> str:
        """What the command line calls it; lower case."""

    @property
    def layout(self) -> str:
        """One line: what it expects to find in the folder."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Its emotions; empty when they are whatever the folder says."""

    @property
    def n_utterances(self) -> int | None:
        """How many utterances the published corpus has; None where that is not known."""

    @property
    def licence(self) -> str:
        """The audio's licence, as its makers state it."""

    @property
    def sharing(self) -> Sharing:
        """Whether the licence lets one hand on features made of the audio."""

    @property
    def language(self) -> str:
        """ISO 639-1 code (a longer one where there is none), several with commas; empty = unknown."""

    @property
    def citation(self) -> str:
        """Whom to cite."""

    def read(self, folder: Path) -> tuple[pd.DataFrame, list[str]]:
        """Read the corpus.

        Parameters
        ----------
        folder : as the user gave it

        Returns
        -------
        (DataFrame, list of str)
            The manifest (`stages.manifest`), `file` relative to the folder; and what is odd but
            not fatal, one line each, such as counts that differ from the published ones.

        Raises
        ------
        CorpusError
            The folder holds nothing of what was expected.
        """


def corpus_folder(folder: Path) -> Path:
    """Give the folder back if it is one.

    Raises
    ------
    CorpusError
        It is not there, or is not a folder.
    """
    if not folder.is_dir():
        text = f"{folder} is not a folder; expected the corpus as it was unpacked"
        raise CorpusError(text + "; check the path")
    return folder
