"""What a training is to learn: a labelled corpus, cut into folds, checked before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from models.bundle import BundleError, check_limits
from models.fitting import LabelledStacks
from models.linear_path import LinearPath, fit_linear_path
from models.normalisation import Normalisation, NormalisationSettings, fit_normalisation
from models.stacks import chained, in_file, lengths_of, picked
from models.utterance_vectors import utterance_vectors
from stages.cross_corpus import check_test_labels, corpus_names, cross_fold
from stages.folds import Audio, Fold, FoldError, make_folds, speaker_names
from stages.train_options import TrainError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.stacks import Stacks
    from models.utterance_vectors import Vectors
    from stages.dataset import Dataset
    from stages.train_options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Task:
    """A labelled corpus, cut into folds.

    Parameters
    ----------
    dataset : the utterances
    labels : class names, sorted
    targets : int64, shape (n_utterances,), index into `labels`
    speakers : one an utterance, see `stages.folds.speaker_names`
    folds : each row is tested once; or one fold, whose test part is a second corpus
    n_components : principal components; 0 = none
    scratch : folder for what is made of features that are not in memory; None: they are
    """

    dataset: Dataset
    labels: tuple[str, ...]
    targets: np.ndarray
    speakers: list[str]
    folds: list[Fold]
    n_components: int
    scratch: Path | None = None

    @property
    def n_inputs(self) -> int:
        """Features that the network sees."""
        return self.n_components or self.dataset.stacks[0].shape[1]

    @property
    def versions(self) -> list[Stacks]:
        """The utterances' stacks, and after them those of each view.

        A second corpus, which nothing is learned from, has no views: its own stacks hold the places.
        """
        stacks = self.dataset.stacks
        views = self.dataset.views.values()
        return [stacks, *(self._filled_up(own) for own in views)]

    def _filled_up(self, view: Stacks) -> Stacks:
        rest = np.arange(len(view), len(self.dataset.stacks))
        return chained([view, picked(self.dataset.stacks, rest)]) if len(rest) else view

    def part(
        self, fitted: Normalisation, versions: Sequence[Stacks], rows: np.ndarray
    ) -> LabelledStacks:
        """Pick some rows' stacks and views, normalised, with their labels."""
        own, *views = (self.normalised(fitted, each, rows) for each in versions)
        return LabelledStacks(stacks=own, targets=self.targets[rows], views=views)

    def normalised(self, fitted: Normalisation, stacks: Stacks, rows: np.ndarray) -> Stacks:
        """Pick some rows' stacks, normalised; what was projected is kept as the stacks are."""
        speakers = [self.speakers[row] for row in rows]
        chosen = picked(stacks, rows)
        if not fitted.settings.n_components:  # as large as the stacks, and as quickly made
            return fitted.standardised(chosen, speakers)
        projected = fitted.transformed(chosen, speakers)
        return list(projected) if self.scratch is None else in_file(projected, self.scratch)

    @cached_property
    def vectors(self) -> list[Vectors]:
        """The utterances' vectors for the linear path, and after them those of each view."""
        if self.scratch is None:
            return [utterance_vectors(own) for own in self.versions]
        folder = self.scratch
        return [
            in_file((utterance_vectors([stack]) for stack in own), folder) for own in self.versions
        ]

    def linear_path(
        self,
        kind: str,
        rows: np.ndarray,
        options: TrainOptions,
    ) -> LinearPath:
        """Fit the linear path on some rows' vectors and those of their views."""
        return fit_linear_path(
            self.vectors,
            self.targets,
            self.speakers,
            n_labels=len(self.labels),
            kind=kind,
            penalty=options.linear.penalty,
            balanced=options.balance != "none",
            rows=rows,
        )

    @property
    def learnt_rows(self) -> np.ndarray:
        """Rows that any fold learns from: all, unless a second corpus is only tested on."""
        return np.unique(np.concatenate([fold.train for fold in self.folds]))

    @property
    def only_tested(self) -> np.ndarray:
        """Rows of a second corpus, that no fold learns from; most tasks have none."""
        return np.setdiff1d(np.arange(len(self.targets)), self.learnt_rows)

    def normalisation(
        self, kind: str, rows: np.ndarray, versions: Sequence[Stacks]
    ) -> Normalisation:
        """Fit a normalisation on some rows' stacks and views; views count as other speakers."""
        settings = NormalisationSettings(standardise=kind, n_components=self.n_components)
        return fit_normalisation(
            chained([picked(own, rows) for own in versions]),
            [f"{i} {self.speakers[row]}" for i in range(len(versions)) for row in rows],
            settings,
        )


def told_corpora(task: Task) -> dict[str, str]:
    """Say which corpus trained and which was tested; nothing where one corpus does both."""
    if not len(task.only_tested):
        return {}
    parts = {"trained_on": task.learnt_rows, "tested_on": task.only_tested}
    return {name: _words(task, rows) for name, rows in parts.items()}


def _words(task: Task, rows: np.ndarray) -> str:
    manifest = task.dataset.manifest.iloc[rows]
    speakers = {task.speakers[row] for row in rows}
    emotions = sorted(set(manifest["emotion"]))
    size = f"{len(rows)} utterances of {len(speakers)} speakers, {len(emotions)} emotions"
    return f"{corpus_names(manifest) or 'a corpus without a name'}: {size}"


def make_task(
    dataset: Dataset, options: TrainOptions, *, n_test: int = 0, scratch: Path | None = None
) -> Task:
    """Check labels and speakers and cut the folds.

    Parameters
    ----------
    dataset : the utterances
    options : what to fold by, and what to check
    n_test : the last so many utterances are a second corpus, only to be tested on; instead of
        folds by `options.folds`
    scratch : folder for what is made of features that are not in memory; None: they are

    Raises
    ------
    TrainError
        Labels are missing, fewer than two, or an utterance has no segments or features that are
        not finite; or a bundle of this size or with these labels would be refused; or a second
        corpus has labels that the first lacks.
    FoldError
        See `stages.folds.make_folds` and `stages.cross_corpus.cross_fold`; or a training part of
        fewer than two speakers or emotions.
    """
    emotions = [str(emotion) for emotion in dataset.manifest["emotion"]]
    ids = dataset.manifest["utterance_id"].tolist()
    for what, bad in (
        ("no emotion", [i for i, emotion in zip(ids, emotions, strict=True) if not emotion]),
        ("no segments", [i for i, n in zip(ids, lengths_of(dataset.stacks), strict=True) if not n]),
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
    n_learnt = len(ids) - n_test
    labels = tuple(sorted(set(emotions[:n_learnt])))
    if len(labels) < 2:
        raise TrainError(f"{len(labels)} emotion among {n_learnt} utterances; expected 2 or more")
    check_test_labels(emotions[n_learnt:], labels)
    audio = Audio(
        keys=dataset.keys,
        sha256=dataset.audio_sha256,
        start=dataset.manifest["start"].tolist(),
        end=dataset.manifest["end"].tolist(),
    )
    if n_test:
        folds = [cross_fold(dataset.manifest, audio, n_test)]
    else:
        folds = make_folds(dataset.manifest, audio, column=options.folds)
    task = Task(
        dataset=dataset,
        labels=labels,
        targets=np.array([labels.index(emotion) for emotion in emotions], np.int64),
        speakers=speaker_names(dataset.manifest),
        folds=folds,
        n_components=_n_components(dataset, folds, options.n_components),
        scratch=scratch,
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
            options.linear,
        )
    except BundleError as error:
        raise TrainError(f"no bundle could be made of this training: {error}") from error


def _n_components(dataset: Dataset, folds: list[Fold], wanted: int) -> int:
    """No PCA where it would keep every feature; never more than the fewest training segments."""
    if wanted >= dataset.stacks[0].shape[1]:
        return 0
    lengths = lengths_of(dataset.stacks)
    return min(wanted, *(int(lengths[fold.train].sum()) for fold in folds))
