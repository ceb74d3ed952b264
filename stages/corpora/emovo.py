"""EMOVO, Italian emotional speech: 588 utterances, 6 actors, 7 emotions, 48 kHz.

Conventions
-----------
`dis-f2-n2.wav` is emotion (Italian initials), speaker (f1 to f3, m1 to m3), sentence.
"""

import re
from pathlib import PurePosixPath

from stages.corpora.named_files import NamedFiles, Row

EMOTIONS = {
    "dis": "disgust",  # disgusto
    "gio": "happiness",  # gioia
    "neu": "neutral",
    "pau": "fear",  # paura
    "rab": "anger",  # rabbia
    "sor": "surprise",  # sorpresa
    "tri": "sadness",  # tristezza
}
COUNTS = dict.fromkeys(sorted(EMOTIONS.values()), 84)

_NAME = re.compile(
    rf"(?P<emotion>{'|'.join(EMOTIONS)})-(?P<speaker>[fm][1-3])-(?P<sentence>[bdln][1-5])"
)


def _row(file: str) -> Row | None:
    name = PurePosixPath(file).stem
    match = _NAME.fullmatch(name)
    if not match:
        return None
    return {
        "utterance_id": name,
        "speaker": match["speaker"],
        "gender": {"f": "female", "m": "male"}[match["speaker"][0]],
        "emotion": EMOTIONS[match["emotion"]],
        "sentence": match["sentence"],
    }


EMOVO = NamedFiles(
    name="emovo",
    layout="DIR/f1/dis-f1-b1.wav ... for f1, f2, f3, m1, m2 and m3",
    example="dis-f2-n2.wav",
    counts=COUNTS,
    row=_row,
    licence="not known",
    sharing="unclear",
    citation=(
        "G. Costantini, I. Iaderola, A. Paoloni, M. Todisco: EMOVO Corpus: an Italian Emotional "
        "Speech Database. LREC 2014, 3501-3504"
    ),
    language="it",
)
