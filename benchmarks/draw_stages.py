"""Draw where the processor time of `emostack extract` goes, as measured here and now.

A bar each for the default recipe on Keras and on OpenVINO, and at 224 pixels on Keras; float32, random
weights. What a part costs is timed by itself: the front end stage by stage (`frontend_stages`), the
network on windows from memory and the extraction whole (`extract_ways`), and a shard of its features
written again (`shard_writing`). What the parts leave of the whole is planning, publishing and the rest.
Medians of processor seconds a segment; the ways take turns, each in a process of its own.

    python benchmarks/draw_stages.py docs/pictures/stages.svg
    python benchmarks/draw_stages.py stages.svg --size tiny       # seconds; run as a test
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.bench_extract import SCRIPT as WAYS_SCRIPT
from benchmarks.bench_extract import Way, recipe_of
from benchmarks.child import ONE_THREAD, Child, Numbers, children, print_table
from benchmarks.extract_ways import Task
from benchmarks.frontend_stages import OURS
from features_cache.shard import read_header
from models.engines import KERAS, OPENVINO, has_openvino
from stages.corpora.synthetic import write_corpus

HERE = Path(__file__).parent

SIZES = {"tiny": (2, 1, 1), "quick": (4, 4, 3), "whole": (8, 8, 3)}
"""Speakers, takes an emotion, rounds."""

NETWORK, WRITING, REST = "network", "write, hash shards", "plan, publish, the rest"

COLOURS = {
    "open, decode": "#E69F00",
    "check, mono, resample": "#56B4E9",
    "Fourier transform": "#D55E00",
    "Mel bands, decibels": "#F0E442",
    "cut windows": "#009E73",
    "times, file unchanged": "#CC79A7",
    NETWORK: "#0072B2",
    WRITING: "#000000",
    REST: "#AAAAAA",
}
"""Okabe and Ito's palette, which all eyes tell apart, and a grey."""

Parts = dict[str, float]
"""Processor milliseconds a segment."""


@dataclass(frozen=True)
class Kind:
    """What a bar is of; at a large input size fewer utterances are taken."""

    engine: str
    input_size: int
    every: int = 1

    def __str__(self) -> str:
        """Say it beside its bar."""
        return f"{'Keras' if self.engine == KERAS else 'OpenVINO'}, {self.input_size} pixels"


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, help="the SVG to write")
    parser.add_argument("--size", choices=SIZES, default="whole")
    given = parser.parse_args()
    n_speakers, n_takes, n_rounds = SIZES[given.size]
    is_tiny = given.size == "tiny"
    kinds = [Kind(KERAS, 96)]
    kinds += [Kind(OPENVINO, 96)] if has_openvino() else []
    kinds += [] if is_tiny else [Kind(KERAS, 224, 4)]  # a tiny network has one size
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch)
        write_corpus(corpus, n_speakers=n_speakers, n_takes=n_takes)
        stages = _front_end(corpus, n_rounds)
        bars = {
            str(kind): parts_of(stages, **_costs(kind, corpus, n_rounds, is_tiny=is_tiny))
            for kind in kinds
        }
    print(f"## Where an extraction's processor time goes; rounds: {n_rounds}\n")
    print_parts(bars)
    given.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(bars, given.picture)


def _front_end(corpus: Path, n_rounds: int) -> Parts:
    """Cost of each stage by itself."""
    recipe_json = recipe_of(Way("front end"), 96, is_tiny=False).to_json()
    task = {"folder": str(corpus), "recipe_json": recipe_json}
    with children() as start:
        team = {
            stage: start(HERE / "frontend_stages.py", {"stage": stage, **task}, ONE_THREAD)
            for stage in OURS
        }
        # Each is of the whole corpus; the last one gives what its segments are counted by.
        found = _in_turn(team, n_rounds)
    n_segments = found[list(OURS)[-1]][0]["n"]
    so_far = [_median([run["cpu_s"] for run in runs]) / n_segments for runs in found.values()]
    added = np.diff([0.0, *so_far])
    return {stage: 1000 * float(cost) for stage, cost in zip(OURS, added, strict=True)}


def _costs(kind: Kind, corpus: Path, n_rounds: int, *, is_tiny: bool) -> Parts:
    """Cost of the network by itself, of writing by itself, and of an extraction whole."""
    recipe = recipe_of(Way("extract", kind.engine), kind.input_size, is_tiny=is_tiny)
    with children() as start:
        team: dict[str, Child] = {}
        for way in ("ceiling", "extract"):
            task = Task(way, str(corpus), recipe.to_json(), kind.every, kind.engine)
            team[way] = start(WAYS_SCRIPT, vars(task))
        # Which has warmed up by now, so there is a shard; but only one of a part of the corpus.
        team["extract"].run()
        shard = _largest_shard(corpus, recipe.recipe_id)
        team["writing"] = start(HERE / "shard_writing.py", {"shard": str(shard)}, ONE_THREAD)
        found = _in_turn(team, n_rounds)
    network, whole, writing = (
        1000 * _median([run["cpu_s"] / run["n_segments"] for run in runs])
        for runs in found.values()
    )
    return {"network": network, "whole": whole, "writing": writing}


def _in_turn(team: Mapping[str, Child], n_rounds: int) -> dict[str, list[Numbers]]:
    found: dict[str, list[Numbers]] = {name: [] for name in team}
    for _ in range(n_rounds):
        for name, child in team.items():
            found[name].append(child.run())
    return found


def _largest_shard(corpus: Path, recipe_id: str) -> Path:
    shards = corpus.glob("*/features/*/shards/*.h5")
    ours = [path for path in shards if read_header(path).recipe_id == recipe_id]
    return max(ours, key=lambda path: path.stat().st_size)


def _median(values: list[float]) -> float:
    return float(np.median(values))


def parts_of(stages: Parts, *, network: float, writing: float, whole: float) -> Parts:
    """Give the parts in the order of a segment's way, and what they leave of the whole."""
    parts = {**stages, NETWORK: network, WRITING: writing}
    return {**parts, REST: whole - sum(parts.values())}


def print_parts(bars: Mapping[str, Parts]) -> None:
    """Print what is drawn: milliseconds a segment and percent, a column each bar."""
    sums = {name: sum(parts.values()) for name, parts in bars.items()}
    rows = [
        [part, *(_in_words(parts[part], sums[name]) for name, parts in bars.items())]
        for part in COLOURS
    ]
    rows.append(["whole", *(_in_words(whole, whole) for whole in sums.values())])
    print_table(["CPU-ms a segment, and its ratio to the whole", *bars], rows)


def _in_words(cost: float, whole: float) -> str:
    return f"{cost:.3f} ({100 * cost / whole:.1f} %)"


def draw(bars: Mapping[str, Parts], picture: Path) -> None:
    """Draw the bars whole, and once more without the network, so that the rest can be seen.

    The same numbers give the same bytes.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "emostack", "svg.fonttype": "path", "font.size": 9})
        figure = Figure(figsize=(8.4, 1.6 + 1.1 * len(bars)), layout="constrained")
        whole, small = figure.subplots(2, 1)
        _draw_bars(whole, bars, list(COLOURS))
        whole.set_xlabel("% of the processor time")
        whole.set_xlim(0, 100)
        _draw_bars(small, bars, [part for part in COLOURS if part != NETWORK])
        small.set_xlabel("the same without the network, %")
        handles, names = whole.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(picture, format="svg", facecolor="white", metadata={"Date": None})


def _draw_bars(axes: Axes, bars: Mapping[str, Parts], parts: list[str]) -> None:
    names = list(bars)
    sums = [sum(bars[name].values()) for name in names]
    left = np.zeros(len(names))
    for part in parts:
        # Less than nothing is what noise has left for the rest.
        width = [
            max(0.0, 100 * bars[name][part] / whole)
            for name, whole in zip(names, sums, strict=True)
        ]
        drawn = axes.barh(
            names,
            width,
            left=left,
            label=part,
            color=COLOURS[part],
            edgecolor="white",
            linewidth=0.6,
        )
        if part == NETWORK:
            axes.bar_label(drawn, fmt="network %.0f %%", label_type="center", color="white")
        left += width
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


if __name__ == "__main__":
    main()
