"""What a run leaves behind, read back and checked.

Conventions
-----------
``run.json`` (format 1) names the labels, the evaluations with their metrics (see
`reports.metrics.evaluate`) and learning curves, the examples, the settings and the provenance.
``predictions.parquet`` holds one row an evaluation, utterance and seed. ``examples.npz`` holds,
for example number i, ``logmel_i`` (where its audio was at hand), ``hop_s_i``,
``segment_start_i``, ``segment_end_i`` and ``attention_i``. The last two files may be missing.
Epochs count from 1. Nothing is unpickled.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.prediction_table import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Curve", "Evaluation", "Example", "Run", "RunError", "read_run"]

RUN_FORMAT = 1

_METRICS = (
    "uar_pooled", "uar_seeds", "uar_ensemble", "uar_interval", "uar_fold_mean", "uar_fold_sd",
    "wa", "macro_f1", "recall_by_class", "confusion", "folds",
)  # fmt: skip


class RunError(ValueError):
    """A run folder from which no report can be made."""


def snapshot_of(provenance: Mapping[str, Any]) -> str | None:
    """Say which snapshot of the features a run has read: a number, or one per recipe.

    Version 0.1 called it a generation.
    """
    found = provenance.get("snapshot", provenance.get("generation"))
    return None if found is None else str(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How one training went, one value an epoch.

    Attributes
    ----------
    fold, seed : which training
    train_loss : each epoch's loss
    """

    fold: str
    seed: int
    train_loss: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One classifier under one normalisation, cross-validated."""

    name: str
    classifier: str
    normalise: str
    transductive: bool
    metrics: Mapping[str, Any]
    features: str = ""
    curves: tuple[Curve, ...] = ()

    @property
    def stem(self) -> str:
        """Its name without the normalisation: ``svm-`` of ``svm-speaker``."""
        return self.name.removesuffix(self.normalise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One utterance and what the classifier attended to in it.

    Attributes
    ----------
    utterance_id, truth, predicted : names
    segment_start, segment_end : float64, shape (n_segments,), seconds in the utterance
    attention : float64, shape (n_segments,), in [0, 1], sums to 1
    logmel : float32, shape (n_mels, n_frames), dB, row 0 the lowest band; None without audio
    hop_s : seconds from one frame to the next
    """

    utterance_id: str
    truth: str
    predicted: str
    segment_start: NDArray[np.float64]
    segment_end: NDArray[np.float64]
    attention: NDArray[np.float64]
    logmel: NDArray[np.float32] | None = None
    hop_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A whole run."""

    name: str
    title: str
    created: str
    warning: str
    labels: tuple[str, ...]
    headline: Evaluation
    evaluations: tuple[Evaluation, ...]
    examples: tuple[Example, ...]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    predictions: pd.DataFrame | None = None

    def partner(self, evaluation: Evaluation) -> Evaluation | None:
        """Find the inductive evaluation beside a transductive one, or the other way round."""
        for other in self.evaluations:
            same = other.classifier == evaluation.classifier and other.stem == evaluation.stem
            if same and other.transductive != evaluation.transductive:
                return other
        return None


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Parameters
    ----------
    folder : holds ``run.json`` and, if any, ``predictions.parquet`` and ``examples.npz``

    Raises
    ------
    RunError
        A file cannot be read, is of another format, or lacks something.
    """
    path = folder / "run.json"
    facts = _read_json(path)
    try:
        evaluations = tuple(_evaluation(entry) for entry in facts["evaluations"])
        by_name = {evaluation.name: evaluation for evaluation in evaluations}
        run = Run(
            name=str(facts["run"]),
            title=str(facts["title"]),
            created=str(facts["created"]),
            warning=str(facts["warning"]),
            labels=tuple(str(label) for label in facts["labels"]),
            headline=by_name[facts["headline"]],
            evaluations=evaluations,
            examples=(),
            settings=dict(facts["settings"]),
            provenance=dict(facts["provenance"]),
        )
        entries = list(facts["examples"])
        _check_confusions(run)
    except KeyError as error:
        raise RunError(
            f"{path} lacks {error}; expected all of a run's format {RUN_FORMAT}; train again"
        ) from error
    except (TypeError, ValueError) as error:
        raise RunError(
            f"{path} is not laid out as format {RUN_FORMAT} ({error}); train again"
        ) from error
    return replace(
        run,
        examples=_read_examples(folder / "examples.npz", entries),
        predictions=_read_predictions(folder / "predictions.parquet", run.labels),
    )


def _check_confusions(run: Run) -> None:
    for evaluation in run.evaluations:
        shape = np.shape(evaluation.metrics["confusion"])
        if shape != (len(run.labels), len(run.labels)):
            raise ValueError(f"a confusion of shape {shape} for {len(run.labels)} labels")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing; expected the folder of a finished run") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as JSON ({error}); train again") from error
    seen = facts.get("format") if isinstance(facts, dict) else None
    if seen != RUN_FORMAT:
        raise RunError(f"{path} is of format {seen!r}; expected {RUN_FORMAT}; train again")
    return dict(facts)


def _evaluation(entry: Mapping[str, Any]) -> Evaluation:
    metrics = dict(entry["metrics"])
    for name in _METRICS:
        metrics[name]  # a missing one is told by `read_run`
    return Evaluation(
        name=str(entry["name"]),
        classifier=str(entry["classifier"]),
        features=str(entry.get("features", "")),
        normalise=str(entry["normalise"]),
        transductive=bool(entry["transductive"]),
        metrics=metrics,
        curves=tuple(_curve(curve) for curve in entry.get("curves", ())),
    )


def _curve(entry: Mapping[str, Any]) -> Curve:
    return Curve(
        fold=str(entry["fold"]),
        seed=int(entry["seed"]),
        train_loss=tuple(map(float, entry["train_loss"])),
    )


def _read_predictions(path: Path, labels: tuple[str, ...]) -> pd.DataFrame | None:
    if not path.exists():
        return None
    columns = ["evaluation", *COLUMNS, *(f"p:{name}" for name in labels)]
    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); train again") from error


def _read_examples(path: Path, entries: list[Mapping[str, Any]]) -> tuple[Example, ...]:
    if not entries or not path.exists():
        return ()
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return tuple(_example(arrays, i, entry) for i, entry in enumerate(entries))
    except KeyError as error:
        raise RunError(f"{path} or run.json lacks {error} of an example; train again") from error
    except (TypeError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be read ({error}); train again") from error


def _example(arrays: Mapping[str, NDArray[Any]], index: int, entry: Mapping[str, Any]) -> Example:
    start, end, attention = (
        np.asarray(arrays[f"{name}_{index}"], np.float64)
        for name in ("segment_start", "segment_end", "attention")
    )
    if not (start.ndim == 1 and len(start) > 0 and start.shape == end.shape == attention.shape):
        raise ValueError(f"example {index} has segments of unequal number or none")
    if not all(np.isfinite(values).all() for values in (start, end, attention)):
        raise ValueError(f"example {index} has times or attention that are not finite")
    logmel = arrays[f"logmel_{index}"] if f"logmel_{index}" in arrays else None  # noqa: SIM401
    if logmel is not None and (logmel.ndim != 2 or logmel.size == 0):
        raise ValueError(f"example {index} has a spectrogram of shape {logmel.shape}")
    return Example(
        utterance_id=str(entry["utterance_id"]),
        truth=str(entry["truth"]),
        predicted=str(entry["predicted"]),
        segment_start=start,
        segment_end=end,
        attention=attention,
        logmel=logmel,
        hop_s=float(arrays[f"hop_s_{index}"]) if logmel is not None else 0.0,
    )
