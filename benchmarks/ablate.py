"""What each step of the method is worth: the default, and each step left out or done otherwise.

Every row leaves one speaker out at a time and is evaluated with both normalisations, as `emostack train`
does. Nothing is chosen by it: the default is fixed before (docs/decisions, docs/method.md).

    python benchmarks/ablate.py m.csv --workdir runs --rows benchmarks/ablations.toml

A row is what `choose_defaults.py` calls a candidate. Prints a Markdown table: UAR in percent with its 95 %
interval over speakers, of the classifier; of its network and its linear path alone; normalised by the
training speakers; the processor seconds that all of it took, both normalisations, which a busy machine
changes less than those of the clock; MiB that it learns from, as float16.
"""

import argparse
import dataclasses
import time
import tomllib
from pathlib import Path

from benchmarks.choose_defaults import ignore, prepared
from reports.metrics import evaluate
from stages.crossvalidate import Evaluation, cross_validate
from stages.train import make_networks
from stages.training_task import Task

BYTES_A_VALUE = 2
HEADINGS = (
    "row", "UAR", "95 %", "network alone", "linear path alone", "inductive", "95 %", "processor s", "MiB",
)  # fmt: skip


def main() -> None:
    """Train every row and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--workdir", type=Path, default=Path("runs"))
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("ablations.toml"))
    parser.add_argument("--only", action="append", help="name of a row, instead of all")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    given.seed = 0
    listed = tomllib.loads(given.rows.read_text(encoding="utf-8"))["candidate"]
    print(_line(HEADINGS), _line(["---"] * len(HEADINGS)), sep="\n", flush=True)
    for candidate in listed:
        if not given.only or candidate["name"] in given.only:
            task, options = prepared(given, candidate)
            options = dataclasses.replace(options, seeds=tuple(range(given.seeds)))
            began = time.process_time()
            networks = make_networks(task, options)
            speaker, train = (
                cross_validate(task, networks, kind, options, ignore)
                for kind in ("speaker", "train")
            )
            seconds = f"{time.process_time() - began:.0f}"
            cells = [*_told(speaker, task), *_told(train, task)[:2], seconds, _mebibytes(task)]
            print(_line([candidate["name"], *cells]), flush=True)


def _told(evaluations: list[Evaluation], task: Task) -> list[str]:
    """UAR and interval of a classifier, and the UARs of its parts."""
    whole, *parts = (evaluate(own.predictions, list(task.labels)) for own in evaluations)
    low, high = whole["uar_interval"]
    alone = [f"{part['uar_pooled']:.1f}" for part in parts] or ["", ""]
    return [f"{whole['uar_pooled']:.1f}", f"{low:.1f} to {high:.1f}", *alone]


def _mebibytes(task: Task) -> str:
    n_values = sum(stack.size for stacks in task.versions for stack in stacks)
    return f"{BYTES_A_VALUE * n_values / 2**20:.0f}"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
