"""ESD, the emotional speech dataset: 35 000 utterances, 10 Chinese and 10 English speakers, 16 kHz.

Conventions
-----------
`0011/Angry/0011_000351.wav` is speaker 0011's utterance 351; a folder above it names the emotion,
and between the two there may be `train`, `evaluation` or `test`. Copies without such folders keep
`0011.txt`: a line an utterance, its number, text and emotion with tabs between, in English or
Chinese, and in several encodings. Speakers up to 0010 speak Mandarin, the others English.
"""

import codecs
import re
from pathlib import Path, PurePosixPath

from stages.corpora.named_files import LookUp, NamedFiles, Row
from stages.corpora.reader import Sharing

EMOTIONS = {
    "Angry": "anger",
    "Happy": "happiness",
    "Neutral": "neutral",
    "Sad": "sadness",
    "Surprise": "surprise",
    "生气": "anger",
    "快乐": "happiness",
    "中立": "neutral",
    "伤心": "sadness",
    "惊喜": "surprise",
}
CLASSES = tuple(sorted(set(EMOTIONS.values())))
MEN = frozenset(f"{n:04}" for n in (4, 5, 6, 8, 10, 11, 12, 13, 14, 20))

_NAME = re.compile(r"(?P<speaker>00(?:0[1-9]|1[0-9]|20))_(?P<number>[0-9]{6})")
_TABLE = re.compile(r"00(?:0[1-9]|1[0-9]|20)\.txt")
_LICENCE = "for research only, on a signed licence"
_SHARING: Sharing = "unclear"
_CITATION = (
    "K. Zhou, B. Sisman, R. Liu, H. Li: Emotional Voice Conversion: Theory, Databases and ESD. "
    "Speech Communication 137, 1-18, 2022"
)


def _row(file: str) -> Row | None:
    path = PurePosixPath(file)
    match = _NAME.fullmatch(path.stem)
    if not match:
        return None
    folders = [parent.name.capitalize() for parent in path.parents]
    return {
        "utterance_id": path.stem,
        "speaker": match["speaker"],
        "gender": "male" if match["speaker"] in MEN else "female",
        "emotion": next((EMOTIONS[name] for name in folders if name in EMOTIONS), ""),
        "language": "zh" if match["speaker"] <= "0010" else "en",
    }


def _look_up(folder: Path) -> tuple[LookUp, list[str]]:
    emotions: dict[str, str] = {}
    problems = []
    for path in sorted(folder.rglob("00*.txt")):
        if _TABLE.fullmatch(path.name):
            try:
                emotions |= _listed(path.read_bytes())
            except OSError as error:
                problems.append(f"{path} cannot be read ({error}); left out")

    def complete_row(row: Row) -> Row | None:
        emotion = row["emotion"] or emotions.get(row["utterance_id"], "")
        return {**row, "emotion": emotion} if emotion else None

    return complete_row, problems


def _listed(content: bytes) -> dict[str, str]:
    """Give the emotions that a speaker's table lists; lines of other forms are passed over."""
    lines = [line.split("\t") for line in _text(content).splitlines()]
    return {
        cells[0].strip(): EMOTIONS[cells[-1].strip().capitalize()]
        for cells in lines
        if cells[-1].strip().capitalize() in EMOTIONS
    }


def _text(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


ESD = NamedFiles(
    name="esd",
    layout="DIR/0011/Angry/0011_000351.wav ... or DIR/0011/0011_000351.wav ... with 0011/0011.txt",
    example="0011/Angry/0011_000351.wav",
    counts=dict.fromkeys(CLASSES, 7000),
    row=_row,
    look_up=_look_up,
    licence=_LICENCE,
    sharing=_SHARING,
    citation=_CITATION,
    language="zh,en",
)

ESD_ENGLISH = NamedFiles(
    name="esd-english",
    layout="DIR/0011/Angry/0011_000351.wav ..., speakers 0011 to 0020, laid out as for esd",
    example="0011/Angry/0011_000351.wav",
    counts=dict.fromkeys(CLASSES, 3500),
    row=_row,
    look_up=_look_up,
    part=lambda row: row["language"] == "en",
    corpus="esd",
    licence=_LICENCE,
    sharing=_SHARING,
    citation=_CITATION,
    language="en",
)
