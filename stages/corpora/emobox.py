"""Lists as EmoBox ships them, one JSON object a line: the `emobox` reader.

Conventions
-----------
An object names its audio `wav` or `audio` and its label `emo` or `label`. `data/CORPUS` holds a list of
everything, `CORPUS.jsonl`, and folders `fold_1, ...` with lists for training, validation and test. One
fold's lists together are the whole corpus again; the column `split` says which list it was. The column
`fold` says in which fold's test list an utterance is, so that `--folds fold` repeats EmoBox' own folds
(which may share speakers; a training refuses those that do). Paths such as `downloads/emodb/...` start
from EmoBox' own folder: give that one as `--audio`.
"""

import re
from pathlib import Path

import pandas as pd

from stages.corpora.foreign_table import foreign_manifest
from stages.corpora.generic import Generic
from stages.corpora.label_files import read_json_lines, text_table, told_first
from stages.corpora.reader import CorpusError, corpus_folder

LAYOUT = (
    "DIR/CORPUS.jsonl (key, wav, emo a line), or DIR/fold_1/CORPUS_train_fold_1.jsonl and its like, "
    "or that folder fold_1, or one such file"
)
_FOLD_FILE = re.compile(r".+_(?P<part>train|valid|test)_fold_?(?P<fold>[0-9]+)\.jsonl")
_SPLITS = {"train": "train", "valid": "dev", "test": "test"}
_COLUMNS = {
    "utterance_id": ("key",),
    "file": ("wav", "audio"),
    "emotion": ("emo", "label"),
    "start": ("start_time",),
    "end": ("end_time",),
    "speaker": ("spk", "speaker"),
    "gender": ("gender",),
    "corpus": ("dataset",),
}


def _read(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    root = folder.parent if folder.is_file() else corpus_folder(folder)
    paths = [folder] if folder.is_file() else _lists(root)
    rows: dict[str, dict[str, str]] = {}
    again = []
    for path in paths:
        for row in _rows(path):
            if row["utterance_id"] in rows:
                again.append(row["utterance_id"])
            else:
                rows[row["utterance_id"]] = row
    problems = [f"read as one: {', '.join(path.name for path in paths)}"] if len(paths) > 1 else []
    problems += told_first(again, "utterance(s) in more than one list, taken once")
    folds = _folds(root)
    if folds:
        rows = {key: {**row, "fold": folds.get(key, "")} for key, row in rows.items()}
    table = text_table(list(rows.values()), source=str(folder))
    manifest, told = foreign_manifest(table, root=root, source=str(folder))
    return manifest, problems + told


def _lists(folder: Path) -> list[Path]:
    """Find the list of everything, or the lists of one fold."""
    lists = sorted(path for path in folder.glob("*.jsonl") if path.is_file())
    of_fold = [path for path in lists if _FOLD_FILE.fullmatch(path.name)]
    plain = [path for path in lists if path not in of_fold]
    if len(plain) == 1:
        return plain
    if not plain and not of_fold:
        for below in sorted(folder.glob("fold_*"), key=_number):
            of_fold = sorted(p for p in below.glob("*.jsonl") if _FOLD_FILE.fullmatch(p.name))
            if of_fold:
                break
    if len(plain) > 1 or not of_fold:
        seen = [path.name for path in plain] or "none"
        text = f"{folder} holds these lists: {seen}; expected {LAYOUT}"
        raise CorpusError(text + "; name the file itself")
    return of_fold


def _number(fold: Path) -> tuple[int, str]:
    digits = re.sub(r"[^0-9]", "", fold.name)
    return (int(digits) if digits else 0, fold.name)


def _rows(path: Path) -> list[dict[str, str]]:
    """Read one list, its fields named as a manifest's."""
    match = _FOLD_FILE.fullmatch(path.name)
    split = {"split": _SPLITS[match["part"]]} if match else {}
    rows = []
    for given in read_json_lines(path):
        row = {
            column: next((given[name] for name in names if name in given), "")
            for column, names in _COLUMNS.items()
        }
        missing = [column for column in ("utterance_id", "file") if not row[column]]
        if missing:
            text = f"{path} has an object with the fields {list(given)}; expected key, wav and emo"
            raise CorpusError(text + "; is it a list of EmoBox?")
        rows.append({**row, **split})
    if not rows:
        raise CorpusError(f"{path} is empty; expected an object a line; is it whole?")
    return rows


def _folds(folder: Path) -> dict[str, str]:
    """Key -> the fold that tests it; nothing where there are not several, or they overlap."""
    folds: dict[str, str] = {}
    paths = [
        (match["fold"], path)
        for path in sorted(folder.glob("fold_*/*.jsonl"))
        if (match := _FOLD_FILE.fullmatch(path.name)) and match["part"] == "test"
    ]
    for fold, path in paths if len(paths) > 1 else []:
        for row in _rows(path):
            if row["utterance_id"] in folds:
                return {}
            folds[row["utterance_id"]] = fold
    return folds


EMOBOX = Generic(name="emobox", layout=LAYOUT, reading=_read)
