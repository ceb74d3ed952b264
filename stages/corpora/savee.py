"""SAVEE, Surrey audio-visual expressed emotion: 480 utterances, 4 men, 7 emotions, 44.1 kHz.

Conventions
-----------
`DC/sa03.wav` is speaker DC, sadness, sentence 3; copies without folders call it `DC_sa03.wav`. That
is the utterance's name in both cases. The numbers count within an emotion, so that the same number
is rarely the same sentence.
"""

import re

from stages.corpora.named_files import NamedFiles, Row

EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
COUNTS = dict.fromkeys(EMOTIONS.values(), 60) | {"neutral": 120}

_PATH = re.compile(
    rf"(?:.*/)?(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>{'|'.join(EMOTIONS)})(?P<number>[0-9]{{2}})"
    r"\.[^./]+",
    re.DOTALL,
)


def _row(file: str) -> Row | None:
    match = _PATH.fullmatch(file)
    if not match:
        return None
    return {
        "utterance_id": f"{match['speaker']}_{match['emotion']}{match['number']}",
        "speaker": match["speaker"],
        "gender": "male",
        "emotion": EMOTIONS[match["emotion"]],
    }


SAVEE = NamedFiles(
    name="savee",
    layout="DIR/AudioData/DC/a01.wav ... for DC, JE, JK and KL, or DIR/DC_a01.wav ...",
    example="DC/a01.wav or DC_a01.wav",
    counts=COUNTS,
    row=_row,
    licence="SAVEE licence agreement: copies and derived works within one's own organisation only",
    sharing="forbidden",
    citation=(
        "S. Haq, P. J. B. Jackson: Multimodal Emotion Recognition. In W. Wang (ed.): Machine "
        "Audition: Principles, Algorithms and Systems, 398-423, IGI Global 2010, "
        "doi 10.4018/978-1-61520-919-4.ch017"
    ),
    language="en",
)
