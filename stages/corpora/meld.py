"""MELD: 13 708 utterances of dialogues from the television series Friends, 7 emotions, English.

Conventions
-----------
The corpus is films, `dia0_utt0.mp4`; this reader wants their sound as `dia0_utt0.wav` in the same
folders, for instance::

    for f in */*.mp4 */*/*.mp4; do ffmpeg -i "$f" -ac 1 -ar 16000 "${f%.mp4}.wav"; done

The numbers begin anew in each split, so an utterance is named `train_dia0_utt0`. Whose voice it is:

- a character with a name is a speaker, the six friends as well as `Gunther` or `Mr. Geller`;
- several at once (`All`, `Ross and Joey`) are nobody;
- an unnamed role (`Waiter`, `Woman`, `Joey's Doctor`) is nobody: it is another actor each time.

Nobody is an empty speaker; the column `character` keeps what the table says. Speakers are characters,
not actors (one actress plays both Phoebe and Ursula), and the friends speak in all splits: the
published split is not speaker-independent.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from stages.corpora.label_files import manifest_of, read_rows, told_counts, told_first
from stages.corpora.named_files import audio_files, count_problems
from stages.corpora.reader import CorpusError, Sharing, corpus_folder

EMOTIONS = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprise": "surprise",
}
COUNTS = {
    "anger": 1607,
    "disgust": 361,
    "fear": 358,
    "happiness": 2308,
    "neutral": 6436,
    "sadness": 1002,
    "surprise": 1636,
}
SPLITS = {"train": 9989, "dev": 1109, "test": 2610}
FOLDERS = {
    "train": "train",
    "train_splits": "train",
    "dev": "dev",
    "dev_splits_complete": "dev",
    "test": "test",
    "output_repeated_splits_test": "test",
}
"""Folder of audio -> split: short names, and those of the published archives."""

FRIENDS = {
    "Chandler": "male",
    "Joey": "male",
    "Monica": "female",
    "Phoebe": "female",
    "Rachel": "female",
    "Ross": "male",
}
ROLES = """
actor actress agent announcer assistant attendant aunt baby bartender boy boyfriend brother
businessman busboy cabbie casting cashier chef clerk coach contestant cop crew customer dad
date dealer delivery director doctor doorman driver drunk employee executive fan father
fireman friend gambler gentleman girl girlfriend grandma grandmother guard guest guy host
hostess husband instructor intern interviewer judge kid kids lady lawyer leader lecturer
librarian machine maitre man manager minister mother mom museum neighbor neighbour nurse
officer official owner paramedic passenger passerby patient photographer pilot policeman
porter priest producer professor psychic radio receptionist repairman reporter salesman
saleslady saleswoman saleswomen secretary singer sister smoker son student stranger
stripper supervisor tailor teacher technician teen ticket tourist translator tv uncle usher
vendor voice waiter waitress wife witness woman worker
"""
GROUPS = """
all another both children crowd employees everybody everyone fans friends girls group guests
guys gang kids ladies men others people several students they together two three women
"""

_NAME = re.compile(r"dia(?P<dialogue>[0-9]+)_utt(?P<utterance>[0-9]+)")
_SEVERAL = re.compile(r"[,/&+]|\b(?:and|with)\b", re.IGNORECASE)
_UNNAMED = re.compile(r"[0-9#]|['\u2019]s?\s|^(?:a|an|the)\s", re.IGNORECASE)
_NOBODY = {*ROLES.split(), *GROUPS.split()}
_COLUMNS = ("Dialogue_ID", "Utterance_ID", "Speaker", "Emotion")

Key = tuple[str, int, int]
"""Split, dialogue, utterance."""


def speaker_of(character: str) -> str:
    """Give a speaker's name, or nothing for several people and for roles without a name.

    Examples
    --------
    >>> [speaker_of(name) for name in ["Ross", "Mr. Geller", "All", "Ross and Joey", "Waiter"]]
    ['Ross', 'Mr. Geller', '', '', '']
    """
    name = " ".join(character.split())
    words = set(re.findall(r"[^\W\d_]+", name.lower()))
    if _SEVERAL.search(name) or _UNNAMED.search(name) or words & _NOBODY:
        return ""
    return name.title() if name.title() in FRIENDS else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Meld:
    """Reader of MELD; see `stages.corpora.reader.Reader`."""

    name: str = "meld"
    layout: str = (
        "DIR/train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv (anywhere below DIR), and the "
        "films' sound as DIR/.../train_splits/dia0_utt0.wav, dev_splits_complete/..., "
        "output_repeated_splits_test/... (or folders train, dev, test)"
    )
    classes: tuple[str, ...] = tuple(COUNTS)
    n_utterances: int = sum(COUNTS.values())
    licence: str = "GPL-3.0 for the labels; the sound is a television series'"
    sharing: Sharing = "unclear"
    language: str = "en"
    citation: str = (
        "S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria, R. Mihalcea: MELD: A Multimodal "
        "Multi-Party Dataset for Emotion Recognition in Conversations. ACL 2019"
    )
    counts: dict[str, int] = field(default_factory=lambda: dict(COUNTS))

    def read(self, folder: Path) -> tuple[pd.DataFrame, list[str]]:
        """Read the tables of all splits that are there; see `Reader.read`.

        Returns
        -------
        (DataFrame, list of str)
            Extra columns: `split` (train, dev, test) and `character`. Told are splits without a
            table, rows without audio, audio without a row, other labels, and counts by emotion and
            split that are not the published ones.

        Raises
        ------
        CorpusError
            There is no table, a table is cut off, or there is none of the audio.
        """
        tables = _tables(corpus_folder(folder))
        if not tables:
            text = f"{folder} holds no train_sent_emo.csv, dev_sent_emo.csv or test_sent_emo.csv"
            raise CorpusError(f"{text}; expected {self.layout}; check the path")
        problems = [f"no {s}_sent_emo.csv, {s} is left out" for s in SPLITS if s not in tables]
        audio, audio_problems = _audio(folder)
        utterances, row_problems = _utterances(tables)
        rows = [{**row, "file": audio[key]} for key, row in utterances.items() if key in audio]
        if not rows:
            text = (
                f"{folder} holds tables but none of the wav files of {len(utterances)} utterances"
            )
            raise CorpusError(f"{text}; expected {self.layout}; take the sound out of the films")
        absent = ["{}_dia{}_utt{}".format(*key) for key in utterances if key not in audio]
        unnamed = [file for key, file in audio.items() if key not in utterances]
        problems += [
            *audio_problems,
            *row_problems,
            *told_first(absent, "utterance(s) without audio left out"),
            *told_first(unnamed, "audio file(s) that no table names left out"),
        ]
        manifest = manifest_of(rows, root=folder, source=str(folder))
        return manifest, [
            *problems,
            *count_problems(manifest["emotion"], self.counts, self.name),
            *count_problems(manifest["split"], SPLITS, self.name),
        ]


def _tables(folder: Path) -> dict[str, Path]:
    """Find each split's table, the one nearest to the folder."""
    found = {}
    for split in SPLITS:
        paths = [p for p in folder.rglob(f"{split}_sent_emo.csv") if p.is_file()]
        if paths:
            found[split] = min(paths, key=lambda path: (len(path.parts), path))
    return found


def _audio(folder: Path) -> tuple[dict[Key, str], list[str]]:
    found: dict[Key, str] = {}
    odd, twice = [], []
    for file in audio_files(folder):
        path = PurePosixPath(file)
        split = next((FOLDERS[p] for p in reversed(path.parts[:-1]) if p in FOLDERS), "")
        match = _NAME.fullmatch(path.stem)
        if not split or match is None:
            odd.append(file)
            continue
        key = (split, int(match["dialogue"]), int(match["utterance"]))
        if key in found:
            twice.append(file)
        else:
            found[key] = file
    return found, [
        *told_first(odd, "audio file(s) not named like train_splits/dia0_utt0.wav left out"),
        *told_first(twice, "audio file(s) there already in another folder left out"),
    ]


def _utterances(tables: dict[str, Path]) -> tuple[dict[Key, dict[str, str]], list[str]]:
    utterances: dict[Key, dict[str, str]] = {}
    odd: list[str] = []
    labels: Counter[str] = Counter()
    for split, path in tables.items():
        for row in read_rows(path, _COLUMNS):
            numbers = _numbers([row["Dialogue_ID"], row["Utterance_ID"]])
            label = row["Emotion"].strip().lower()
            if numbers is None or (split, *numbers) in utterances:
                odd.append(f"{path.name}: {row['Dialogue_ID']}, {row['Utterance_ID']}")
            elif label not in EMOTIONS:
                labels[repr(label)] += 1
            else:
                utterances[(split, *numbers)] = _row(split, numbers, row, EMOTIONS[label])
    return utterances, [
        *told_first(odd, "row(s) whose numbers are none, or were there before, left out"),
        *told_counts(dict(labels), "row(s) left out for their label"),
    ]


def _numbers(texts: Iterable[str]) -> tuple[int, int] | None:
    texts = [text.strip() for text in texts]
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in texts):
        return None
    dialogue, utterance = map(int, texts)
    return dialogue, utterance


def _row(split: str, numbers: tuple[int, int], row: dict[str, str], emotion: str) -> dict[str, str]:
    speaker = speaker_of(row["Speaker"])
    return {
        "utterance_id": "{}_dia{}_utt{}".format(split, *numbers),
        "speaker": speaker,
        "gender": FRIENDS.get(speaker, ""),
        "emotion": emotion,
        "corpus": "meld",
        "split": split,
        "character": row["Speaker"],
    }


MELD = Meld()
