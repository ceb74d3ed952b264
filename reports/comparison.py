"""Runs side by side, or the evaluations of one run: every number of the comparison.

A *comparison* is one JSON-friendly dict:

* ``runs`` : ``[{number, run, title, created, warning, recipe_id, snapshot, n_folds}]``
* ``remarks`` : sentences: what differs in a way that matters, what was left out
* ``groups`` : evaluations that can be held against each other; the first of each group is what the
  others are compared with

  - ``what`` : ``headline``, ``inductive``, ``evaluation`` (the same name in several runs);
    in one run ``normalisation`` (one normalisation) and ``across`` (the headline and all others)
  - ``n_utterances``, ``n_left_out``, ``n_speakers``
  - ``classes`` : ``[{label, n}]``
  - ``rows`` : ``number, run, evaluation, classifier, features, normalise, transductive``; what
    `reports.metrics.evaluate` found on the shared utterances; ``uar_inductive`` on the same
    utterances, or None; and ``against``: None in the first row, else what
    `reports.significance.contrast` found, ``p_holm``, ``p_utterances_holm``, and ``answers``, a
    list of ``{label, both, only_first, only_this, neither}`` by the seeds' averaged probabilities

* ``differences`` : what `reports.conditions.what_differs` found

P-values are corrected by Holm's method within a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.conditions import matching_remarks, run_remarks, what_differs
from reports.metrics import evaluate
from reports.pairing import CompareError, Entry, match
from reports.run_folder import snapshot_of
from reports.significance import contrast, holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

    from reports.pairing import Matched
    from reports.run_folder import Evaluation, Run

__all__ = ["compare_runs"]

METRICS = (
    "uar_pooled", "uar_seeds", "uar_ensemble", "uar_interval", "uar_interval_utterances",
    "uar_fold_mean", "uar_fold_sd", "wa", "macro_f1", "recall_by_class", "seeds",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Entries to be compared with the first of them."""

    what: str
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """What it is called in remarks."""
        first = self.entries[0].evaluation
        names = {"evaluation": first.name, "normalisation": f"normalisation {first.normalise}"}
        return names.get(self.what, self.what)


def compare_runs(runs: Sequence[Run]) -> dict[str, Any]:
    """Compare several runs, or the evaluations of one.

    Parameters
    ----------
    runs : as `reports.run_folder.read_run` gives them; the first is what others are compared with

    Returns
    -------
    comparison : see this module

    Raises
    ------
    reports.pairing.CompareError
        There is nothing to compare, no utterance in common, or utterances have different truths.
    """
    groups = list(_groups_of_runs(runs) if len(runs) > 1 else _groups_of_one(runs[0]))
    if not groups:
        raise CompareError(
            f"run {runs[0].name!r} holds one evaluation; expected two at least; give another run, "
            "or train with --baselines"
        )
    remarks = run_remarks(runs)
    compared = []
    for i, group in enumerate(groups):
        matched, own_remarks = _matched(group, is_needed=i == 0)
        remarks += own_remarks
        if matched:
            compared.append({"what": group.what, **_compare(matched)})
    return {
        "runs": [_facts(number, run) for number, run in enumerate(runs, start=1)],
        "remarks": list(dict.fromkeys(remarks)),
        "groups": compared,
        "differences": what_differs(runs),
    }


def _facts(number: int, run: Run) -> dict[str, Any]:
    return {
        "number": number,
        "run": run.name,
        "title": run.title,
        "created": run.created,
        "warning": run.warning,
        "recipe_id": str(run.provenance.get("recipe_id", "")),
        "snapshot": snapshot_of(run.provenance) or "",
        "n_folds": len(run.headline.metrics["folds"]),
    }


def _groups_of_runs(runs: Sequence[Run]) -> Iterator[Group]:
    """List the headlines, the inductive evaluations, then those of one name in several runs."""
    names = dict.fromkeys(e.name for run in runs for e in run.evaluations)
    wanted: list[tuple[str, list[Evaluation | None]]] = [
        ("headline", [run.headline for run in runs]),
        ("inductive", [_inductive(run) for run in runs]),
        *(("evaluation", [_named(run, name) for run in runs]) for name in names),
    ]
    seen: list[set[tuple[int, str]]] = []
    for what, found in wanted:
        entries = tuple(
            Entry(number=number, run=run, evaluation=evaluation)
            for number, (run, evaluation) in enumerate(zip(runs, found, strict=True), start=1)
            if evaluation is not None
        )
        these = {(entry.number, entry.evaluation.name) for entry in entries}
        if len(entries) > 1 and not any(these <= others for others in seen):
            seen.append(these)
            yield Group(what=what, entries=entries)


def _inductive(run: Run) -> Evaluation | None:
    return run.partner(run.headline) if run.headline.transductive else run.headline


def _named(run: Run, name: str) -> Evaluation | None:
    return next((e for e in run.evaluations if e.name == name), None)


def _groups_of_one(run: Run) -> Iterator[Group]:
    """List each normalisation by itself, the headline's first; then the headline and the rest."""
    ours = run.headline
    evaluations = [ours, *(e for e in run.evaluations if e is not ours)]
    entries = [Entry(number=n, run=run, evaluation=e) for n, e in enumerate(evaluations, start=1)]
    for kind in dict.fromkeys(e.normalise for e in evaluations):
        alike = [entry for entry in entries if entry.evaluation.normalise == kind]
        # What carries the headline's own classifier is what baselines are compared with.
        alike.sort(key=lambda entry: entry.evaluation.stem != ours.stem)
        if len(alike) > 1:
            yield Group(what="normalisation", entries=tuple(alike))
    others = [entry for entry in entries if entry.evaluation.normalise != ours.normalise]
    if others:
        yield Group(what="across", entries=(entries[0], *others))


def _matched(group: Group, *, is_needed: bool) -> tuple[Matched | None, list[str]]:
    """Match a group, without entries that share no utterance with its first, if it may be less."""
    if is_needed and group.what == "headline":
        matched = match(group.entries)
        return matched, matching_remarks(matched, group.name)
    first, *others = group.entries
    kept = [entry for entry in others if _share(first, entry)]
    remarks = [
        f"{group.name}: {entry.name} shares no utterance with {first.name} and is left out"
        for entry in others
        if entry not in kept
    ]
    if not kept:
        return None, remarks
    matched = match([first, *kept])
    return matched, remarks + matching_remarks(matched, group.name)


def _share(first: Entry, other: Entry) -> bool:
    return bool(first.rows()["utterance_id"].isin(other.rows()["utterance_id"]).any())


def _compare(matched: Matched) -> dict[str, Any]:
    truth, speakers = matched.truth, matched.speakers
    scores = [table["score"].to_numpy() for table in matched.answers]
    rows = [_row(*each) for each in zip(matched.entries, matched.rows, strict=True)]
    for i, row in enumerate(rows[1:], start=1):
        row["against"] = {
            **contrast(scores[0], scores[i], truth, speakers),
            "answers": list(_answers_by_class(matched, i)),
        }
    for name in ("p", "p_utterances"):
        corrected = holm([row["against"][name] for row in rows[1:]])
        for row, p in zip(rows[1:], corrected, strict=True):
            row["against"][f"{name}_holm"] = p
    for row in rows[1:]:  # what Holm's method makes of the smallest p of so many
        test = row["against"]["test"]
        row["against"]["least_p_holm"] = test and min(1.0, test["least_p"] * (len(rows) - 1))
    n_by_label = matched.answers[0]["truth"].value_counts()
    return {
        "n_utterances": len(truth),
        "n_left_out": matched.n_left_out,
        "n_speakers": int(speakers.max()) + 1,
        "classes": [{"label": name, "n": int(n_by_label[name])} for name in matched.labels],
        "rows": rows,
    }


def _row(entry: Entry, rows: pd.DataFrame) -> dict[str, Any]:
    metrics = evaluate(rows, entry.run.labels)
    return {
        "number": entry.number,
        "run": entry.run.name,
        "evaluation": entry.evaluation.name,
        "classifier": entry.evaluation.classifier,
        "features": entry.evaluation.features,
        "normalise": entry.evaluation.normalise,
        "transductive": entry.evaluation.transductive,
        **{name: metrics[name] for name in METRICS},
        "uar_inductive": _uar_inductive(entry, metrics, set(rows["utterance_id"])),
        "against": None,
    }


def _uar_inductive(entry: Entry, metrics: dict[str, Any], shared: set[str]) -> float | None:
    """UAR of the same classifier, inductively, on the same utterances; None where there is none."""
    if not entry.evaluation.transductive:
        return float(metrics["uar_pooled"])
    partner = entry.run.partner(entry.evaluation)
    if partner is None:
        return None
    rows = Entry(number=entry.number, run=entry.run, evaluation=partner).rows()
    rows = rows[rows["utterance_id"].isin(shared)]
    if rows["utterance_id"].nunique() < len(shared):
        return None
    return float(evaluate(rows, entry.run.labels, n_boot=1)["uar_pooled"])


def _answers_by_class(matched: Matched, i: int) -> Iterable[dict[str, Any]]:
    first, other = matched.answers[0], matched.answers[i]
    for label in matched.labels:
        is_own = (first["truth"] == label).to_numpy()
        ours = (first["heard"] == first["truth"]).to_numpy()[is_own]
        theirs = (other["heard"] == other["truth"]).to_numpy()[is_own]
        yield {
            "label": label,
            "both": int((ours & theirs).sum()),
            "only_first": int((ours & ~theirs).sum()),
            "only_this": int((theirs & ~ours).sum()),
            "neither": int((~ours & ~theirs).sum()),
        }
