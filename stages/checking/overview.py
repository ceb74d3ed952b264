"""What a corpus holds: how much of what, by whom, how long; and what to know before training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.checking.cautions import FEW_UTTERANCES, cautions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stages.checking.sound import Sound

N_BINS = 24
"""Bars of the histogram at most, those cut off at its end not counted."""

LONGEST_SHOWN = 2.0
"""A histogram ends at so many times what 99 in 100 utterances stay below."""

_QUANTILES = {"min": 0, "p05": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}


def overview(rows: pd.DataFrame, sounds: Sequence[Sound | None]) -> dict[str, Any]:
    """Count what a corpus holds.

    Parameters
    ----------
    rows : of one manifest or several
        With the columns `emotion`, `speaker`, `gender` and `corpus`; empty = unknown. Speakers of
        one name in two corpora are two.
    sounds : of each row; None where there was nothing to hear

    Returns
    -------
    dict
        `n_utterances`, `n_heard` (those whose audio could be read), `seconds` (of these);
        `n_speakers`, `n_emotions`, `n_unknown_speakers` and `n_unknown_emotions` (utterances);
        `emotions`, `speakers`, `genders`, `corpora`: lists of dicts with `name`, `n_utterances`,
        `seconds` and more; `sample_rates_hz`, `n_channels`, `sample_formats`: utterances of each;
        `durations_s` (None without audio): quantiles and mean; `histogram` (None without audio):
        `bin_s`, `counts`, `n_longer`; `few_utterances`, and `cautions`: what to know before
        training, lines of text.
    """
    table = _table(rows, sounds)
    heard = [sound for sound in sounds if sound is not None]
    seconds = np.array([sound.seconds for sound in heard])
    speakers = _speakers(table)
    emotions = _groups(table, "emotion")
    found = {
        "n_utterances": len(table),
        "n_heard": len(heard),
        "seconds": float(seconds.sum()),
        "n_speakers": len(speakers),
        "n_emotions": len(emotions),
        "n_unknown_speakers": int((table["speaker"] == "").sum()),
        "n_unknown_emotions": int((table["emotion"] == "").sum()),
        "emotions": emotions,
        "speakers": speakers,
        "genders": _genders(speakers),
        "corpora": _groups(table, "corpus", with_unknown=True),
        "sample_rates_hz": _counts([sound.sample_rate for sound in heard]),
        "n_channels": _counts([sound.n_channels for sound in heard]),
        "sample_formats": _counts([sound.sample_format for sound in heard]),
        "durations_s": _durations(seconds),
        "histogram": _histogram(seconds),
        "few_utterances": FEW_UTTERANCES,
    }
    return {**found, "cautions": cautions(found)}


def _table(rows: pd.DataFrame, sounds: Sequence[Sound | None]) -> pd.DataFrame:
    """Make a table of what is counted; `who` is a speaker's full name, empty for an unknown one."""
    words = ("emotion", "speaker", "gender", "corpus")
    table = pd.DataFrame({word: rows[word].str.strip().to_numpy(object) for word in words})
    # As in stages.folds, whose import would cost more than many a check.
    is_mixed = table["corpus"].nunique() > 1
    who = table["corpus"] + "/" + table["speaker"] if is_mixed else table["speaker"]
    return table.assign(
        who=who.where(table["speaker"] != "", ""),
        seconds=[0.0 if sound is None else sound.seconds for sound in sounds],
    )


def _groups(
    table: pd.DataFrame, column: str, *, with_unknown: bool = False
) -> list[dict[str, Any]]:
    """Count a column's values, the most frequent first."""
    known = table if with_unknown else table[table[column] != ""]
    groups = known.groupby(column)
    n_utterances, seconds = groups.size(), groups["seconds"].sum()
    spoken = known[known["who"] != ""].groupby(column)["who"].nunique()
    found = [
        {
            "name": str(name),
            "n_utterances": int(n),
            "seconds": float(seconds[name]),
            "n_speakers": int(spoken.get(name, 0)),
        }
        for name, n in n_utterances.items()
    ]
    return sorted(found, key=lambda one: (-one["n_utterances"], one["name"]))


def _speakers(table: pd.DataFrame) -> list[dict[str, Any]]:
    """List the speakers by name, each with how often it speaks which emotion."""
    known = table[table["who"] != ""]
    groups = known.groupby("who")
    n_utterances, seconds, corpora = (
        groups.size(),
        groups["seconds"].sum(),
        groups["corpus"].first(),
    )
    emotions: dict[str, dict[str, int]] = {name: {} for name in n_utterances.index}
    for (name, emotion), n in known.groupby(["who", "emotion"]).size().items():
        emotions[name][emotion] = int(n)
    genders: dict[str, list[str]] = {name: [] for name in n_utterances.index}
    told = known.loc[known["gender"] != "", ["who", "gender"]].drop_duplicates()
    for name, gender in told.sort_values("gender").itertuples(index=False):
        genders[name].append(gender)
    return [
        {
            "name": name,
            "corpus": corpora[name],
            "genders": genders[name],
            "n_utterances": int(n_utterances[name]),
            "seconds": float(seconds[name]),
            "emotions": emotions[name],
        }
        for name in n_utterances.index
    ]


def _genders(speakers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count speakers and utterances by gender; the empty name stands for an unknown one."""
    found: dict[str, dict[str, Any]] = {}
    for speaker in speakers:
        name = " or ".join(speaker["genders"])
        one = found.setdefault(
            name, {"name": name, "n_speakers": 0, "n_utterances": 0, "seconds": 0.0}
        )
        one["n_speakers"] += 1
        one["n_utterances"] += speaker["n_utterances"]
        one["seconds"] += speaker["seconds"]
    return sorted(found.values(), key=lambda one: (-one["n_speakers"], one["name"]))


def _counts(values: Sequence[int | str]) -> dict[str, int]:
    """Count values, the most frequent first."""
    counts = pd.Series(values, dtype=object).value_counts()
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {str(value): int(n) for value, n in ordered}


def _durations(seconds: NDArray[np.float64]) -> dict[str, float] | None:
    if not seconds.size:
        return None
    values = np.percentile(seconds, list(_QUANTILES.values()))
    return {**dict(zip(_QUANTILES, map(float, values), strict=True)), "mean": float(seconds.mean())}


def _histogram(seconds: NDArray[np.float64]) -> dict[str, Any] | None:
    """Count lengths in bars of a round width from 0 on; a few very long ones do not squeeze them."""
    if not seconds.size:
        return None
    limit = LONGEST_SHOWN * float(np.percentile(seconds, 99))
    top = float(seconds[seconds <= limit].max())
    bin_s = _round_up(top / N_BINS)
    n_bins = math.ceil(top / bin_s)
    edges = bin_s * np.arange(n_bins + 1)
    counts, _ = np.histogram(seconds, edges)
    n_longer = len(seconds) - int(counts.sum())
    return {"bin_s": bin_s, "counts": counts.tolist(), "n_longer": n_longer}


def _round_up(value: float) -> float:
    """Give the next number of 1, 2 or 5 times a power of ten.

    >>> _round_up(0.03), _round_up(0.2), _round_up(70.0)
    (0.05, 0.2, 100.0)
    """
    power = 10.0 ** math.floor(math.log10(value))
    factor = next(f for f in (1.0, 2.0, 5.0, 10.0) if f * power >= value * (1 - 1e-9))
    return float(f"{factor * power:.3g}")
