"""Stage two: features and labels -> cross-validated numbers, a bundle, a run folder."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from models.backend import compute_on_one_thread
from models.blstm_attention_dnn import BLSTMAttentionDNN
from models.bundle import Bundle, save_bundle
from models.fitting import fit
from models.stacks import lengths_of
from reports.evaluation_names import is_part
from reports.metrics import evaluate
from stages.baselines import cross_validate_baselines, n_steps
from stages.cross_corpus import FOLDED_BY
from stages.crossvalidate import cross_validate
from stages.run_folder import (
    BUNDLE,
    RunNotes,
    check_unused,
    model_card,
    write_predictions,
    write_run,
)
from stages.side_by_side import n_workers
from stages.training_task import make_task, told_corpora

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from stages.baselines import UtteranceVectors
    from stages.crossvalidate import Evaluation
    from stages.dataset import Dataset
    from stages.train_options import TrainOptions
    from stages.training_task import Task

    Tick = Callable[[str], None]

logger = logging.getLogger("emostack." + __name__)


def train(
    dataset: Dataset,
    options: TrainOptions,
    run_folder: Path,
    *,
    n_test: int = 0,
    scratch: Path | None = None,
    notes: RunNotes | None = None,
    rivals: Sequence[UtteranceVectors] | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Cross-validate, train the final models, write the run folder.

    Parameters
    ----------
    dataset : utterances with speakers and emotions
    options : what to do
    run_folder : made if need be; must not hold a run yet
    n_test : the last so many utterances are a second corpus, only to be tested on
    scratch : folder for what is made of features that are not in memory; None: they are
    notes : for the report and the model card
    rivals : baselines' features of the same utterances, to evaluate on the same folds with the
        majority class; None: neither
    on_progress : called with steps done, steps in all, and what was done

    Returns
    -------
    the fields of ``train --json``: numbers in percent, paths as text

    Raises
    ------
    TrainError, FoldError, RunFolderError
        Labels, speakers, options or a folder that cannot be worked with; told before any training.
    """
    started = time.monotonic()
    notes = notes or RunNotes()
    check_unused(run_folder)
    task = make_task(dataset, options, n_test=n_test, scratch=scratch)
    if n_test:
        options = replace(options, folds=FOLDED_BY)
    tick = _ticker(_n_steps(task, options, rivals), on_progress)
    networks = make_networks(task, options)
    evaluations = _evaluate_all(task, networks, options, rivals, tick)
    metrics = {
        evaluation.name: evaluate(evaluation.predictions, list(task.labels))
        for evaluation in evaluations
    }
    run_folder.mkdir(parents=True, exist_ok=True)
    write_predictions(run_folder, evaluations)
    card = model_card(task, options, notes, metrics)
    bundle = _final_models(task, networks[0], options, card, tick)
    save_bundle(bundle, run_folder / BUNDLE)
    seconds = round(time.monotonic() - started, 1)
    notes = replace(notes, provenance={**notes.provenance, "train_seconds": seconds})
    write_run(run_folder, task, options, notes, evaluations, metrics)
    return {
        **_result(task, options, metrics),
        "warning": notes.warning,
        "seconds": seconds,
        "bundle": str(run_folder / BUNDLE),
        "run": str(run_folder),
    }


def _ticker(n_steps: int, on_progress: Callable[[int, int, str], None] | None) -> Tick:
    done = 0

    def tick(what: str) -> None:
        nonlocal done
        done += 1
        logger.debug("%d of %d: %s", done, n_steps, what)
        if on_progress is not None:
            on_progress(done, n_steps, what)

    return tick


def make_networks(task: Task, options: TrainOptions) -> list[BLSTMAttentionDNN]:
    """Build one network for each fold that is trained at the same time."""
    shape = {"n_features": task.n_inputs, "n_labels": len(task.labels)}
    count = n_workers(len(task.folds))
    if count > 1:
        compute_on_one_thread()
    return [BLSTMAttentionDNN(options.classifier, **shape) for _ in range(count)]


def _kinds(options: TrainOptions) -> list[str]:
    """Normalisations to evaluate: the headline's, and an inductive one beside a transductive."""
    return list(dict.fromkeys([options.normalise, options.inductive]))


def _n_steps(task: Task, options: TrainOptions, rivals: Sequence[UtteranceVectors] | None) -> int:
    kinds, n_seeds = _kinds(options), len(options.seeds)
    n_trainings = len(kinds) * len(task.folds) * n_seeds + n_seeds
    return n_trainings + n_steps(task, kinds, options, rivals)


def _evaluate_all(
    task: Task,
    networks: list[BLSTMAttentionDNN],
    options: TrainOptions,
    rivals: Sequence[UtteranceVectors] | None,
    tick: Tick,
) -> list[Evaluation]:
    kinds = _kinds(options)
    own = [cross_validate(task, networks, kind, options, tick) for kind in kinds]
    baselines = cross_validate_baselines(task, kinds, options, rivals, tick)
    return [*chain.from_iterable(zip(*own, strict=True)), *baselines]


def _final_models(
    task: Task,
    network: BLSTMAttentionDNN,
    options: TrainOptions,
    card: dict[str, Any],
    tick: Tick,
) -> Bundle:
    """One model a seed on all speakers."""
    fitted = task.normalisation(options.bundled, task.learnt_rows, task.versions)
    everything = task.part(fitted, task.versions, task.learnt_rows)
    weights = {}
    for seed in options.seeds:
        fit(network, everything, seed=seed, balance=options.balance)
        weights[seed] = network.weights()
        tick(f"final model, seed {seed}")
    linear = None
    if options.linear.share:
        linear = task.linear_path(options.bundled, task.learnt_rows, options)
    return Bundle(
        labels=task.labels,
        recipe_id=task.dataset.recipe_id,
        recipe_json=task.dataset.recipe_json,
        feature_dim=task.dataset.stacks[0].shape[1],
        normalisation=fitted,
        classifier=options.classifier,
        weights=weights,
        linear_share=options.linear.share,
        linear=linear,
        card=card,
    )


def _result(
    task: Task, options: TrainOptions, metrics: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    headline = metrics[options.normalise]
    uars = {name: own["uar_pooled"] for name, own in metrics.items()}
    own = _kinds(options)
    parts = list(filter(is_part, uars))
    names = (
        "uar_pooled", "uar_ensemble", "uar_interval", "uar_interval_utterances", "uar_fold_mean",
        "uar_fold_sd", "uar_seeds", "wa", "macro_f1", "recall_by_class",
    )  # fmt: skip
    return {
        **{name: headline[name] for name in names},
        "uar_inductive": metrics[options.inductive]["uar_pooled"],
        "normalise": options.normalise,
        "transductive": options.is_transductive,
        "parts": {name: uars[name] for name in parts},
        "baselines": {name: uar for name, uar in uars.items() if name not in {*own, *parts}},
        "seeds": list(options.seeds),
        "recipe_id": task.dataset.recipe_id,
        "snapshot": task.dataset.snapshot,
        "generation": task.dataset.snapshot,  # its name in version 0.1
        "n_utterances": len(task.dataset.stacks),
        "n_segments": int(lengths_of(task.dataset.stacks).sum()),
        **told_corpora(task),
    }
