"""A comparison of runs as one job: read, compare, page, words."""

from collections.abc import Sequence
from typing import Any

from pipeline.session import Session
from pipeline.workdir import Workdir
from reports.compare_page import verdict, write_comparison
from reports.comparison import compare_runs
from reports.evaluation_names import classifier_words
from reports.run_folder import read_run
from reports.text import chance, clip, count, signed, visible

TITLES = {
    "headline": "The headline of each run",
    "inductive": "Inductive",
    "across": "The headline against other normalisations",
}
NAME_LENGTH = 60
"""Characters of a title on a line."""


def run_comparison(session: Session, workdir: Workdir, names: Sequence[str]) -> dict[str, Any]:
    """Compare runs, or the evaluations of one, and write the page.

    Parameters
    ----------
    session : warned of what keeps the runs from being comparable
    workdir : where runs are looked for, and where the page goes
    names : of runs below the workdir, or their folders; the first is compared with

    Returns
    -------
    dict
        The comparison as `reports.comparison` has it, and ``report``, the page's path.
    """
    runs = [read_run(workdir.find_run(name)) for name in names]
    comparison = compare_runs(runs)
    for run in comparison["runs"]:
        if run["warning"]:
            session.warn(f"run {run['number']}: {run['warning']}")
    for remark in comparison["remarks"]:
        session.warn(remark)
    report = write_comparison(workdir.new_comparison(), comparison)
    return {"report": str(report), **comparison}


def summary(fields: dict[str, Any]) -> str:
    """Say a comparison in a few lines a group, each number with its kind."""
    is_one = len(fields["runs"]) == 1
    warned = {run["number"] for run in fields["runs"] if run["warning"]}
    lines = [] if is_one else [*(f"{run['number']}  {_named(run)}" for run in fields["runs"]), ""]
    for group in fields["groups"]:
        lines.append(f"{_title(group)}: {_size(group)}")
        first = group["rows"][0]["number"]
        for row in group["rows"]:
            its_runs = {1} if is_one else {row["number"]}
            lines.append(_standing(row, is_one=is_one) + _mark(its_runs & warned))
            if row["against"]:
                its_runs |= set() if is_one else {first}
                lines.append(_gap(row["against"]) + _mark(its_runs & warned))
        lines.append("")
    return "\n".join([*lines, f"report {fields['report']}"])


def _mark(warned: set[int]) -> str:
    return " [mind the warning, not a result]" if warned else ""


def _named(run: dict[str, Any]) -> str:
    return f"{visible(run['run'])}  {clip(visible(run['title']), NAME_LENGTH)}"


def _title(group: dict[str, Any]) -> str:
    first = group["rows"][0]
    if group["what"] == "normalisation":
        return f"Normalisation {first['normalise']}, {_kind(first)}"
    return TITLES.get(
        group["what"], f"Evaluation {clip(visible(first['evaluation']), NAME_LENGTH)}"
    )


def _size(group: dict[str, Any]) -> str:
    left_out = f", {group['n_left_out']} left out" if group["n_left_out"] else ""
    n_utterances = count(group["n_utterances"], "utterance")
    return f"{n_utterances} of {count(group['n_speakers'], 'speaker')}{left_out}"


def _kind(row: dict[str, Any]) -> str:
    return "transductive" if row["transductive"] else "inductive"


def _standing(row: dict[str, Any], *, is_one: bool) -> str:
    interval = " [{:.1f}, {:.1f}]".format(*row["uar_interval"]) if row["uar_interval"] else ""
    what = visible(classifier_words(row["classifier"], row["features"]))
    name = f" ({clip(visible(row['evaluation']), NAME_LENGTH)})" if is_one else ""
    return f"{row['number']:>2}  UAR {row['uar_pooled']:.1f}{interval} {what}{name}, {_kind(row)}"


def _gap(against: dict[str, Any]) -> str:
    interval = ""
    if against["interval"]:
        interval = " [{}, {}]".format(*map(signed, against["interval"]))
    return (
        f"    {signed(against['difference'])}{interval}: {verdict(against)}; p "
        f"{chance(against['p'])} by speaker (corrected {chance(against['p_holm'])}), "
        f"{chance(against['p_utterances'])} by utterance"
    )
