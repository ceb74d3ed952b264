"""EMO-DB, the Berlin database of emotional speech.

Conventions
-----------
A name such as `03a01Fa.wav` says it all: speaker 03, text a01, emotion F (German initials), take a.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.corpora.reader import CorpusError, corpus_folder
from stages.manifest import complete

EMOTIONS = {
    "W": "anger",  # Wut
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "happiness",  # Freude
    "N": "neutral",
    "T": "sadness",  # Trauer
}
COUNTS = {
    "anger": 127,
    "boredom": 81,
    "disgust": 46,
    "fear": 69,
    "happiness": 71,
    "neutral": 79,
    "sadness": 62,
}
GENDERS = {
    "03": "male",
    "08": "female",
    "09": "female",
    "10": "male",
    "11": "male",
    "12": "male",
    "13": "female",
    "14": "female",
    "15": "male",
    "16": "female",
}
_NAME = re.compile(r"(?P<speaker>[0-9]{2})[ab][0-9]{2}(?P<letter>[A-Z])[a-z]?")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmoDB:
    """Reader of EMO-DB: 535 utterances, 10 speakers, 7 emotions, 16 kHz."""

    name: str = "emodb"
    layout: str = "DIR/wav/03a01Fa.wav ... or the wav files in DIR itself (or any folder below)"
    classes: tuple[str, ...] = tuple(COUNTS)
    licence: str = "CC0-1.0"
    citation: str = (
        "F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss: "
        "A Database of German Emotional Speech. Interspeech 2005"
    )

    def read(self, folder: Path) -> tuple[pd.DataFrame, list[str]]:
        """Read all files that are named like EMO-DB's; see `Reader.read`.

        Returns
        -------
        (DataFrame, list of str)
            One row a file, sorted by `file`; told are names of other forms, a recording that is
            there twice (the first is taken), and emotions whose count is not the published one.

        Raises
        ------
        CorpusError
            No file below the folder is named like EMO-DB's.
        """
        rows, odd, twice = _rows(_wav_files(corpus_folder(folder)))
        if not rows:
            text = f"{folder} holds no wav file named like 03a01Fa.wav; expected {self.layout}"
            raise CorpusError(text + "; check the path")
        problems = [*_told(odd, "not named like 03a01Fa.wav, left out")]
        problems += _told(twice, "there already in another folder, left out")
        manifest = complete(pd.DataFrame(rows))
        return manifest, problems + _count_problems(manifest)


def _wav_files(folder: Path) -> list[str]:
    found = (
        path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() == ".wav"
    )
    # Unpacking on a Mac leaves hidden companions such as ._03a01Fa.wav.
    return sorted(
        path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)
    )


def _rows(files: Iterable[str]) -> tuple[list[dict[str, str]], list[str], list[str]]:
    rows: dict[str, dict[str, str]] = {}
    odd, twice = [], []
    for file in files:
        stem = Path(file).stem
        match = _NAME.fullmatch(stem)
        if not match or match["letter"] not in EMOTIONS or match["speaker"] not in GENDERS:
            odd.append(file)
        elif stem in rows:
            twice.append(file)
        else:
            rows[stem] = {
                "utterance_id": stem,
                "file": file,
                "speaker": match["speaker"],
                "gender": GENDERS[match["speaker"]],
                "emotion": EMOTIONS[match["letter"]],
                "corpus": "emodb",
            }
    return list(rows.values()), odd, twice


def _told(files: list[str], what: str) -> list[str]:
    return [f"{len(files)} wav file(s) {what}, the first: {files[0]!r}"] if files else []


def _count_problems(manifest: pd.DataFrame) -> list[str]:
    counts = Counter(manifest["emotion"].tolist())
    return [
        f"{counts[emotion]} utterances of {emotion}; EMO-DB has {expected}"
        for emotion, expected in COUNTS.items()
        if counts[emotion] != expected
    ]
