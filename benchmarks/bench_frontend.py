"""How fast is the front end, a core, and how many cores does it take to keep a network busy?

In one run, taking turns, each in a process of one thread (`frontend_stages`): from wav files to log-Mel
and to windows, ours and plain librosa's, in one process and in two at once; then ours stage by stage.
Speeds are times real time: seconds of audio a second. Random sounds of the demo's voices, 16 kHz.

    python benchmarks/bench_frontend.py --quick
    python benchmarks/bench_frontend.py --quick --default-rate 20000 --resnet50-rate 2500

The two rates are segments a second that a network could take, the default recipe's and ResNet50's at
224 pixels with the same segments; `bench_extract` and `bench_gpu` measure them. The rest is arithmetic.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.child import ONE_THREAD, Numbers, children, print_table, ratio
from benchmarks.frontend_stages import LOGMEL, OURS, WINDOWS
from stages.corpora.synthetic import write_corpus
from stages.recipe import DEFAULT, RECIPES, Recipe, resolve, with_random_weights

SCRIPT = Path(__file__).with_name("frontend_stages.py")

SIZES = {"tiny": (2, 1, 1), "quick": (4, 8, 5), "whole": (16, 8, 9)}
"""Speakers, takes an emotion, rounds."""

COMPARED = {
    "log-Mel": (LOGMEL, "librosa"),
    "windows": (WINDOWS, "librosa, windows"),
}
"""What is made: by us, and by librosa."""

Found = dict[str, list[Numbers]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="whole")
    parser.add_argument("--quick", action="store_const", const="quick", dest="size")
    parser.add_argument("--default-rate", type=float, default=1000.0, metavar="SEGMENTS")
    parser.add_argument("--resnet50-rate", type=float, default=1000.0, metavar="SEGMENTS")
    given = parser.parse_args()
    n_speakers, n_takes, n_rounds = SIZES[given.size]
    recipe = resolve(with_random_weights(RECIPES[DEFAULT]))
    with tempfile.TemporaryDirectory() as scratch:
        write_corpus(Path(scratch), n_speakers=n_speakers, n_takes=n_takes)
        task = {"folder": scratch, "recipe_json": recipe.to_json()}
        compared = [stage for pair in COMPARED.values() for stage in pair]
        alone = measure([*OURS, *(set(compared) - set(OURS))], task, n_rounds, 1)
        together = measure(compared, task, n_rounds, 2)
    print(f"## Front end of {DEFAULT}; rounds: {n_rounds}\n")
    _print_speeds(alone, together)
    _print_stages(alone)
    _print_cores(recipe, alone, {DEFAULT: given.default_rate, "resnet50-224": given.resnet50_rate})


def measure(stages: list[str], task: dict[str, str], n_rounds: int, n_processes: int) -> Found:
    """Run stages in turn, each in so many processes at once; what each round of each came to."""
    found: Found = {stage: [] for stage in stages}
    with children() as start:
        teams = {
            stage: [start(SCRIPT, {"stage": stage, **task}, ONE_THREAD) for _ in range(n_processes)]
            for stage in stages
        }
        for _ in range(n_rounds):
            for stage, team in teams.items():
                for child in team:
                    child.begin()
                found[stage].append(_joined([child.result() for child in team]))
    return found


def _joined(results: list[Numbers]) -> Numbers:
    return {
        "audio_s": sum(result["audio_s"] for result in results),
        "cpu_s": sum(result["cpu_s"] for result in results),
        "seconds": max(result["seconds"] for result in results),
    }


def speeds(rounds: list[Numbers], clock: str) -> list[float]:
    """Seconds of audio a second of each round."""
    return [each["audio_s"] / each[clock] for each in rounds]


def _print_speeds(alone: Found, together: Found) -> None:
    heads = ["times real time", "by the clock", "a CPU second", "to librosa, CPU", "ratio to one"]
    rows = []
    for n, found in ((1, alone), (2, together)):
        for made, (ours, theirs) in COMPARED.items():
            for stage, who in ((ours, "ours"), (theirs, "librosa")):
                cpu = speeds(found[stage], "cpu_s")
                clock = speeds(found[stage], "seconds")
                to_librosa = ratio(cpu, speeds(found[theirs], "cpu_s")) if stage == ours else ""
                to_one = ratio(clock, speeds(alone[stage], "seconds")) if n > 1 else ""
                name = f"{made}, {who}, processes: {n}"
                middles = [f"{np.median(values):.0f}" for values in (clock, cpu)]
                rows.append([name, *middles, to_librosa, to_one])
    print_table(heads, rows)


def _print_stages(alone: Found) -> None:
    """Say what each stage adds to those before it."""
    rows, before = [], 0.0
    whole = _cost_ms(alone, WINDOWS)
    for stage in OURS:
        so_far = _cost_ms(alone, stage)
        added = so_far - before
        rows.append([stage, f"{added:.3f}", f"{100 * added / whole:.0f}"])
        before = so_far
    print_table(["ours, one process", "CPU-ms a second of audio", "%"], [*rows, _sum(whole)])


def _sum(whole: float) -> list[str]:
    return ["from file to windows", f"{whole:.3f}", "100"]


def _cost_ms(alone: Found, stage: str) -> float:
    return float(np.median([1000 / speed for speed in speeds(alone[stage], "cpu_s")]))


def _print_cores(recipe: Recipe, alone: Found, network_rates: dict[str, float]) -> None:
    """Say how many cores of front end a network of so many segments a second takes."""
    shift_s = recipe.segments.shift_frames * recipe.frontend.hop_s
    speed = float(np.median(speeds(alone[WINDOWS], "cpu_s")))
    a_core = speed / shift_s
    print(
        f"A segment every {shift_s:g} s at {speed:.0f} times real time: {a_core:.0f} segments/s a core"
    )
    for network, wanted in network_rates.items():
        print(
            f"{network}: {wanted:g} segments/s / {a_core:.0f} = {wanted / a_core:.2f} cores keep it busy, "
            f"at {wanted * shift_s:.0f} times real time"
        )


if __name__ == "__main__":
    main()
