import importlib.metadata
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages import opensmile_features
from stages.opensmile_features import (
    FEATURE_SETS,
    OpenSmileError,
    functionals,
    functionals_maker,
    functionals_of,
    is_installed,
    smile,
)
from stages.recordings import RecordingError
from stages.utterance import Utterance
from stages.vector_cache import cached_vectors
from tests.fake_opensmile import FakeSmile, use_fake_opensmile
from tests.hostile_audio import voice_like

ROOT = Path(__file__).parent.parent


def recording(folder: Path, name: str, samples: np.ndarray, rate: int = 16000) -> Utterance:
    path = folder / f"{name}.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return Utterance(utterance_id=name, path=path, key=name)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSmile:
    return use_fake_opensmile(monkeypatch)


@pytest.fixture
def three(tmp_path: Path) -> list[Utterance]:
    return [recording(tmp_path, str(i), voice_like(0.3 + 0.1 * i, seed=i)) for i in range(3)]


def test_samples_are_mono_at_16_khz_cut_to_their_range_and_never_too_loud(
    tmp_path: Path, fake: FakeSmile
) -> None:
    loud = np.stack([np.full(44100, 1.5), np.full(44100, 0.9)], axis=1)
    own = replace(recording(tmp_path, "loud", loud, 44100), start=0.25, end=0.75)
    functionals_of(own, "eGeMAPSv02")
    ((samples, rate),) = fake.heard
    assert (samples.shape, samples.dtype, rate) == ((8000,), np.float32, 16000)
    assert samples.max() == 32767 / 32768
    assert samples.min() >= -1


def test_vectors_come_in_the_recordings_order_and_are_made_once(
    tmp_path: Path, fake: FakeSmile, three: list[Utterance]
) -> None:
    maker = functionals_maker("egemaps", 2)
    first = cached_vectors(tmp_path / "cache", maker, three)
    assert first[:, 0].tolist() == [len(voice_like(0.3 + 0.1 * i, seed=i)) for i in range(3)]
    again = cached_vectors(tmp_path / "cache", maker, three[::-1])
    assert np.array_equal(again, first[::-1])
    assert len(fake.heard) == 3


def test_another_set_or_version_is_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: FakeSmile, three: list[Utterance]
) -> None:
    for name in FEATURE_SETS:
        cached_vectors(tmp_path / "cache", functionals_maker(name, 1), three)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "99")
    cached_vectors(tmp_path / "cache", functionals_maker("egemaps", 1), three)
    assert len(fake.heard) == 9
    names = sorted(path.name.partition("-")[0] for path in (tmp_path / "cache").iterdir())
    assert names == ["compare", "egemaps", "egemaps"]


@pytest.mark.usefixtures("fake")
def test_what_is_too_short_has_no_numbers_and_says_nothing(tmp_path: Path) -> None:
    own = recording(tmp_path, "short", voice_like(0.02, seed=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(functionals_of(own, "eGeMAPSv02")).all()


@pytest.mark.usefixtures("fake")
def test_audio_that_cannot_be_used_names_the_utterance(tmp_path: Path) -> None:
    silent = recording(tmp_path, "quiet one", np.zeros(8000))
    with pytest.raises(RecordingError, match=r"'quiet one' cannot be used: every sample .*--audio"):
        functionals_of(silent, "eGeMAPSv02")
    with pytest.raises(RecordingError, match="'quiet one' has changed since"):
        functionals_of(replace(silent, audio_sha256="0" * 64), "eGeMAPSv02")


def test_a_process_that_dies_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, three: list[Utterance]
) -> None:
    def die(*_: object) -> Iterator[np.ndarray]:
        yield np.zeros(2, np.float32)
        raise BrokenProcessPool

    monkeypatch.setattr(opensmile_features, "_in_processes", die)
    with pytest.raises(OpenSmileError, match=r"died at '1' or soon after; .* without --baselines"):
        list(functionals(three, "eGeMAPSv02"))


def test_without_the_package_it_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    smile.cache_clear()
    modules = {name: each for name, each in sys.modules.items() if name != "tensorflow"}
    monkeypatch.setattr(sys, "modules", {**modules, "opensmile": None})
    with pytest.raises(OpenSmileError, match=re.escape('pip install -e ".[baselines]"')):
        smile("eGeMAPSv02")


def test_it_refuses_a_process_with_tensorflow_where_both_would_die(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smile.cache_clear()
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    with pytest.raises(OpenSmileError, match="TensorFlow is loaded in the process"):
        smile("eGeMAPSv02")


def test_a_process_that_runs_it_loads_no_tensorflow() -> None:
    code = "import sys, stages.opensmile_features; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.skipif(not is_installed(), reason="openSMILE is an extra")
@pytest.mark.parametrize(("name", "n_values"), [("egemaps", 88), ("compare", 6373)])
def test_real_functionals_come_from_processes_in_order(
    three: list[Utterance], name: str, n_values: int
) -> None:
    short = recording(three[0].path.parent, "short", voice_like(0.02, seed=1))
    maker = functionals_maker(name, 2)
    assert maker.identity["opensmile"] == importlib.metadata.version("opensmile")
    vectors = np.stack(list(maker.make([*three, short])))
    assert vectors.shape == (4, n_values)
    assert np.isfinite(vectors[:3]).all()
    assert np.isnan(vectors[3]).all()
    alone = np.stack(list(maker.make(three[1:2])))
    assert np.array_equal(alone[0], vectors[1])


def test_the_fake_answers_as_the_package_does() -> None:
    frame = FakeSmile().process_signal(np.ones(16000, np.float32), 16000)
    assert isinstance(frame, pd.DataFrame)
    assert frame.shape == (1, FakeSmile.N_VALUES)
