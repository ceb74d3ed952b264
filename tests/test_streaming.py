"""A training whose features are not in memory: the same result, and little of them there at a time."""

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models import normalisation
from models.bundle import load_bundle
from models.linear_path import fit_linear_path
from models.stacks import LazyStacks, chained, in_file, lengths_of
from stages import baselines
from stages.dataset import Dataset
from stages.train import train
from stages.train_options import TrainOptions
from tests.test_crossvalidate import OPTIONS
from tests.toy_dataset import make_dataset

VIEW = "speed-0.9"


class Watched:
    """Hands out copies of stacks, and knows how many segments of them are alive at once."""

    def __init__(self, stacks: list[np.ndarray]) -> None:
        self._stacks = stacks
        self._alive = self.most = 0
        self.lazy = LazyStacks(lengths_of(stacks), self._make)

    def _make(self, number: int) -> np.ndarray:
        made = self._stacks[number].copy()
        self._alive += len(made)
        self.most = max(self.most, self._alive)
        weakref.finalize(made, self._forget, len(made))
        return made

    def _forget(self, n: int) -> None:
        self._alive -= n


def with_view(dataset: Dataset) -> Dataset:
    return replace(dataset, views={VIEW: [stack * 1.1 for stack in dataset.stacks]})


def run(dataset: Dataset, folder: Path, options: TrainOptions, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    fields = train(dataset, options, folder, **more)
    return {
        name: value for name, value in fields.items() if name not in ("seconds", "bundle", "run")
    }


@pytest.mark.parametrize(
    ("normalise", "n_components", "n_networks"),
    [("speaker", 6, 2), ("train", 0, 1), ("none", 6, 1)],
)
def test_a_streamed_training_comes_to_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    normalise: str,
    n_components: int,
    n_networks: int,
) -> None:
    monkeypatch.setattr("stages.train.n_workers", lambda _: n_networks)
    held = with_view(make_dataset())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    streamed = replace(
        held,
        stacks=Watched(list(held.stacks)).lazy,
        views={VIEW: Watched(list(held.views[VIEW])).lazy},
    )
    options = replace(OPTIONS, normalise=normalise, n_components=n_components, views=(VIEW,))
    options = replace(options, classifier=replace(options.classifier, epochs=2))
    first = run(held, tmp_path / "held", options)
    assert run(streamed, tmp_path / "streamed", options, scratch=scratch) == first
    one, other = (load_bundle(tmp_path / name / "bundle") for name in ("held", "streamed"))
    assert one.linear is not None
    assert other.linear is not None
    for mine, theirs in (
        (one.weights[0], other.weights[0]),
        (one.normalisation.arrays, other.normalisation.arrays),
        (one.linear.arrays, other.linear.arrays),
    ):
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(own, theirs[name]) for name, own in mine.items())
    runs = (tmp_path / name / "predictions.parquet" for name in ("held", "streamed"))
    pd.testing.assert_frame_equal(*map(pd.read_parquet, runs))
    assert not list(scratch.iterdir())


def test_a_second_corpus_is_streamed_beside_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.train.n_workers", lambda _: 1)
    both = make_dataset()
    n_first = 27  # the first three speakers'
    first, second = list(both.stacks)[:n_first], list(both.stacks)[n_first:]
    view = [stack * 1.1 for stack in first]
    options = replace(OPTIONS, views=(VIEW,), classifier=replace(OPTIONS.classifier, epochs=1))
    n_test = len(second)
    held = run(replace(both, views={VIEW: view}), tmp_path / "held", options, n_test=n_test)
    parts = [Watched(first).lazy, Watched(second).lazy]
    streamed = replace(both, stacks=chained(parts), views={VIEW: Watched(view).lazy})
    assert run(streamed, tmp_path / "run", options, n_test=n_test, scratch=tmp_path) == held


def test_a_block_of_stacks_is_in_memory_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normalisation, "BLOCK_ROWS", 32)
    monkeypatch.setattr(normalisation, "PCA_ROWS", 16)
    monkeypatch.setattr("stages.train.n_workers", lambda _: 1)
    dataset = make_dataset()
    watched = Watched(list(dataset.stacks))
    options = replace(OPTIONS, classifier=replace(OPTIONS.classifier, epochs=1))
    run(replace(dataset, stacks=watched.lazy), tmp_path / "run", options, scratch=tmp_path)
    longest = int(watched.lazy.lengths.max())
    assert watched.most <= 32 + 2 * longest
    assert watched.most < watched.lazy.lengths.sum() / 2


@pytest.mark.parametrize("kind", ["speaker", "train", "none"])
@pytest.mark.parametrize("n_values", [6, 200])
def test_a_linear_path_is_the_same_from_a_file(tmp_path: Path, kind: str, n_values: int) -> None:
    rng = np.random.default_rng(0)
    versions = [rng.standard_normal((60, n_values), np.float32) for _ in range(2)]
    speakers = [f"s{i % 4}" for i in range(60)]
    targets = rng.integers(0, 3, 60)
    rows = np.flatnonzero(np.arange(60) % 4 != 1)

    def fit(those: list[Any]) -> np.ndarray:
        path = fit_linear_path(
            those, targets, speakers, n_labels=3, kind=kind, penalty=0.5, rows=rows
        )
        return path.weights

    in_files = [in_file((row[None] for row in own), tmp_path) for own in versions]
    assert np.array_equal(fit(versions), fit(in_files))


def test_of_very_many_utterances_no_support_vector_machine_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset()
    monkeypatch.setattr("stages.train.n_workers", lambda _: 1)
    monkeypatch.setattr(baselines, "MOST_FOR_SVM", len(dataset.stacks) - 1)
    options = replace(OPTIONS, classifier=replace(OPTIONS.classifier, epochs=1))
    told: list[tuple[int, int]] = []
    fields = run(
        dataset, tmp_path / "run", options, on_progress=lambda done, n, _: told.append((done, n))
    )
    assert fields["baselines"] == {}
    assert told[-1][0] == told[-1][1]
