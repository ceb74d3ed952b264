"""EMO-DB, the Berlin database of emotional speech: 535 utterances, 10 speakers, 7 emotions, 16 kHz.

Conventions
-----------
A name such as `03a01Fa.wav` says it all: speaker 03, text a01, emotion F (German initials), take a.
"""

import re
from pathlib import PurePosixPath

from stages.corpora.named_files import NamedFiles, Row

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


def _row(file: str) -> Row | None:
    name = PurePosixPath(file).stem
    match = _NAME.fullmatch(name)
    if not match or match["letter"] not in EMOTIONS or match["speaker"] not in GENDERS:
        return None
    return {
        "utterance_id": name,
        "speaker": match["speaker"],
        "gender": GENDERS[match["speaker"]],
        "emotion": EMOTIONS[match["letter"]],
    }


EMODB = NamedFiles(
    name="emodb",
    layout="DIR/wav/03a01Fa.wav ... or the wav files in DIR itself (or any folder below)",
    example="03a01Fa.wav",
    counts=COUNTS,
    row=_row,
    licence="CC0-1.0",
    sharing="free",
    citation=(
        "F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss: "
        "A Database of German Emotional Speech. Interspeech 2005"
    ),
    language="de",
)
