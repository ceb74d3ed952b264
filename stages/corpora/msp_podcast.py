"""MSP-Podcast: turns from podcasts, labelled by crowds; a new release of the corpus every year or so.

Conventions
-----------
Labels are the consensus of at least five people. `X` is no agreement: such turns are left out; `O`,
other, stays a class. Not every speaker is known, and some are only called `Unknown`: they have no
speaker here, for they are many people. Counts differ from release to release, so none are checked.
`split` is the release's `Split_Set`. Its training, development and test sets share no known speaker;
the test sets may share some among themselves.
"""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from stages.corpora.label_files import manifest_of, read_rows, told_counts, told_first
from stages.corpora.reader import CorpusError, Sharing, corpus_folder

EMOTIONS = {
    "A": "anger",
    "C": "contempt",
    "D": "disgust",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "O": "other",
    "S": "sadness",
    "U": "surprise",
}
NO_AGREEMENT = "X"
UNUSABLE = "MSP-PODCAST_1023_0235.wav"
"""Stereo at 44.1 kHz where all others are mono at 16: those who report results leave it out."""

_TABLES = ("labels_consensus.csv", "labels_concensus.csv")  # both spellings were published
_COLUMNS = (
    "FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set",
)  # fmt: skip
_UNKNOWN = {"", "unknown", "unk", "n/a", "na", "none", "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MspPodcast:
    """Reader of MSP-Podcast; see `stages.corpora.reader.Reader`."""

    name: str = "msp-podcast"
    layout: str = (
        "DIR/Labels/labels_consensus.csv (or labels_concensus.csv, as older releases have it) and "
        "DIR/Audios/*.wav (or DIR/Audio)"
    )
    classes: tuple[str, ...] = tuple(EMOTIONS.values())
    n_utterances: int | None = None
    licence: str = "academic licence of UT Dallas' MSP lab: by request, not to be handed on"
    sharing: Sharing = "forbidden"
    language: str = "en"
    citation: str = (
        "R. Lotfian, C. Busso: Building Naturalistic Emotionally Balanced Speech Corpus by "
        "Retrieving Emotional Speech From Existing Podcast Recordings. IEEE Transactions on "
        "Affective Computing 10, 2019"
    )

    def read(self, folder: Path) -> tuple[pd.DataFrame, list[str]]:
        """Read the consensus labels; see `Reader.read`.

        Returns
        -------
        (DataFrame, list of str)
            Extra columns: `split`, and `valence`, `activation`, `dominance` (1 to 7). Told are
            turns without agreement, other labels, turns without audio, the unusable file, and how
            many turns have no known speaker.

        Raises
        ------
        CorpusError
            There is no table, it is cut off, or there is none of the audio.
        """
        table = _table(corpus_folder(folder))
        audio_folder = next((n for n in ("Audios", "Audio") if (folder / n).is_dir()), None)
        if table is None or audio_folder is None:
            what = "table of labels" if table is None else "folder of audio"
            text = f"{folder} holds no {what}; expected {self.layout}"
            raise CorpusError(text + "; check the path")
        rows, problems = _rows(table, audio_folder)
        here = {entry.name for entry in os.scandir(folder / audio_folder)}
        taken = [row for row in rows if PurePosixPath(row["file"]).name in here]
        if not taken:
            text = f"{folder / audio_folder} holds none of the {len(rows)} labelled turns"
            raise CorpusError(f"{text}; expected {self.layout}; check the path")
        manifest = manifest_of(taken, root=folder, source=str(table))
        n_unknown = int((manifest["speaker"] == "").sum())
        return manifest, [
            *problems,
            *told_first(
                [row["file"] for row in rows if PurePosixPath(row["file"]).name not in here],
                "turn(s) without audio left out",
            ),
            *([f"{n_unknown} turn(s) have no known speaker"] if n_unknown else []),
        ]


def _table(folder: Path) -> Path | None:
    places = [place / name for name in _TABLES for place in (folder / "Labels", folder)]
    return next((path for path in places if path.is_file()), None)


def _rows(table: Path, audio_folder: str) -> tuple[list[dict[str, str]], list[str]]:
    rows: dict[str, dict[str, str]] = {}
    others: Counter[str] = Counter()
    odd, unusable, no_agreement = [], [], 0
    for row in read_rows(table, _COLUMNS):
        name, label = row["FileName"].strip(), row["EmoClass"].strip()
        if name == UNUSABLE:
            unusable.append(name)
        elif "/" in name or PurePosixPath(name).suffix.lower() != ".wav" or name in rows:
            odd.append(name)
        elif label == NO_AGREEMENT:
            no_agreement += 1
        elif label not in EMOTIONS:
            others[repr(label)] += 1
        else:
            rows[name] = _row(name, row, f"{audio_folder}/{name}")
    return list(rows.values()), [
        *told_first(unusable, "file(s) left out as unusable: stereo, 44.1 kHz"),
        *told_first(odd, "row(s) whose file is none, or was there before, left out"),
        *([f"{no_agreement} turn(s) left out for want of agreement"] if no_agreement else []),
        *told_counts(dict(others), "turn(s) left out for their label"),
    ]


def _row(name: str, row: dict[str, str], file: str) -> dict[str, str]:
    speaker, gender = row["SpkrID"].strip(), row["Gender"].strip().lower()
    return {
        "utterance_id": PurePosixPath(name).stem,
        "file": file,
        "speaker": "" if speaker.lower() in _UNKNOWN else speaker,
        "gender": gender if gender in ("female", "male") else "",
        "emotion": EMOTIONS[row["EmoClass"].strip()],
        "corpus": "msp-podcast",
        "split": row["Split_Set"].strip(),
        "valence": row["EmoVal"].strip(),
        "activation": row["EmoAct"].strip(),
        "dominance": row["EmoDom"].strip(),
    }


MSP_PODCAST = MspPodcast()
