"""SUBESCO, Bangla emotional speech: 7000 utterances, 20 actors, 7 emotions, 44.1 and 48 kHz.

Conventions
-----------
`M_10_EVAN_S_8_DISGUST_2.wav` is sex, number, name, "S" and the sentence's number, emotion, take.
Women and men are numbered from 1 each, so that the sex belongs to the speaker's name. One published
file has a stray bracket: `F_02_MONIKA_S_2_SURPRISE_3].wav`.
"""

import re
from pathlib import PurePosixPath

from stages.corpora.named_files import NamedFiles, Row

EMOTIONS = {
    "ANGRY": "anger",
    "DISGUST": "disgust",
    "FEAR": "fear",
    "HAPPY": "happiness",
    "NEUTRAL": "neutral",
    "SAD": "sadness",
    "SURPRISE": "surprise",
}
COUNTS = dict.fromkeys(EMOTIONS.values(), 1000)

_NAME = re.compile(
    r"(?P<speaker>(?P<sex>[FM])_[0-9]{2})_[A-Z]+_S_(?P<sentence>[0-9]{1,2})"
    rf"_(?P<emotion>{'|'.join(EMOTIONS)})_(?P<take>[0-9])"
)


def _row(file: str) -> Row | None:
    name = PurePosixPath(file).stem.removesuffix("]")
    match = _NAME.fullmatch(name)
    if not match:
        return None
    return {
        "utterance_id": name,
        "speaker": match["speaker"],
        "gender": {"F": "female", "M": "male"}[match["sex"]],
        "emotion": EMOTIONS[match["emotion"]],
        "sentence": match["sentence"],
        "repetition": match["take"],
    }


SUBESCO = NamedFiles(
    name="subesco",
    layout="DIR/M_10_EVAN_S_8_DISGUST_2.wav ... (or any folder below)",
    example="M_10_EVAN_S_8_DISGUST_2.wav",
    counts=COUNTS,
    row=_row,
    licence="CC-BY-4.0",
    sharing="free",
    citation=(
        "S. Sultana, M. S. Rahman, M. R. Selim, M. Z. Iqbal: SUST Bangla Emotional Speech Corpus "
        "(SUBESCO). PLoS ONE 16(4), e0250173, 2021, doi 10.1371/journal.pone.0250173"
    ),
    language="bn",
)
