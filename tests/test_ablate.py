"""The table of ablations: a row each, its numbers those of a training."""

import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ablate
from models.linear_path import LinearPathSettings
from reports.metrics import evaluate
from stages.crossvalidate import cross_validate
from stages.recipe import load_recipe
from stages.train import make_networks
from stages.train_options import TrainOptions
from stages.training_task import Task, make_task
from tests.toy_dataset import SMALL_NETWORK, make_dataset

ROWS = Path(ablate.__file__).with_name("ablations.toml")
OPTIONS = TrainOptions(n_components=6, classifier=replace(SMALL_NETWORK, epochs=2))


def test_a_row_holds_what_a_training_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = replace(OPTIONS, linear=LinearPathSettings(share=0))

    def prepared(_: object, candidate: dict[str, Any]) -> tuple[Task, TrainOptions]:
        options = alone if candidate["name"] == "alone" else OPTIONS
        return make_task(make_dataset(3, shift=3, apart=0.3), options), options

    monkeypatch.setattr(ablate, "prepared", prepared)
    names = "".join(f'[[candidate]]\nname = "{name}"\n' for name in ("both", "alone", "left out"))
    (tmp_path / "rows.toml").write_text(names)
    given = ["ablate", "m.csv", "--rows", str(tmp_path / "rows.toml"), "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", [*given, "--only", "both", "--only", "alone"])
    ablate.main()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert [row[0] for row in rows] == ["row", "---", "both", "alone"]
    task, _ = prepared(None, {"name": "both"})
    options = replace(OPTIONS, seeds=(0, 1))
    for kind, cells in (("speaker", rows[2][1:5]), ("train", rows[2][5:7])):
        found = cross_validate(task, make_networks(task, options), kind, options, lambda _: None)
        whole, network, linear = (evaluate(own.predictions, list(task.labels)) for own in found)
        low, high = whole["uar_interval"]
        told = [f"{whole['uar_pooled']:.1f}", f"{low:.1f} to {high:.1f}"]
        told += [f"{part['uar_pooled']:.1f}" for part in (network, linear)]
        assert cells == told[: len(cells)]
    assert rows[3][3:5] == ["", ""]
    assert float(rows[2][7]) > 0


def test_every_row_of_the_project_names_a_recipe_that_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROWS.parent.parent)
    rows = tomllib.loads(ROWS.read_text(encoding="utf-8"))["candidate"]
    assert len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        for name in [row["recipe"]] if isinstance(row["recipe"], str) else row["recipe"]:
            load_recipe(name)
