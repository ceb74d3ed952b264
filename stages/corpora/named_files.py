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

LookUp = Callable[[Row], Row | None]
"""Completes what a name says by a corpus' own tables; None if they do not know the recording."""


def as_named(folder: Path) -> tuple[LookUp, list[str]]:  # noqa: ARG001 - others read it
    """Leave every row as its file's name says it."""
    return (lambda row: row), []


def whole(row: Row) -> bool:  # noqa: ARG001 - others look at it
    """Take every row."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFiles:
    """Reader of a corpus by its files' names; see `stages.corpora.reader.Reader`.

    Attributes
    ----------
    example : one path as the corpus has it, for messages
    counts : emotion -> utterances that the published corpus has of it, None where that is not known
    total : utterances in all, for corpora whose counts by emotion are not known
    row : what a path relative to the folder (with ``/``) says; None if it is not named like this
        corpus' files
    look_up : reads the tables in a folder once; returns what completes a row by them, and what is
        odd about them. It is for corpora whose names do not say everything
    part : which rows are taken, for a reader of a part of a corpus
    flaws : utterance_id -> what is wrong with that recording in the published corpus; it is told
    corpus : what the manifest calls the corpus; empty = the reader's name. Readers of parts of one
        corpus give it one name, so that its speakers stay the same people
    suffixes : of the audio files, lower case
    """

    name: str
    layout: str
    example: str
    counts: Mapping[str, int | None]
    total: int | None = None
    row: Callable[[str], Row | None]
    look_up: Callable[[Path], tuple[LookUp, list[str]]] = as_named
    part: Callable[[Row], bool] = whole
    flaws: Mapping[str, str] = field(default_factory=dict)
    corpus: str = ""
    licence: str
    sharing: Sharing
    citation: str
    language: str
    suffixes: tuple[str, ...] = (".wav",)

    @property
    def classes(self) -> tuple[str, ...]:
        """The corpus' emotions."""
        return tuple(self.counts)

    @property
    def n_utterances(self) -> int | None:
        """How many utterances the published corpus has; None where that is not known."""
        known = [count for count in self.counts.values() if count is not None]
        return sum(known) if len(known) == len(self.counts) else self.total

    def read(self, folder: Path) -> tuple[pd.DataFrame, list[str]]:
        """Read all files that are named like the corpus'; see `Reader.read`.

        Returns
        -------
        (DataFrame, list of str)
            One row a file, sorted by `file`; told are names of other forms, files of other parts of
            the corpus, a recording that is there twice (the first is taken), flaws of the published
            corpus, and emotions whose count is not the published one.

        Raises
        ------
        CorpusError
            No file below the folder is named like the corpus'.
        """
        files = audio_files(corpus_folder(folder), self.suffixes)
        look_up, table_problems = self.look_up(folder)
        rows, left_out = self._rows(files, look_up)
        if not rows:
            raise CorpusError(self._nothing(folder, files))
        manifest = complete(pd.DataFrame(rows))
        problems = [text for reason, odd in left_out.items() for text in told(odd, reason)]
        problems += table_problems
        names = set(manifest["utterance_id"])
        problems += [f"{name}: {flaw}" for name, flaw in self.flaws.items() if name in names]
        problems += count_problems(manifest["emotion"], self.counts, self.name, total=self.total)
        return manifest, problems

    def _rows(
        self, files: Iterable[str], look_up: LookUp
    ) -> tuple[list[dict[str, str]], dict[str, list[str]]]:
        """Give the rows, and the files that are left out by reason."""
        rows: dict[str, dict[str, str]] = {}
        not_text: list[str] = []
        unlike: list[str] = []
        elsewhere: list[str] = []
        twice: list[str] = []
        for file in files:
            named = self.row(file)
            row = None if named is None else look_up(named)
            if not _is_utf8(file):
                not_text.append(file)
            elif row is None:
                unlike.append(file)
            elif not self.part(row):
                elsewhere.append(file)
            elif row["utterance_id"] in rows:
                twice.append(file)
            else:
                corpus = self.corpus or self.name
                rows[row["utterance_id"]] = {**row, "file": file, "corpus": corpus}
        return list(rows.values()), {
            "whose path is not UTF-8, left out": not_text,
            f"not named like {self.example}, left out": unlike,
            "of another part of the corpus, left out": elsewhere,
            "there already in another folder, left out": twice,
        }

    def _nothing(self, folder: Path, files: list[str]) -> str:
        """Say that a folder holds nothing of the corpus."""
        kinds = " or ".join(suffix.removeprefix(".") for suffix in self.suffixes)
        text = f"{folder} holds no {kinds} file named like {self.example}"
        seen = f" (but {len(files)} others, the first: {files[0]!r})" if files else ""
        paths = "the path" if all(map(_is_utf8, files)) else "the path; its names must be UTF-8"
        return f"{text}{seen}; expected {self.layout}; check {paths}"


def _is_utf8(file: str) -> bool:
    """Whether a path is text: what is no UTF-8 on disk is read as lone surrogates."""
    try:
        file.encode()
    except UnicodeEncodeError:
        return False
    return True


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


def count_problems(
    emotions: Iterable[str],
    counts: Mapping[str, int | None],
    corpus: str,
    *,
    total: int | None = None,
) -> list[str]:
    """Say which counts are not those of the published corpus, where those are known.

    Examples
    --------
    >>> count_problems(["joy", "fear"], {"joy": 1, "fear": 2}, "tiny")
    ['1 utterances of fear; tiny has 2']
    >>> count_problems(["joy", "fear"], {"joy": None, "fear": None}, "tiny", total=3)
    ['2 utterances; tiny has 3']
    """
    found = Counter(emotions)
    problems = [
        f"{found[emotion]} utterances of {emotion}; {corpus} has {expected}"
        for emotion, expected in counts.items()
        if expected is not None and found[emotion] != expected
    ]
    if total is not None and found.total() != total:
        problems.append(f"{found.total()} utterances; {corpus} has {total}")
    return problems
