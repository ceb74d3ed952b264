"""CREMA-D, crowd-sourced emotional multimodal actors: 7442 clips, 91 actors, 6 emotions, 16 kHz.

Conventions
-----------
A name such as `1001_IEO_ANG_HI.wav` is actor, sentence, emotion, level; one file, of actor 1040,
has a level of one letter. The corpus' table `VideoDemographics.csv` knows the actors' sex. Only the
wav files are read: the same clips lie beside them as MP3 and as video.
"""

import csv
import re
from pathlib import Path, PurePosixPath

from stages.corpora.named_files import LookUp, NamedFiles, Row

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
COUNTS = dict.fromkeys(EMOTIONS.values(), 1271) | {"neutral": 1087}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "", "X": ""}
TABLE = "VideoDemographics.csv"

_NAME = re.compile(
    rf"(?P<speaker>1[0-9]{{3}})_(?P<sentence>[A-Z]{{3}})_(?P<emotion>{'|'.join(EMOTIONS)})"
    rf"_(?P<level>{'|'.join(LEVELS)})"
)


def _row(file: str) -> Row | None:
    name = PurePosixPath(file).stem
    match = _NAME.fullmatch(name)
    if not match:
        return None
    return {
        "utterance_id": name,
        "speaker": match["speaker"],
        "gender": "",
        "emotion": EMOTIONS[match["emotion"]],
        "intensity": LEVELS[match["level"]],
        "sentence": match["sentence"],
    }


def _look_up(folder: Path) -> tuple[LookUp, list[str]]:
    sexes, problems = _sexes(folder)
    return (lambda row: {**row, "gender": sexes.get(row["speaker"], "")}), problems


def _sexes(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Read the actors' sex from the table in the folder, or beside it (who names AudioWAV)."""
    places = [*sorted(folder.rglob(TABLE)), folder.absolute().parent / TABLE]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return {}, [f"no {TABLE}: gender left empty"]
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return {}, [f"{path} does not read as CSV ({error}): gender left empty"]
    sexes = {
        str(row.get("ActorID")).strip(): sex
        for row in rows
        if (sex := str(row.get("Sex")).strip().lower()) in ("female", "male")
    }
    return sexes, [] if sexes else [f"{path} has no columns ActorID and Sex: gender left empty"]


CREMAD = NamedFiles(
    name="cremad",
    layout="DIR/AudioWAV/1001_IEO_ANG_HI.wav ... and DIR/VideoDemographics.csv; or the wav folder",
    example="1001_IEO_ANG_HI.wav",
    counts=COUNTS,
    row=_row,
    look_up=_look_up,
    flaws={
        "1076_MTI_SAD_XX": "holds no sound in the published corpus; 'extract' will quarantine it"
    },
    licence="ODbL-1.0, its contents DbCL-1.0",
    sharing="free",
    citation=(
        "H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma: CREMA-D: "
        "Crowd-sourced Emotional Multimodal Actors Dataset. IEEE Transactions on Affective "
        "Computing 5(4), 377-390, 2014, doi 10.1109/TAFFC.2014.2336244"
    ),
    language="en",
)
