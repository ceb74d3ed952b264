"""Cross-validation of the classifier over folds that share neither speakers nor audio.

Conventions
-----------
Mean, deviation, principal components and the linear path are fitted on a fold's training part and its
views alone; the network is trained once, on all of that part, for a fixed number of epochs. With
``speaker`` a test speaker's segments are standardised by that speaker's own statistics: no label
is used, but it is *transductive*.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.fitting import fit
from models.linear_path import pooled, probabilities_of
from models.normalisation import standardise_by_speaker
from reports.evaluation_names import NETWORK, PARTS, WITH_LINEAR
from stages.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from models.blstm_attention_dnn import BLSTMAttentionDNN
    from models.fitting import LabelledStacks
    from models.stacks import Stacks
    from stages.folds import Fold
    from stages.train_options import TrainOptions
    from stages.training_task import Task


@dataclass(kw_only=True)
class Evaluation:
    """One classifier with one normalisation, evaluated on all folds.

    Parameters
    ----------
    name : ``speaker``, ``network-speaker``, ``svm-train``, ...
    classifier : one of `reports.evaluation_names.CLASSIFIERS`
    features : whose features, such as ``egemaps``; empty: the store's own
    normalise : ``none``, ``train`` or ``speaker``
    tables : one a fold and seed; columns as `reports.metrics` has them, and ``evaluation``
    curves : one learning curve a fold and seed, of the network; others have none
    attention : row -> float32 (n_segments,), of the first seed
    chosen_c : fold -> the SVM's C
    """

    name: str
    classifier: str
    features: str = ""
    normalise: str
    tables: list[pd.DataFrame] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    attention: dict[int, np.ndarray] = field(default_factory=dict)
    chosen_c: dict[str, float] = field(default_factory=dict)

    @property
    def predictions(self) -> pd.DataFrame:
        """All folds and seeds, one row an utterance and seed."""
        return pd.concat(self.tables, ignore_index=True)


def cross_validate(
    task: Task,
    networks: Sequence[BLSTMAttentionDNN],
    normalise: str,
    options: TrainOptions,
    tick: Callable[[str], None],
) -> list[Evaluation]:
    """Train and test the classifier, every fold with every seed.

    Parameters
    ----------
    task : what to learn
    networks : as many folds are trained side by side; how many there are changes no result
    normalise : ``none``, ``train`` or ``speaker``
    options : seeds, balance, the linear path
    tick : told of each training that is done, in the order of the folds

    Returns
    -------
    the classifier, named as `normalise`; after it, if it has a linear path, the network and the path alone
    """
    versions: list[Stacks] = task.versions
    kind = normalise
    vectors = task.vectors[0] if options.linear.share else None  # made before threads ask for them
    if kind == "speaker":  # no fold has a say in a speaker's own statistics: once is enough
        versions, kind = [standardise_by_speaker(own, task.speakers) for own in versions], "none"

    def work(network: BLSTMAttentionDNN, number: int, stop: Event) -> _Outcome:
        fold = task.folds[number]
        fitted = task.normalisation(kind, fold.train, versions)
        learned = task.part(fitted, versions, fold.train)
        tested = task.normalised(fitted, versions[0], fold.test)
        scores = None
        if vectors is not None:
            path = task.linear_path(normalise, fold.train, options)
            speakers = [task.speakers[row] for row in fold.test]
            scores = path.scores(vectors, speakers, fold.test)
        return _Outcome(
            scores,
            [_train(network, learned, tested, options, seed, stop) for seed in options.seeds],
        )

    evaluations = _empty_evaluations(normalise, options)
    with closing(side_by_side(work, networks, range(len(task.folds)))) as results:
        for fold, outcome in zip(task.folds, results, strict=True):
            _note(evaluations, task, fold, outcome, options)
            for seed in options.seeds:
                tick(f"{normalise}-normalised, fold {fold.name}, seed {seed}")
    return evaluations


@dataclass(frozen=True, slots=True)
class _Trained:
    """What a fold's training went through, and what the network says of the fold's test part."""

    losses: list[float]
    probabilities: np.ndarray
    attention: list[np.ndarray]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What both paths say of a fold's test part: the linear one, if there is one, and each seed's network."""

    scores: np.ndarray | None
    trained: list[_Trained]


def _train(
    network: BLSTMAttentionDNN,
    learned: LabelledStacks,
    tested: Stacks,
    options: TrainOptions,
    seed: int,
    stop: Event,
) -> _Trained:
    losses = fit(network, learned, seed=seed, balance=options.balance, stop=stop)
    return _Trained(losses, *network.predict(tested))


def _empty_evaluations(normalise: str, options: TrainOptions) -> list[Evaluation]:
    if not options.linear.share:
        return [Evaluation(name=normalise, classifier=NETWORK, normalise=normalise)]
    whole = Evaluation(name=normalise, classifier=WITH_LINEAR, normalise=normalise)
    parts = [
        Evaluation(name=f"{stem}-{normalise}", classifier=part, normalise=normalise)
        for stem, part in PARTS.items()
    ]
    return [whole, *parts]


def _note(
    evaluations: list[Evaluation], task: Task, fold: Fold, outcome: _Outcome, options: TrainOptions
) -> None:
    """Add a fold's predictions to the classifier's evaluation and its parts'."""
    scores, share = outcome.scores, options.linear.share
    whole, *parts = evaluations

    def add(evaluation: Evaluation, seed: int, probabilities: np.ndarray) -> None:
        table = prediction_table(task, fold, probabilities, seed=seed, name=evaluation.name)
        evaluation.tables.append(table)

    for seed, own in zip(options.seeds, outcome.trained, strict=True):
        curve = {"fold": fold.name, "seed": seed, "train_loss": own.losses}
        whole.curves.append(curve)
        if scores is None:
            add(whole, seed, own.probabilities)
        else:
            add(whole, seed, pooled(own.probabilities, scores, share))
            add(parts[0], seed, own.probabilities)
    if scores is not None:  # chance plays no part in it: there is one seed
        add(parts[1], options.seeds[0], probabilities_of(scores))
    attention = outcome.trained[0].attention
    whole.attention |= dict(zip(fold.test.tolist(), attention, strict=True))


def prediction_table(
    task: Task, fold: Fold, probabilities: np.ndarray, *, seed: int, name: str
) -> pd.DataFrame:
    """Predictions of one fold as rows of ``predictions.parquet``."""
    labels = np.array(task.labels, dtype=object)
    manifest = task.dataset.manifest
    table = {
        "evaluation": name,
        "utterance_id": manifest["utterance_id"].to_numpy()[fold.test],
        "speaker": np.array(task.speakers, dtype=object)[fold.test],
        "fold": fold.name,
        "seed": seed,
        "truth": labels[task.targets[fold.test]],
        "predicted": labels[probabilities.argmax(axis=1)],
    }
    table |= {f"p:{label}": probabilities[:, i] for i, label in enumerate(task.labels)}
    return pd.DataFrame(table)
