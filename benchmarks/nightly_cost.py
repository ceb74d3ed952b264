"""What a night of so many hours of audio costs, worked out from rates that were measured elsewhere.

Arithmetic, no measurement: every rate is given, and the tables say what was made of it. The recipe
(the default one) says how many segments a second of audio has.

    python benchmarks/nightly_cost.py --front-end 1300 --keras-float32 900 --openvino-float32 1200 \\
        --openvino-bfloat16 1700 --gpu 20000 --write-s 0.0001 --segment-bytes 7500 --hash-mb-s 400 \\
        --start-s 10 --one-worker 450 --two-workers 850

Those are examples of how it is called, not results. `bench_frontend` measures the front end,
`bench_extract` the networks (its ceiling by the clock, on two cores), the bytes a second of audio and
the rates of one worker and two; `bench_store` the writing, `bench_plan` the hashing, `bench_gpu` a GPU.
"""

import argparse
from dataclasses import dataclass

from benchmarks.child import print_table
from stages.recipe import DEFAULT, RECIPES, Recipe

CORES = 2
"""Of the machine on which the networks were measured, and beside the GPU."""

WORKERS = (1, 2, 4, 8, 16, 32)

RATES = {
    "front-end": "front end: times real time, a core",
    "keras-float32": f"network: segments/s, {CORES} cores, Keras in float32",
    "openvino-float32": f"network: segments/s, {CORES} cores, OpenVINO in float32",
    "openvino-bfloat16": f"network: segments/s, {CORES} cores, OpenVINO in bfloat16",
    "gpu": "network: segments/s of a GPU; an assumption, unless you measured it",
    "write-s": "writing: processor seconds a segment",
    "segment-bytes": "bytes a segment in the store",
    "hash-mb-s": "hashing of new files: MB/s",
    "start-s": "seconds until the network is loaded",
    "one-worker": "segments/s of 'emostack extract' with one worker, on one core",
    "two-workers": "segments/s with two workers, on two cores",
}


@dataclass(frozen=True, kw_only=True)
class Audio:
    """What is to be worked on.

    Attributes
    ----------
    hours : of audio; each utterance a little more or less than its share of segments, which is left out
    segments_a_second : of audio
    bytes_a_second : of audio, on the disk
    """

    hours: float
    segments_a_second: float
    bytes_a_second: float

    @property
    def n_segments(self) -> float:
        return 3600 * self.hours * self.segments_a_second


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What does not depend on the network.

    Attributes
    ----------
    cpu_s : processor seconds a segment of front end and of writing
    once_s : seconds that come once: starting, hashing
    """

    cpu_s: float
    once_s: float


def main() -> None:
    """Work it out, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=_positive, default=1000.0, help="of audio")
    for name, words in RATES.items():
        parser.add_argument(f"--{name}", type=_positive, required=True, help=words)
    given = vars(parser.parse_args())
    rates = {name: given[name.replace("-", "_")] for name in RATES}
    audio = audio_of(RECIPES[DEFAULT], given["hours"])
    try:
        share = serial_share(rates["one-worker"], rates["two-workers"])
    except ValueError as error:
        parser.error(str(error))
    print(f"## {audio.hours:g} hours of audio, {DEFAULT}: arithmetic from measured rates\n")
    _print_night(audio, rates)
    print(
        f"## The same with more workers: a model (Amdahl's), serial share {100 * share:.1f} %; only "
        "one and two workers were measured\n"
    )
    _print_workers(audio, rates["one-worker"], share)


def audio_of(recipe: Recipe, hours: float) -> Audio:
    """Say how many segments a recipe makes of so much audio, of PCM at its own rate."""
    shift_s = recipe.segments.shift_frames * recipe.frontend.hop_s
    return Audio(
        hours=hours,
        segments_a_second=1 / shift_s,
        bytes_a_second=2 * recipe.frontend.sample_rate,
    )


def costs_of(audio: Audio, rates: dict[str, float]) -> Costs:
    """Gather what every engine pays alike."""
    front_end_s = 1 / (audio.segments_a_second * rates["front-end"])
    hashing_s = 3600 * audio.hours * audio.bytes_a_second / (1e6 * rates["hash-mb-s"])
    return Costs(cpu_s=front_end_s + rates["write-s"], once_s=rates["start-s"] + hashing_s)


def hours_on_cores(n_segments: float, rate: float, costs: Costs) -> float:
    """Hours where network, front end and writing share the same cores.

    >>> round(hours_on_cores(3_600_000, 1000.0, Costs(cpu_s=0.0002, once_s=36.0)), 6)
    1.11
    """
    return (n_segments * (1 / rate + costs.cpu_s / CORES) + costs.once_s) / 3600


def hours_on_gpu(n_segments: float, rate: float, costs: Costs) -> float:
    """Hours where the network has its own device, and the cores work ahead of it: the slower one counts.

    >>> round(hours_on_gpu(3_600_000, 1000.0, Costs(cpu_s=0.0002, once_s=36.0)), 6)
    1.01
    >>> round(hours_on_gpu(3_600_000, 1e6, Costs(cpu_s=0.0002, once_s=36.0)), 6)
    0.11
    """
    return (n_segments * max(1 / rate, costs.cpu_s / CORES) + costs.once_s) / 3600


def serial_share(one: float, two: float) -> float:
    """Share of the work that more workers do not make faster (Amdahl 1967), from two measured rates.

    >>> serial_share(100.0, 160.0)
    0.25
    >>> serial_share(100.0, 210.0)
    0.0

    Raises
    ------
    ValueError
        Two workers are slower than one, of which the model has no word.
    """
    if two < one:
        message = (
            f"{two:g} segments/s with two workers, {one:g} with one; expected no fewer with two; "
            "measure again on an idle machine"
        )
        raise ValueError(message)
    return max(0.0, 2 * one / two - 1)


def rate_of(n_workers: int, one: float, share: float) -> float:
    """Segments/s of so many workers, by the model.

    >>> rate_of(2, 100.0, 0.25)
    160.0
    """
    return one / (share + (1 - share) / n_workers)


def _print_night(audio: Audio, rates: dict[str, float]) -> None:
    costs = costs_of(audio, rates)
    n = audio.n_segments
    gigabytes = n * rates["segment-bytes"] / 1e9
    by_engine = {
        f"hours, {name.replace('-', ' ')}, {CORES} cores at {rates[name]:g} segments/s": (
            hours_on_cores(n, rates[name], costs)
        )
        for name in ("keras-float32", "openvino-float32", "openvino-bfloat16")
    }
    gpu = f"hours, a GPU of {rates['gpu']:g} segments/s (assumed), {CORES} cores beside it"
    of_cores = n * costs.cpu_s / CORES / 3600
    rows = [
        ["segments", f"{n:.3g}"],
        ["written, GB", f"{gigabytes:.1f}"],
        [f"hours of front end and writing, {CORES} cores, part of the next", f"{of_cores:.2f}"],
        ["hours of starting and hashing, part of the next", f"{costs.once_s / 3600:.2f}"],
        *([words, f"{hours:.2f}"] for words, hours in by_engine.items()),
        [gpu, f"{hours_on_gpu(n, rates['gpu'], costs):.2f}"],
    ]
    print_table(["", "a night"], rows)


def _print_workers(audio: Audio, one: float, share: float) -> None:
    rows = []
    for n_workers in WORKERS:
        rate = rate_of(n_workers, one, share)
        hours = audio.n_segments / rate / 3600
        rows.append([str(n_workers), f"{rate:.0f}", f"{rate / one:.2f}", f"{hours:.2f}"])
    print_table(["workers, a core each", "segments/s", "ratio to one", "hours"], rows)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        message = f"{text!r}; expected a number above 0"
        raise argparse.ArgumentTypeError(message)
    return value


if __name__ == "__main__":
    main()
