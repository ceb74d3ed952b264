"""What the network is measured against: the same folds, speakers and normalisation.

A baseline gives one vector an utterance, which a linear support vector machine learns from; its C is
chosen by inner folds of training speakers (`models.linear_svm`). Chance plays no part, so there is
one seed. The majority class needs no vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.linear_svm import predict_fold, standardise
from models.mixed_features import common_units, fill_gaps
from models.utterance_vectors import rows_of
from stages.crossvalidate import Evaluation, prediction_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stages.train_options import TrainOptions
    from stages.training_task import Task

    Tick = Callable[[str], None]

SVM = "svm"
MAJORITY = "majority"

MOST_FOR_SVM = 12_000
"""Utterances above which no machine is trained: its kernel, their square, would take gigabytes and hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceVectors:
    """One vector an utterance, as a baseline has them.

    Attributes
    ----------
    name : of the features, such as ``egemaps``
    vectors : float32, shape (n_utterances, dim); what is not finite is a gap
    has_own_units : features are of different units: each is scaled by the training rows first
    """

    name: str
    vectors: np.ndarray
    has_own_units: bool = True


def n_steps(
    task: Task,
    kinds: Sequence[str],
    options: TrainOptions,
    rivals: Sequence[UtteranceVectors] | None,
) -> int:
    """Count the ticks of `cross_validate_baselines`."""
    n_machines = len(kinds) * (options.own_svm + len(rivals or ())) * fits_svm(len(task.targets))
    return len(task.folds) * (n_machines + (rivals is not None))


def cross_validate_baselines(
    task: Task,
    kinds: Sequence[str],
    options: TrainOptions,
    rivals: Sequence[UtteranceVectors] | None,
    tick: Tick,
) -> list[Evaluation]:
    """Evaluate all baselines on the task's folds.

    Parameters
    ----------
    task : what to learn
    kinds : normalisations, each of which every vector is evaluated with
    options : whether the store's own features are among the baselines; the SVM's settings
    rivals : other features of the same utterances; None: not asked for, nor is the majority class
    tick : told of each fold that is done
    """
    machines = []
    if fits_svm(len(task.targets)):
        machines = [*([own_vectors(task)] if options.own_svm else ()), *(rivals or ())]
    evaluations = [
        cross_validate_svm(task, own, kind, options, tick) for own in machines for kind in kinds
    ]
    if rivals is not None:
        evaluations.append(cross_validate_majority(task, options, tick))
    return evaluations


def fits_svm(n_utterances: int) -> bool:
    """Whether utterances are few enough for a linear SVM."""
    return n_utterances <= MOST_FOR_SVM


def own_vectors(task: Task) -> UtteranceVectors:
    """Pool the store's own features, which are alike in size."""
    vectors = rows_of(task.vectors[0], np.arange(len(task.targets)))
    return UtteranceVectors(name=SVM, vectors=vectors, has_own_units=False)


def cross_validate_svm(
    task: Task, own: UtteranceVectors, normalise: str, options: TrainOptions, tick: Tick
) -> Evaluation:
    """Train and test the linear SVM on every fold.

    Parameters
    ----------
    task : what to learn
    own : in the order of the task's utterances
    normalise : ``none``, ``train`` or ``speaker``
    options : settings of the SVM
    tick : told of each fold that is done
    """
    name = f"{own.name}-{normalise}"
    features = "" if own.name == SVM else own.name
    evaluation = Evaluation(
        name=name, classifier="linear_svm", features=features, normalise=normalise
    )
    for fold in task.folds:
        vectors = fill_gaps(own.vectors, task.speakers, fold.train, normalise)
        if own.has_own_units and normalise != "none":
            vectors = common_units(vectors, fold.train)
        probabilities, evaluation.chosen_c[fold.name] = predict_fold(
            standardise(vectors, task.speakers, fold.train, normalise),
            task.targets,
            task.speakers,
            train=fold.train,
            test=fold.test,
            n_labels=len(task.labels),
            settings=options.svm,
        )
        evaluation.tables.append(
            prediction_table(task, fold, probabilities, seed=options.seeds[0], name=name)
        )
        tick(f"{name}, fold {fold.name}")
    return evaluation


def cross_validate_majority(task: Task, options: TrainOptions, tick: Tick) -> Evaluation:
    """Name every test utterance after the most frequent class of the fold's training part.

    Probabilities are the classes' shares there; of equally frequent ones the first is named.
    """
    evaluation = Evaluation(name=MAJORITY, classifier=MAJORITY, normalise="none")
    for fold in task.folds:
        counts = np.bincount(task.targets[fold.train], minlength=len(task.labels))
        shares = (counts / counts.sum()).astype(np.float32)
        table = prediction_table(
            task,
            fold,
            np.tile(shares, (len(fold.test), 1)),
            seed=options.seeds[0],
            name=MAJORITY,
        )
        evaluation.tables.append(table)
        tick(f"{MAJORITY}, fold {fold.name}")
    return evaluation
