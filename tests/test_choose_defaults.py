"""The choice of defaults: for each speaker without that speaker."""

import argparse
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.linear_path import LinearPathSettings
from stages.manifest import write_manifest
from stages.train_options import TrainOptions
from stages.training_task import Task, make_task
from tests.shared_store import fill, recipe, rows_of
from tests.toy_dataset import SMALL_NETWORK, make_dataset

PATH = Path(__file__).parent.parent / "benchmarks" / "choose_defaults.py"


def load() -> Any:  # noqa: ANN401 - a script
    spec = importlib.util.spec_from_file_location("choose_defaults", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


choose = load()


@given(st.integers(6, 30), st.integers(0, 99))
def test_every_speaker_is_left_out_with_every_other_group(n_speakers: int, seed: int) -> None:
    speakers = [f"s{i % n_speakers}" for i in range(3 * n_speakers)]
    folds = choose.inner_folds(speakers, seed)
    assert len(folds) == 10
    for fold in folds:
        own = {speakers[row] for row in fold.test}
        assert own == set(fold.name.split("\n"))
        assert own.isdisjoint({speakers[row] for row in fold.train})
        assert len(fold.train) + len(fold.test) == len(speakers)
    for speaker in set(speakers):
        out = [fold for fold in folds if speaker in fold.name.split("\n")]
        assert len(out) == 4
        assert set.union(*({speakers[row] for row in fold.test} for fold in out)) == set(speakers)


def test_a_speakers_own_utterances_have_no_part_in_the_inner_score() -> None:
    rows = [
        ("a\nb", "a", "sad", "calm"), ("a\nb", "b", "sad", "sad"), ("a\nb", "b", "calm", "sad"),
        ("b\nc", "b", "calm", "calm"), ("b\nc", "c", "sad", "sad"),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["fold", "speaker", "truth", "predicted"])
    assert choose.inner_score(table, "a") == 50.0  # one of b's two, by the training without a
    assert choose.inner_score(table, "c") == 100.0


@pytest.mark.parametrize(
    ("names", "dim"), [("a.toml", 5), (["a.toml"], 5), (["a.toml", "b.toml"], 8)], ids=str
)
def test_a_candidate_may_have_the_features_of_several_recipes(
    tmp_path: Path, names: object, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = rows_of([f"u{i}" for i in range(12)])
    write_manifest(manifest, tmp_path / "m.csv")
    for revision, name in enumerate("ab", start=1):
        own = replace(recipe(), revision=revision)
        Path(f"{name}.toml").write_text(own.to_toml(), encoding="utf-8")
        folder = tmp_path / "runs" / "features" / own.recipe_id
        fill(folder, manifest, dim={1: 5, 2: 3}[revision], revision=revision)
    asked = argparse.Namespace(manifest=Path("m.csv"), workdir=Path("runs"), seed=0)
    task, _ = choose.prepared(asked, {"name": "x", "recipe": names})
    assert {stack.shape[1] for stack in task.dataset.stacks} == {dim}


def test_candidates_are_scored_and_each_speaker_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = TrainOptions(
        n_components=6,
        classifier=replace(SMALL_NETWORK, learning_rate=3e-2),
        linear=LinearPathSettings(share=0),
    )
    lazy = replace(plain, classifier=replace(SMALL_NETWORK, epochs=1, learning_rate=1e-6))

    def prepared(_: object, candidate: dict[str, Any]) -> tuple[Task, TrainOptions]:
        options = lazy if candidate["name"] == "lazy" else plain
        return make_task(make_dataset(6, shift=6, apart=0.2), options), options

    monkeypatch.setattr(choose, "prepared", prepared)
    (tmp_path / "c.toml").write_text('[[candidate]]\nname = "lazy"\n[[candidate]]\nname = "good"\n')
    given = ["choose", "m.csv", "--candidates", str(tmp_path / "c.toml"), "--nested"]
    monkeypatch.setattr(sys, "argv", given)
    choose.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["lazy", "good"]
    assert lines[2:8] == [f"s{i}: good" for i in range(6)]
    assert float(lines[8].removeprefix("nested: ")) > 80
