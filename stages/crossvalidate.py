"""Cross-validation of the network over folds that share neither speakers nor audio.

Conventions
-----------
Mean, deviation and principal components are fitted on a fold's training part alone, its views
included; the network is trained once, on all of that part, for a fixed number of epochs. With
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
from models.normalisation import standardise_by_speaker
from stages.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from models.blstm_attention_dnn import BLSTMAttentionDNN
    from models.fitting import LabelledStacks
    from stages.folds import Fold
    from stages.train_options import TrainOptions
    from stages.training_task import Task


@dataclass(kw_only=True)
class Evaluation:
    """One classifier with one normalisation, evaluated on all folds.

    Parameters
    ----------
    name : ``speaker``, ``svm-train``, ...
    classifier : ``blstm_attention_dnn``, ``linear_svm`` or ``majority``
    features : whose features, such as ``egemaps``; empty: the store's own
    normalise : ``none``, ``train`` or ``speaker``
    tables : one a fold and seed; columns as `reports.metrics` has them, and ``evaluation``
    curves : one learning curve a fold and seed; the SVM has none
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
) -> Evaluation:
    """Train and test the network, every fold with every seed.

    Parameters
    ----------
    task : what to learn
    networks : as many folds are trained side by side; how many there are changes no result
    normalise : ``none``, ``train`` or ``speaker``
    options : seeds, balance
    tick : told of each training that is done, in the order of the folds
    """
    evaluation = Evaluation(name=normalise, classifier="blstm_attention_dnn", normalise=normalise)
    versions, kind = task.versions, normalise
    if kind == "speaker":  # no fold has a say in a speaker's own statistics: once is enough
        versions, kind = [standardise_by_speaker(own, task.speakers) for own in versions], "none"

    def work(network: BLSTMAttentionDNN, number: int, stop: Event) -> list[_Trained]:
        fold = task.folds[number]
        fitted = task.normalisation(kind, fold.train, versions)
        learned = task.part(fitted, versions, fold.train)
        tested = fitted.transform(
            [versions[0][row] for row in fold.test], [task.speakers[row] for row in fold.test]
        )
        return [_train(network, learned, tested, options, seed, stop) for seed in options.seeds]

    with closing(side_by_side(work, networks, range(len(task.folds)))) as results:
        for fold, trained in zip(task.folds, results, strict=True):
            for seed, own in zip(options.seeds, trained, strict=True):
                table = prediction_table(
                    task, fold, own.probabilities, seed=seed, name=evaluation.name
                )
                evaluation.tables.append(table)
                curve = {"fold": fold.name, "seed": seed, "train_loss": own.losses}
                evaluation.curves.append(curve)
                tick(f"{normalise}-normalised, fold {fold.name}, seed {seed}")
            evaluation.attention |= dict(zip(fold.test.tolist(), trained[0].attention, strict=True))
    return evaluation


@dataclass(frozen=True, slots=True)
class _Trained:
    """What a fold's training went through, and what the network says of the fold's test part."""

    losses: list[float]
    probabilities: np.ndarray
    attention: list[np.ndarray]


def _train(
    network: BLSTMAttentionDNN,
    learned: LabelledStacks,
    tested: Sequence[np.ndarray],
    options: TrainOptions,
    seed: int,
    stop: Event,
) -> _Trained:
    losses = fit(network, learned, seed=seed, balance=options.balance, stop=stop)
    return _Trained(losses, *network.predict(tested))


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
