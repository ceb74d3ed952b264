from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.recordings import RecordingError
from stages.utterance import Utterance
from stages.vector_cache import VectorCache, VectorMaker, cached_vectors, forget_vectors


def recording(key: str) -> Utterance:
    return Utterance(utterance_id=f"u-{key}", path=Path(f"{key}.wav"), key=key)


class Making:
    """Makes vectors that say whose they are, and remembers for whom."""

    def __init__(self, stop_at: str = "") -> None:
        self.asked: list[str] = []
        self.stop_at = stop_at

    def __call__(self, recordings: Sequence[Utterance]) -> Iterator[np.ndarray]:
        for each in recordings:
            if each.key == self.stop_at:
                raise RecordingError("no more")
            self.asked.append(each.key)
            yield np.array([float(each.key), np.nan], np.float32)


def maker(make: Making, **identity: str) -> VectorMaker:
    return VectorMaker(name="toy", identity={"v": "1", **identity}, make=make, has_own_units=True)


def test_what_is_there_is_not_made_again_and_order_is_the_callers(tmp_path: Path) -> None:
    first, second = Making(), Making()
    cached_vectors(tmp_path, maker(first), [recording(k) for k in "312"])
    vectors = cached_vectors(tmp_path, maker(second), [recording(k) for k in "4231"])
    assert (first.asked, second.asked) == (["3", "1", "2"], ["4"])
    assert vectors[:, 0].tolist() == [4, 2, 3, 1]
    assert vectors.dtype == np.float32
    assert np.isnan(vectors[:, 1]).all()


def test_a_new_name_costs_nothing_and_the_same_audio_twice_is_made_once(tmp_path: Path) -> None:
    make = Making()
    renamed = replace(recording("1"), utterance_id="other", path=Path("other.wav"))
    vectors = cached_vectors(tmp_path, maker(make), [recording("1"), renamed])
    assert make.asked == ["1"]
    assert vectors[:, 0].tolist() == [1, 1]


def test_another_version_makes_its_own(tmp_path: Path) -> None:
    old, new = Making(), Making()
    cached_vectors(tmp_path, maker(old), [recording("1")])
    cached_vectors(tmp_path, maker(new, v="2"), [recording("1")])
    assert new.asked == ["1"]
    assert len(list(tmp_path.iterdir())) == 2


def test_what_was_made_before_an_error_is_kept(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no more"):
        cached_vectors(tmp_path, maker(Making(stop_at="3")), [recording(k) for k in "123"])
    make = Making()
    cached_vectors(tmp_path, maker(make), [recording(k) for k in "123"])
    assert make.asked == ["3"]


def test_long_makings_are_saved_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.vector_cache.SAVE_EVERY_S", -1.0)
    seen: list[int] = []
    cache = VectorCache(tmp_path, maker(Making()))

    class Watching(Making):
        def __call__(self, recordings: Sequence[Utterance]) -> Iterator[np.ndarray]:
            for vector in super().__call__(recordings):
                seen.append(len(cache.load()))
                yield vector

    cached_vectors(tmp_path, maker(Watching()), [recording(k) for k in "123"])
    assert seen == [0, 1, 2]
    assert len(cache.load()) == 3
    assert [path.name for path in tmp_path.iterdir()] == [cache.path.name]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_making(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)


def without_vectors(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["vector"]), path)


def with_other_vectors(path: Path) -> None:
    table = pq.read_table(path)
    values = pa.array([[1.0, 2.0], [1.0]] + [[]] * (len(table) - 2), pa.list_(pa.float32()))
    pq.write_table(table.set_column(1, "vector", values), path)


@pytest.mark.parametrize(
    "spoil", [cut, empty, of_another_making, without_vectors, with_other_vectors]
)
def test_a_file_that_is_not_whole_is_made_anew(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    recordings = [recording(k) for k in "123"]
    cached_vectors(tmp_path, maker(Making()), recordings)
    spoil(VectorCache(tmp_path, maker(Making())).path)
    make = Making()
    vectors = cached_vectors(tmp_path, maker(make), recordings)
    assert vectors[:, 0].tolist() == [1, 2, 3]
    assert make.asked == ["1", "2", "3"]
    assert len(VectorCache(tmp_path, maker(make)).load()) == 3


def test_progress_counts_what_is_made(tmp_path: Path) -> None:
    cached_vectors(tmp_path, maker(Making()), [recording("1")])
    steps: list[tuple[int, int]] = []
    cached_vectors(
        tmp_path,
        maker(Making()),
        [recording(k) for k in "123"],
        on_progress=lambda *step: steps.append(step),
    )
    assert steps == [(1, 2), (2, 2)]


def test_forgotten_keys_leave_every_cache_and_the_others_stay(tmp_path: Path) -> None:
    for version in ("1", "2"):
        cached_vectors(tmp_path, maker(Making(), v=version), [recording(k) for k in "123"])
    forget_vectors(tmp_path, {"1", "3", "9"})
    for version in ("1", "2"):
        found = VectorCache(tmp_path, maker(Making(), v=version)).load()
        assert {key: vector[0] for key, vector in found.items()} == {"2": 2}
    make = Making()
    cached_vectors(tmp_path, maker(make), [recording(k) for k in "123"])
    assert make.asked == ["1", "3"]


def test_a_cache_without_forgotten_keys_is_not_written(tmp_path: Path) -> None:
    cached_vectors(tmp_path, maker(Making()), [recording("1")])
    (path,) = tmp_path.iterdir()
    before = path.stat()
    forget_vectors(tmp_path, {"2"})
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_cache_that_is_forgotten_whole_is_empty_and_not_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached_vectors(tmp_path, maker(Making()), [recording("1")])
    forget_vectors(tmp_path, {"1"})
    assert VectorCache(tmp_path, maker(Making())).load() == {}
    assert caplog.text == ""


@pytest.mark.parametrize("spoil", [cut, empty])
def test_a_cache_that_cannot_be_read_is_forgotten_whole(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    cached_vectors(tmp_path, maker(Making()), [recording("1")])
    (path,) = tmp_path.iterdir()
    spoil(path)
    cached_vectors(tmp_path, maker(Making(), v="2"), [recording(k) for k in "12"])
    forget_vectors(tmp_path, {"1"})
    assert not path.exists()
    assert list(VectorCache(tmp_path, maker(Making(), v="2")).load()) == ["2"]
