"""A store of a million segments is exported within a gibibyte, whatever the format."""

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
