"""Corpora whose file names say everything: who speaks, and in which emotion."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from stages.corpora.reader import CorpusError, Sharing, corpus_folder
from stages.manifest import complete

Row = Mapping[str, str]
"""Columns of one manifest row, all but `file` and `corpus`; `utterance_id` and `emotion` at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFiles:
    """Reader of a corpus by its files' names; see `stages.corpora.reader.Reader`.

    Attributes
    ----------
    example : one path as the corpus has it, for messages
    counts : emotion -> utterances that the published corpus has of it
    row : what a path relative to the folder (with ``/``) says; None if it is not named like this
        corpus' files
    suffixes : of the audio files, lower case
    """

    name: str
    layout: str
    example: str
    counts: Mapping[str, int]
    row: Callable[[str], Row | None]
    licence: str
    sharing: Sharing
    citation: str
    language: str
    suffixes: tuple[str, ...] = field(default=(".wav",))

    @property
    def classes(self) -> tuple[str, ...]:
        """The corpus' emotions."""
        return tuple(self.counts)

    def read(self, folder: Path) -> tuple[pd.DataFrame, list[str]]:
        """Read all files that are named like the corpus'; see `Reader.read`.

        Returns
        -------
        (DataFrame, list of str)
            One row a file, sorted by `file`; told are names of other forms, a recording that is
            there twice (the first is taken), and emotions whose count is not the published one.

        Raises
        ------
        CorpusError
            No file below the folder is named like the corpus'.
        """
        rows, odd, twice = self._rows(audio_files(corpus_folder(folder), self.suffixes))
        if not rows:
            kinds = " or ".join(suffix.removeprefix(".") for suffix in self.suffixes)
            text = f"{folder} holds no {kinds} file named like {self.example}"
            raise CorpusError(text + f"; expected {self.layout}; check the path")
        problems = [
            *told(odd, f"not named like {self.example}, left out"),
            *told(twice, "there already in another folder, left out"),
        ]
        manifest = complete(pd.DataFrame(rows))
        return manifest, problems + count_problems(manifest["emotion"], self.counts, self.name)

    def _rows(self, files: Iterable[str]) -> tuple[list[dict[str, str]], list[str], list[str]]:
        rows: dict[str, dict[str, str]] = {}
        odd, twice = [], []
        for file in files:
            row = self.row(file)
            if row is None:
                odd.append(file)
            elif row["utterance_id"] in rows:
                twice.append(file)
            else:
                rows[row["utterance_id"]] = {**row, "file": file, "corpus": self.name}
        return list(rows.values()), odd, twice


def audio_files(folder: Path, suffixes: tuple[str, ...] = (".wav",)) -> list[str]:
    """List the audio files below a folder, relative to it with ``/``, sorted.

    Hidden ones are left out: unpacking on a Mac leaves companions such as ``._03a01Fa.wav``.
    """
    found = (
        path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in suffixes
    )
    return sorted(
        path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)
    )


def told(files: list[str], what: str) -> list[str]:
    """Say in one line how many files are odd, and name the first; nothing where there are none."""
    return [f"{len(files)} audio file(s) {what}, the first: {files[0]!r}"] if files else []


def count_problems(emotions: Iterable[str], counts: Mapping[str, int], corpus: str) -> list[str]:
    """Say which emotions' counts are not those of the published corpus.

    Examples
    --------
    >>> count_problems(["joy", "fear"], {"joy": 1, "fear": 2}, "tiny")
    ['1 utterances of fear; tiny has 2']
    """
    found = Counter(emotions)
    return [
        f"{found[emotion]} utterances of {emotion}; {corpus} has {expected}"
        for emotion, expected in counts.items()
        if found[emotion] != expected
    ]
