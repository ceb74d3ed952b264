"""``--baselines`` from the command line, with openSMILE's place taken where it is not installed."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features_cache.store import Store
from pipeline.baselines import rivals_of
from pipeline.session import Session
from pipeline.training import summary
from stages.baselines import UtteranceVectors
from stages.dataset import Dataset, load_dataset, select
from stages.manifest import write_manifest
from stages.recordings import RecordingError
from tests.command_line import Emostack, command_line
from tests.fake_opensmile import FakeSmile, use_fake_opensmile
from tests.small_job import Job, write_recipe


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = Job(tmp_path_factory.mktemp("job"))
    job.extract()
    return job


@pytest.fixture
def job(extracted: Job, tmp_path: Path) -> Job:
    """A job whose features are there and that may be spoilt."""
    shutil.copytree(extracted.folder, tmp_path / "job", dirs_exist_ok=True)
    return Job(tmp_path / "job")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSmile:
    monkeypatch.setattr("pipeline.baselines.is_installed", lambda: True)
    return use_fake_opensmile(monkeypatch)


@pytest.fixture
def emostack(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Emostack:
    return command_line(monkeypatch, capfd)


def dataset(job: Job) -> Dataset:
    store = Store(job.store_folder)
    return load_dataset(select(job.manifest, store), store, job.recipe.recipe_id)


def rivals(job: Job, session: Session) -> dict[str, UtteranceVectors]:
    made = rivals_of(session, job.workdir, dataset(job), job.audio, job.recipe, n_workers=1)
    return {own.name: own for own in made}


def test_each_baseline_has_a_vector_an_utterance_which_is_kept(job: Job, fake: FakeSmile) -> None:
    session = Session(quiet=True)
    first = rivals(job, session)
    assert list(first) == ["whole-utterance", "egemaps", "compare"]
    assert {len(own.vectors) for own in first.values()} == {8}
    assert {name: own.has_own_units for name, own in first.items()} == {
        "whole-utterance": False,
        "egemaps": True,
        "compare": True,
    }
    shutil.rmtree(job.audio)
    again = rivals(job, session)
    assert all(np.array_equal(again[name].vectors, own.vectors) for name, own in first.items())
    assert len(fake.heard) == 2 * 8
    assert session.warnings == []


def test_recordings_that_are_gone_are_told(job: Job, fake: FakeSmile) -> None:
    shutil.rmtree(job.audio)
    with pytest.raises(RecordingError, match=r"'u0' cannot be used: No such file .*--audio"):
        rivals(job, Session(quiet=True))
    assert fake.heard == []


def test_without_opensmile_the_others_remain_and_a_line_says_so(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.baselines.is_installed", lambda: False)
    session = Session(quiet=True)
    assert list(rivals(job, session)) == ["whole-utterance"]
    (warning,) = session.warnings
    assert "opensmile is not installed" in warning
    assert 'pip install -e ".[baselines]"' in warning


def test_what_is_no_number_is_counted(job: Job, fake: FakeSmile) -> None:
    answer = fake.process_signal

    def without_some(samples: np.ndarray, rate: int) -> pd.DataFrame:
        values = answer(samples, rate)
        return values.mask(values > 15000)  # samples of all but the two shortest

    fake.process_signal = without_some  # type: ignore[method-assign]
    session = Session(quiet=True)
    rivals(job, session)
    lengths = [0.5 + 0.2 * i for i in range(8)]
    n = sum(length > 15000 / 16000 for length in lengths)
    assert session.warnings == [
        f"baseline {name}: {n} values of {n} utterances are no numbers and stand for the average"
        for name in ("egemaps", "compare")
    ]


@pytest.mark.parametrize("asked", [True, False])
def test_reproduce_hands_the_wish_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emostack: Emostack, *, asked: bool
) -> None:
    wishes: list[Any] = []

    def run(*_: object, with_baselines: bool) -> dict[str, Any]:
        wishes.append(with_baselines)
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.experiments.run_reproduction", run)
    words = ["reproduce", "emodb", "--audio", tmp_path, "--recipe", write_recipe(tmp_path)]
    emostack(*words, "--workdir", tmp_path / "runs", *(["--baselines"] if asked else []))
    assert wishes == [asked]


@pytest.mark.slow
def test_train_with_baselines_evaluates_all_on_the_same_folds(
    job: Job, fake: FakeSmile, emostack: Emostack
) -> None:
    write_manifest(job.manifest, job.folder / "m.csv")
    words = ["train", job.folder / "m.csv", "--audio", job.audio, "--baselines"]
    here = ["--recipe", job.folder / "tiny.toml", "--workdir", job.workdir.root]
    done = emostack(*words, *here, "--json")
    assert done.status == 0, done.err
    names = ["svm", "whole-utterance", "egemaps", "compare"]
    expected = [f"{name}-{kind}" for name in names for kind in ("speaker", "train")]
    assert list(done.fields["baselines"]) == [*expected, "majority"]
    assert done.fields["baselines"]["majority"] == 50
    run = Path(done.fields["run"])
    evaluations = json.loads((run / "run.json").read_text(encoding="utf-8"))["evaluations"]
    features = {own["name"]: own["features"] for own in evaluations}
    assert features["compare-train"] == "compare"
    assert features["svm-train"] == features["majority"] == features["speaker"] == ""
    table = pd.read_parquet(run / "predictions.parquet")
    tested = table.groupby("evaluation")["utterance_id"].apply(lambda ids: tuple(sorted(ids)))
    assert tested.nunique() == 1
    folds = table.groupby("evaluation")["fold"].apply(lambda names: tuple(sorted(names)))
    assert folds.nunique() == 1
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Linear SVM on openSMILE ComParE_2016" in page
    assert "Majority class" in page
    assert len(fake.heard) == 2 * 8
    text = summary(done.fields)
    assert "linear SVM on openSMILE eGeMAPSv02, speaker-normalised (transductive)" in text
    assert "UAR 50.0 majority class, the same folds" in text
