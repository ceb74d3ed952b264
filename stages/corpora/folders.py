"""Any corpus with one folder a class: the `folders` reader."""

from pathlib import Path, PurePosixPath

import pandas as pd

from stages.corpora.foreign_table import AUDIO_SUFFIXES, foreign_manifest
from stages.corpora.generic import Generic
from stages.corpora.label_files import text_table, told_first
from stages.corpora.named_files import audio_files
from stages.corpora.reader import CorpusError, corpus_folder
from stages.corpora.splits import SPLIT_FOLDERS

LAYOUT = "DIR/CLASS/... with audio in each folder, CLASS being the emotion; who speaks is not known"


def _read(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Take the first folder of each path for the class; folders below it may have any names."""
    files, problems = named_audio(corpus_folder(folder))
    loose = [file for file in files if "/" not in file]
    rows = [
        {"file": file, "speaker": "", "emotion": PurePosixPath(file).parts[0]}
        for file in files
        if "/" in file
    ]
    classes = sorted({row["emotion"] for row in rows})
    if not classes:
        text = f"{folder} holds no folder with audio in it; expected {LAYOUT}"
        raise CorpusError(text + "; check the path")
    if all(name.lower() in SPLIT_FOLDERS for name in classes):
        text = f"{folder} holds the folders {classes}, which are splits; expected one a class"
        raise CorpusError(text + "; read it as 'audiofolder', or give one of them")
    problems += told_first(loose, "audio file(s) in no class' folder left out")
    if len(classes) == 1:
        problems.append(f"only one class, {classes[0]!r}; is it the right folder?")
    table = text_table(rows, source=str(folder))
    manifest, told = foreign_manifest(table, root=folder, source=str(folder))
    return manifest, problems + told


def named_audio(folder: Path) -> tuple[list[str], list[str]]:
    """List the audio below a folder, without names that are no Unicode, which are told."""
    files = audio_files(folder, AUDIO_SUFFIXES)
    odd = [ascii(file) for file in files if not _is_unicode(file)]
    files = [file for file in files if _is_unicode(file)]
    return files, told_first(odd, "audio file(s) whose names are no Unicode left out")


def _is_unicode(text: str) -> bool:
    # A name that is no UTF-8 arrives with surrogates in it, and no table can hold those.
    return not any("\ud800" <= character <= "\udfff" for character in text)


FOLDERS = Generic(name="folders", layout=LAYOUT, reading=_read)
