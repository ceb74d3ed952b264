"""How fast is extraction: against the network alone, the loop people write, and plots of each window?

In one run, taking turns, on the same audio, each in a process of its own (`extract_ways`):

* front end: from files to log-Mel windows, as a worker does it, and no network;
* ceiling: the whole graph fed windows from memory, for every engine that is here;
* extract: `emostack extract --workers 0` whole, from files to published shards;
* loop: librosa's log-Mel, then `model.predict`, for every utterance; Keras, float32;
* plots: each window drawn by matplotlib and seen by the same network, as DeepSpectrum does; likewise.

The default recipe at its 96 pixels and at 224, random weights. Start-up is told and not timed. Ratios
are of the same round, median and range; the machine may be shared, so only they mean much, and on a
busy one those of processor time alone. Up to a dozen processes of about 1 GiB are there at a time.

    python benchmarks/bench_extract.py --quick            # the tables, in minutes
    python benchmarks/bench_extract.py --workers 1,2      # how extraction scales: one core a worker
    python benchmarks/bench_extract.py --size tiny        # seconds; run as a test
"""

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.child import Child, Numbers, children, print_table, ratio
from models.engines import ENGINES, KERAS, OPENVINO, has_openvino
from stages.corpora.synthetic import write_corpus
from stages.recipe import DEFAULT, RECIPES, Recipe, resolve, with_random_weights

SCRIPT = Path(__file__).with_name("extract_ways.py")

SIZES = {"tiny": (2, 1, 1), "quick": (16, 16, 3), "whole": (16, 16, 5)}
"""Speakers, takes an emotion, rounds."""

EVERY = {"front end": 1, "ceiling": 1, "extract": 1, "loop": 8, "plots": 32}
"""A slow way takes every so manieth utterance."""

LARGE = 224
LARGE_EVERY = 4
"""And at the large input size, a sixth as fast, all take so many fewer."""

Found = list[Numbers]


@dataclass(frozen=True)
class Way:
    """What is timed: a way, and what runs the network."""

    name: str
    engine: str = KERAS
    precision: str = "float32"
    n_workers: int = 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="whole")
    parser.add_argument("--quick", action="store_const", const="quick", dest="size")
    parser.add_argument("--workers", type=_counts, help="such as 1,2: only time these, and scale")
    given = parser.parse_args()
    n_speakers, n_takes, n_rounds = SIZES[given.size]
    is_tiny = given.size == "tiny"
    with tempfile.TemporaryDirectory() as scratch:
        write_corpus(Path(scratch), n_speakers=n_speakers, n_takes=n_takes)
        if given.workers:
            ways = _workers_ways(given.workers)
            _print_scaling(compare(ways, Path(scratch), n_rounds, 96, is_tiny=is_tiny), n_rounds)
            return
        for input_size in (96,) if is_tiny else (96, LARGE):
            ways = _single_ways(given.size)
            found = compare(ways, Path(scratch), n_rounds, input_size, is_tiny=is_tiny)
            print(
                f"## {DEFAULT} at {input_size} pixels; ratios within a round, rounds: {n_rounds}\n"
            )
            _print_rates(found, "seconds", "by the clock")
            _print_rates(found, "cpu_s", "by processor time")
            _print_costs(found)


def compare(
    ways: list[Way], corpus: Path, n_rounds: int, input_size: int, *, is_tiny: bool
) -> dict[Way, Found]:
    """Have every way make ready, then take turns; what each run of each came to."""
    team: dict[Way, Child] = {}
    found: dict[Way, Found] = {way: [] for way in ways}
    with children() as start:
        for way in ways:
            with _cores(way.n_workers):
                team[way] = start(SCRIPT, _task(way, corpus, input_size, is_tiny=is_tiny))
        for _ in range(n_rounds):
            for way, child in team.items():
                found[way].append(child.run())
    return {
        way: [{**run, "start_s": child.start_s, "peak_mib": child.peak_mib} for run in found[way]]
        for way, child in team.items()
    }


def recipe_of(way: Way, input_size: int, *, is_tiny: bool) -> Recipe:
    """Give the default recipe's network a size and precision; a small network for the smoke test."""
    recipe = with_random_weights(RECIPES[DEFAULT])
    network = dataclasses.replace(recipe.network, input_size=input_size, precision=way.precision)
    if is_tiny:
        network = dataclasses.replace(
            network, network="mobilenet-0.25", layers=("conv_pw_1_relu",), input_size=32
        )
    return resolve(dataclasses.replace(recipe, network=network))


def _task(way: Way, corpus: Path, input_size: int, *, is_tiny: bool) -> dict[str, object]:
    every = EVERY[way.name] * (LARGE_EVERY if input_size == LARGE else 1)
    return {
        "way": way.name,
        "folder": str(corpus),
        "recipe_json": recipe_of(way, input_size, is_tiny=is_tiny).to_json(),
        "every": min(every, 4) if is_tiny else every,
        "engine": way.engine,
        "n_workers": way.n_workers,
    }


def _engines() -> list[str]:
    is_there = has_openvino() and os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    return [engine for engine in ENGINES if engine != OPENVINO or is_there]


def _single_ways(size: str) -> list[Way]:
    engines = _engines()
    pairs = [(engine, "float32") for engine in engines]
    if size != "tiny":
        # On CPUs Keras is the slower for bfloat16: that is told in full, or where nothing else is.
        pairs += [(e, "bfloat16") for e in (engines if size == "whole" else engines[-1:])]
    return [
        Way("front end"),
        *(Way("ceiling", *pair) for pair in pairs),
        *(Way("extract", *pair) for pair in pairs),
        Way("loop"),
        Way("plots"),
    ]


def _workers_ways(counts: list[int]) -> list[Way]:
    return [Way("extract", engine, n_workers=n) for engine in _engines() for n in counts]


def _counts(text: str) -> list[int]:
    n_cores = len(os.sched_getaffinity(0))
    counts = [int(word) for word in text.split(",")]
    if not all(1 <= n <= n_cores for n in counts):
        message = f"{text!r}; expected numbers from 1 to {n_cores}, the cores that are here"
        raise argparse.ArgumentTypeError(message)
    return counts


@contextmanager
def _cores(n: int) -> Iterator[None]:
    """Start processes on `n` cores only; 0 is all of them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[: n or None])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def rates(runs: Found, clock: str) -> list[float]:
    """Segments a second of each run."""
    return [run["n_segments"] / run[clock] for run in runs]


def _print_rates(found: dict[Way, Found], clock: str, words: str) -> None:
    heads = [f"segments/s {words}", "median", "of its ceiling", "to the loop", "to the plots"]
    rows = []
    for way, runs in found.items():
        own = rates(runs, clock)
        peers = (
            Way("ceiling", way.engine, way.precision), Way("loop"), Way("plots"), Way(way.name),
        )  # fmt: skip
        is_ours = way.name == "extract"
        has_peer = (is_ours, is_ours, is_ours, way.engine != KERAS or way.precision != "float32")
        ratios = [
            ratio(own, rates(found[peer], clock)) if is_there else ""
            for peer, is_there in zip(peers, has_peer, strict=True)
        ]
        rows.append([_named(way), f"{np.median(own):.0f}", *ratios])
    print_table([*heads, "to Keras, float32"], rows)


def _print_costs(found: dict[Way, Found]) -> None:
    """Say what each way takes besides time, and where an extraction's processor time goes."""
    heads = [
        "",
        "ready after, s",
        "peak RSS, MiB",
        "bytes/s of audio",
        "network, %",
        "front end, %",
    ]
    rows = []
    front_end = rates(found[Way("front end")], "cpu_s")
    for way, runs in found.items():
        ours = ["", "", ""]
        if way.name == "extract":
            own = rates(runs, "cpu_s")
            network = rates(found[Way("ceiling", way.engine, way.precision)], "cpu_s")
            shares = [ratio([100 * x for x in own], of, 0) for of in (network, front_end)]
            ours = [f"{runs[0]['bytes_a_second']:.0f}", *shares]
        rows.append([_named(way), f"{runs[0]['start_s']:.1f}", f"{runs[0]['peak_mib']:.0f}", *ours])
    print_table(heads, rows)


def _print_scaling(found: dict[Way, Found], n_rounds: int) -> None:
    print(
        f"## {DEFAULT}: `emostack extract --workers N` on N cores; ratios within a round, rounds: {n_rounds}\n"
    )
    heads = ["extract", "segments/s", "a CPU second", "ratio to the first", "peak RSS of all, MiB"]
    rows = []
    firsts: dict[str, Found] = {}
    for way, runs in found.items():
        first = firsts.setdefault(way.engine, runs)
        own = rates(runs, "seconds")
        middles = [f"{np.median(rates(runs, clock)):.0f}" for clock in ("seconds", "cpu_s")]
        to_first = ratio(own, rates(first, "seconds"))
        name = f"{way.engine}, --workers {way.n_workers}"
        rows.append([name, *middles, to_first, f"{runs[0]['peak_mib']:.0f}"])
    print_table(heads, rows)


def _named(way: Way) -> str:
    has_choice = way.name in ("ceiling", "extract")
    return f"{way.name}, {way.engine} {way.precision}" if has_choice else way.name


if __name__ == "__main__":
    main()
