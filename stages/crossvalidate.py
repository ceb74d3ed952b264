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

from models.bundle import BundleError, check_limits
from models.fitting import History, LabelledStacks, fit
from models.linear_svm import predict_fold, standardise, utterance_vectors
from models.normalisation import Normalisation, NormalisationSettings, fit_normalisation
from stages.folds import Audio, Fold, FoldError, make_folds, speaker_names, split_validation
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
    speakers : one an utterance, see `stages.folds.speaker_names`
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
    tables : one a fold and seed; columns as `reports.metrics` has them, and ``evaluation``
    curves : one learning curve a fold and seed; the SVM has none
    attention : row -> float32 (n_segments,), of the first seed
    chosen_c : fold -> the SVM's C
    """

    name: str
    classifier: str
    normalise: str
    tables: list[pd.DataFrame] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    attention: dict[int, np.ndarray] = field(default_factory=dict)
    chosen_c: dict[str, float] = field(default_factory=dict)

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
        Labels are missing, fewer than two, or an utterance has no segments or features that are
        not finite; or a bundle of this size or with these labels would be refused.
    FoldError
        See `stages.folds.make_folds`; or a training part of fewer than two speakers or emotions.
    """
    emotions = [str(emotion) for emotion in dataset.manifest["emotion"]]
    ids = dataset.manifest["utterance_id"].tolist()
    for what, bad in (
        ("no emotion", [i for i, emotion in zip(ids, emotions, strict=True) if not emotion]),
        ("no segments", [i for i, s in zip(ids, dataset.stacks, strict=True) if not len(s)]),
        (
            "features that are not finite",
            [i for i, s in zip(ids, dataset.stacks, strict=True) if not np.isfinite(s).all()],
        ),
    ):
        if bad:
            raise TrainError(
                f"{len(bad)} of {len(ids)} utterances have {what} (first: {bad[0]!r}); "
                f"expected an emotion and finite features for each; fill in what is missing or "
                f"take these rows out of the manifest"
            )
    labels = tuple(sorted(set(emotions)))
    if len(labels) < 2:
        raise TrainError(f"{len(labels)} emotion among {len(ids)} utterances; expected 2 or more")
    audio = Audio(
        keys=dataset.keys,
        sha256=dataset.audio_sha256,
        start=dataset.manifest["start"].tolist(),
        end=dataset.manifest["end"].tolist(),
    )
    folds = make_folds(dataset.manifest, audio, column=options.folds)
    task = Task(
        dataset=dataset,
        labels=labels,
        targets=np.array([labels.index(emotion) for emotion in emotions], np.int64),
        speakers=speaker_names(dataset.manifest),
        folds=folds,
        n_components=_n_components(dataset, folds, options.n_components),
    )
    _check_training_parts(task)
    _check_bundle(task, options)
    return task


def _check_training_parts(task: Task) -> None:
    for fold in task.folds:
        n_speakers = len({task.speakers[row] for row in fold.train})
        n_classes = len(set(task.targets[fold.train].tolist()))
        if n_speakers < 2 or n_classes < 2:
            raise FoldError(
                f"the training part of fold {fold.name!r} has {n_speakers} speakers and "
                f"{n_classes} emotions; expected at least 2 of each; add speakers or fold by "
                f"another column"
            )


def _check_bundle(task: Task, options: TrainOptions) -> None:
    """Refuse now what could not be bundled after hours of training."""
    try:
        check_limits(
            task.labels,
            options.seeds,
            task.dataset.stacks[0].shape[1],
            NormalisationSettings(standardise=options.bundled, n_components=task.n_components),
            options.classifier,
        )
    except BundleError as error:
        raise TrainError(f"no bundle could be made of this training: {error}") from error


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
        "speaker": np.array(task.speakers, dtype=object)[fold.test],
        "fold": fold.name,
        "seed": seed,
        "truth": labels[task.targets[fold.test]],
        "predicted": labels[probabilities.argmax(axis=1)],
    }
    table |= {f"p:{label}": probabilities[:, i] for i, label in enumerate(task.labels)}
    return pd.DataFrame(table)
