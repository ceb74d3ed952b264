"""A store of a million segments is exported within a gibibyte, in whatever format and utterances."""

from pathlib import Path

import pytest

from benchmarks.bench_export import World, make_world, measure
from stages.sharing.table import FORMATS

pytestmark = pytest.mark.slow

N_SEGMENTS, DIM, AN_UTTERANCE = 1_000_000, 128, 100
FEATURES_MIB = N_SEGMENTS * DIM * 2 / 2**20


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[World]:
    """A store of a tenth of the segments, and one of all of them."""
    return [
        make_world(tmp_path_factory.mktemp("world"), n, dim=DIM, an_utterance=AN_UTTERANCE)
        for n in (N_SEGMENTS // 10, N_SEGMENTS)
    ]


@pytest.mark.parametrize("to", FORMATS)
def test_a_million_segments_are_exported_within_a_gibibyte_and_never_held(
    worlds: list[World], to: str
) -> None:
    tenth, whole = (measure(world, to) for world in worlds)
    assert worlds[1].n_segments == N_SEGMENTS
    assert whole.n_bytes > 9 * tenth.n_bytes
    assert whole.peak_mib < 1024
    assert whole.peak_mib - tenth.peak_mib < 0.75 * FEATURES_MIB


def test_utterances_of_one_segment_cost_so_little_that_a_million_take_less_than_a_gibibyte(
    tmp_path: Path,
) -> None:
    peaks = {n: _peak_mib(tmp_path / str(n), n) for n in (50_000, 250_000)}  # a million take long
    an_utterance = (peaks[250_000] - peaks[50_000]) / 200_000
    assert peaks[250_000] + 750_000 * an_utterance < 1024


def _peak_mib(folder: Path, n_utterances: int) -> float:
    folder.mkdir()
    return measure(make_world(folder, n_utterances, dim=16, an_utterance=1), "hdf5").peak_mib
