"""How long does a verb take that has nothing to do?

Each command in a process of its own, all in turn; the best of the rounds, as what is slower waited for
something else. The ratio is to a Python that does nothing. A small corpus is extracted once before,
and what is timed finds it done; its network is tiny, which a run that has nothing to do never loads.

    python benchmarks/bench_start_up.py
    python benchmarks/bench_start_up.py --quick
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from benchmarks.bench_export import RECIPE
from benchmarks.child import print_table
from pipeline.cli import emostack
from stages.corpora.synthetic import write_corpus

SIZES = {"tiny": 1, "quick": 3, "whole": 5}
"""Rounds."""

EMOSTACK = ["-c", "from pipeline.cli import main; main()"]
BARE = "python -c pass"

Costs = list[tuple[float, float]]
"""Seconds by the clock and by the processor, of each round."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="whole")
    parser.add_argument("--quick", action="store_const", const="quick", dest="size")
    n_rounds = SIZES[parser.parse_args().size]
    with tempfile.TemporaryDirectory() as scratch:
        verbs = _verbs(Path(scratch))
        helps = [[*verb, "--help"] for verb in _all_verbs(emostack)]
        commands = {BARE: ["-c", "pass"]}
        commands |= {name: [*EMOSTACK, *words] for name, words in verbs.items()}
        commands |= {" ".join(["emostack", *words]): [*EMOSTACK, *words] for words in helps}
        run(commands["emostack extract, nothing to do"])  # which makes what the others find
        found: dict[str, Costs] = {name: [] for name in commands}
        for _ in range(n_rounds):
            for name, words in commands.items():
                found[name].append(run(words))
    _print(found, n_rounds)


def _verbs(home: Path) -> dict[str, list[str]]:
    """Write a corpus and a recipe; the verbs on them."""
    write_corpus(home, n_speakers=2, n_takes=1)
    (home / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    workdir = ["--workdir", str(home / "runs"), "--quiet"]
    recipe = ["--recipe", str(home / "recipe.toml")]
    extract = ["extract", str(home / "manifest.csv"), *recipe, "--workers", "0", *workdir]
    return {
        "emostack corpora": ["corpora", *workdir],
        "emostack store ls": ["store", "ls", *workdir],
        "emostack store verify": ["store", "verify", *workdir],
        "emostack extract --dry-run, nothing to do": [*extract, "--dry-run"],
        "emostack extract, nothing to do": extract,
    }


def _all_verbs(group: click.Group, *before: str) -> Iterator[list[str]]:
    yield [*before]
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _all_verbs(command, *before, name)
        else:
            yield [*before, name]


def run(words: Sequence[str]) -> tuple[float, float]:
    """Run Python with these words; its seconds by the clock and by the processor."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return seconds, usage.ru_utime + usage.ru_stime


def _print(found: dict[str, Costs], n_rounds: int) -> None:
    """Print a line a command; all helps of verbs are one."""
    best = {
        name: [min(clock) for clock in zip(*costs, strict=True)] for name, costs in found.items()
    }
    helps = {name: best.pop(name) for name in list(best) if name.endswith(" --help")}
    (bare_s, _) = best[BARE]
    lines = {
        BARE: [best.pop(BARE)],
        "emostack --help": [helps.pop("emostack --help")],
        f"emostack VERB --help, {len(helps)} verbs": [*helps.values()],
        **{name: [costs] for name, costs in best.items()},
    }
    rows = [
        [
            name,
            _range([seconds for seconds, _ in costs]),
            _range([cpu_s for _, cpu_s in costs]),
            _range([seconds / bare_s for seconds, _ in costs], digits=1),
        ]
        for name, costs in lines.items()
    ]
    print(f"## Start-up; best of {n_rounds}\n")
    print_table(["", "seconds", "processor seconds", "ratio to python"], rows)


def _range(values: list[float], digits: int = 2) -> str:
    low, high = (f"{of(values):.{digits}f}" for of in (min, max))
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    main()
