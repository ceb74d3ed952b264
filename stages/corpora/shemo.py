"""ShEMO, Sharif emotional speech: 3000 utterances of Persian radio plays, 87 speakers, 6 emotions.

Conventions
-----------
`F21N23.wav` is sex and number of the speaker, emotion, number. F is a woman before, fear behind the
speaker's number; women and men are numbered from 1 each. Sampling rates differ from file to file.
"""

import re
from pathlib import PurePosixPath

from stages.corpora.named_files import NamedFiles, Row

EMOTIONS = {
    "A": "anger",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "S": "sadness",
    "W": "surprise",
}

_NAME = re.compile(r"(?P<speaker>(?P<sex>[FM])[0-9]{2})(?P<emotion>[AFHNSW])(?P<number>[0-9]{2,3})")


def _row(file: str) -> Row | None:
    name = PurePosixPath(file).stem
    match = _NAME.fullmatch(name)
    if not match:
        return None
    return {
        "utterance_id": name,
        "speaker": match["speaker"],
        "gender": {"F": "female", "M": "male"}[match["sex"]],
        "emotion": EMOTIONS[match["emotion"]],
    }


SHEMO = NamedFiles(
    name="shemo",
    layout="DIR/female/F21N23.wav ... and DIR/male/M02N14.wav ...",
    example="F21N23.wav",
    counts=dict.fromkeys(EMOTIONS.values()),
    total=3000,
    row=_row,
    licence="free of charge for academic purposes",
    sharing="unclear",
    citation=(
        "O. Mohamad Nezami, P. Jamshid Lou, M. Karami: ShEMO: a large-scale validated database for "
        "Persian speech emotion detection. Language Resources and Evaluation 53, 1-16, 2019, "
        "doi 10.1007/s10579-018-9427-x"
    ),
    language="fa",
)
