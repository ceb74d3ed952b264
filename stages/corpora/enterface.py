"""eNTERFACE'05, audio-visual emotion: reactions of 42 subjects to stories, in English, 6 emotions.

Conventions
-----------
The corpus is video, and no video is read here: take the sound out of every `.avi` first, into a
`.wav` of the same name beside it. `subject 1/anger/sentence 3/s1_an_3.wav` is subject, emotion,
sentence. Where a folder names the subject it is believed rather than the file: all of subject 11's
are called `s12_...`. Some of subject 3's begin with `s_3_`, and there is an `s16_su_3avi`. Subject
6 was never cut into sentences; these six files have no sentence in their names and are left out.
What is published beside them has 43 subjects, one more than the paper.
"""

import re
from pathlib import PurePosixPath

from stages.corpora.named_files import NamedFiles, Row

EMOTIONS = {
    "an": "anger",
    "di": "disgust",
    "fe": "fear",
    "ha": "happiness",
    "sa": "sadness",
    "su": "surprise",
}
# 43 subjects, five sentences an emotion; three of subject 23's happy ones are not there.
COUNTS = dict.fromkeys(EMOTIONS.values(), 215) | {"happiness": 212}

_NAME = re.compile(
    rf"s_?(?P<subject>[0-9]{{1,2}})_(?P<emotion>{'|'.join(EMOTIONS)})_(?P<sentence>[1-5])(?:\.?avi)?"
)
_FOLDER = re.compile(r"subject[ _-]?(?P<subject>[0-9]{1,2})")


def _row(file: str) -> Row | None:
    path = PurePosixPath(file)
    match = _NAME.fullmatch(path.stem)
    if not match:
        return None
    folders = (_FOLDER.fullmatch(parent.name) for parent in path.parents)
    subject = int(next((folder for folder in folders if folder), match)["subject"])
    return {
        "utterance_id": f"s{subject}_{match['emotion']}_{match['sentence']}",
        "speaker": f"s{subject}",
        "gender": "",
        "emotion": EMOTIONS[match["emotion"]],
        "sentence": match["sentence"],
    }


ENTERFACE = NamedFiles(
    name="enterface",
    layout=(
        "DIR/subject 1/anger/sentence 3/s1_an_3.wav ..., the sound of each .avi as a .wav beside it"
    ),
    example="s1_an_3.wav",
    counts=COUNTS,
    row=_row,
    licence="stated in two ways: MIT on its page, as it is quoted, and for research in its paper",
    sharing="unclear",
    citation=(
        "O. Martin, I. Kotsia, B. Macq, I. Pitas: The eNTERFACE'05 Audio-Visual Emotion Database. "
        "ICDE Workshops 2006, doi 10.1109/ICDEW.2006.145"
    ),
    language="en",
)
