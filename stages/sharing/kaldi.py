"""Export to Kaldi: a data directory with one matrix of features an utterance.

Conventions
-----------
Lists are UTF-8, one record a line, in the order of their bytes, as Kaldi's tools ask for. So they are
only right if utterances sort like their speakers, and an utterance's name begins with its speaker's:
one that does not gets the form ``speaker-utterance``. Where that is not enough, because one speaker's
name begins like another's, all get it. ``utt2id`` has the manifest's names.

An utterance of an unknown speaker is its own speaker. Speakers of one name in several corpora are
told apart by the corpus' name. A speaker whose rows disagree on the gender has none in
``spk2gender``, nor has one whose gender is neither of the two that Kaldi knows.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from stages.folds import speaker_names
from stages.sharing.content import Content
from stages.sharing.format import ExportError, Format

ARK = "feats.ark"
_GENDERS = {"female": "f", "f": "f", "male": "m", "m": "m"}


def write(content: Content, folder: Path) -> None:
    """Write `ARK` and the lists.

    Raises
    ------
    ExportError
        A name is none to Kaldi: it has white space or control characters in it, or two names fall
        together.
    """
    rows = _rows(content.manifest)
    offsets = _write_matrices(content, rows, folder / ARK)
    ids = rows["id"].tolist()
    lists = {
        "feats.scp": zip(ids, (f"{ARK}:{offset}" for offset in offsets), strict=True),
        "utt2spk": zip(ids, rows["kaldi_speaker"], strict=True),
        "spk2utt": ((name, " ".join(own["id"])) for name, own in rows.groupby("kaldi_speaker")),
        "utt2id": zip(ids, rows["utterance_id"], strict=True),
        "utt2num_frames": zip(ids, content.n_rows[rows.index].tolist(), strict=True),
        "utt2emo": ((i, name) for i, name in zip(ids, rows["emotion"], strict=True) if name),
        "spk2gender": _genders(rows),
    }
    for name, records in lists.items():
        text = "".join(f"{key} {value}\n" for key, value in records)
        if text:  # Kaldi takes an empty list for a broken one
            (folder / name).write_text(text, encoding="utf-8")


def _rows(manifest: pd.DataFrame) -> pd.DataFrame:
    """Name utterances and speakers as Kaldi wants them, and sort the rows so."""
    rows = manifest[["utterance_id", "speaker", "gender", "emotion", "corpus"]]
    in_corpora = rows[rows["speaker"] != ""].groupby("speaker")["corpus"].nunique()
    names = speaker_names(rows) if (in_corpora > 1).any() else rows["speaker"].tolist()
    utterances, is_known = rows["utterance_id"].tolist(), (rows["speaker"] != "").tolist()
    speakers = [
        name if known else utterance
        for name, known, utterance in zip(names, is_known, utterances, strict=True)
    ]
    rename = "rename it, or give --anonymise"
    _refuse_bad("utterance_id", utterances, rename)
    _refuse_bad("speaker", speakers, rename)
    _refuse_bad("emotion", filter(None, rows["emotion"]), "rename it in the manifest")
    ids = _ids(utterances, speakers, is_known)
    # UTF-8 keeps the order of code points, so this is the order of the bytes.
    return rows.assign(id=ids, kaldi_speaker=speakers).sort_values("id")


def _refuse_bad(column: str, names: Iterable[str], remedy: str) -> None:
    # `str.split` of Python's readers breaks at more than Kaldi's own isspace.
    bad = sorted({name for name in names if name.split() != [name] or _has_control(name)})
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        message = (
            f"{column} {bad[0]!r}{more} cannot be a name in a Kaldi list; expected no white space "
            f"and no control characters; {remedy}"
        )
        raise ExportError(message)


def _has_control(name: str) -> bool:
    return any(character < " " or character == "\x7f" for character in name)


def _ids(utterances: list[str], speakers: list[str], is_known: list[bool]) -> list[str]:
    rows = list(zip(utterances, speakers, is_known, strict=True))
    short = [u if not known or u.startswith(s) else f"{s}-{u}" for u, s, known in rows]
    long = [f"{s}-{u}" if known else u for u, s, known in rows]
    both = {s for _, s, known in rows if known} & {u for u, _, known in rows if not known}
    problem = f"{min(both)!r} is a speaker, and an utterance without one" if both else ""
    for ids in (short, long):
        found = problem or _problem(ids, speakers)
        if not found:
            return ids
    message = f"{found}; expected utterances that sort like their speakers"
    raise ExportError(f"{message}; rename them, or give --anonymise")


def _problem(ids: Sequence[str], speakers: Sequence[str]) -> str:
    """Say what is wrong with these names; empty if nothing is."""
    for (name, speaker), (next_name, next_speaker) in pairwise(
        sorted(zip(ids, speakers, strict=True))
    ):
        if name == next_name:
            return f"two utterances would be called {name!r}"
        if speaker > next_speaker:
            return (
                f"utterance {name!r} of speaker {speaker!r} sorts before {next_name!r} of speaker "
                f"{next_speaker!r}"
            )
    return ""


def _genders(rows: pd.DataFrame) -> list[tuple[str, str]]:
    genders = rows.assign(gender=[_GENDERS.get(word.lower(), "") for word in rows["gender"]])
    stated = genders[genders["gender"] != ""].drop_duplicates(["kaldi_speaker", "gender"])
    certain = stated.drop_duplicates("kaldi_speaker", keep=False).sort_values("kaldi_speaker")
    return list(zip(certain["kaldi_speaker"], certain["gender"], strict=True))


def _write_matrices(content: Content, rows: pd.DataFrame, path: Path) -> list[int]:
    """Write one binary float32 matrix a row; where each begins, in bytes, behind its name."""
    offsets = []
    with path.open("wb") as file:
        for number, name in zip(rows.index, rows["id"], strict=True):
            matrix = content.stack(number)[0].astype("<f4")
            file.write(f"{name} ".encode())
            offsets.append(file.tell())
            shape = struct.pack("<bibi", 4, matrix.shape[0], 4, matrix.shape[1])
            file.write(b"\0BFM " + shape)
            file.write(np.ascontiguousarray(matrix).data)
    return offsets


FORMAT = Format(
    name="kaldi",
    files=(
        "A Kaldi data directory: feats.scp and feats.ark hold a matrix of float32 an utterance, one "
        "row of features a row; utt2spk, spk2utt, utt2num_frames, and utt2emo and spk2gender as far "
        "as they are known. Names begin with the speaker's; utt2id has the plain ones."
    ),
    snippet="""\
import kaldiio

matrices = kaldiio.load_scp("feats.scp")
features = next(iter(matrices.values()))
""",
    write=write,
    numbers="float32",
)
