"""IEMOCAP: five dyadic sessions of ten actors, improvised and scripted, 10 039 turns.

Conventions
-----------
A turn such as `Ses01F_impro01_M000` was said in session 1 while the woman (F) wore the motion-capture
markers, by the man: who speaks is the letter of the last field. So speakers are `Ses01F`, `Ses01M`,
..., and `Ses01F` here is the woman of session 1, not the recordings in which she wore the markers. A
dialog's number may carry a letter (`Ses03M_impro05a`).

The emotion is what most evaluators said. `xxx` is no majority; turns with it, and with labels that
are not among the reader's classes, are left out. Three choices of the field have a reader each:

- `iemocap`: anger, happiness, neutral, sadness; excitement counts as happiness (5531 turns);
- `iemocap-improvised`: the same of improvised dialogs only (2943);
- `iemocap-5`: frustration as well (7380).

The column `label` keeps the release's own code, so that other choices can be made by hand.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from stages.corpora.label_files import (
    manifest_of,
    read_lines,
    told_counts,
    told_first,
)
from stages.corpora.named_files import count_problems
from stages.corpora.reader import CorpusError, Sharing, corpus_folder

FOUR = {
    "ang": "anger",
    "exc": "happiness",
    "hap": "happiness",
    "neu": "neutral",
    "sad": "sadness",
}
FIVE = {**FOUR, "fru": "frustration"}
COUNTS = {"anger": 1103, "happiness": 1636, "neutral": 1708, "sadness": 1084}
SESSIONS = {"Ses01": 1085, "Ses02": 1023, "Ses03": 1151, "Ses04": 1031, "Ses05": 1241}
SPEAKERS = {
    "Ses01F": 528,
    "Ses01M": 557,
    "Ses02F": 481,
    "Ses02M": 542,
    "Ses03F": 522,
    "Ses03M": 629,
    "Ses04F": 528,
    "Ses04M": 503,
    "Ses05F": 590,
    "Ses05M": 651,
}

_EVALUATIONS = "Session[1-5]/dialog/EmoEvaluation"
_LINE = re.compile(
    r"\[[0-9.]+ - [0-9.]+\]\t(?P<turn>\S+)\t(?P<label>[a-z]{3})\t"
    r"\[(?P<valence>[0-9]\.[0-9]+), (?P<activation>[0-9]\.[0-9]+), (?P<dominance>[0-9]\.[0-9]+)\]\s*"
)
_TURN = re.compile(
    r"(?P<dialog>(?P<session>Ses0[1-5])[FM]_(?:impro[0-9]{2}[a-z]?|script[0-9]{2}_[0-9][a-z]?))"
    r"_(?P<who>[FM])[0-9]{3}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Iemocap:
    """Reader of one choice of IEMOCAP's turns; see `stages.corpora.reader.Reader`.

    Attributes
    ----------
    emotions : the release's code -> emotion
    counts : emotion -> turns in the release
    groups : session or speaker -> turns in the release, where they are known
    only_improvised : leave out scripted dialogs
    """

    name: str
    emotions: Mapping[str, str]
    counts: Mapping[str, int]
    groups: Mapping[str, int] = field(default_factory=dict)
    only_improvised: bool = False
    layout: str = (
        "DIR/Session1 ... Session5, each with dialog/EmoEvaluation/*.txt and "
        "sentences/wav/DIALOG/TURN.wav, or IEMOCAP_full_release below DIR"
    )
    licence: str = "USC SAIL's release form: research, by request, not to be handed on"
    sharing: Sharing = "forbidden"
    language: str = "en"
    citation: str = (
        "C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, "
        "S. Narayanan: IEMOCAP: interactive emotional dyadic motion capture database. "
        "Language Resources and Evaluation 42, 2008"
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The emotions of this choice."""
        return tuple(self.counts)

    @property
    def n_utterances(self) -> int:
        """How many turns the release has of them."""
        return sum(self.counts.values())

    def read(self, folder: Path) -> tuple[pd.DataFrame, list[str]]:
        """Read the evaluations of all sessions; see `Reader.read`.

        Returns
        -------
        (DataFrame, list of str)
            Extra columns: `valence`, `activation`, `dominance` (1 to 5) and `label`. Told are lines
            and turns of other forms, what is left out by label, turns without audio, and counts by
            emotion, session and speaker that are not the release's.

        Raises
        ------
        CorpusError
            There are no evaluations, or none of their audio.
        """
        release = _release(corpus_folder(folder))
        if release is None:
            text = f"{folder} holds no Session1/dialog/EmoEvaluation/*.txt; expected {self.layout}"
            raise CorpusError(text + "; check the path")
        turns, problems = _turns(release, folder)
        rows, left_out = self._chosen(turns)
        there = {row["file"] for row in rows if (folder / row["file"]).is_file()}
        if not there:
            text = f"{folder} holds labels but none of the audio of {len(rows)} turns"
            raise CorpusError(f"{text}; expected {self.layout}; check the path")
        absent = [row["file"] for row in rows if row["file"] not in there]
        here = [row for row in rows if row["file"] in there]
        manifest = manifest_of(here, root=folder, source=str(folder))
        problems += left_out + told_first(absent, "turn(s) without audio left out")
        return manifest, problems + self._count_problems(manifest)

    def _chosen(self, turns: list[dict[str, str]]) -> tuple[list[dict[str, str]], list[str]]:
        scripted = [t["utterance_id"] for t in turns if "_script" in t["utterance_id"]]
        told = []
        if self.only_improvised:
            turns = [turn for turn in turns if "_impro" in turn["utterance_id"]]
            told += told_first(scripted, "scripted turn(s) left out")
        chosen = [turn for turn in turns if turn["label"] in self.emotions]
        others = Counter(t["label"] for t in turns if t["label"] not in self.emotions)
        told += told_counts(dict(others), "turn(s) left out for their label")
        rows = [{**turn, "emotion": self.emotions[turn["label"]]} for turn in chosen]
        return rows, told

    def _count_problems(self, manifest: pd.DataFrame) -> list[str]:
        groups = [*manifest["session"], *manifest["speaker"]]
        return [
            *count_problems(manifest["emotion"], self.counts, self.name),
            *count_problems(groups, self.groups, self.name),
        ]


def _release(folder: Path) -> Path | None:
    for place in (folder, folder / "IEMOCAP_full_release"):
        if any(_evaluations(place)):
            return place
    return None


def _evaluations(release: Path) -> Iterator[Path]:
    """Find the dialogs' files; folders beside them hold single evaluators, `._` files are a Mac's."""
    for path in sorted(release.glob(f"{_EVALUATIONS}/*.txt")):
        if path.is_file() and not path.name.startswith("."):
            yield path


def _turns(release: Path, folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Read all turns of a release, each once; say which lines are odd."""
    turns: dict[str, dict[str, str]] = {}
    odd_lines, odd_names, twice = [], [], []
    for path in _evaluations(release):
        session = path.parents[2].relative_to(folder).as_posix()
        for number, line in read_lines(path):
            if not line.startswith("["):  # the header, and what single evaluators said
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                odd_lines.append(f"{path.relative_to(folder).as_posix()}:{number}")
            elif _TURN.fullmatch(match["turn"]) is None:
                odd_names.append(match["turn"])
            elif match["turn"] in turns:
                twice.append(match["turn"])
            else:
                turns[match["turn"]] = _turn(match, session)
    return list(turns.values()), [
        *told_first(odd_lines, "line(s) of EmoEvaluation of another form left out"),
        *told_first(odd_names, "turn(s) not named like Ses01F_impro01_F000 left out"),
        *told_first(twice, "turn(s) evaluated twice, taken once"),
    ]


def _turn(line: re.Match[str], session_folder: str) -> dict[str, str]:
    name = line["turn"]
    return {
        **turn_fields(name),
        "utterance_id": name,
        "file": f"{session_folder}/sentences/wav/{name.rpartition('_')[0]}/{name}.wav",
        "label": line["label"],
        "valence": line["valence"],
        "activation": line["activation"],
        "dominance": line["dominance"],
        "corpus": "iemocap",
    }


def turn_fields(name: str) -> dict[str, str]:
    """Tell what a turn's name says.

    Raises
    ------
    CorpusError
        It is no name of a turn.

    Examples
    --------
    >>> turn_fields("Ses03M_impro05a_F012")
    {'session': 'Ses03', 'speaker': 'Ses03F', 'gender': 'female'}
    """
    match = _TURN.fullmatch(name)
    if match is None:
        text = f"{name!r} is no turn of IEMOCAP; expected a name such as Ses01F_impro01_F000"
        raise CorpusError(text + "; correct it")
    return {
        "session": match["session"],
        "speaker": match["session"] + match["who"],
        "gender": "female" if match["who"] == "F" else "male",
    }


IEMOCAP = Iemocap(name="iemocap", emotions=FOUR, counts=COUNTS, groups={**SESSIONS, **SPEAKERS})
IEMOCAP_IMPROVISED = Iemocap(
    name="iemocap-improvised",
    emotions=FOUR,
    counts={"anger": 289, "happiness": 947, "neutral": 1099, "sadness": 608},
    only_improvised=True,
)
IEMOCAP_5 = Iemocap(name="iemocap-5", emotions=FIVE, counts={**COUNTS, "frustration": 1849})
