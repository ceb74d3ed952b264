"""The table of predictions, and what an honest one keeps to.

Conventions
-----------
One row an utterance and seed, and the columns ``utterance_id, speaker, fold, seed, truth,
predicted`` and ``p:<label>`` for each label: the probability of that label, rows summing to 1.
Every seed predicts the same utterances, each once, in the same fold and with the same truth. An
empty speaker is unknown; unknown speakers are never one speaker. A column ``evaluation``, if
there is one, holds a single name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["COLUMNS", "MetricsError", "validate"]

COLUMNS = ("utterance_id", "speaker", "fold", "seed", "truth", "predicted")
"""Columns that predictions need beside one ``p:<label>`` a label."""


class MetricsError(ValueError):
    """Predictions from which no honest number can be computed."""


def validate(predictions: pd.DataFrame, labels: Sequence[str]) -> None:
    """Check that predictions keep the conventions of this module.

    Raises
    ------
    MetricsError
        Columns are missing, there is no row, a name is not one of the labels, a probability is
        not one, more than one evaluation is mixed, or the seeds do not predict the same
        utterances in the same folds.
    """
    _check_columns(predictions, labels)
    _check_names(predictions, labels)
    _check_probabilities(predictions, labels)
    _check_seeds(predictions)


def _check_columns(predictions: pd.DataFrame, labels: Sequence[str]) -> None:
    if len(labels) == 0 or len(set(labels)) < len(labels):
        raise MetricsError(f"labels are {list(labels)!r}; expected at least one, each once")
    needed = [*COLUMNS, *(f"p:{label}" for label in labels)]
    missing = [name for name in needed if name not in predictions.columns]
    if missing:
        raise MetricsError(
            f"predictions lack the columns {missing!r}; expected {needed!r}; train again"
        )
    if len(predictions) == 0:
        raise MetricsError("predictions have no rows; expected at least one; train again")
    if "evaluation" in predictions.columns and predictions["evaluation"].nunique() > 1:
        names = sorted(predictions["evaluation"].unique().tolist())
        raise MetricsError(f"predictions mix the evaluations {names!r}; pass the rows of one")


def _check_names(predictions: pd.DataFrame, labels: Sequence[str]) -> None:
    for column in ("truth", "predicted"):
        known = predictions[column].isin(list(labels))
        if not known.all():
            strange = predictions.loc[~known, column].iloc[0]
            raise MetricsError(
                f"{column} holds {strange!r} ({int((~known).sum())} rows); "
                f"expected one of {list(labels)!r}"
            )


def _check_probabilities(predictions: pd.DataFrame, labels: Sequence[str]) -> None:
    values = predictions[[f"p:{label}" for label in labels]].to_numpy(np.float64)
    # float32 softmax rows are off by some 1e-6; 1e-3 is a mistake, not rounding.
    good = np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1)
    good &= np.abs(values.sum(axis=1) - 1.0) < 1e-3
    if not good.all():
        name = predictions["utterance_id"].iloc[int(np.argmin(good))]
        raise MetricsError(
            f"probabilities of {name!r} ({int((~good).sum())} rows) are negative, not finite or "
            "do not sum to 1; expected probabilities; train again"
        )


def _check_seeds(predictions: pd.DataFrame) -> None:
    keys = predictions[["seed", "utterance_id"]]
    if keys.duplicated().any():
        name = predictions.loc[keys.duplicated(), "utterance_id"].iloc[0]
        raise MetricsError(f"{name!r} is predicted twice by one seed; expected once")
    n_seeds = predictions["seed"].nunique()
    grouped = predictions.groupby("utterance_id")
    uneven = grouped.size() != n_seeds
    uneven |= (grouped[["truth", "fold", "speaker"]].nunique(dropna=False) != 1).any(axis=1)
    if uneven.any():
        raise MetricsError(
            f"{uneven.index[int(np.argmax(uneven))]!r} ({int(uneven.sum())} utterances) is not "
            f"predicted by all {n_seeds} seeds with one truth, fold and speaker; train again"
        )
