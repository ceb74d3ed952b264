"""Did the night go well: in a word, in a sentence, in a line for mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reports import text

__all__ = ["CALM", "Verdict", "judge", "predecessor_died", "summary_line"]

Night = dict[str, Any]
"""The record of `reports.night`."""

MAX_SUMMARY = 199
"""Characters of the one line for mail."""

MOVED = ("new", "changed", "renamed", "relabelled", "gone")

CALM = ("", "nothing changed", "no time left", "switched off")
"""Why no training ran, without anything being wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Did it go well: ``tone`` is "good", "look" or "bad"; ``concerns`` is what to look at."""

    tone: str
    word: str
    sentence: str
    concerns: tuple[str, ...]


def judge(night: Night) -> Verdict:
    """Say how a night went."""
    by, concerns = night["stopped_by"], _concerns(night)
    counts, whole = night["counts"], "Everything written so far is whole."
    moved = ", ".join(f"{text.count(counts[name])} {name}" for name in MOVED if counts[name])
    left = f", {text.count(counts['left'], 'utterance')} left for the next run"
    so_far = (moved or "nothing had changed") + (left if counts["left"] else "")
    tone, word, sentence = {
        "done": (
            "look" if concerns else "good",
            "Done, but look" if concerns else "All went well",
            f"{so_far.capitalize()}.",
        ),
        "stopped": ("look", "Stopped by the clock", f"{by or 'Its time budget'}: {so_far}."),
        "interrupted": ("bad", "Interrupted", f"{by or 'A signal'}: {so_far}. {whole}"),
        "failed": ("bad", "Failed", night["error"] or "No reason was given."),
        "running": ("bad", "Died", f"The process ended without a word. {whole}"),
    }[night["status"]]
    return Verdict(tone=tone, word=word, sentence=sentence, concerns=tuple(concerns))


def summary_line(night: Night) -> str:
    """Say the night in one line of fewer than 200 characters."""
    title = text.clip(night["title"], 40)
    head = {
        "done": f"emostack {title}: ok",
        "stopped": f"emostack {title}: stopped by {night['stopped_by'] or 'its time budget'}",
        "interrupted": f"INTERRUPTED emostack {title}: by {night['stopped_by'] or 'a signal'}",
        "failed": f"FAILED emostack {title}: {night['error']}",
        "running": f"DIED emostack {title}: it ended without a word",
    }[night["status"]]
    tail = "".join(f", {part}" for part in _summary_parts(night))
    head = text.clip(text.visible(head), max(80, MAX_SUMMARY - len(tail)))
    return text.clip(head + tail, MAX_SUMMARY)


def predecessor_died(night: Night) -> bool:
    """Tell whether the night before ended without a word."""
    return bool(night["previous"]) and night["previous"]["status"] == "running"


def _summary_parts(night: Night) -> list[str]:
    counts, train = night["counts"], night["train"]
    parts = ["the night before died"] if predecessor_died(night) else []
    if night["status"] in ("failed", "running"):
        return [*parts, f"snapshot {night['snapshot']}"]
    parts += [f"{counts['left']} left"] if counts["left"] else []
    moved = [
        f"{'+' if name == 'new' else ''}{counts[name]} {name}" for name in MOVED if counts[name]
    ]
    parts += moved or (["nothing changed"] if night["status"] == "done" else [])
    if counts["newly_quarantined"]:
        parts.append(
            f"{counts['newly_quarantined']} newly quarantined ({counts['quarantined']} in all)"
        )
    elif counts["quarantined"]:
        parts.append(f"{counts['quarantined']} quarantined")
    segments = f"{night['segments']} segments " if night["segments"] else ""
    parts.append(f"{segments}in {text.span(night['seconds'])}")
    if train:
        was = train["previous_uar"]
        was = f" (was {text.percent(was)})" if was is not None else ""
        parts.append(f"UAR {text.percent(train['uar_pooled'])}{was}")
    elif night["train_skipped"] not in CALM:
        parts.append("no training")
    return [*parts, f"snapshot {night['snapshot']}"]


def _concerns(night: Night) -> list[str]:
    """List what a person should look at, in the order of the page."""
    train, drift = night["train"], night["drift"]
    n_bad, n_warnings = night["counts"]["newly_quarantined"], len(night["warnings"])
    possible = {
        "the night before died": predecessor_died(night),
        f"{text.count(n_bad, 'utterance')} newly quarantined": n_bad,
        "strong drift": drift and drift["verdict"] == "strong",
        "no new classifier": night["train_skipped"] not in CALM,
        "a caution about the training": train and train["warning"],
        text.count(n_warnings, "warning"): n_warnings,
    }
    return [concern for concern, is_there in possible.items() if is_there]
