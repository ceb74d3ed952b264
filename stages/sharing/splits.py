"""Split files: who is tested in which fold, so that others train on the same folds as we do."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from stages.folds import Audio, Fold, FoldError, make_folds
from stages.sharing.content import Content


def why_no_splits(content: Content, audio_sha256: Sequence[str]) -> str:
    """Say why the utterances cannot be cut into folds by speaker; empty where they can.

    Parameters
    ----------
    content : with the names of the manifest
    audio_sha256 : of each utterance's audio file; empty where it is not known: its name stands in

    Returns
    -------
    str
        The words name speakers and files: ask before names are replaced, tell only where they are not.
    """
    rows = content.manifest
    names = (rows["corpus"] + "/" + rows["file"]).tolist()
    audio = Audio(
        keys=content.keys,
        sha256=[known or name for known, name in zip(audio_sha256, names, strict=True)],
        start=rows["start"].tolist(),
        end=rows["end"].tolist(),
    )
    try:
        make_folds(rows, audio)
    except FoldError as error:
        return str(error)
    return ""


def write_splits(content: Content, path: Path) -> None:
    """Write the folds by speaker of `emostack train`: utterance, and the fold that tests it.

    Everything else of a fold is for training.
    """
    folds = make_folds(content.manifest, Audio(keys=content.keys))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["utterance_id", "fold"])
        writer.writerows(_rows(folds, content.manifest["utterance_id"]))


def _rows(folds: list[Fold], names: pd.Series) -> list[tuple[str, str]]:
    tested_in = {row: fold.name for fold in folds for row in fold.test.tolist()}
    return [(name, tested_in[row]) for row, name in enumerate(names)]
