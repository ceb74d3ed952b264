"""URDU, clips of Urdu talk shows: 400 utterances, 4 emotions, 44.1 kHz.

Conventions
-----------
`SM5_F61_N089.wav` is speaker (SM men, SF women), file, emotion and number. A speaker's number is the
same in all emotions. 38 speakers are published; the names hold 29.
"""

import re
from pathlib import PurePosixPath

from stages.corpora.named_files import NamedFiles, Row

EMOTIONS = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}
COUNTS = dict.fromkeys(EMOTIONS.values(), 100)

_NAME = re.compile(r"(?P<speaker>S(?P<sex>[FM])[0-9]+)_F[0-9]+_(?P<emotion>[AHNS])[0-9]+")


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


URDU = NamedFiles(
    name="urdu",
    layout="DIR/Angry/SM1_F10_A010.wav ... and the folders Happy, Neutral and Sad",
    example="SM5_F61_N089.wav",
    counts=COUNTS,
    row=_row,
    licence="for research purposes only",
    sharing="unclear",
    citation=(
        "S. Latif, A. Qayyum, M. Usman, J. Qadir: Cross Lingual Speech Emotion Recognition: Urdu vs. "
        "Western Languages. Frontiers of Information Technology 2018, arXiv 1812.10411"
    ),
    language="ur",
)
