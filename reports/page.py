r"""The report of a run: one HTML file that needs nothing else.

No script, no font and no picture is fetched (the page's own content policy forbids it), it
follows the reader's light or dark colours, prints, and reads on a telephone. Every word that
comes from a file passes Jinja's escaping, and characters that would not show, or would turn the
text around them, are written as escapes (``\n``, ``\u202e``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reports import text
from reports.evaluation_names import NORMALISATIONS, classifier_words
from reports.figures import attention_plot, line_chart, spectrogram_png, uar_axis
from reports.rendering import environment, html_words
from reports.run_folder import read_run

if TYPE_CHECKING:
    import pandas as pd

    from reports.figures import AttentionPlot, LineChart
    from reports.run_folder import Evaluation, Example, Run

__all__ = ["render", "write_report"]

N_MISTAKES = 8
"""Rows in the table of the surest mistakes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a confusion matrix; ``share`` is percent of its row, None in an empty row."""

    count: int
    share: float | None
    is_hit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """An example as it is drawn."""

    example: Example
    plot: AttentionPlot
    picture: str
    probabilities: tuple[tuple[str, float], ...]


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` into a run's folder, whole or not at all.

    The same run folder gives the same bytes.

    Parameters
    ----------
    run_folder : see `reports.run_folder`

    Returns
    -------
    path : of the report

    Raises
    ------
    reports.run_folder.RunError
        The folder does not hold a whole run.
    """
    run_folder = Path(run_folder)
    path = run_folder / "report.html"
    text.publish(path, render(read_run(run_folder)))
    return path


def render(run: Run) -> str:
    """Render a run as one HTML page."""
    partner = run.partner(run.headline)
    mean = _mean_probabilities(run)
    rivals = _rivals(run, partner)
    chance = 100.0 / max(1, len(run.headline.metrics["recall_by_class"]))
    return (
        environment(html_words)
        .get_template("run.html")
        .render(
            run=run,
            headline=run.headline,
            partner=partner,
            rivals=rivals,
            chance=chance,
            scale=uar_axis([each.metrics for each in rivals], chance),
            classifier_words=classifier_words,
            normalisations=NORMALISATIONS,
            recalls=_recall_rows(run, partner),
            matrices=[(e, _matrix(e, run.labels)) for e in (run.headline, partner) if e],
            folds=_fold_rows(run.headline, partner),
            charts=[(e, chart) for e in rivals if (chart := _chart(e))],
            panels=[_panel(run, example, mean) for example in run.examples],
            mistakes=_mistakes(run, mean),
            provenance=list(text.flat(run.provenance)),
            settings=list(text.flat(run.settings)),
        )
    )


def _rivals(run: Run, partner: Evaluation | None) -> list[Evaluation]:
    """Order all evaluations: the headline, its partner, the rest as they come."""
    first = [run.headline, *([partner] if partner else [])]
    return first + [e for e in run.evaluations if all(e is not known for known in first)]


def _support(evaluation: Evaluation) -> list[int]:
    """Count the utterances of each class, once though each seed predicts them."""
    n_seeds = len(evaluation.metrics["uar_seeds"])
    return [sum(row) // n_seeds for row in evaluation.metrics["confusion"]]


def _recall_rows(run: Run, partner: Evaluation | None) -> list[dict[str, Any]]:
    own = run.headline.metrics["recall_by_class"]
    other = partner.metrics["recall_by_class"] if partner else {}
    return [
        {"label": label, "n": n, "own": own.get(label), "other": other.get(label)}
        for label, n in zip(run.labels, _support(run.headline), strict=True)
    ]


def _matrix(evaluation: Evaluation, labels: tuple[str, ...]) -> list[tuple[str, list[Cell]]]:
    rows = []
    for i, (label, counts) in enumerate(zip(labels, evaluation.metrics["confusion"], strict=True)):
        total = sum(counts)
        cells = [
            Cell(count=count, share=100.0 * count / total if total else None, is_hit=i == j)
            for j, count in enumerate(counts)
        ]
        rows.append((label, cells))
    return rows


def _fold_rows(headline: Evaluation, partner: Evaluation | None) -> list[dict[str, Any]]:
    others = {fold["fold"]: fold for fold in partner.metrics["folds"]} if partner else {}
    return [
        {
            **fold,
            "speakers": ", ".join(fold.get("speakers", ())),
            "names_itself": list(fold.get("speakers", ())) == [fold["fold"]],
            "other_uar": others.get(fold["fold"], {}).get("uar"),
            "other_wa": others.get(fold["fold"], {}).get("wa"),
        }
        for fold in headline.metrics["folds"]
    ]


def _chart(evaluation: Evaluation) -> LineChart | None:
    """Draw the losses of all trainings of one evaluation."""
    return line_chart("train", [curve.train_loss for curve in evaluation.curves])


def _panel(run: Run, example: Example, mean: pd.DataFrame | None) -> Panel:
    duration_s, picture = 0.0, ""
    if example.logmel is not None:
        duration_s = example.hop_s * example.logmel.shape[1]
        picture = spectrogram_png(example.logmel)
    plot = attention_plot(
        example.segment_start, example.segment_end, example.attention, duration_s=duration_s
    )
    named: list[tuple[str, float]] = []
    if mean is not None and example.utterance_id in mean.index:
        row = mean.loc[example.utterance_id]
        named = [(label, 100.0 * float(row[f"p:{label}"])) for label in run.labels]
        named.sort(key=lambda pair: -pair[1])
    return Panel(example=example, plot=plot, picture=picture, probabilities=tuple(named[:3]))


def _mean_probabilities(run: Run) -> pd.DataFrame | None:
    """Average the headline's probabilities over seeds, one row an utterance."""
    if run.predictions is None:
        return None
    rows = run.predictions[run.predictions["evaluation"] == run.headline.name]
    columns = {f"p:{label}": "mean" for label in run.labels}
    return rows.groupby("utterance_id").agg({"speaker": "first", "truth": "first", **columns})


def _mistakes(run: Run, mean: pd.DataFrame | None) -> list[dict[str, Any]]:
    """List the mistakes that the headline's classifier is surest of."""
    if mean is None or mean.empty:
        return []
    values = mean[[f"p:{label}" for label in run.labels]].to_numpy(np.float64)
    best = values.argmax(axis=1)
    code = {label: i for i, label in enumerate(run.labels)}
    rows = [
        {
            "utterance_id": name,
            "speaker": speaker,
            "truth": truth,
            "predicted": run.labels[best[i]],
            "sure": 100.0 * values[i, best[i]],
            "truth_share": 100.0 * values[i, code[truth]],
        }
        for i, (name, speaker, truth) in enumerate(
            zip(mean.index, mean["speaker"], mean["truth"], strict=True)
        )
        if code.get(truth, best[i]) != best[i]
    ]
    return sorted(rows, key=lambda row: (-row["sure"], row["utterance_id"]))[:N_MISTAKES]
