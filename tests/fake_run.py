"""A run folder as training leaves it, made of chance: for the tests of the reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.metrics import evaluate
from reports.run_folder import Evaluation, Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LABELS = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")
COUNTS = (127, 81, 46, 69, 71, 79, 62)
NEAR = {"anger": "happiness", "happiness": "anger", "boredom": "neutral", "neutral": "boredom"}
SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
SEEDS = (0, 1)


def fake_predictions(
    *,
    labels: Sequence[str] = LABELS,
    counts: Sequence[int] = COUNTS,
    speakers: Sequence[str] = SPEAKERS,
    seeds: Sequence[int] = SEEDS,
    skill: float = 3.0,
    draw: int = 0,
) -> pd.DataFrame:
    """Predictions of one evaluation: logits favour the truth by `skill`, and its neighbour.

    Whatever the draw, the same speakers say the same utterances.
    """
    rng = np.random.default_rng(draw)
    code = {label: i for i, label in enumerate(labels)}
    truth = np.repeat(np.arange(len(labels)), counts)
    rng.integers(0, len(speakers), len(truth))  # golden numbers were made of what follows
    speaker = np.random.default_rng(0).integers(0, len(speakers), len(truth))
    ease = rng.normal(0.0, 0.5, len(speakers))
    base = rng.normal(0.0, 1.0, (len(truth), len(labels)))
    base[np.arange(len(truth)), truth] += skill + ease[speaker]
    for near_from, near_to in NEAR.items():
        if near_from in code and near_to in code:
            base[truth == code[near_from], code[near_to]] += 1.0
    tables = []
    for seed in seeds:
        logits = base + rng.normal(0.0, 0.4, base.shape)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        table = pd.DataFrame(
            {
                "utterance_id": [f"{speakers[s]}-{i:03d}" for i, s in enumerate(speaker)],
                "speaker": [speakers[s] for s in speaker],
                "fold": [speakers[s] for s in speaker],
                "seed": seed,
                "truth": [labels[t] for t in truth],
                "predicted": [labels[t] for t in p.argmax(axis=1)],
            }
        )
        probabilities = pd.DataFrame(p, columns=[f"p:{label}" for label in labels])
        tables.append(pd.concat([table, probabilities], axis=1))
    return pd.concat(tables, ignore_index=True)


def fake_curves(
    folds: Sequence[str], seeds: Sequence[int], *, top: float = 88.0
) -> list[dict[str, Any]]:
    """Learning curves that fall, one a fold and seed; the better the lower."""
    rng = np.random.default_rng(7)
    epoch = np.arange(1, 41)
    floor = 1.3 - top / 100
    return [
        {
            "fold": fold,
            "seed": seed,
            "train_loss": (
                floor + 1.6 * np.exp(-epoch / 6) + rng.normal(0.0, 0.01, len(epoch))
            ).tolist(),
        }
        for fold in folds
        for seed in seeds
    ]


def fake_logmel(duration_s: float, *, draw: int = 0) -> np.ndarray:
    """A picture with harmonics, pauses and noise, (64, n_frames) in dB, 10 ms a frame."""
    rng = np.random.default_rng(draw)
    time = np.arange(int(100 * duration_s)) / 100
    pitch = (
        7 + 2 * np.sin(2 * np.pi * time / 1.3 + draw) + np.cumsum(rng.normal(0, 0.05, len(time)))
    )
    loud = np.clip(np.sin(2 * np.pi * 2.1 * time + draw), -0.4, 1.0)
    band = np.arange(64)[:, None]
    ripples = 8 * np.cos(2 * np.pi * band / pitch) - 0.45 * band
    return (-30 + ripples + 18 * loud + rng.normal(0, 2.5, (64, len(time)))).astype(np.float32)


def write_fake_run(
    folder: Path,
    *,
    labels: Sequence[str] = LABELS,
    counts: Sequence[int] = COUNTS,
    speakers: Sequence[str] = SPEAKERS,
    seeds: Sequence[int] = SEEDS,
    title: str = "EMO-DB, leave one speaker out",
    warning: str = "",
    headline: str = "speaker",
    draw: int = 0,
) -> Path:
    """Write run.json, predictions.parquet and examples.npz as `stages.train` does."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {
        "speaker": ("blstm_attention_dnn", "speaker", 3.3, seeds),
        "train": ("blstm_attention_dnn", "train", 2.8, seeds),
        "svm-speaker": ("linear_svm", "speaker", 3.15, seeds[:1]),
        "svm-train": ("linear_svm", "train", 2.6, seeds[:1]),
    }
    evaluations, tables = [], []
    for name, (classifier, normalise, skill, its_seeds) in kinds.items():
        rows = fake_predictions(
            labels=labels,
            counts=counts,
            speakers=speakers,
            seeds=its_seeds,
            skill=skill,
            draw=draw,
        )
        is_network = classifier == "blstm_attention_dnn"
        evaluations.append(
            {
                "name": name,
                "classifier": classifier,
                "normalise": normalise,
                "transductive": normalise == "speaker",
                "metrics": evaluate(rows, labels, n_boot=200),
                "curves": fake_curves(speakers, its_seeds, top=25 * skill) if is_network else [],
            }
        )
        tables.append(rows.assign(evaluation=name))
    pd.concat(tables, ignore_index=True).to_parquet(folder / "predictions.parquet", index=False)
    facts = {
        "format": 1,
        "run": "emodb-20260101-120000",
        "title": title,
        "created": "2026-01-01T12:00:00+00:00",
        "warning": warning,
        "labels": list(labels),
        "headline": headline,
        "evaluations": evaluations,
        "examples": _write_examples(folder / "examples.npz", tables[0]),
        "settings": {
            "frontend": {"sample_rate": 16000, "n_mels": 64, "window_s": 0.025, "hop_s": 0.01},
            "network": {
                "network": "mobilenet-0.75",
                "layers": ["conv_pw_3_relu"],
                "pooling": "bands:7",
            },
            "classifier": {"units": 128, "dropout": 0.3, "label_smoothing": 0.1, "pca": 256},
        },
        "provenance": {
            "recipe_id": "9f2c4e1ab07d35f66c8e0d4471b2a9e3",
            "snapshot": 1,
            "seeds": "0, 1",
            "command": "emostack reproduce emodb --audio emodb/wav --seeds 2",
            "keras": "3.15.0",
            "seconds": 214.7,
        },
    }
    (folder / "run.json").write_text(json.dumps(facts, ensure_ascii=True), encoding="utf-8")
    return folder


def run_in_memory(
    name: str, evaluations: dict[str, pd.DataFrame], *, headline: str = "speaker", **facts: object
) -> Run:
    """Make a run of predictions by evaluation; a name ends in its normalisation."""
    entries = tuple(
        Evaluation(
            name=kind,
            classifier="linear_svm" if "-" in kind else "blstm_attention_dnn",
            normalise=kind.rpartition("-")[2],
            transductive=kind.endswith("speaker"),
            metrics=evaluate(rows, labels_of(rows), n_boot=1),
        )
        for kind, rows in evaluations.items()
    )
    tables = [rows.assign(evaluation=kind) for kind, rows in evaluations.items()]
    values: dict[str, Any] = {
        "title": f"title of {name}",
        "created": "2026-01-01T12:00:00+00:00",
        "warning": "",
        "labels": tuple(labels_of(tables[0])),
        "settings": {"folds": "speaker", "classifier": {"dropout": 0.3}},
        "provenance": {"recipe_id": "9f2c", "snapshot": 1},
        "predictions": pd.concat(tables, ignore_index=True),
    }
    values |= facts
    return Run(
        name=name,
        headline=next(each for each in entries if each.name == headline),
        evaluations=entries,
        examples=(),
        **values,
    )


def labels_of(rows: pd.DataFrame) -> list[str]:
    """Labels of a table of predictions, in the order of its columns."""
    return [name.removeprefix("p:") for name in rows.columns if name.startswith("p:")]


def _write_examples(path: Path, rows: pd.DataFrame) -> list[dict[str, Any]]:
    arrays: dict[str, np.ndarray] = {}
    entries = []
    rng = np.random.default_rng(3)
    wrong = rows[rows["truth"] != rows["predicted"]].head(1)
    chosen = pd.concat([rows.drop_duplicates("truth").head(3), wrong])
    for i, row in enumerate(chosen.to_dict("records")):
        duration_s = 1.6 + 0.9 * i
        start = np.arange(0.0, duration_s - 0.64, 0.16)
        score = np.exp(np.convolve(rng.normal(0, 1.6, len(start)), [0.3, 0.5, 0.3], "same"))
        arrays[f"segment_start_{i}"] = start
        arrays[f"segment_end_{i}"] = start + 0.64
        arrays[f"attention_{i}"] = score / score.sum()
        arrays[f"hop_s_{i}"] = np.float64(0.01)
        if i != 2:
            arrays[f"logmel_{i}"] = fake_logmel(duration_s, draw=i)
        entries.append(
            {key: row[key] for key in ("utterance_id", "truth", "predicted")}
            | {"has_spectrogram": i != 2}
        )
    np.savez(path, **arrays)
    return entries
