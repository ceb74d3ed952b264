"""Metrics of speaker-independent emotion recognition.

Conventions
-----------
*Predictions* are the table that `reports.prediction_table` describes: one row an utterance and
seed, of one evaluation.

A *confusion* is int64, shape (n_labels, n_labels): rows are the truth, columns the prediction,
both in the order of the labels.

All results are percent, 0 to 100, unrounded. A class without an utterance of its own (in a fold,
or in a resampled set) has no recall and is left out of the mean there.

Metrics
-------
* `recalls` : recall of each class, NaN where a class is absent.
* `uar` : unweighted average recall: their mean over the classes present (macro recall).
* `wa` : weighted accuracy: share of utterances named correctly.
* `macro_f1` : mean F1 over the classes present.
* `bootstrap_uar` : percentile interval of the UAR when speakers or utterances are resampled.
* `evaluate` : all of them for one evaluation, as a JSON-friendly mapping.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.prediction_table import MetricsError, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "MetricsError",
    "bootstrap_uar",
    "confusion",
    "evaluate",
    "macro_f1",
    "recalls",
    "speaker_units",
    "uar",
    "validate",
    "wa",
]

COVERAGE = 95.0
"""Nominal coverage of the bootstrap intervals, percent."""


def confusion(
    truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> NDArray[Any]:
    """Count who was taken for whom.

    Parameters
    ----------
    truth, predicted : str, length n
    labels : every name that occurs, in the order of rows and columns

    Returns
    -------
    counts : int64, shape (n_labels, n_labels), rows are the truth

    Examples
    --------
    >>> confusion(["a", "a", "b"], ["a", "b", "b"], ["a", "b"])
    array([[1, 1],
           [0, 1]])
    """
    code = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    rows, columns = (np.array([code[name] for name in own], np.int64) for own in (truth, predicted))
    np.add.at(counts, (rows, columns), 1)
    return counts


def recalls(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Recall of each class.

    Parameters
    ----------
    counts : confusion, shape (..., k, k)

    Returns
    -------
    recalls : float64, shape (..., k), percent; NaN for a class that is absent
    """
    totals = counts.sum(axis=-1).astype(np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return 100.0 * hits / np.where(totals > 0, totals, np.nan)


def uar(counts: NDArray[Any]) -> float:
    """Unweighted average recall: macro recall over the classes present.

    Parameters
    ----------
    counts : confusion, shape (k, k), with at least one utterance

    Returns
    -------
    uar : percent

    Examples
    --------
    >>> uar(np.array([[3, 1], [0, 1]]))
    87.5
    """
    return float(np.nanmean(recalls(counts)))


def wa(counts: NDArray[Any]) -> float:
    """Weighted accuracy: the share of utterances that are named correctly.

    Parameters
    ----------
    counts : confusion, shape (k, k), with at least one utterance

    Returns
    -------
    wa : percent

    Examples
    --------
    >>> wa(np.array([[3, 1], [0, 1]]))
    80.0
    """
    return float(100.0 * np.trace(counts) / counts.sum())


def macro_f1(counts: NDArray[Any]) -> float:
    """Mean F1 over the classes present in the truth.

    Parameters
    ----------
    counts : confusion, shape (k, k), with at least one utterance

    Returns
    -------
    macro_f1 : percent

    Examples
    --------
    >>> macro_f1(np.array([[1, 0], [0, 1]]))
    100.0
    """
    totals = counts.sum(axis=1)
    f1 = 200.0 * np.diagonal(counts) / np.maximum(totals + counts.sum(axis=0), 1)
    return float(np.mean(f1[totals > 0]))


def evaluate(
    predictions: pd.DataFrame, labels: Sequence[str], *, n_boot: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Compute every number of one evaluation.

    Parameters
    ----------
    predictions : table of one evaluation, see `reports.prediction_table`
    labels : names of the classes, in the order wanted for rows and columns
    n_boot : resampled sets behind each interval
    seed : of the resampling; the same seed gives the same interval

    Returns
    -------
    metrics : JSON-friendly, all percent but counts

        * ``uar_pooled`` : UAR over all folds together, mean over seeds: the headline
        * ``uar_seeds`` : the same a seed, ascending seeds (listed in ``seeds``)
        * ``uar_ensemble`` : UAR of the probabilities averaged over seeds
        * ``uar_interval``, ``uar_interval_utterances`` : ``[low, high]``, 95 % intervals of
          ``uar_pooled`` by resampling speakers, and utterances; None with fewer than two
        * ``uar_fold_mean``, ``uar_fold_sd`` : over folds (each fold's mean over seeds); the
          deviation is the sample's (n - 1), 0.0 for a single fold
        * ``wa``, ``macro_f1`` : pooled over folds, mean over seeds
        * ``recall_by_class`` : ``{label: recall}``, mean over seeds, classes present only
        * ``confusion`` : counts summed over seeds, rows are the truth, as nested lists
        * ``folds`` : ``[{fold, n, n_classes, speakers, uar, wa}]`` in natural order
        * ``n_utterances``, ``n_speakers``, ``n_boot``

    Raises
    ------
    MetricsError
        The predictions do not keep the conventions.
    """
    labels = list(labels)
    validate(predictions, labels)
    predictions = predictions.sort_values(["seed", "utterance_id"], kind="stable")
    seeds = sorted(predictions["seed"].unique().tolist())
    by_seed = np.stack([_counts(predictions[predictions["seed"] == s], labels) for s in seeds])
    recall = dict(zip(labels, recalls(by_seed).mean(axis=0).tolist(), strict=True))
    uar_seeds = [uar(counts) for counts in by_seed]
    first = predictions[predictions["seed"] == seeds[0]]
    units = speaker_units(first)
    folds = _folds(predictions, labels)
    fold_uars = np.array([fold["uar"] for fold in folds])
    hits, truth = _hits(predictions, labels, len(seeds))
    return {
        "uar_pooled": float(np.mean(uar_seeds)),
        "uar_seeds": uar_seeds,
        "uar_ensemble": uar(_counts(_ensemble(predictions, labels), labels)),
        "uar_interval": bootstrap_uar(hits, truth, units, n_boot=n_boot, seed=seed),
        "uar_interval_utterances": bootstrap_uar(
            hits, truth, np.arange(len(truth)), n_boot=n_boot, seed=seed
        ),
        "uar_fold_mean": float(fold_uars.mean()),
        "uar_fold_sd": float(fold_uars.std(ddof=1)) if len(folds) > 1 else 0.0,
        "wa": float(np.mean([wa(counts) for counts in by_seed])),
        "macro_f1": float(np.mean([macro_f1(counts) for counts in by_seed])),
        "recall_by_class": {k: v for k, v in recall.items() if not np.isnan(v)},
        "confusion": by_seed.sum(axis=0).tolist(),
        "folds": folds,
        "seeds": [int(s) for s in seeds],
        "n_utterances": len(first),
        "n_speakers": int(units.max()) + 1,
        "n_boot": n_boot,
    }


def bootstrap_uar(
    hits: NDArray[Any],
    truth: NDArray[Any],
    units: NDArray[Any],
    *,
    n_boot: int = 1000,
    seed: int = 0,
) -> list[float] | None:
    """Interval of the UAR (mean over seeds) by resampling units with replacement.

    The percentile bootstrap (Efron and Tibshirani 1993, chapter 13), over whole units: with
    speakers as units it is the cluster bootstrap, which keeps what one speaker's utterances have
    in common. With few units it is somewhat too narrow.

    Parameters
    ----------
    hits : bool, or numbers, shape (n_seeds, n)
        Whether a seed named an utterance correctly. Of what one classifier gains over another, -1
        to 1, the interval of their difference comes out.
    truth : int, shape (n,), index of each utterance's class
    units : int, shape (n,), 0 to n_units - 1
        What is drawn as one: the utterance's speaker, or the utterance itself.
    n_boot : number of resampled sets, at least 1
    seed : of the generator

    Returns
    -------
    interval : [low, high], percent, or None for fewer than two units: nothing can be said
    """
    n_units = int(units.max()) + 1
    if n_units < 2:
        return None
    table = np.zeros((n_units, 1 + len(hits), int(truth.max()) + 1))
    np.add.at(table[:, 0], (units, truth), 1)
    for s, hit in enumerate(hits, start=1):
        np.add.at(table[:, s], (units, truth), hit)
    # Units with the same counts are exchangeable: draw the kinds, however many utterances.
    kinds, sizes = np.unique(table, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(n_units, sizes / n_units, size=n_boot)
    sums = np.tensordot(draws, kinds, axes=1)
    totals = sums[:, :1]
    values = 100.0 * np.nanmean(sums[:, 1:] / np.where(totals > 0, totals, np.nan), axis=(1, 2))
    tail = (100.0 - COVERAGE) / 2
    return [float(q) for q in np.percentile(values, [tail, 100.0 - tail])]


def speaker_units(rows: pd.DataFrame) -> NDArray[Any]:
    """Give each speaker a number from 0; an unknown speaker stands for itself alone.

    Parameters
    ----------
    rows : predictions of one seed

    Returns
    -------
    units : int64, shape (n,), as `bootstrap_uar` takes them
    """
    names = zip(rows["speaker"].tolist(), rows["utterance_id"].tolist(), strict=True)
    units = [("speaker", speaker) if speaker else ("utterance", name) for speaker, name in names]
    codes, _ = pd.factorize(pd.Series(units, dtype=object))
    return np.asarray(codes, np.int64)


def _counts(rows: pd.DataFrame, labels: Sequence[str]) -> NDArray[Any]:
    return confusion(rows["truth"].tolist(), rows["predicted"].tolist(), labels)


def _ensemble(predictions: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Truth and prediction of each utterance, its probabilities averaged over seeds."""
    grouped = predictions.groupby("utterance_id", sort=True)
    mean = grouped[[f"p:{label}" for label in labels]].mean().to_numpy(np.float64)
    predicted = [labels[i] for i in mean.argmax(axis=1)]
    return pd.DataFrame({"truth": grouped["truth"].first().tolist(), "predicted": predicted})


def _hits(
    predictions: pd.DataFrame, labels: list[str], n_seeds: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Turn predictions sorted by seed and utterance into what `bootstrap_uar` takes."""
    correct = (predictions["truth"] == predictions["predicted"]).to_numpy(bool)
    hits = correct.reshape(n_seeds, -1)
    code = {label: i for i, label in enumerate(labels)}
    truth = np.array([code[name] for name in predictions["truth"].tolist()[: hits.shape[1]]])
    return hits, truth


def _folds(predictions: pd.DataFrame, labels: list[str]) -> list[dict[str, Any]]:
    """One entry a fold, in natural order (2 before 10), its numbers averaged over seeds."""
    folds = []
    for name, rows in predictions.groupby("fold", sort=False):
        counts = [_counts(part, labels) for _, part in rows.groupby("seed")]
        folds.append(
            {
                "fold": str(name),
                "n": int(rows["utterance_id"].nunique()),
                "n_classes": int(rows["truth"].nunique()),
                "speakers": sorted({str(s) for s in rows["speaker"].unique()}, key=_natural),
                "uar": float(np.mean([uar(c) for c in counts])),
                "wa": float(np.mean([wa(c) for c in counts])),
            }
        )
    return sorted(folds, key=lambda fold: _natural(str(fold["fold"])))


def _natural(text: str) -> tuple[tuple[int, str], ...]:
    """Sort key that counts in numbers where it meets digits."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((int(part), "") if part[0] in "0123456789" else (-1, part) for part in parts)
