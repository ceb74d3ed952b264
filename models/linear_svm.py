"""The baseline: one vector an utterance (`models.utterance_vectors`) and a linear support vector machine.

Conventions
-----------
* C is chosen among the training speakers alone, by leaving groups of them out in turn.
* The kernel of all utterances is computed once a fold, every C and inner fold is a part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVC

from models.normalisation import NormalisationSettings, fit_normalisation
from models.utterance_vectors import standardised

if TYPE_CHECKING:
    from collections.abc import Sequence


class SVMError(ValueError):
    """Settings or data that the baseline cannot work with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SVMSettings:
    """How the baseline chooses its C.

    Parameters
    ----------
    c_values : candidates, for a kernel scaled as `linear_kernel` does
    n_inner_folds : at most this many folds of the training speakers
    """

    c_values: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
    n_inner_folds: int = 5

    def __post_init__(self) -> None:
        if not self.c_values or min(self.c_values) <= 0:
            raise SVMError(f"c_values is {self.c_values}; expected one or more numbers above 0")
        if self.n_inner_folds < 2:
            raise SVMError(f"n_inner_folds is {self.n_inner_folds}; expected 2 or more")


def uar(truth: np.ndarray, heard: np.ndarray) -> float:
    """Unweighted average recall over the classes that occur in the truth, in [0, 1].

    Examples
    --------
    >>> uar(np.array([0, 0, 1]), np.array([0, 1, 1]))
    0.75
    """
    return float(recall_score(truth, heard, labels=np.unique(truth), average="macro"))


def standardise(
    vectors: np.ndarray, speakers: Sequence[str], train: np.ndarray, kind: str
) -> np.ndarray:
    """Standardise vectors by the training rows, by each speaker's own rows, or not at all.

    Parameters
    ----------
    vectors : float32, shape (n, n_features)
    speakers : one a row
    train : int64, rows that ``train`` takes its statistics from
    kind : ``none``, ``train`` or ``speaker`` (transductive: a test speaker's own rows are used)
    """
    fitted = fit_normalisation(
        [vectors[train]], ["all of them"], NormalisationSettings(standardise=kind, n_components=0)
    )
    return standardised(fitted, vectors, speakers)


def linear_kernel(vectors: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Inner products of all pairs, divided so that the training rows' mean square norm is 1."""
    kernel = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    return kernel / max(float(np.mean(np.diag(kernel)[train])), np.finfo(np.float64).tiny)


def _decisions(
    kernel: np.ndarray, targets: np.ndarray, train: np.ndarray, test: np.ndarray, c: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the test rows, one column a class that occurs in training, and those classes."""
    machine = SVC(C=c, kernel="precomputed", class_weight="balanced")
    machine.fit(kernel[np.ix_(train, train)], targets[train])
    scores = machine.decision_function(kernel[np.ix_(test, train)])
    if len(machine.classes_) == 2:
        scores = np.stack([-scores, scores], axis=1)
    return scores, machine.classes_


def choose_c(
    kernel: np.ndarray,
    targets: np.ndarray,
    speakers: Sequence[str],
    train: np.ndarray,
    settings: SVMSettings,
) -> float:
    """Choose the C with the best UAR over inner folds of training speakers; a tie: the smallest.

    Raises
    ------
    SVMError
        Fewer than two speakers to choose by.
    """
    groups = np.asarray(speakers, dtype=object)[train]
    n_folds = min(settings.n_inner_folds, len(set(groups)))
    if n_folds < 2:
        raise SVMError(f"{n_folds} training speaker; expected at least 2 to choose C by")
    inner = list(GroupKFold(n_folds).split(train, groups=groups))
    inner = [(fit, held) for fit, held in inner if len(set(targets[train[fit]])) > 1]
    recalls = []
    for c in settings.c_values:
        truth, heard = [], []
        for fit, held in inner:
            scores, classes = _decisions(kernel, targets, train[fit], train[held], c)
            truth.append(targets[train[held]])
            heard.append(classes[scores.argmax(axis=1)])
        recalls.append(uar(np.concatenate(truth), np.concatenate(heard)) if inner else 0.0)
    return settings.c_values[int(np.argmax(recalls))]


def predict_fold(
    vectors: np.ndarray,
    targets: np.ndarray,
    speakers: Sequence[str],
    *,
    train: np.ndarray,
    test: np.ndarray,
    n_labels: int,
    settings: SVMSettings | None = None,
) -> tuple[np.ndarray, float]:
    """Train on some rows, predict others.

    Parameters
    ----------
    vectors : float32, shape (n, n_features), already standardised
    targets : int64, shape (n,)
    speakers : one a row
    train, test : int64 row numbers
    n_labels : classes
    settings : default `SVMSettings`

    Returns
    -------
    probabilities : float32, shape (n_test, n_labels), rows sum to 1
        A softmax of the machine's scores: their order is the machine's, their size is not
        calibrated. A class that does not occur in training has probability 0.
    c : the C that was chosen

    Raises
    ------
    SVMError
        Fewer than two classes or two speakers in training.
    """
    if len(set(targets[train])) < 2:
        raise SVMError("the training rows have one class; expected at least 2")
    kernel = linear_kernel(vectors, train)
    c = choose_c(kernel, targets, speakers, train, settings or SVMSettings())
    scores, classes = _decisions(kernel, targets, train, test, c)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = np.zeros((len(test), n_labels), np.float32)
    probabilities[:, classes] = shares / shares.sum(axis=1, keepdims=True)
    return probabilities, c
