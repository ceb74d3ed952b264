"""Benchmarks run tiny, so that they cannot rot; nothing is timed here."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import by_librosa, extract_ways
from benchmarks.bench_extract import Way, recipe_of
from benchmarks.child import Child, ratio, timed
from benchmarks.extract_ways import WAYS, Task
from benchmarks.frontend_stages import STAGES
from pipeline import extraction
from stages.corpora.synthetic import write_corpus
from stages.frontend.logmel import logmel_blocks
from stages.frontend.segments import windows

BENCHMARKS = sorted((Path(__file__).parent.parent / "benchmarks").glob("bench_*.py"))

ASKED = {"bench_extract": [[], ["--workers", "1"]], "bench_plan": [["--views", "1"]]}
"""What some are asked for besides their size."""

SLOW = ("bench_extract", "bench_gpu")
"""Those that start a process with a network for every way."""

RUNS = [
    pytest.param(path, more, id=" ".join([path.stem, *more]), marks=marks)
    for path in BENCHMARKS
    for marks in [pytest.mark.slow if path.stem in SLOW else ()]
    for more in ASKED.get(path.stem, [[]])
]
# Imported by `librosa.load`, which scripts use.
pytestmark = pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated")
TINY = recipe_of(Way("extract"), 96, is_tiny=True)


@pytest.mark.parametrize(("path", "more"), RUNS)
def test_a_benchmark_runs(
    path: Path,
    more: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [str(path), "--size", "tiny", *more])
    runpy.run_path(str(path), run_name="__main__")
    assert "ratio" in capsys.readouterr().out


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight utterances."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, n_speakers=2, n_takes=1)
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_every_way_from_audio_to_features_makes_all_segments(
    way: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An extraction's workers are kept, for which these two are replaced.
    monkeypatch.setattr(extraction, "open_workers", extraction.open_workers)
    monkeypatch.setattr(extract_ways.os, "cpu_count", extract_ways.os.cpu_count)
    task = Task(way, str(corpus), TINY.to_json(), every=4)
    expected = sum(len(by_librosa.librosa_windows(path, TINY)) for path in task.paths)
    result = timed(WAYS[way](task))
    assert result["n_segments"] == expected > 10
    assert result["seconds"] > 0
    assert result["cpu_s"] > 0


def test_a_scripts_windows_are_those_of_the_front_end(corpus: Path) -> None:
    path = Task("loop", str(corpus), TINY.to_json()).paths[3]
    blocks = logmel_blocks(path, settings=TINY.frontend)
    ours = np.concatenate([values for values, _ in windows(blocks, TINY.segments)])
    theirs = by_librosa.librosa_windows(path, TINY)
    np.testing.assert_allclose(theirs, ours, atol=2e-3)


def test_a_plot_shows_the_whole_segment_and_nothing_else() -> None:
    levels = np.zeros((64, 24), np.float32)
    levels[:32] = -40.0
    pixels = by_librosa.plotted(levels, 96)
    assert pixels.shape == (96, 96, 3)
    low, high = pixels[50:], pixels[:46]
    assert len(np.unique(low.reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(high.reshape(-1, 3), axis=0)) == 1
    assert not np.array_equal(low[0, 0], high[0, 0])


def test_every_stage_of_the_front_end_gives_something(corpus: Path) -> None:
    (utterance, *_) = extract_ways.utterances_of(Task("", str(corpus), "").manifest, corpus)
    for stage in STAGES.values():
        assert sum(array.size for array in stage(utterance, TINY)) > 0


def test_a_ratio_is_told_with_its_range_over_the_rounds() -> None:
    assert ratio([2.0, 3.0, 5.0], [2.0, 2.0, 2.0]) == "1.50 (1.00 to 2.50)"
    assert ratio([2.0], [4.0]) == "0.50"


def test_a_child_that_ends_too_early_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "early.py"
    script.write_text("raise SystemExit(7)\n")
    with pytest.raises(RuntimeError, match=r"early.py .* ended with status 7; expected a result"):
        Child(script, {})


def test_a_child_runs_when_it_is_told_whatever_it_prints(tmp_path: Path) -> None:
    script = tmp_path / "noisy.py"
    script.write_text(
        "from benchmarks.child import serve\n"
        "def run(step):\n"
        "    print('noise')\n"
        "    return {'n_segments': 8 // step}\n"
        "serve(lambda task: run)\n"
    )
    child = Child(script, {}, {"PYTHONPATH": str(Path(__file__).parent.parent)})
    assert child.run()["n_segments"] == 8
    child.close()
    assert child.peak_mib > 1
