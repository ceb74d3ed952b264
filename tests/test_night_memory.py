"""What a night takes of memory when nothing has changed, by the utterance."""

from pathlib import Path

import pytest

from benchmarks.bench_plan import make_world, night

FEW, MANY = 10_000, 100_000

MOST_BYTES = 1400
"""Per utterance, by which a night's peak grows between the two; 1190 were measured."""


@pytest.mark.slow
def test_a_quiet_night_takes_no_more_memory_per_utterance_than_it_did(tmp_path: Path) -> None:
    peaks = []
    for n in (FEW, MANY):
        manifest, _ = make_world(tmp_path / str(n), n, ())
        night(tmp_path / str(n), manifest, ())
        peaks.append(night(tmp_path / str(n), manifest, (), skipped=n, to_extract=0)[1])
    grown = (peaks[1] - peaks[0]) * 2**20 / (MANY - FEW)
    assert grown < MOST_BYTES
