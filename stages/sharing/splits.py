"""Split files: who is tested in which fold, so that others train on the same folds as we do."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from stages.folds import Audio, Fold, FoldError, make_folds
from stages.sharing.content import Content


def why_no_splits(content: Content, audio_sha256: pd.Series) -> str:
    """Say why the utterances cannot be cut into folds by speaker; empty where they can.

    Parameters
    ----------
    content : with the names of the manifest
    audio_sha256 : text, of each utterance's audio file; empty where it is not known: its name stands in

    Returns
    -------
    str
        The words name speakers and files: ask before names are replaced, tell only where they are not.
    """
    rows = content.manifest
    names = rows["corpus"] + "/" + rows["file"]
    audio = Audio(
        keys=content.keys,
        sha256=audio_sha256.mask(audio_sha256 == "", names),
        start=rows["start"].to_numpy(),
        end=rows["end"].to_numpy(),
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


def _rows(folds: list[Fold], names: pd.Series) -> Iterator[tuple[str, str]]:
    tested_in = np.empty(len(names), np.int64)
    for number, fold in enumerate(folds):
        tested_in[fold.test] = number
    return ((name, folds[number].name) for name, number in zip(names, tested_in, strict=True))
