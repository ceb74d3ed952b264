"""The corpus page: what a corpus holds and what is wrong with it, as one HTML file.

A *corpus* is one JSON object, written by the pipeline; its keys are all there always: `title`,
`n_ok`, `problems` (dicts with `utterance_id`, `code`, `message`, `manifest`), `overview` (the counts
that ``emostack check --json`` prints) and `provenance` (names and texts).

The page answers in this order: is it fit for use; what is wrong; what to know before training; how
much there is of what, by whom, how long. It stays small however large the corpus is: long lists are
cut, and say by how much. Nothing is fetched and nothing runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports import text
from reports.figures import Bar, axis
from reports.rendering import environment, html_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from reports.figures import Axis

__all__ = ["MEANINGS", "html", "write_corpus_page"]

Corpus = dict[str, Any]

SEVERE = {
    "missing": "the file is not there",
    "not_a_file": "a folder or a device",
    "permission": "may not be read",
    "empty": "holds no samples",
    "unreadable": "cannot be decoded",
    "truncated": "was cut short",
    "non_finite": "samples that are no numbers",
    "silent": "every sample is zero",
    "too_short": "shorter than one analysis window",
    "bad_range": "a range outside its file",
    "io": "the disk could not give it",
    "duplicated_conflicting": "heard before, with another emotion or speaker",
}
"""Codes of utterances that extraction refuses, or whose label is in doubt, in words."""

MEANINGS = SEVERE | {
    "clipped": "at full scale too often",
    "duplicated": "heard before, under another name",
    "missing_label": "no emotion is given",
    "missing_speaker": "no speaker is given",
}
"""Every code in words."""

N_PROBLEMS = 20
"""Problems shown of each code."""

N_GROUPS = 30
"""Emotions and corpora shown."""

N_SPEAKERS = 60
N_COLUMNS = 12
"""Rows and columns of the table of speakers and emotions."""

N_KINDS = 6
"""Sample rates, numbers of channels and sample formats shown."""

HALF = 0.5
MIN_HEIGHT = 1.2
"""Percent: a bar that stands for one utterance among thousands can still be seen."""


def write_corpus_page(path: Path, corpus: Corpus) -> None:
    """Write the page, whole or not at all; the same corpus gives the same bytes.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    text.publish(path, html(corpus))


def html(corpus: Corpus) -> str:
    """Render a corpus as one HTML page that needs nothing else."""
    overview = corpus["overview"]
    emotions = overview["emotions"]
    columns = [emotion["name"] for emotion in emotions[:N_COLUMNS]]
    page = environment(html_words).get_template("corpus.html")
    return page.render(
        corpus=corpus,
        overview=overview,
        verdict=_verdict(corpus),
        groups=_groups(corpus["problems"]),
        severe=SEVERE,
        emotions=_bars(emotions),
        n_more_emotions=max(0, len(emotions) - N_GROUPS),
        corpora=_bars(overview["corpora"]),
        n_more_corpora=max(0, len(overview["corpora"]) - N_GROUPS),
        histogram=_histogram(overview["histogram"]),
        strip=_strip(overview["durations_s"], overview["histogram"]),
        columns=columns,
        n_more_columns=max(0, len(emotions) - N_COLUMNS),
        speakers=_speaker_rows(overview["speakers"], columns),
        n_more_speakers=max(0, len(overview["speakers"]) - N_SPEAKERS),
        kinds=list(_kinds(overview)),
    )


def _verdict(corpus: Corpus) -> dict[str, str]:
    """Say in a word whether the corpus is fit for use."""
    n, n_ok = corpus["overview"]["n_utterances"], corpus["n_ok"]
    fine = f"{text.count(n_ok)} of {text.count(n, 'utterance')} are fine"
    if n_ok < HALF * n:
        return {"tone": "bad", "word": "Not fit for use", "sentence": f"Only {fine}."}
    if n_ok < n:
        return {"tone": "look", "word": "Worth a look", "sentence": f"{fine}."}
    if corpus["overview"]["cautions"]:
        return {"tone": "look", "word": "Sound, but look", "sentence": f"{fine}."}
    return {"tone": "good", "word": "All is well", "sentence": f"{fine}."}


def _groups(problems: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Gather problems by code: the severe ones first, then the most frequent."""
    found: dict[str, dict[str, Any]] = {}
    for problem in problems:
        code = problem["code"]
        group = found.setdefault(
            code, {"code": code, "meaning": MEANINGS.get(code, ""), "n": 0, "shown": []}
        )
        group["n"] += 1
        if len(group["shown"]) < N_PROBLEMS:
            group["shown"].append(problem)
    for group in found.values():
        group["more"] = group["n"] - len(group["shown"])
    return sorted(found.values(), key=lambda g: (g["code"] not in SEVERE, -g["n"], g["code"]))


def _bars(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give each group its share of the largest, percent."""
    largest = max((group["n_utterances"] for group in groups), default=1)
    return [
        {**group, "share": 100.0 * group["n_utterances"] / largest} for group in groups[:N_GROUPS]
    ]


def _time_axis(histogram: Mapping[str, Any]) -> Axis:
    return axis(0.0, histogram["bin_s"] * len(histogram["counts"]), n_ticks=8)


def _histogram(histogram: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Draw the histogram of lengths."""
    if histogram is None:
        return None
    counts, bin_s = histogram["counts"], histogram["bin_s"]
    x, y = _time_axis(histogram), axis(0.0, float(max(counts)), snap=True)
    bars = [
        Bar(
            left=round(x.at(i * bin_s), 3),
            width=round(100.0 / len(counts), 3),
            height=round(max(y.at(n), MIN_HEIGHT), 2),
            text=f"{i * bin_s:g} to {(i + 1) * bin_s:g} s: {text.count(n, 'utterance')}",
        )
        for i, n in enumerate(counts)
        if n
    ]
    return {"x": x, "y": y, "bars": bars, "n_longer": histogram["n_longer"], "bin_s": bin_s}


def _strip(
    durations: Mapping[str, float] | None, histogram: Mapping[str, Any] | None
) -> dict[str, float] | None:
    """Place the quantiles of lengths below the histogram, percent of its width."""
    if durations is None or histogram is None:
        return None
    x = _time_axis(histogram)
    return {
        name: round(x.at(durations[name]), 2) for name in ("p05", "p25", "median", "p75", "p95")
    }


def _speaker_rows(
    speakers: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Make a row a speaker, a cell an emotion; of many speakers, those with the fewest utterances."""
    shown = list(speakers)
    if len(shown) > N_SPEAKERS:
        shown = sorted(shown, key=lambda one: (one["n_utterances"], one["name"]))[:N_SPEAKERS]
    largest = max((n for one in shown for n in one["emotions"].values()), default=1)
    return [
        {
            "name": one["name"],
            "gender": " or ".join(one["genders"]),
            "n_utterances": one["n_utterances"],
            "seconds": one["seconds"],
            "cells": [
                {"n": n, "share": 100.0 * n / largest}
                for n in (one["emotions"].get(name, 0) for name in columns)
            ],
        }
        for one in shown
    ]


def _kinds(overview: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """List how the audio is kept, each kind with its share of the utterances, percent."""
    channels = {"1": "mono", "2": "stereo"}
    for title, key, word in (
        ("Sample rate", "sample_rates_hz", lambda rate: f"{int(rate) / 1000:g} kHz"),
        ("Channels", "n_channels", lambda n: channels.get(n, f"{n} channels")),
        ("Sample format", "sample_formats", lambda name: name.replace("_", " ")),
    ):
        counts = overview[key]
        rows = [
            {"name": word(value), "n": n, "share": 100.0 * n / max(1, overview["n_heard"])}
            for value, n in counts.items()
        ]
        yield {"title": title, "rows": rows[:N_KINDS], "more": max(0, len(rows) - N_KINDS)}
