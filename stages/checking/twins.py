"""The same sound under two names: in one manifest, or in two that meet in an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features_cache.lookup import positions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DUPLICATED = "duplicated"
CONFLICTING = "duplicated_conflicting"
"""One sound with two emotions or two speakers: one of the two answers is wrong, and folds by speaker
would learn the one and test the other."""

_WORDS = ("emotion", "speaker")


def twins(rows: pd.DataFrame, digests: pd.Series) -> Iterator[tuple[int, str, str]]:
    """Find every utterance whose sound has been there before.

    Parameters
    ----------
    rows : of one manifest or several, with the columns `utterance_id`, `emotion`, `speaker`,
        `corpus` and `manifest`; an empty emotion or speaker agrees with any
    digests : of each row's sound; empty = not to be compared

    Yields
    ------
    (row number, code, message)
        In the rows' order; the first of equals is not among them.
    """
    first = positions(digests, digests)
    is_twin = (digests != "").to_numpy(bool) & (first != np.arange(len(rows)))
    model = first.copy()
    is_conflict = np.zeros(len(rows), bool)
    for word in _WORDS:
        known, has_other = _first_known(rows[word].str.strip(), first)
        is_new = is_twin & has_other & ~is_conflict
        model[is_new] = known[is_new]
        is_conflict |= is_new
    names_by = [name for name in ("corpus", "manifest") if rows[name].nunique() > 1]
    found = np.flatnonzero(is_twin)
    here, there = (rows.iloc[which].to_dict("records") for which in (found, model[found]))
    for row, own, other in zip(found.tolist(), here, there, strict=True):
        code = CONFLICTING if is_conflict[row] else DUPLICATED
        yield row, code, _message(own, other, names_by)


def _first_known(
    words: pd.Series, first: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Tell for each row which of its equals was first to have a word, and whether it is another."""
    is_known = (words != "").to_numpy(bool)
    numbers = pd.Series(np.where(is_known, np.arange(len(words)), np.nan))
    known = numbers.groupby(first).transform("first").fillna(-1).to_numpy(np.int64)
    values = words.to_numpy(object)
    return known, is_known & (values != values[known])


def _message(own: dict[str, str], other: dict[str, str], names_by: list[str]) -> str:
    where = ", ".join(f"{name} {other[name]!r}" for name in names_by if other[name])
    same = f"the same audio as utterance {other['utterance_id']!r}{where and f' ({where})'}"
    pairs = [(word, own[word].strip(), other[word].strip()) for word in _WORDS]
    differences = [
        f"the {word} is {here!r} here and {there!r} there"
        for word, here, there in pairs
        if here and there and here != there
    ]
    if not differences:
        return f"{same}; expected it once; leave one of them out"
    return f"{same}, but {' and '.join(differences)}; expected one answer; leave the wrong one out"
