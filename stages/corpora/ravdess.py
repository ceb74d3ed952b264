"""RAVDESS, the Ryerson audio-visual database of emotional speech and song: 24 actors, 48 kHz.

Conventions
-----------
A name such as `03-01-06-01-02-01-12.wav` is seven numbers: modality (03 is sound without picture),
channel (01 speech, 02 song), emotion, intensity, statement, repetition and actor; the odd actors
are men. Speech and song are two readers of one corpus: what is published is mostly on speech alone.
A few files are stereo.
"""

import re
from pathlib import PurePosixPath

from stages.corpora.named_files import NamedFiles, Row
from stages.corpora.reader import Sharing

CHANNELS = {"01": "speech", "02": "song"}
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
INTENSITIES = {"01": "normal", "02": "strong"}
# Every emotion but neutral is there in two intensities. Nobody sings disgust and surprise, and
# actor 18 sings nothing.
SPEECH_COUNTS = dict.fromkeys(EMOTIONS.values(), 192) | {"neutral": 96}
SONG_COUNTS = dict.fromkeys(list(EMOTIONS.values())[:6], 184) | {"neutral": 92}

_NAME = re.compile(
    r"03-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])"
    r"-(?P<sentence>0[12])-(?P<repetition>0[12])-(?P<speaker>0[1-9]|1[0-9]|2[0-4])"
)
_LICENCE = "CC-BY-NC-SA-4.0"
_SHARING: Sharing = "free"
_CITATION = (
    "S. R. Livingstone, F. A. Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song "
    "(RAVDESS). PLoS ONE 13(5), e0196391, 2018, doi 10.1371/journal.pone.0196391"
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
        "emotion": EMOTIONS[match["emotion"]],
        "channel": CHANNELS[match["channel"]],
        "intensity": INTENSITIES[match["intensity"]],
        "sentence": match["sentence"],
        "repetition": match["repetition"],
    }


RAVDESS = NamedFiles(
    name="ravdess",
    layout="DIR/Actor_01/03-01-06-01-02-01-01.wav ... (the archive Audio_Speech_Actors_01-24)",
    example="03-01-06-01-02-01-12.wav",
    counts=SPEECH_COUNTS,
    row=_row,
    part=lambda row: row["channel"] == "speech",
    licence=_LICENCE,
    sharing=_SHARING,
    citation=_CITATION,
    language="en",
)

RAVDESS_SONG = NamedFiles(
    name="ravdess-song",
    layout="DIR/Actor_01/03-02-06-01-02-01-01.wav ... (the archive Audio_Song_Actors_01-24)",
    example="03-02-06-01-02-01-12.wav",
    counts=SONG_COUNTS,
    row=_row,
    part=lambda row: row["channel"] == "song",
    corpus="ravdess",
    licence=_LICENCE,
    sharing=_SHARING,
    citation=_CITATION,
    language="en",
)
