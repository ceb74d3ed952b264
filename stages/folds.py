"""Folds by speaker, session or any other column of the manifest; never by file.

Conventions
-----------
A fold is two sets of rows of one manifest. No speaker and no audio is ever on both sides of one:
folds that would share either are refused, whatever column they were asked for by. Audio is shared
where two rows have one content key, or overlapping times in one audio file (known by its SHA-256).

A speaker is known by name within a corpus: where a manifest mixes corpora, equal names in two of
them are two speakers.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LEFT_OUT_ALONE = 12
"""Up to this many speakers each is left out alone; more are dealt into `N_SPEAKER_FOLDS` folds."""

N_SPEAKER_FOLDS = 10
MAX_FOLDS = 100
MAX_NAMED = 5
"""How many offenders an error message names."""


class FoldError(ValueError):
    """The corpus cannot be cut into folds that share neither speakers nor audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One cut of a corpus.

    Parameters
    ----------
    name : what is left out, or ``fold 01``, ``fold 02``, ... where speakers are dealt into folds
    train, test : int64 row numbers, ascending, without a row in common
    """

    name: str
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """What each row of a manifest was heard from, one entry a row; columns of a table will do.

    Parameters
    ----------
    keys : content key; equal ones are the same audio
    sha256 : of the whole audio file; empty = unknown
    start, end : seconds in that file; NaN is its end
    """

    keys: Sequence[str]
    sha256: Sequence[str] = ()
    start: Sequence[float] = ()
    end: Sequence[float] = ()


def speaker_names(manifest: pd.DataFrame) -> list[str]:
    """Name the speaker of each row: as the manifest does, behind the corpus if there are several.

    Examples
    --------
    >>> import pandas as pd
    >>> speaker_names(pd.DataFrame({"speaker": ["1", "1"], "corpus": ["emodb", "savee"]}))
    ['emodb/1', 'savee/1']
    """
    speakers = [str(speaker) for speaker in manifest["speaker"]]
    if "corpus" not in manifest.columns or manifest["corpus"].nunique() < 2:
        return speakers
    # Names with slashes of their own could fall together: that joins speakers, never parts one.
    return [
        f"{corpus}/{speaker}" for corpus, speaker in zip(manifest["corpus"], speakers, strict=True)
    ]


def make_folds(manifest: pd.DataFrame, audio: Audio, *, column: str = "speaker") -> list[Fold]:
    """Cut a corpus into folds, each row tested exactly once.

    Every value of the column is one fold, save that more than 12 speakers are dealt into ten folds
    of whole speakers and about equal size.

    Parameters
    ----------
    manifest : one row an utterance, with a column ``speaker``
    audio : what each row was heard from
    column : what to fold by

    Raises
    ------
    FoldError
        The column is missing or has empty values, speakers are unknown, there are fewer than two
        groups or more than 100 folds, or a fold shares a speaker or audio between train and test.
    """
    groups = _groups(manifest, column)
    splitter = LeaveOneGroupOut()
    n_groups = len(groups.categories)
    if column == "speaker" and n_groups > MAX_LEFT_OUT_ALONE:
        splitter = GroupKFold(N_SPEAKER_FOLDS)
    elif n_groups > MAX_FOLDS:
        raise FoldError(
            f"column {column!r} has {n_groups} different values; expected at most {MAX_FOLDS} "
            f"folds; choose a coarser column"
        )
    is_dealt = isinstance(splitter, GroupKFold)
    speakers = groups if column == "speaker" else pd.Categorical(speaker_names(manifest))
    audio = replace(audio, keys=_numbered(audio.keys), sha256=_numbered(audio.sha256))
    folds = []
    parts = splitter.split(groups.codes, groups=groups.codes)
    for number, (train, test) in enumerate(parts, start=1):
        name = f"fold {number:02}" if is_dealt else str(groups[test[0]])
        fold = Fold(name=name, train=np.asarray(train), test=np.asarray(test))
        check_fold(fold, speakers, audio)
        folds.append(fold)
    if len({fold.name for fold in folds}) < len(folds):
        raise FoldError(f"folds by {column!r} have equal names; expected different ones")
    return folds


def check_filled(manifest: pd.DataFrame, column: str) -> None:
    """Refuse a manifest without a column, or with empty values in it.

    Raises
    ------
    FoldError
        Names the column that is nearest, or the first utterances without a value.
    """
    if column not in manifest.columns:
        near = difflib.get_close_matches(column, [str(name) for name in manifest.columns], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise FoldError(
            f"the manifest has no column {column!r}; it has {', '.join(manifest.columns)}{hint}"
        )
    empty = manifest.loc[manifest[column] == "", "utterance_id"]
    if len(empty):
        raise FoldError(
            f"{len(empty)} of {len(manifest)} utterances have no {column} "
            f"({_some(empty)}); expected one for each: unknown ones could be on both sides "
            f"of a fold; fill the column in the manifest"
        )


def _groups(manifest: pd.DataFrame, column: str) -> pd.Categorical:
    for needed in ("speaker", column):
        check_filled(manifest, needed)
    values = speaker_names(manifest) if column == "speaker" else map(str, manifest[column])
    groups = pd.Categorical(list(values))
    if len(groups.categories) < 2:
        raise FoldError(
            f"column {column!r} has {len(groups.categories)} different values; expected at least 2 to "
            f"leave one out"
        )
    return groups


def check_fold(
    fold: Fold,
    speakers: Sequence[str],
    audio: Audio,
    *,
    remedy: str = "fold by another column or remove the duplicates",
) -> None:
    """Refuse a fold with a speaker or audio on both sides; the error ends with the remedy.

    Raises
    ------
    FoldError
        Names the fold and the first speakers, keys or files found on both sides.
    """
    shared_audio = _both_sides(fold, audio.keys) or _overlapping(fold, audio)
    for what, shared in (("speaker", _both_sides(fold, speakers)), ("audio", shared_audio)):
        if shared:
            raise FoldError(
                f"fold {fold.name!r} shares {what} {_some(shared)} between training and "
                f"test ({len(shared)} in all); expected none; {remedy}"
            )


def _numbered(names: Sequence[str] | pd.Categorical) -> pd.Categorical:
    """Turn names into numbers, -1 for a name that stands once: no second side can have it.

    Of a million names, numbers cost a tenth of the texts.
    """
    if isinstance(names, pd.Categorical):
        return names
    codes, known = pd.factorize(pd.Series(names, dtype="str"))
    pa.default_memory_pool().release_unused()  # of a million names 160 MB, else kept by Arrow
    often = np.flatnonzero(np.bincount(codes, minlength=len(known)) > 1)
    number_of = np.full(len(known), -1)
    number_of[often] = np.arange(len(often))
    return pd.Categorical.from_codes(number_of[codes], known[often])


def _both_sides(fold: Fold, names: Sequence[str] | pd.Categorical) -> list[str]:
    """Names that stand in training and in test, sorted."""
    known = _numbered(names)
    is_there = np.zeros((2, len(known.categories) + 1), bool)  # the last one is for -1
    for side, rows in zip(is_there, (fold.train, fold.test), strict=True):
        side[known.codes[rows]] = True
    return sorted(known.categories[is_there[:, :-1].all(axis=0)])


def _overlapping(fold: Fold, audio: Audio) -> list[str]:
    """SHA-256 of the files of which training and test hear a common stretch, sorted."""
    if not len(audio.sha256):
        return []
    files = _numbered(audio.sha256)
    on_both = set(_both_sides(fold, files)) - {""}
    is_suspect = files.isin(on_both)
    spans: dict[str, list[tuple[float, float, bool]]] = {sha256: [] for sha256 in sorted(on_both)}
    for rows, is_test in ((fold.train, False), (fold.test, True)):
        for row in rows[is_suspect[rows]]:
            end = math.inf if math.isnan(audio.end[row]) else audio.end[row]
            spans[files[row]].append((audio.start[row], end, is_test))
    return [sha256 for sha256, own in spans.items() if _is_shared(own)]


def _is_shared(spans: list[tuple[float, float, bool]]) -> bool:
    """Whether a test span overlaps a training span; spans that only touch do not."""
    latest = {False: -math.inf, True: -math.inf}
    for start, end, is_test in sorted(spans):
        if start < latest[not is_test]:
            return True
        latest[is_test] = max(latest[is_test], end)
    return False


def _some(names: Sequence[str] | pd.Series) -> str:
    shown = ", ".join(list(names)[:MAX_NAMED])
    return shown + (", ..." if len(names) > MAX_NAMED else "")
