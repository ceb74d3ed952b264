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
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    ids = rows["id"]
    lists = {
        "feats.scp": zip(ids, (f"{ARK}:{offset}" for offset in offsets), strict=True),
        "utt2spk": zip(ids, rows["kaldi_speaker"], strict=True),
        "spk2utt": ((name, " ".join(own)) for name, own in ids.groupby(rows["kaldi_speaker"])),
        "utt2id": zip(ids, rows["utterance_id"], strict=True),
        "utt2num_frames": zip(ids, content.n_rows[rows.index], strict=True),
        "utt2emo": ((i, name) for i, name in zip(ids, rows["emotion"], strict=True) if name),
        "spk2gender": _genders(rows),
    }
    for name, records in lists.items():
        with (folder / name).open("w", encoding="utf-8") as file:
            file.writelines(f"{key} {value}\n" for key, value in records)
        if not (folder / name).stat().st_size:  # Kaldi takes an empty list for a broken one
            (folder / name).unlink()


def _rows(manifest: pd.DataFrame) -> pd.DataFrame:
    """Name utterances and speakers as Kaldi wants them, and sort the rows so."""
    rows = manifest[["utterance_id", "speaker", "gender", "emotion", "corpus"]]
    is_known = rows["speaker"] != ""
    in_corpora = rows[is_known].groupby("speaker")["corpus"].nunique()
    if (in_corpora > 1).any():
        rows = rows.assign(speaker=pd.Series(speaker_names(rows), rows.index, "str"))
    speakers = rows["speaker"].where(is_known, rows["utterance_id"])
    rename = "rename it, or give --anonymise"
    _refuse_bad("utterance_id", rows["utterance_id"], rename)
    _refuse_bad("speaker", speakers, rename)
    _refuse_bad("emotion", filter(None, rows["emotion"]), "rename it in the manifest")
    ids = _ids(rows["utterance_id"], speakers, is_known)
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


def _ids(utterances: pd.Series, speakers: pd.Series, is_known: pd.Series) -> pd.Series:
    both = set(speakers[is_known]) & set(utterances[~is_known])
    found = f"{min(both)!r} is a speaker, and an utterance without one" if both else ""
    long = (speakers + "-" + utterances).where(is_known, utterances)
    pairs = zip(utterances, speakers, strict=True)
    is_long = np.fromiter((not u.startswith(s) for u, s in pairs), bool, len(utterances))
    for ids in (long.where(is_long, utterances), long):
        problem = found or _problem(ids, speakers)
        if not problem:
            return ids
    message = f"{problem}; expected utterances that sort like their speakers"
    raise ExportError(f"{message}; rename them, or give --anonymise")


def _problem(ids: pd.Series, speakers: pd.Series) -> str:
    """Say what is wrong with these names; empty if nothing is."""
    ids = ids.sort_values(kind="stable")
    speakers = speakers.loc[ids.index]
    is_twice = ids.array[1:] == ids.array[:-1]
    is_wrong = np.asarray(is_twice | (speakers.array[:-1] > speakers.array[1:]), bool)
    if not is_wrong.any():
        return ""
    at = int(is_wrong.argmax())
    if ids.iloc[at] == ids.iloc[at + 1]:
        return f"two utterances would be called {ids.iloc[at]!r}"
    return (
        f"utterance {ids.iloc[at]!r} of speaker {speakers.iloc[at]!r} sorts before "
        f"{ids.iloc[at + 1]!r} of speaker {speakers.iloc[at + 1]!r}"
    )


def _genders(rows: pd.DataFrame) -> list[tuple[str, str]]:
    genders = rows.assign(gender=[_GENDERS.get(word.lower(), "") for word in rows["gender"]])
    stated = genders[genders["gender"] != ""].drop_duplicates(["kaldi_speaker", "gender"])
    certain = stated.drop_duplicates("kaldi_speaker", keep=False).sort_values("kaldi_speaker")
    return list(zip(certain["kaldi_speaker"], certain["gender"], strict=True))


def _write_matrices(content: Content, rows: pd.DataFrame, path: Path) -> NDArray[np.int64]:
    """Write one binary float32 matrix a row; where each begins, in bytes, behind its name."""
    offsets = np.empty(len(rows), np.int64)
    with path.open("wb") as file:
        for i, (number, name) in enumerate(zip(rows.index, rows["id"], strict=True)):
            matrix = content.stack(number)[0].astype("<f4")
            file.write(f"{name} ".encode())
            offsets[i] = file.tell()
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
