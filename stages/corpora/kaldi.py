"""A Kaldi data directory: the `kaldi` reader.

Conventions
-----------
`wav.scp` names recordings and their files, `segments` the utterances in them (without it each
recording is one), `utt2spk`, `spk2gender` (m or f) and `utt2emo` say the rest. No file has to be
sorted. Where `utt2spk` gives an utterance its own name, as Kaldi does when speakers are not known, it
has no speaker here. Relative paths start from the directory; most recipes mean the folder they are
run in, which is then the one for `--audio`.
"""

import re
from pathlib import Path

import pandas as pd

from stages.corpora.foreign_table import foreign_manifest
from stages.corpora.generic import Generic
from stages.corpora.label_files import read_lines, text_table, told_first
from stages.corpora.reader import CorpusError, corpus_folder

LAYOUT = (
    "DIR/wav.scp with paths, no commands; segments, utt2spk, spk2gender and utt2emo where known"
)
_BLANK = re.compile(r"[ \t]+")
_GENDERS = {"m": "male", "f": "female"}


def _read(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    if not (corpus_folder(folder) / "wav.scp").is_file():
        raise CorpusError(f"{folder} holds no wav.scp; expected {LAYOUT}; check the path")
    recordings = _recordings(folder / "wav.scp")
    utterances, problems = _utterances(folder, recordings)
    if not utterances:
        text = f"{folder} names no utterance in any of its recordings; expected some"
        raise CorpusError(text + "; are wav.scp and segments of one corpus?")
    speakers, speaker_problems = _speakers(folder, list(utterances))
    emotions, genders = _optional(folder / "utt2emo"), _optional(folder / "spk2gender")
    rows = [
        {
            "utterance_id": name,
            **place,
            "speaker": speakers.get(name, ""),
            "gender": _gender(genders.get(speakers.get(name, ""), "")),
            "emotion": emotions.get(name, ""),
        }
        for name, place in utterances.items()
    ]
    table = text_table(rows, source=str(folder))
    manifest, told = foreign_manifest(table, root=folder, source=str(folder))
    return manifest, problems + speaker_problems + _unlabelled(folder, manifest) + told


def _recordings(path: Path) -> dict[str, str]:
    recordings = _pairs(path)
    commands = [name for name, file in recordings.items() if file.endswith("|")]
    if commands:
        text = f"{path}: {len(commands)} of {len(recordings)} recordings are commands, the first: "
        text += f"{commands[0]!r}; expected paths of files: nothing in a corpus is ever run"
        raise CorpusError(text + "; write them into files first")
    return recordings


def _utterances(
    folder: Path, recordings: dict[str, str]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    path = folder / "segments"
    if not path.is_file():
        return {name: {"file": file} for name, file in recordings.items()}, []
    utterances, lost = {}, []
    for name, rest in _pairs(path).items():
        fields = rest.split()
        if len(fields) != 3:
            text = f"{path} has {rest!r} for {name!r}; expected a recording, a start and an end"
            raise CorpusError(text + "; mend that line")
        recording, start, end = fields
        if recording in recordings:
            # A negative end is Kaldi's way to say: to the end of the recording.
            place = {"file": recordings[recording], "start": start}
            utterances[name] = {**place, "end": "" if end.startswith("-") else end}
        else:
            lost.append(name)
    return utterances, told_first(lost, "utterance(s) of recordings that wav.scp lacks left out")


def _speakers(folder: Path, names: list[str]) -> tuple[dict[str, str], list[str]]:
    given = _optional(folder / "utt2spk")
    own = [name for name in names if given.get(name) == name]
    speakers = {name: given[name] for name in names if name in given and given[name] != name}
    unknown = [name for name in names if name not in given]
    return speakers, [
        *told_first(own, "utterance(s) are their own speaker, so it is not known"),
        *told_first(unknown, "utterance(s) that utt2spk lacks have no speaker"),
    ]


def _unlabelled(folder: Path, manifest: pd.DataFrame) -> list[str]:
    if not (folder / "utt2emo").is_file():
        return ["no utt2emo: no utterance has a label"]
    unlabelled = manifest.loc[manifest["emotion"] == "", "utterance_id"].tolist()
    return told_first(unlabelled, "utterance(s) that utt2emo lacks have no label")


def _gender(word: str) -> str:
    return _GENDERS.get(word.lower(), word)


def _optional(path: Path) -> dict[str, str]:
    return _pairs(path) if path.is_file() else {}


def _pairs(path: Path) -> dict[str, str]:
    """Read lines of a key and what belongs to it."""
    pairs: dict[str, str] = {}
    for number, line in read_lines(path):
        key, _, value = _BLANK.sub(" ", line.strip(" \t"), count=1).partition(" ")
        if not value or key in pairs:
            what = f"{key!r} a second time" if key in pairs else f"nothing after {key!r}"
            text = f"{path} has {what} at line {number}; expected each once, with its value"
            raise CorpusError(text + "; mend that line")
        pairs[key] = value
    return pairs


KALDI = Generic(name="kaldi", layout=LAYOUT, reading=_read)
