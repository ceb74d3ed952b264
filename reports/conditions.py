"""What to know before two numbers are held against each other: the conditions that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.run_folder import snapshot_of
from reports.text import clip, count, flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from reports.pairing import Entry, Matched
    from reports.run_folder import Run

__all__ = ["matching_remarks", "run_remarks", "what_differs"]

VALUE_LENGTH = 60
"""Characters of a value in a remark."""


def run_remarks(runs: Sequence[Run]) -> list[str]:
    """Say how the runs' own conditions differ from the first's, one sentence each."""
    return [
        f"run {number} {remark}"
        for number, run in enumerate(runs[1:], start=2)
        for remark in _against_first(runs[0], run)
    ]


def _against_first(first: Run, run: Run) -> Iterator[str]:
    folds = [each.settings.get("folds") for each in (first, run)]
    if folds[0] != folds[1]:
        yield f"is folded by {_value(folds[1])}, run 1 by {_value(folds[0])}"
    if first.headline.transductive != run.headline.transductive:
        kinds = ["transductive" if r.headline.transductive else "inductive" for r in (run, first)]
        yield f"has {_a(kinds[0])} headline, run 1 {_a(kinds[1])} one: see the inductive numbers"
    elif first.headline.normalise != run.headline.normalise:
        names = [_value(each.headline.normalise) for each in (run, first)]
        yield f"is normalised by {names[0]}, run 1 by {names[1]}"
    recipes = [each.provenance.get("recipe_id") for each in (first, run)]
    snapshots = [snapshot_of(each.provenance) for each in (first, run)]
    if recipes[0] != recipes[1]:
        yield f"has other features: recipe {_value(recipes[1])}, run 1 {_value(recipes[0])}"
    elif snapshots[0] != snapshots[1]:
        yield (
            f"read snapshot {_value(snapshots[1])} of the features, run 1 snapshot "
            f"{_value(snapshots[0])}: the corpus may have changed in between"
        )
    n_seeds = [len(each.headline.metrics["uar_seeds"]) for each in (first, run)]
    if n_seeds[0] != n_seeds[1]:
        yield f"is the mean over {count(n_seeds[1], 'seed')}, run 1 over {count(n_seeds[0], 'seed')}"
    if set(first.labels) != set(run.labels):
        yield (
            f"chose among {len(run.labels)} emotions, run 1 among {len(first.labels)}: "
            "an answer that only one may give is wrong for it alone"
        )


def _value(value: object) -> str:
    return "nothing known" if value is None else clip(str(value), VALUE_LENGTH)


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def matching_remarks(matched: Matched, what: str) -> list[str]:
    """Say what was left out, and whose folds or speakers differ, one sentence each."""
    found = []
    if matched.n_left_out:
        kept = count(len(matched.answers[0]), "utterance")
        found.append(
            f"{what}: compared on the {kept} that all predicted; "
            f"{count(matched.n_left_out)} that only some predicted are left out"
        )
    first = matched.answers[0]
    for entry, answers in zip(matched.entries[1:], matched.answers[1:], strict=True):
        n_speakers = int((first["speaker"] != answers["speaker"]).sum())
        if n_speakers and not _same_parts(first["speaker"], answers["speaker"]):
            found.append(
                f"{what}: {_number(entry)} names other speakers for "
                f"{count(n_speakers, 'utterance')}; those of {_number(matched.entries[0])} are used"
            )
        if not _same_parts(first["fold"], answers["fold"]):
            found.append(
                f"{what}: {_number(entry)} was tested in other folds than "
                f"{_number(matched.entries[0])}, so that it learnt from other speakers"
            )
    return found


def _number(entry: Entry) -> str:
    return f"number {entry.number}"


def _same_parts(first: pd.Series, other: pd.Series) -> bool:
    """Whether both cut the utterances alike, whatever the parts are called."""
    pairs = set(zip(first, other, strict=True))
    return len(pairs) == len(set(first)) == len(set(other))


def what_differs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """List the settings, and what is known of the runs' origin, that are not the same in all.

    Returns
    -------
    rows : ``{name, values}``, a text for each run, empty where it has no such thing
    """
    tables = [dict(flat({**run.settings, **run.provenance})) for run in runs]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = [{"name": name, "values": [t.get(name, "") for t in tables]} for name in names]
    return [row for row in rows if len(set(row["values"])) > 1]
