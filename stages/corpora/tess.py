"""TESS, the Toronto emotional speech set: 2800 utterances, 2 women, 7 emotions, 24.4 kHz.

Conventions
-----------
`OAF_back_angry.wav` is the older actress' word "back" in "Say the word back"; YAF is the younger
one, `ps` a pleasant surprise. One file is called `OA_bite_neutral.wav`: its F got lost.
"""

import re
from pathlib import PurePosixPath

from stages.corpora.named_files import NamedFiles, Row

EMOTIONS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sadness",
}
COUNTS = dict.fromkeys(EMOTIONS.values(), 400)

_NAME = re.compile(rf"(?P<voice>[OY])AF?_(?P<word>[a-z]+)_(?P<emotion>{'|'.join(EMOTIONS)})")


def _row(file: str) -> Row | None:
    match = _NAME.fullmatch(PurePosixPath(file).stem)
    if not match:
        return None
    speaker = f"{match['voice']}AF"
    return {
        "utterance_id": f"{speaker}_{match['word']}_{match['emotion']}",
        "speaker": speaker,
        "gender": "female",
        "emotion": EMOTIONS[match["emotion"]],
        "sentence": match["word"],
    }


TESS = NamedFiles(
    name="tess",
    layout="DIR/OAF_angry/OAF_back_angry.wav ... or the wav files in DIR itself",
    example="OAF_back_angry.wav",
    counts=COUNTS,
    row=_row,
    licence="CC-BY-NC-ND-4.0",
    sharing="forbidden",
    citation=(
        "M. K. Pichora-Fuller, K. Dupuis: Toronto emotional speech set (TESS). "
        "Scholars Portal Dataverse 2020, doi 10.5683/SP2/E8H2MF"
    ),
    language="en",
)
