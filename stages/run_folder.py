"""What a training leaves behind.

A run folder holds ``bundle/``, ``predictions.parquet``, ``examples.npz`` and ``run.json``. The last
is written last: where it is, the run is whole. Each file appears whole or not at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features_cache.atomic import atomic_write
from models.backend import backend_name
from models.settings import to_mapping
from stages.training_task import told_corpora

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stages.crossvalidate import Evaluation
    from stages.train_options import TrainOptions
    from stages.training_task import Task

RUN_FORMAT = 1
BUNDLE = "bundle"
PREDICTIONS = "predictions.parquet"
PACKAGES = ("emostack", "keras", "tensorflow", "jax", "torch", "numpy", "scikit-learn")
N_WRONG = 2
"""How many of the examples are utterances that were taken for something else."""


class RunFolderError(ValueError):
    """A run folder that holds a run already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNotes:
    """What a run is told about itself, for its report and its model card.

    Parameters
    ----------
    title : heading of the report
    warning : shown beside every number; empty = none
    provenance : text and numbers: command, versions, seconds of other stages, ...
    spectrogram : row of the manifest -> float32 (n_mels, n_frames) in dB and seconds a frame, or
        None where the audio is not at hand
    """

    title: str = ""
    warning: str = ""
    provenance: dict[str, str | int | float] = field(default_factory=dict)
    spectrogram: Callable[[int], tuple[np.ndarray, float] | None] | None = None


def check_unused(folder: Path) -> None:
    """Refuse a folder that a training has written to.

    Raises
    ------
    RunFolderError
        It holds ``run.json``, ``bundle/`` or ``predictions.parquet``.
    """
    for name in ("run.json", BUNDLE, PREDICTIONS):
        if (folder / name).exists():
            raise RunFolderError(
                f"{folder} holds {name}; expected a folder without a run; choose a new one"
            )


def model_card(
    task: Task, options: TrainOptions, notes: RunNotes, metrics: dict[str, dict[str, Any]]
) -> dict[str, str | int | float | bool | None]:
    """Describe a trained classifier for whoever finds the bundle without its run.

    Returns
    -------
    ``transductive`` is of the bundle itself. ``uar_transductive_percent`` is there if it was
    evaluated, ``uar_inductive_percent`` always.
    """
    manifest = task.dataset.manifest.iloc[task.learnt_rows]
    corpora = sorted(set(manifest["corpus"])) if "corpus" in manifest.columns else []
    uars = {"uar_inductive_percent": metrics[options.inductive]["uar_pooled"]}
    if options.is_transductive:
        uars["uar_transductive_percent"] = metrics[options.normalise]["uar_pooled"]
    return {
        "title": notes.title,
        "warning": notes.warning,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "corpora": ", ".join(str(corpus) for corpus in corpora if corpus),
        "n_utterances": len(manifest),
        "n_speakers": len({task.speakers[row] for row in task.learnt_rows}),
        **told_corpora(task),
        "snapshot": task.dataset.snapshot,
        "folds": options.folds,
        "normalisation": options.bundled,
        "transductive": options.bundled == "speaker",
        **uars,
        "intended_use": "research on speech emotion; acted or elicited emotion of the corpora named",
        "not_for": "decisions about people; other languages, rooms or ages are untested",
    }


def write_predictions(folder: Path, evaluations: list[Evaluation]) -> None:
    """Write ``predictions.parquet``, before anything that may still fail."""
    predictions = pd.concat([own.predictions for own in evaluations], ignore_index=True)
    with atomic_write(folder / PREDICTIONS) as path:
        predictions.to_parquet(path, index=False)


def write_run(
    folder: Path,
    task: Task,
    options: TrainOptions,
    notes: RunNotes,
    evaluations: list[Evaluation],
    metrics: dict[str, dict[str, Any]],
) -> None:
    """Write ``examples.npz`` and, last, ``run.json``.

    Parameters
    ----------
    folder : exists
    task, options, notes : what was done
    evaluations : the headline's is named as ``options.normalise``
    metrics : evaluation's name -> what `reports.metrics.evaluate` gave
    """
    headline = next(own for own in evaluations if own.name == options.normalise)
    rows = choose_examples(headline.predictions, task, options)
    examples = _write_examples(folder, rows, headline, task, notes)
    document = {
        "format": RUN_FORMAT,
        "run": folder.name,
        "title": notes.title,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "warning": notes.warning,
        "labels": list(task.labels),
        "headline": headline.name,
        "evaluations": [_evaluation(own, metrics[own.name]) for own in evaluations],
        "examples": examples,
        "settings": to_mapping(options),
        "provenance": _provenance(task, options, notes),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_write(folder / "run.json") as path:
        path.write_text(text + "\n", encoding="utf-8")


def _evaluation(evaluation: Evaluation, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": evaluation.name,
        "classifier": evaluation.classifier,
        "features": evaluation.features,
        "normalise": evaluation.normalise,
        "transductive": evaluation.normalise == "speaker",
        "metrics": metrics,
        "curves": evaluation.curves,
    }


def _provenance(task: Task, options: TrainOptions, notes: RunNotes) -> dict[str, str | int | float]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        **told_corpora(task),
        "recipe_id": task.dataset.recipe_id,
        "snapshot": task.dataset.snapshot,
        "seeds": ", ".join(map(str, options.seeds)),
        "n_utterances": len(task.dataset.stacks),
        "n_speakers": len(set(task.speakers)),
        "n_folds": len(task.folds),
        "n_inputs": task.n_inputs,
        "backend": backend_name(),
        **versions,
        **notes.provenance,
    }


def choose_examples(
    predictions: pd.DataFrame, task: Task, options: TrainOptions
) -> list[tuple[int, str]]:
    """Choose utterances worth a picture: the surest right ones of several classes, surest errors.

    Returns
    -------
    row of the manifest and predicted label of each, of the first seed
    """
    first = predictions[predictions["seed"] == options.seeds[0]]
    sureness = first[[f"p:{label}" for label in task.labels]].max(axis=1)
    first = first.assign(sureness=sureness).sort_values(
        ["sureness", "utterance_id"], ascending=[False, True]
    )
    is_right = first["truth"] == first["predicted"]
    wrong = first[~is_right].head(min(N_WRONG, options.n_examples))
    right = first[is_right].drop_duplicates("truth").head(options.n_examples - len(wrong))
    ids = task.dataset.manifest["utterance_id"]
    # Of a name that two corpora have, the last row is the tested one.
    row_of = {utterance: row for row, utterance in enumerate(ids)}
    chosen = pd.concat([right, wrong])
    return [
        (row_of[utterance], predicted)
        for utterance, predicted in zip(chosen["utterance_id"], chosen["predicted"], strict=True)
    ]


def _write_examples(
    folder: Path,
    rows: list[tuple[int, str]],
    headline: Evaluation,
    task: Task,
    notes: RunNotes,
) -> list[dict[str, Any]]:
    arrays: dict[str, Any] = {}
    entries = []
    for i, (row, predicted) in enumerate(rows):
        picture = notes.spectrogram(row) if notes.spectrogram else None
        if picture is not None:
            arrays[f"logmel_{i}"] = np.asarray(picture[0], np.float32)
            arrays[f"hop_s_{i}"] = np.array(picture[1], np.float64)
        arrays[f"segment_start_{i}"] = task.dataset.segment_start[row]
        arrays[f"segment_end_{i}"] = task.dataset.segment_end[row]
        arrays[f"attention_{i}"] = headline.attention[row]
        entries.append(
            {
                "utterance_id": str(task.dataset.manifest["utterance_id"].iloc[row]),
                "truth": task.labels[task.targets[row]],
                "predicted": predicted,
                "has_spectrogram": picture is not None,
            }
        )
    with atomic_write(folder / "examples.npz") as path, path.open("wb") as file:
        np.savez(file, **arrays)  # floats are never pickled
    return entries
