"""A night as Prometheus gauges, in the text exposition format (version 0.0.4).

The node exporter's textfile collector reads such a file. Every gauge carries the label ``title``,
so that several corpora can stand side by side. What a night does not know is left out: a gauge that
is not there can be alerted on, a made-up zero cannot.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reports.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["prometheus"]

CHANGES = ("new", "changed", "renamed", "relabelled", "gone", "retried", "skipped")

Gauge = tuple[str, str, list[tuple[dict[str, str], float | None]]]
"""A name without its prefix, its help, and labelled values."""


def prometheus(night: dict[str, Any]) -> str:
    """Write a night's gauges.

    Parameters
    ----------
    night : the record of `reports.night`

    Returns
    -------
    text : ends with a newline
    """
    lines = []
    for name, explained, samples in [*_outcome(night), *_content(night), *_amounts(night)]:
        known = [(labels, value) for labels, value in samples if _is_known(value)]
        if not known:
            continue
        full = f"emostack_night_{name}"
        lines += [f"# HELP {full} {explained}", f"# TYPE {full} gauge"]
        for labels, value in known:
            shown = {"title": night["title"], **labels}
            inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in shown.items())
            lines.append(f"{full}{{{inner}}} {value!r}")
    return "\n".join(lines) + "\n"


def _outcome(night: dict[str, Any]) -> Iterator[Gauge]:
    """Did it go well, and when."""
    is_success = night["status"] in ("done", "stopped")
    ended = datetime.fromisoformat(night["ended"]).timestamp() if night["ended"] else None
    explained = "1 if the night came to its end or to its time budget, else 0."
    yield "success", explained, [({}, int(is_success))]
    explained = "Exit status; 3: done, but files were newly quarantined."
    yield "exit_status", explained, [({}, night["exit_status"])]
    yield "end_timestamp_seconds", "When the night ended, Unix time.", [({}, ended)]
    yield "duration_seconds", "How long the night took.", [({}, night["seconds"])]


def _content(night: dict[str, Any]) -> Iterator[Gauge]:
    """Say what came, went and failed."""
    counts = night["counts"]
    changes = [({"change": change}, counts[change]) for change in CHANGES]
    yield "utterances", "Utterances by what they were to the store.", list(changes)
    reasons = sorted(night["failures_total"].items())
    explained = "Utterances in quarantine, in all, by reason."
    yield "quarantined", explained, [({"reason": reason}, n) for reason, n in reasons]
    explained = "Utterances quarantined this night."
    yield "newly_quarantined", explained, [({}, counts["newly_quarantined"])]
    yield "left", "Utterances not reached.", [({}, counts["left"])]


def _amounts(night: dict[str, Any]) -> Iterator[Gauge]:
    """Say how much there is, how fast it went, and how good the classifier is."""
    disk, train = night["disk"], night["train"] or {}
    yield "segments", "Segments extracted.", [({}, night["segments"])]
    explained = "Segments extracted a second."
    yield "segments_per_second", explained, [({}, night["segments_per_second"])]
    yield "store_bytes", "Size of the store.", [({}, disk["store_bytes"])]
    yield "free_bytes", "Free space on the store's disk.", [({}, disk["free_bytes"])]
    yield "snapshot", "The store's snapshot.", [({}, night["snapshot"])]
    yield (
        "generation",
        "The store's snapshot, by its name in version 0.1.",
        [({}, night["snapshot"])],
    )
    kinds = {"transductive": train.get("uar_pooled"), "inductive": train.get("uar_inductive")}
    explained = "Unweighted average recall of the night's training, percent."
    yield "uar_percent", explained, [({"kind": kind}, value) for kind, value in kinds.items()]


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _escaped(text: str) -> str:
    """Escape a label's value; what cannot be written in UTF-8 or would not show is spelt out."""
    shown = "\n".join(visible(line) for line in text.split("\n"))
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
