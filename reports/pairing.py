"""Evaluations side by side: the utterances that all of them predicted.

Conventions
-----------
An *entry* is one evaluation of one run. *Answers* are a table with one row an utterance, its index
``utterance_id``, ascending, and the columns ``speaker, fold, truth``, ``score`` (share of the seeds
that named it correctly) and ``heard`` (what the probabilities, averaged over seeds, say).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.metrics import speaker_units
from reports.prediction_table import MetricsError, validate
from reports.text import clip

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from reports.run_folder import Evaluation, Run

__all__ = ["CompareError", "Entry", "Matched", "match"]

NAME_LENGTH = 80
"""Characters of a name in a message."""


class CompareError(ValueError):
    """Runs that cannot be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One evaluation of one run.

    Attributes
    ----------
    number : what it is called in tables: the run's number, or the evaluation's where there is one run
    run, evaluation : where it comes from
    """

    number: int
    run: Run
    evaluation: Evaluation

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{_short(self.evaluation.name)} of run {_short(self.run.name)}"

    def rows(self) -> pd.DataFrame:
        """Its predictions, checked.

        Raises
        ------
        CompareError
            The run has none, or not such as an honest number can be computed from.
        """
        if self.run.predictions is None:
            raise CompareError(
                f"run {_short(self.run.name)} has no predictions.parquet; expected the whole folder of a "
                "run; train again"
            )
        rows = self.run.predictions
        rows = rows[rows["evaluation"] == self.evaluation.name]
        try:
            validate(rows, self.run.labels)
        except MetricsError as error:
            raise CompareError(f"{self.name}: {error}") from error
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Entries on the utterances that they share.

    Attributes
    ----------
    entries : the first is what the others are compared with
    rows : predictions of each on the shared utterances
    answers : of each, all with the same index and truth
    n_left_out : utterances that some of them predicted, but not all
    """

    entries: tuple[Entry, ...]
    rows: tuple[pd.DataFrame, ...]
    answers: tuple[pd.DataFrame, ...]
    n_left_out: int

    @property
    def labels(self) -> list[str]:
        """The classes spoken, in the first run's order."""
        spoken = set(self.answers[0]["truth"])
        return [label for label in self.entries[0].run.labels if label in spoken]

    @property
    def truth(self) -> NDArray[Any]:
        """Index of each utterance's class among the labels: int64, shape (n,)."""
        return np.asarray(pd.Index(self.labels).get_indexer(self.answers[0]["truth"]), np.int64)

    @property
    def speakers(self) -> NDArray[Any]:
        """Units of `reports.significance`, by the first run's names: int64, shape (n,)."""
        return speaker_units(self.answers[0].reset_index())


def match(entries: Sequence[Entry]) -> Matched:
    """Find the utterances that all entries predicted.

    Raises
    ------
    CompareError
        There is none, or two entries hold different truths for one.
    """
    tables = [entry.rows() for entry in entries]
    answers = [
        _answers(rows, entry.run.labels) for rows, entry in zip(tables, entries, strict=True)
    ]
    shared, known = answers[0].index, answers[0].index
    for other, entry in zip(answers[1:], entries[1:], strict=True):
        if shared.intersection(other.index).empty:
            raise CompareError(
                f"{entry.name} and {entries[0].name} share no utterance; expected predictions of "
                "the same utterances; compare runs on one corpus"
            )
        shared, known = shared.intersection(other.index), known.union(other.index)
    shared = shared.sort_values()
    matched = Matched(
        entries=tuple(entries),
        rows=tuple(rows[rows["utterance_id"].isin(shared)] for rows in tables),
        answers=tuple(table.loc[shared] for table in answers),
        n_left_out=len(known) - len(shared),
    )
    _check_truths(matched)
    return matched


def _answers(rows: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    rows = rows.assign(score=(rows["truth"] == rows["predicted"]).astype(float))
    shares = [f"p:{label}" for label in labels]
    grouped = rows.groupby("utterance_id", sort=True)
    table = grouped[["speaker", "fold", "truth"]].first()
    best = grouped[shares].mean().to_numpy().argmax(axis=1)
    heard = [labels[i] for i in best]
    return table.assign(score=grouped["score"].mean(), heard=heard)


def _check_truths(matched: Matched) -> None:
    first = matched.answers[0]["truth"]
    for entry, other in zip(matched.entries[1:], matched.answers[1:], strict=True):
        differs = (first != other["truth"]).to_numpy()
        if differs.any():
            name = first.index[differs][0]
            ours, theirs = (_short(table[name]) for table in (first, other["truth"]))
            raise CompareError(
                f"{_short(name)} is {ours} in {matched.entries[0].name} and "
                f"{theirs} in {entry.name} ({int(differs.sum())} utterances differ); expected one "
                "truth; compare runs on the same labels"
            )


def _short(name: str) -> str:
    return clip(repr(name), NAME_LENGTH)
