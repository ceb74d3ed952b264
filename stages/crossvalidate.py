"""Cross-validation of both classifiers over folds that share neither speakers nor audio.

Conventions
-----------
Mean, deviation and principal components are fitted on a fold's training part alone. Some of its
speakers, another choice each fold and seed, first only tell which epoch is best; then the network
is trained from the start for as many epochs on all training speakers (`TrainOptions.refit`). With
``speaker`` a test speaker's segments are standardised by that speaker's own statistics: no label
is used, but it is *transductive*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.fitting import History, LabelledStacks, fit
from models.linear_svm import predict_fold, standardise, utterance_vectors
from models.normalisation import Normalisation, NormalisationSettings, fit_normalisation
from stages.folds import Fold, make_folds, split_validation
from stages.train_options import TrainError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.blstm_attention_dnn import BLSTMAttentionDNN
    from stages.dataset import Dataset
    from stages.train_options import TrainOptions

SEEDS_APART = 1000
"""Distance between the validation seeds of two trainings' seeds; more than there are folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A labelled corpus, cut into folds.

    Parameters
    ----------
    dataset : the utterances
    labels : class names, sorted
    targets : int64, shape (n_utterances,), index into `labels`
    speakers : one an utterance
    folds : each row is tested once
    n_components : principal components; 0 = none
    """

    dataset: Dataset
    labels: tuple[str, ...]
    targets: np.ndarray
    speakers: list[str]
    folds: list[Fold]
    n_components: int

    @property
    def n_inputs(self) -> int:
        """Features that the network sees."""
        return self.n_components or self.dataset.stacks[0].shape[1]

    def part(self, stacks: Sequence[np.ndarray], rows: np.ndarray) -> LabelledStacks:
        """Pick some rows' stacks with their labels."""
        return LabelledStacks(stacks=[stacks[row] for row in rows], targets=self.targets[rows])

    @property
    def all_rows(self) -> np.ndarray:
        """Row numbers of the whole corpus."""
        return np.arange(len(self.targets))

    def normalisation(self, kind: str, rows: np.ndarray) -> Normalisation:
        """Fit a normalisation on some rows."""
        settings = NormalisationSettings(standardise=kind, n_components=self.n_components)
        return fit_normalisation(
            [self.dataset.stacks[row] for row in rows],
            [self.speakers[row] for row in rows],
            settings,
        )


@dataclass(kw_only=True)
class Evaluation:
    """One classifier with one normalisation, evaluated on all folds.

    Parameters
    ----------
    name : ``speaker``, ``svm-train``, ...
    classifier : ``blstm_attention_dnn`` or ``linear_svm``
    normalise : ``none``, ``train`` or ``speaker``
    predictions : columns as `reports.metrics` has them, and ``evaluation``
    curves : one learning curve a fold and seed
    attention : row -> float32 (n_segments,), of the first seed
    """

    name: str
    classifier: str
    normalise: str
    tables: list[pd.DataFrame] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    attention: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def predictions(self) -> pd.DataFrame:
        """All folds and seeds, one row an utterance and seed."""
        return pd.concat(self.tables, ignore_index=True)

    @property
    def median_best_epoch(self) -> int:
        """Median over folds and seeds, rounded, at least 1."""
        return max(1, round(float(np.median([curve["best_epoch"] for curve in self.curves]))))


def make_task(dataset: Dataset, options: TrainOptions) -> Task:
    """Check labels and speakers and cut the folds.

    Raises
    ------
    TrainError
        Labels are missing, fewer than two, or an utterance has no segments.
    FoldError
        See `stages.folds.make_folds`.
    """
    emotions = [str(emotion) for emotion in dataset.manifest["emotion"]]
    ids = dataset.manifest["utterance_id"].tolist()
    for what, bad in (
        ("no emotion", [i for i, emotion in zip(ids, emotions, strict=True) if not emotion]),
        ("no segments", [i for i, s in zip(ids, dataset.stacks, strict=True) if not len(s)]),
    ):
        if bad:
            raise TrainError(
                f"{len(bad)} of {len(ids)} utterances have {what} (first: {bad[0]!r}); "
                f"expected all to have them; fill them in or take these rows out of the manifest"
            )
    labels = tuple(sorted(set(emotions)))
    if len(labels) < 2:
        raise TrainError(f"{len(labels)} emotion among {len(ids)} utterances; expected 2 or more")
    folds = make_folds(dataset.manifest, dataset.keys, column=options.folds)
    return Task(
        dataset=dataset,
        labels=labels,
        targets=np.array([labels.index(emotion) for emotion in emotions], np.int64),
        speakers=[str(speaker) for speaker in dataset.manifest["speaker"]],
        folds=folds,
        n_components=_n_components(dataset, folds, options.n_components),
    )


def _n_components(dataset: Dataset, folds: list[Fold], wanted: int) -> int:
    """No PCA where it would keep every feature; never more than the fewest training segments."""
    if wanted >= dataset.stacks[0].shape[1]:
        return 0
    lengths = np.array([len(stack) for stack in dataset.stacks])
    return min(wanted, *(int(lengths[fold.train].sum()) for fold in folds))


def cross_validate(
    task: Task,
    network: BLSTMAttentionDNN,
    normalise: str,
    options: TrainOptions,
    tick: Callable[[str], None],
) -> Evaluation:
    """Train and test the network, every fold with every seed.

    Parameters
    ----------
    task : what to learn
    network : used for all trainings
    normalise : ``none``, ``train`` or ``speaker``
    options : seeds, balance, validation share
    tick : told of each training that is done
    """
    evaluation = Evaluation(name=normalise, classifier="blstm_attention_dnn", normalise=normalise)
    for number, fold in enumerate(task.folds):
        normalisation = task.normalisation(normalise, fold.train)
        stacks = normalisation.transform(task.dataset.stacks, task.speakers)
        for seed in options.seeds:
            history = _train(task, network, fold, stacks, options, seed, number)
            probabilities, attention = network.predict([stacks[row] for row in fold.test])
            evaluation.tables.append(
                prediction_table(task, fold, probabilities, seed=seed, name=evaluation.name)
            )
            evaluation.curves.append({"fold": fold.name, "seed": seed, **history.as_json()})
            if seed == options.seeds[0]:
                evaluation.attention |= dict(zip(fold.test.tolist(), attention, strict=True))
            tick(f"{normalise}-normalised, fold {fold.name}, seed {seed}")
    return evaluation


def _train(
    task: Task,
    network: BLSTMAttentionDNN,
    fold: Fold,
    stacks: Sequence[np.ndarray],
    options: TrainOptions,
    seed: int,
    number: int,
) -> History:
    """Find the best epoch by some of the training speakers, then train on all of them."""
    train, validation = split_validation(
        fold.train,
        task.speakers,
        share=options.validation_share,
        seed=seed * SEEDS_APART + number,
    )
    history = fit(
        network,
        task.part(stacks, train),
        task.part(stacks, validation),
        seed=seed,
        balance=options.balance,
    )
    if options.refit:
        everything = task.part(stacks, fold.train)
        n_epochs = history.best_epoch
        fit(network, everything, seed=seed, n_epochs=n_epochs, balance=options.balance)
    return history


def cross_validate_svm(
    task: Task, normalise: str, options: TrainOptions, tick: Callable[[str], None]
) -> Evaluation:
    """Train and test the linear SVM on every fold; chance plays no part, so there is one seed."""
    evaluation = Evaluation(name=f"svm-{normalise}", classifier="linear_svm", normalise=normalise)
    vectors = utterance_vectors(task.dataset.stacks)
    for fold in task.folds:
        probabilities, _ = predict_fold(
            standardise(vectors, task.speakers, fold.train, normalise),
            task.targets,
            task.speakers,
            train=fold.train,
            test=fold.test,
            n_labels=len(task.labels),
            settings=options.svm,
        )
        evaluation.tables.append(
            prediction_table(task, fold, probabilities, seed=options.seeds[0], name=evaluation.name)
        )
        tick(f"SVM, {normalise}-normalised, fold {fold.name}")
    return evaluation


def prediction_table(
    task: Task, fold: Fold, probabilities: np.ndarray, *, seed: int, name: str
) -> pd.DataFrame:
    """Predictions of one fold as rows of ``predictions.parquet``."""
    labels = np.array(task.labels, dtype=object)
    manifest = task.dataset.manifest
    table = {
        "evaluation": name,
        "utterance_id": manifest["utterance_id"].to_numpy()[fold.test],
        "speaker": manifest["speaker"].to_numpy()[fold.test],
        "fold": fold.name,
        "seed": seed,
        "truth": labels[task.targets[fold.test]],
        "predicted": labels[probabilities.argmax(axis=1)],
    }
    table |= {f"p:{label}": probabilities[:, i] for i, label in enumerate(task.labels)}
    return pd.DataFrame(table)
