"""Recipes side by side, by command line: trained on and predicted by."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from features_cache.store import Store
from models.bundle import load_bundle
from models.predictor import Predictor
from pipeline.stores import open_stores
from pipeline.workdir import Workdir
from stages.manifest import read_manifest, write_manifest
from stages.predict import bundle_recipes
from stages.training_features import read_features
from tests.command_line import Emostack, command_line
from tests.hostile_audio import voice_like
from tests.shared_store import fill, recipe, rows_of
from tests.small_job import RECIPE, write_corpus

QUICK = RECIPE.replace("bands:4", "bands:2") + "[segments]\nn_frames = 24\nshift_frames = 12\n"


@pytest.fixture
def emostack(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Emostack:
    """Call the command line in this process."""
    return command_line(monkeypatch, capfd)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A workdir with a store of made-up features, its manifest and recipe beside it."""
    manifest = rows_of([f"u{i:02}" for i in range(12)])
    fill(Workdir(tmp_path / "runs").store_folder(recipe().recipe_id), manifest)
    write_manifest(manifest, tmp_path / "m.csv")
    (tmp_path / "r.toml").write_text(recipe().to_toml())
    (tmp_path / "again.toml").write_text(recipe().to_toml())
    return tmp_path


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--recipe", "again.toml"], 1, f"recipe {recipe().recipe_id} stands beside itself"),
        (["--recipe", "paper-2021"], 1, "has no store of recipe 'paper-2021'"),
        (["--snapshot", 1, "--snapshot", 1], 2, "1 --recipe and 2 --snapshot; expected no"),
        (["--snapshot", 3], 1, "has no snapshot 3"),
        (["--generation", 3], 1, "has no snapshot 3"),
    ],
)
def test_recipes_that_cannot_stand_side_by_side_are_told_in_one_line(
    stored: Path,
    monkeypatch: pytest.MonkeyPatch,
    emostack: Emostack,
    words: list[object],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(stored)
    done = emostack("train", "m.csv", "--recipe", "r.toml", *words)
    assert done.status == status
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not (stored / "runs" / "runs").exists()


@pytest.mark.slow
def test_a_training_on_two_recipes_is_repeated_and_its_bundle_predicts_by_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emostack: Emostack
) -> None:
    monkeypatch.chdir(tmp_path)
    audio = tmp_path / "audio"
    write_manifest(write_corpus(audio), tmp_path / "m.csv")
    (tmp_path / "slow.toml").write_text(RECIPE)
    (tmp_path / "quick.toml").write_text(QUICK)
    for name in ("slow", "quick"):
        words = ["--recipe", f"{name}.toml", "--views", "gain-6db", "--workers", 0]
        assert emostack("extract", "m.csv", "--audio", audio, *words).status == 0
    words = ["--recipe", "slow.toml", "--recipe", "quick.toml", "--views", "gain-6db", "--json"]
    done = emostack("train", "m.csv", "--audio", audio, *words)
    assert done.status == 0, done.err
    fields, run = done.fields, Path(done.fields["run"])

    names = ["slow.toml", "quick.toml"]
    ids = [each.recipe_id for _, each in open_stores(Workdir(tmp_path / "runs"), names)]
    document = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for told in (fields, document["provenance"]):
        assert (told["recipe_id"], told["snapshot"]) == ("+".join(ids), "1+1")
    assert "+".join(ids) in (run / "report.html").read_text(encoding="utf-8")
    bundle = load_bundle(run / "bundle")
    assert [each.recipe_id for each in bundle_recipes(bundle)] == ids

    stores = [Store(tmp_path / "runs" / "features" / each) for each in ids]
    dataset, _ = read_features(read_manifest(tmp_path / "m.csv", audio=audio), stores)
    assert bundle.feature_dim == sum(store.stack("u0").shape[1] for store in stores)
    by_store, _ = Predictor(bundle).predict(dataset.stacks, [""] * 8)
    (tmp_path / "torn.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "new.wav", voice_like(0.8, seed=99), 16000)
    files = [*(audio / file for file in dataset.manifest["file"]), "torn.wav", "new.wav"]
    heard = emostack("predict", run / "bundle", *files, "--json")
    assert heard.status == 3, heard.err
    *known, new = heard.fields["predictions"]
    assert [each["file"] for each in heard.fields["problems"]] == ["torn.wav"]
    shares = np.array([list(each["probabilities"].values()) for each in known])
    np.testing.assert_allclose(shares, by_store, atol=1e-5)
    assert [len(each["segments"]) for each in known] == [len(stack) for stack in dataset.stacks]
    assert new["emotion"] in ("joy", "fear")

    held = ["--snapshot", 1, "--generation", 1]
    again = emostack("train", fields["manifest"], *words, *held, "--memory", 0)
    assert again.status == 0, again.err
    assert (fields["streamed"], again.fields["streamed"]) == (False, True)
    assert "streamed" in again.err
    assert not list((tmp_path / "runs" / "scratch").glob("train-*"))
    tables = [
        pd.read_parquet(Path(each["run"]) / "predictions.parquet")
        for each in (fields, again.fields)
    ]
    pd.testing.assert_frame_equal(*tables)
