"""The morning page: what a night did, for people, for mail and for Prometheus.

A *night* is one JSON object, written by the pipeline; its keys are all there always. Seconds and
percent are floats, bytes and counts ints, times ISO 8601 with their zone.

The page answers in this order: did it go well; what came in and went; what failed and why; where
the time went; disk; drift; the new UAR against the last one; warnings; where it all comes from.
Nothing is fetched and nothing runs: the page's own content policy forbids it.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from reports import text
from reports.prometheus import prometheus
from reports.rendering import environment, html_words, markdown_words
from reports.verdict import CALM, judge, predecessor_died, summary_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["html", "markdown", "prometheus", "summary_line", "write_night"]

Night = dict[str, Any]

CHANGES = {
    "new": "new",
    "changed": "changed",
    "renamed": "renamed",
    "relabelled": "relabelled",
    "gone": "gone",
    "retried": "tried again",
    "skipped": "there already",
    "left": "not reached",
}
"""What a manifest's utterances were to the store, and the words for it."""


def write_night(folder: Path, night: Night, prometheus_file: Path) -> None:
    """Write ``night.json``, ``night.md`` and ``night.html``, and the Prometheus textfile.

    Each file is there whole or not at all; the same night gives the same bytes.

    Parameters
    ----------
    folder : of the night; it is made if it is not there
    night : the record, see above
    prometheus_file : for the node exporter's textfile collector, which wants ``.prom`` at its end

    Raises
    ------
    OSError
        A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prometheus_file.parent.mkdir(parents=True, exist_ok=True)
    night = _finite(night)
    text.publish(folder / "night.json", json.dumps(night, indent=2) + "\n")
    text.publish(folder / "night.md", markdown(night))
    text.publish(folder / "night.html", html(night))
    text.publish(prometheus_file, prometheus(night))


def markdown(night: Night) -> str:
    """Write the page as Markdown (CommonMark with tables); no name in it is ever markup."""
    return _render("night.md", night, markdown_words)


def html(night: Night) -> str:
    """Write the page as one HTML file that needs nothing else."""
    return _render("night.html", night, html_words)


def _render(template: str, night: Night, finalize: Callable[[object], object]) -> str:
    night = _finite(night)
    page = environment(finalize).get_template(template)
    return page.render(
        night=night,
        verdict=judge(night),
        predecessor_died=predecessor_died(night),
        changes=_changes(night),
        failures=_failures(night),
        checks=sorted(night["checks"].items(), key=lambda pair: (-pair[1], pair[0])),
        steps=_steps(night),
        growth=night["disk"]["store_bytes"] - night["disk"]["store_bytes_before"],
        training=_training(night["train"]),
        is_calm=night["train_skipped"] in CALM,
        provenance=_provenance(night),
    )


def _changes(night: Night) -> list[dict[str, Any]]:
    """Give every kind of change its count and the first of its names."""
    rows = []
    for name, word in CHANGES.items():
        n, names = night["counts"][name], night["names"].get(name, [])
        rows.append({"name": name, "word": word, "n": n, "names": names, "more": n - len(names)})
    return rows


def _failures(night: Night) -> list[tuple[str, int, int]]:
    """List reason, newly quarantined, quarantined in all; the most frequent first."""
    new, total = night["failures"], night["failures_total"]
    rows = [(reason, new.get(reason, 0), total.get(reason, 0)) for reason in {**new, **total}]
    return sorted(rows, key=lambda row: (-row[1], -row[2], row[0]))


def _steps(night: Night) -> list[dict[str, Any]]:
    """Give every step its share of the night, percent; what no step names is the rest."""
    steps = [(step["name"], step["seconds"]) for step in night["steps"]]
    rest = night["seconds"] - sum(seconds for _, seconds in steps)
    if rest >= 0.5:
        steps.append(("the rest", rest))
    whole = max(night["seconds"], sum(seconds for _, seconds in steps), 1e-9)
    return [
        {"name": name, "seconds": seconds, "share": 100.0 * seconds / whole}
        for name, seconds in steps
    ]


def _training(train: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Set the new UAR against the last one, on a scale that shows both and the interval."""
    if not train:
        return None
    now, was = train["uar_pooled"], train["previous_uar"]
    interval = [end for end in train["uar_interval"] or () if end is not None]
    seen = [value for value in (now, was, *interval) if value is not None]
    # A scale of at least ten points, however good everything is.
    low = 10.0 * math.floor(min([90.0, *seen]) / 10.0)
    places = [None if v is None else 100.0 * (v - low) / (100.0 - low) for v in (now, was)]
    return {
        "now": places[0],
        "was": places[1],
        "ends": [100.0 * (end - low) / (100.0 - low) for end in interval],
        "low": low,
        "change": None if was is None or now is None else f"{now - was:+.1f}",
        "is_inside": was is not None and len(interval) == 2 and interval[0] <= was <= interval[1],
    }


def _provenance(night: Night) -> list[tuple[str, str]]:
    names = (
        "command", "emostack", "host", "recipe", "recipe_id", "store", "snapshot",
        "parent_snapshot", "night", "began", "ended", "exit_status",
    )  # fmt: skip
    return [(name.replace("_", " "), str(night[name])) for name in names]


def _finite(value: Any) -> Any:  # noqa: ANN401  (any JSON value)
    """Put null in the place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
