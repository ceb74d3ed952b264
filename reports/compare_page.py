"""The page of a comparison: one HTML file, made of what `reports.comparison` found.

It answers in this order: what keeps the numbers from being comparable; who stands where; which
differences are more than luck; in which classes. Nothing is fetched and nothing runs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reports import text
from reports.evaluation_names import NORMALISATIONS, classifier_words
from reports.figures import axis, uar_axis
from reports.rendering import environment, html_words
from reports.significance import N_SWAPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reports.figures import Axis

__all__ = ["LEVEL", "html", "verdict", "write_comparison"]

Comparison = dict[str, Any]

LEVEL = 0.05
"""A difference is called one where the corrected p by speakers is below this."""


def write_comparison(folder: Path, comparison: Comparison) -> Path:
    """Write ``comparison.json`` and ``report.html``, each whole or not at all.

    The same comparison gives the same bytes.

    Returns
    -------
    path : of the page
    """
    numbers = json.dumps(comparison, indent=1, ensure_ascii=False, allow_nan=False)
    text.publish(folder / "comparison.json", numbers + "\n")
    path = folder / "report.html"
    text.publish(path, html(comparison))
    return path


def html(comparison: Comparison) -> str:
    """Render a comparison as one HTML page that needs nothing else."""
    groups = comparison["groups"]
    return (
        environment(html_words)
        .get_template("compare.html")
        .render(
            comparison=comparison,
            is_one=len(comparison["runs"]) == 1,
            warnings=_warnings(comparison["runs"]),
            groups=[_group(group) for group in groups],
            classifier_words=classifier_words,
            normalisations=NORMALISATIONS,
            level=LEVEL,
        )
    )


def verdict(against: Mapping[str, Any]) -> str:
    """Say in a word whether a row's difference from the first is more than luck.

    Returns
    -------
    word : ``higher``, ``lower``, ``not told apart`` or ``too few speakers``
    """
    test, p = against["test"], against["p_holm"]
    if test is None or p is None or against["least_p_holm"] > LEVEL:
        return "too few speakers"
    if p >= LEVEL:
        return "not told apart"
    return "higher" if against["difference"] > 0 else "lower"


def _warnings(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what keeps runs' numbers from being results, each warning once, and of which runs."""
    numbers: dict[str, list[int]] = {}
    for run in runs:
        if run["warning"]:
            numbers.setdefault(run["warning"], []).append(run["number"])
    if len(runs) == 1:
        return list(numbers)
    return [
        f"Run{'s' if len(which) > 1 else ''} {', '.join(map(str, which))}: {warning}"
        for warning, which in numbers.items()
    ]


def _group(group: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare one group: axes, a verdict for each row, tables of recalls and of answers."""
    rows = [
        {**row, "verdict": verdict(row["against"]) if row["against"] else ""}
        for row in group["rows"]
    ]
    recalls = [
        {**one, "recalls": [row["recall_by_class"].get(one["label"]) for row in rows]}
        for one in group["classes"]
    ]
    return {
        **group,
        "rows": rows,
        "scale": uar_axis(rows),
        "gap": _gap_axis(rows),
        "how": _how(rows, group["n_speakers"]),
        "recalls": recalls,
        "answers": _answers(group),
    }


def _gap_axis(rows: Sequence[Mapping[str, Any]]) -> Axis:
    """Make one axis for differences, as far to the left of zero as to the right."""
    furthest = 1.0
    for row in rows[1:]:
        against = row["against"]
        ends = (against["difference"], *(against["interval"] or ()))
        furthest = max(furthest, *(abs(end) for end in ends))
    return axis(-furthest, furthest, n_ticks=4, snap=True)


def _how(rows: Sequence[Mapping[str, Any]], n_speakers: int) -> str:
    """Say how p over speakers was found."""
    tests = [row["against"]["test"] for row in rows[1:]]
    if None in tests:
        return "A single speaker tells nothing of others."
    if all(test["is_exact"] for test in tests):
        least = text.chance(max(test["least_p"] for test in tests))
        least = least if least.startswith("<") else f"below {least}"
        return f"All swaps of {n_speakers} speakers were tried: no p {least} can come out."
    return f"{N_SWAPS:,} random swaps of {n_speakers} speakers."


def _answers(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Make a row a class, a cell each other entry: who alone was right, how often."""
    others = [row["against"]["answers"] for row in group["rows"][1:]]
    widest = max(max(a["only_first"], a["only_this"], 1) for table in others for a in table)
    return [
        {
            **one,
            "cells": [
                {
                    **table[i],
                    "left": 100.0 * table[i]["only_first"] / widest,
                    "right": 100.0 * table[i]["only_this"] / widest,
                }
                for table in others
            ],
        }
        for i, one in enumerate(group["classes"])
    ]
