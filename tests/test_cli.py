"""The command line as its contract has it: fields, exit statuses, one-line errors."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile

import stages
from features_cache.lock import writer_lock
from features_cache.store import Store
from stages.manifest import write_manifest
from tests.command_line import Emostack, command_line
from tests.hostile_audio import voice_like
from tests.small_job import write_corpus, write_recipe


@pytest.fixture
def emostack(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Emostack:
    """Call the command line in this process."""
    return command_line(monkeypatch, capfd)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with audio, a manifest and a tiny recipe."""
    folder = tmp_path_factory.mktemp("job")
    write_manifest(write_corpus(folder / "audio", n=12), folder / "m.csv")
    write_recipe(folder)
    return folder


@pytest.fixture
def here(home: Path, emostack: Emostack) -> list[object]:
    """The words that every verb on that folder ends in; the features are there."""
    words: list[object] = ["--recipe", home / "tiny.toml", "--workdir", home / "runs"]
    done = emostack("extract", home / "m.csv", "--audio", home / "audio", *words, "--quiet")
    assert done.status == 0, done.err
    return words


@pytest.fixture
def run(home: Path, emostack: Emostack, here: list[object]) -> Path:
    """A training; made once."""
    found = sorted((home / "runs" / "runs").glob("*/report.html"))
    if not found:
        done = emostack("train", home / "m.csv", "--audio", home / "audio", *here, "--json")
        assert done.status == 0, done.err
        (home / "train.json").write_text(done.out)
        return Path(done.fields["run"])
    return found[0].parent


def test_extract_gives_the_contracts_fields_and_nothing_else_on_stdout(
    home: Path, emostack: Emostack, here: list[object]
) -> None:
    done = emostack("extract", home / "m.csv", "--audio", home / "audio", *here, "--json")
    assert done.status == 0
    assert {
        "recipe_id", "n_new", "n_changed", "n_renamed", "n_relabelled", "n_skipped", "n_gone",
        "n_quarantined", "n_quarantined_total", "n_segments", "seconds", "segments_per_second",
        "snapshot", "generation",
    } <= set(done.fields)  # fmt: skip
    assert done.fields["n_skipped"] == 12
    assert "skipped" in done.err


def test_a_newly_quarantined_file_is_exit_status_3_once(tmp_path: Path, emostack: Emostack) -> None:
    rows = write_corpus(tmp_path / "audio", n=2)
    (tmp_path / "audio" / "u1.wav").write_text("no sound at all")
    write_manifest(rows, tmp_path / "m.csv")
    words = [
        "extract", tmp_path / "m.csv", "--audio", tmp_path / "audio",
        "--recipe", write_recipe(tmp_path), "--workdir", tmp_path / "runs",
    ]  # fmt: skip
    first = emostack(*words)
    assert first.status == 3
    assert "quarantined 'u1': unreadable" in first.err
    assert emostack(*words).status == 0
    listed = emostack("store", "ls", "--quarantined", "--workdir", tmp_path / "runs")
    assert "'u1': unreadable" in listed.out


def test_a_manifest_with_missing_columns_names_all_of_them(
    tmp_path: Path, emostack: Emostack
) -> None:
    (tmp_path / "m.csv").write_text("id,path\na,a.wav\n")
    done = emostack("extract", tmp_path / "m.csv", "--workdir", tmp_path / "runs")
    assert done.status == 1
    for column in ("utterance_id", "file", "speaker", "emotion"):
        assert column in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["extract"], 2, "Missing argument"),
        (["extrakt"], 2, "No such command"),
        (["extract", "m.csv", "--batch-size", "4"], 2, "8"),
        (["extract", "none.csv"], 1, "none.csv"),
        (["extract", "none.csv", "--recipe", "nope"], 1, "none.csv"),
        (["train", "none.csv"], 1, "none.csv"),
        (["report", "none"], 1, "no run is named 'none'"),
        (["predict", "none", "a.wav"], 1, "none"),
        (["reproduce", "emodb"], 2, "--audio"),
        (["manifest", "emodbb", ".", "-o", "x.csv"], 1, "emodb"),
        (["check", "none.csv"], 1, "none.csv"),
        (["preview", "none.wav"], 1, "none.wav"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    emostack: Emostack,
    words: list[str],
    status: int,
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = emostack(*words)
    assert done.status == status
    assert text in done.err
    assert "Traceback" not in done.err
    assert "defect" not in done.err
    if status == 1:
        assert len(done.err.strip().splitlines()) == 1


def test_debug_adds_the_traceback(emostack: Emostack) -> None:
    assert "Traceback" in emostack("report", "none", "--debug").err


def test_a_store_that_is_being_written_is_exit_status_4(
    home: Path, emostack: Emostack, here: list[object]
) -> None:
    folder = next((home / "runs" / "features").glob("*/recipe.json")).parent
    with writer_lock(folder):
        done = emostack("extract", home / "m.csv", "--audio", home / "audio", *here)
    assert done.status == 4
    assert "is being written by another run (process" in done.err


def test_weights_that_are_not_there_are_refused_by_name_and_place(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emostack: Emostack
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("models.weights.is_reachable", lambda *_, **__: False)
    done = emostack(
        "extract", home / "m.csv", "--audio", home / "audio", "--workdir", tmp_path / "runs"
    )
    assert done.status == 1
    assert "mobilenet_7_5_224_tf_no_top.h5" in done.err
    assert str(tmp_path / "models") in done.err
    assert not (tmp_path / "runs").exists()


def test_a_workdir_inside_the_sources_is_refused(home: Path, emostack: Emostack) -> None:
    inside = Path(str(stages.__file__)).parent / "runs"
    done = emostack("extract", home / "m.csv", "--workdir", inside)
    assert done.status == 1
    assert "source package 'stages'" in done.err
    assert not inside.exists()


def test_a_training_leaves_a_whole_run(home: Path, run: Path) -> None:
    fields = json.loads((home / "train.json").read_text())
    assert {
        "uar_pooled", "uar_inductive", "uar_ensemble", "uar_interval", "uar_fold_mean",
        "uar_fold_sd", "uar_seeds", "wa", "recall_by_class", "manifest", "bundle", "run", "report",
    } <= set(fields)  # fmt: skip
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert {"utterance_id", "fold", "seed", "truth", "predicted"} <= set(predictions.columns)
    speaker_rows = predictions[predictions["evaluation"] == "speaker"]
    assert sorted(speaker_rows["utterance_id"]) == sorted(f"u{i}" for i in range(12))
    assert (speaker_rows["fold"] == speaker_rows["speaker"]).all()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "seeded random numbers" in page
    assert len(pd.read_csv(run / "manifest.csv")) == 12


def test_random_weights_are_told_wherever_a_number_is_shown(
    emostack: Emostack,
    home: Path,
    run: Path,
    here: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = json.loads((home / "train.json").read_text())
    assert "seeded random" in fields["warning"]
    with monkeypatch.context() as patch:  # the training itself is over
        patch.setattr("pipeline.training.run_training", lambda *_, **__: fields)
        done = emostack("train", home / "m.csv", *here)
    numbers = [line for line in done.out.splitlines() if line.startswith("UAR ")]
    assert (
        len(numbers) == 8
    )  # the classifier, its two parts and the SVM, each normalised in two ways
    assert all(line.endswith(" [random weights, not a result]") for line in numbers)
    table = tmp_path / "p.csv"
    done = emostack("predict", run / "bundle", home / "audio" / "u0.wav", "-o", table)
    assert "seeded random" in done.err
    for text in (done.out, table.read_text(encoding="utf-8")):
        (row,) = csv.DictReader(io.StringIO(text))
        assert row["warning"] == fields["warning"]


def test_a_report_can_be_written_again(home: Path, emostack: Emostack, run: Path) -> None:
    page = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    done = emostack("report", run.name, "--workdir", home / "runs", "--json")
    assert Path(done.fields["report"]).read_bytes() == page


def test_predict_names_an_emotion_with_probabilities_and_attention(
    home: Path, emostack: Emostack, run: Path
) -> None:
    done = emostack("predict", run / "bundle", home / "audio" / "u5.wav", "--json")
    assert done.status == 0
    (found,) = done.fields["predictions"]
    assert found["emotion"] == max(found["probabilities"], key=found["probabilities"].get)
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert sum(s["attention"] for s in found["segments"]) == pytest.approx(1, abs=1e-5)
    starts = [segment["start"] for segment in found["segments"]]
    assert starts == sorted(starts)
    assert found["segments"][-1]["end"] <= soundfile.info(home / "audio" / "u5.wav").duration


def test_predict_takes_folders_and_manifests_and_goes_on_after_a_bad_file(
    home: Path, tmp_path: Path, emostack: Emostack, run: Path
) -> None:
    soundfile.write(tmp_path / "good.flac", voice_like(1.0, seed=5), 16000)
    (tmp_path / 'bad, "name".wav').write_text("not audio")
    done = emostack("predict", run / "bundle", tmp_path, home / "audio", "-o", tmp_path / "p.csv")
    assert done.status == 3
    assert "unreadable" in done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == 13
    assert (tmp_path / "p.csv").read_text() == done.out
    rows = pd.read_csv(home / "m.csv").assign(file=lambda t: str(home / "audio") + "/" + t["file"])
    rows.to_csv(home / "audio" / "all.csv", index=False)
    by_manifest = emostack("predict", run / "bundle", home / "audio" / "all.csv", "--json")
    assert [p["file"] for p in by_manifest.fields["predictions"]] == [f"u{i}" for i in range(12)]


def test_predict_takes_a_file_twice_and_a_manifest_with_its_audio_elsewhere(
    home: Path, emostack: Emostack, run: Path
) -> None:
    file = home / "audio" / "u1.wav"
    twice = emostack("predict", run / "bundle", file, file, "--json").fields["predictions"]
    assert len(twice) == 2
    words = ["predict", run / "bundle", home / "m.csv", "--audio", home / "audio", "--json"]
    by_manifest = emostack(*words)
    assert by_manifest.status == 0
    assert by_manifest.fields["predictions"][1]["probabilities"] == pytest.approx(
        twice[0]["probabilities"], abs=1e-5
    )


def test_predict_without_any_audio_is_wrong_usage(
    tmp_path: Path, emostack: Emostack, run: Path
) -> None:
    done = emostack("predict", run / "bundle", tmp_path)
    assert done.status == 2
    assert "no audio in" in done.err


def test_predict_refuses_a_bundle_whose_recipe_was_edited(
    home: Path, tmp_path: Path, emostack: Emostack, run: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(run / "bundle", bundle)
    text = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(text.replace('\\"n_mels\\":64', '\\"n_mels\\":32'))
    done = emostack("predict", bundle, home / "audio" / "u0.wav")
    assert done.status == 1
    assert "trained on recipe" in done.err


def test_training_refuses_folds_that_share_a_speaker(
    home: Path, tmp_path: Path, emostack: Emostack, here: list[object]
) -> None:
    rows = pd.read_csv(home / "m.csv", keep_default_na=False)
    rows["half"] = ["a", "b"] * 6
    rows.loc[rows["speaker"] == "s0", "half"] = ["a", "b", "a"]
    rows.to_csv(tmp_path / "m.csv", index=False)
    emostack("extract", tmp_path / "m.csv", "--audio", home / "audio", *here)
    done = emostack("train", tmp_path / "m.csv", "--folds", "half", *here)
    assert done.status == 1
    assert "s0" in done.err


def test_training_refuses_unknown_speakers(
    home: Path, tmp_path: Path, emostack: Emostack, here: list[object]
) -> None:
    rows = pd.read_csv(home / "m.csv", keep_default_na=False).assign(speaker="")
    rows.to_csv(tmp_path / "m.csv", index=False)
    before = sorted((home / "runs" / "runs").glob("*"))
    done = emostack("train", tmp_path / "m.csv", *here)
    assert done.status == 1
    assert "speaker" in done.err
    assert sorted((home / "runs" / "runs").glob("*")) == before


def test_hdf5_and_parquet_exports_equal_the_store(
    home: Path, tmp_path: Path, emostack: Emostack, here: list[object]
) -> None:
    store = Store(next((home / "runs" / "features").glob("*/recipe.json")).parent)
    h5, parquet = tmp_path / "h5", tmp_path / "parquet"
    done = emostack("export", home / "m.csv", "--to", "hdf5", "-o", h5, *here, "--json")
    assert done.fields["n_utterances"] == 12
    assert emostack("export", home / "m.csv", "--to", "parquet", "-o", parquet, *here).status == 0
    with h5py.File(h5 / "features.h5") as file:
        i = list(file["utterance_id"].asstr()).index("u3")
        rows = slice(file["offsets"][i], file["offsets"][i + 1])
        np.testing.assert_array_equal(file["features"][rows], store.stack("u3"))
        assert file["emotion"].asstr()[i] == "joy"
    table = pd.read_parquet(parquet / "features.parquet")
    mine = table[table["utterance_id"] == "u3"]
    np.testing.assert_array_equal(np.stack(mine["features"]), store.stack("u3"))
    assert len(table) == done.fields["n_segments"]


@pytest.mark.slow
@pytest.mark.usefixtures("run")
def test_a_colleague_who_imports_an_export_trains_to_the_same_numbers_without_the_audio(
    home: Path, tmp_path: Path, emostack: Emostack, here: list[object]
) -> None:
    out, there = tmp_path / "features", tmp_path / "there"
    assert emostack("export", home / "m.csv", "--to", "hdf5", "-o", out, *here).status == 0
    taken = emostack("import", out, "--workdir", there, "--json").fields
    assert taken["n_utterances"] == taken["n_added"] == 12
    done = emostack(
        "train", taken["manifest"], "--recipe", out / "recipe.toml", "--workdir", there, "--json"
    )
    mine = json.loads((home / "train.json").read_text())
    for name in ("uar_seeds", "uar_inductive", "recall_by_class", "baselines", "recipe_id"):
        assert done.fields[name] == mine[name]


@pytest.mark.usefixtures("here")
def test_the_readmes_snippet_reads_features_with_h5py_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    snippet = readme.split("```python\n")[1].split("```")[0]
    folder = next((home / "runs" / "features").glob("*/recipe.json")).parent
    code = snippet.replace("RECIPE_ID", folder.name).replace("03a01Fa", "u4")
    monkeypatch.chdir(home)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the point of this test
    np.testing.assert_array_equal(names["features"], Store(folder).stack("u4"))


@pytest.mark.usefixtures("here")
def test_store_verify_finds_everything_whole(home: Path, emostack: Emostack) -> None:
    done = emostack("store", "verify", "--full", "--workdir", home / "runs", "--json")
    assert (done.status, done.fields) == (0, {"problems": []})


def test_manifest_check_and_preview(home: Path, tmp_path: Path, emostack: Emostack) -> None:
    made = emostack("manifest", "csv", home / "m.csv", "-o", tmp_path / "m.parquet", "--json")
    assert made.fields["n_utterances"] == 12
    assert made.fields["emotions"] == {"fear": 4, "happiness": 8}  # which the table calls joy
    done = emostack("check", home / "m.csv", "--audio", home / "audio", "--json")
    assert (done.fields["n_ok"], done.fields["problems"]) == (12, [])
    assert done.fields["overview"]["n_utterances"] == 12
    picture = tmp_path / "p.png"
    assert emostack("preview", home / "audio" / "u0.wav", "-o", picture).status == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_label_map_renames_labels(home: Path, tmp_path: Path, emostack: Emostack) -> None:
    (tmp_path / "map.toml").write_text('[labels]\njoy = "happiness"\n')
    made = emostack(
        "manifest", "csv", home / "m.csv", "-o", tmp_path / "m.csv",
        "--map", tmp_path / "map.toml", "--json",
    )  # fmt: skip
    assert made.fields["emotions"] == {"fear": 4, "happiness": 8}


def test_corpora_and_doctor_say_what_there_is(tmp_path: Path, emostack: Emostack) -> None:
    names = [one["name"] for one in emostack("corpora", "--json").fields["corpora"]]
    assert {"csv", "emodb", "ravdess"} <= set(names)
    assert names == sorted(names)
    facts = emostack("doctor", "--workdir", tmp_path, "--json").fields["facts"]
    assert {"backend", "gpu", "weights", "disk", "threads", "dask"} <= set(facts)


@pytest.mark.usefixtures("here")
def test_a_config_file_sets_options_and_a_wrong_key_is_told_with_its_line(
    home: Path, tmp_path: Path, emostack: Emostack
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'workdir = "{home / "runs"}"\n[extract]\nrecipe = "{home / "tiny.toml"}"\n')
    words = ["extract", home / "m.csv", "--audio", home / "audio", "--config", config, "--json"]
    assert emostack(*words).fields["n_skipped"] == 12
    config.write_text("[extract]\nworker = 2\n")
    done = emostack(*words)
    assert done.status == 1
    assert "line 2" in done.err
    assert "workers" in done.err
