"""CaFE, Canadian French emotional speech: 936 utterances, 12 actors, 7 emotions, 48 or 192 kHz.

Conventions
-----------
`06-P-2-5.wav` is actor, emotion (French initials), intensity, sentence; the odd actors are men.
Neutral has no intensity: `06-N-5.wav`. The 192 kHz release comes as AIFF; whoever unpacked both has
every recording twice.
"""

import re
from pathlib import PurePosixPath

from stages.corpora.named_files import NamedFiles, Row

EMOTIONS = {
    "C": "anger",  # colère
    "D": "disgust",  # dégoût
    "J": "happiness",  # joie
    "N": "neutral",
    "P": "fear",  # peur
    "S": "surprise",
    "T": "sadness",  # tristesse
}
COUNTS = dict.fromkeys(sorted(EMOTIONS.values()), 144) | {"neutral": 72}
INTENSITIES = {"1": "low", "2": "high", None: ""}  # faible, fort

_NAME = re.compile(
    r"(?P<speaker>0[1-9]|1[0-2])-(?:N|(?P<emotion>[CDJPST])-(?P<intensity>[12]))-(?P<sentence>[1-6])"
)


def _row(file: str) -> Row | None:
    name = PurePosixPath(file).stem
    match = _NAME.fullmatch(name)
    if not match:
        return None
    return {
        "utterance_id": name,
        "speaker": match["speaker"],
        "gender": "male" if int(match["speaker"]) % 2 else "female",
        "emotion": EMOTIONS[match["emotion"] or "N"],
        "intensity": INTENSITIES[match["intensity"]],
        "sentence": match["sentence"],
    }


CAFE = NamedFiles(
    name="cafe",
    layout="DIR/Peur/Fort/06-P-2-5.wav ... and DIR/Neutre/06-N-5.wav ..., as wav or aiff",
    example="06-P-2-5.wav",
    counts=COUNTS,
    row=_row,
    licence="CC-BY-NC-SA-4.0",
    sharing="free",
    citation=(
        "P. Gournay, O. Lahaie, R. Lefebvre: A Canadian French Emotional Speech Dataset. "
        "ACM Multimedia Systems Conference 2018, 399-402, doi 10.5281/zenodo.1478765"
    ),
    language="fr",
    suffixes=(".wav", ".aiff", ".aif"),
)
