"""Which engine runs: as asked, else the store's, else the quicker one; a store never changes it."""

from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from features_cache.shard import read_header
from features_cache.store import Store
from models import backend, engines
from models.engines import EngineError
from pipeline import cluster
from pipeline.cluster import ClusterError, _refuse_unfit_workers, openvino_is_quicker_there
from pipeline.dask_workers import refuse_other_versions
from stages import engine_choice
from stages.dataset import load_dataset, select
from stages.engine_choice import choose_engine, store_engine
from stages.shard_work import load_network, package_versions
from tests.command_line import Emostack, command_line
from tests.hostile_audio import voice_like
from tests.small_job import Job, tiny_recipe, wholeness
from tests.test_cluster import OneWorker


class Machine:
    """Says what is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.openvino, self.gpus, self.backend = True, list[str](), "tensorflow"
        monkeypatch.setattr(engine_choice, "has_openvino", lambda: self.openvino)
        monkeypatch.setattr("models.openvino_cnn.has_openvino", lambda: self.openvino)
        monkeypatch.setattr(backend, "gpu_names", lambda: self.gpus)
        monkeypatch.setattr(backend, "backend_name", lambda: self.backend)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", "{}")


def _add_shard(store: Store, name: str, engine: str) -> None:
    """Put a published shard beside the others that says no more than who made it."""
    with h5py.File(store.shards_folder / name, "w") as file:
        file.create_dataset("features", shape=(0, 2), dtype="float32")
        for key, value in {
            "format": 1, "recipe_id": "r", "recipe_json": "{}", "versions_json": "{}",
            "engine": engine,
        }.items():  # fmt: skip
            file.attrs[key] = value


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "openvino"),
        ({"openvino": False}, "keras"),
        ({"gpus": ["gpu:0"]}, "keras"),
        ({"backend": "jax"}, "keras"),
    ],
)
def test_a_new_store_gets_openvino_where_it_is_quicker(
    machine: Machine, store: Store, changes: dict[str, object], expected: str
) -> None:
    vars(machine).update(changes)
    assert choose_engine("auto", store) == expected


def test_for_a_new_store_a_running_clusters_workers_are_asked(
    machine: Machine, store: Store
) -> None:
    assert machine.openvino
    assert choose_engine("auto", store, lambda: False) == "keras"
    assert choose_engine("auto", store, lambda: True) == "openvino"
    _add_shard(store, "20260101T000000-a.h5", "openvino-cpu")
    assert choose_engine("auto", store, lambda: False) == "openvino"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [([True, True], True), ([True, False], False), ([True, ImportError("no stages")], False)],
)
def test_openvino_is_quicker_there_only_where_every_worker_says_so(
    answers: list[object], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Workers:
        def run(self, function: object, *, on_error: str) -> dict[str, object]:
            assert (function, on_error) == (engine_choice.openvino_is_quicker, "return")
            return {f"tcp://{i}": answer for i, answer in enumerate(answers)}

    monkeypatch.setattr(cluster, "_connect", lambda _: nullcontext(Workers()))
    assert openvino_is_quicker_there("tcp://scheduler:8786") is expected


@pytest.mark.parametrize(
    ("made_by", "expected"),
    [
        (["keras-tensorflow"], "keras"),
        (["keras-jax", "openvino-cpu"], "openvino"),
        (["openvino-cpu", "keras-tensorflow"], "keras"),
        (["keras-tensorflow", "imported"], "keras"),
        (["imported"], None),
        ([], None),
    ],
)
def test_the_newest_shard_that_says_so_names_the_stores_engine(
    machine: Machine, store: Store, made_by: list[str], expected: str | None
) -> None:
    for i, engine in enumerate(made_by):
        _add_shard(store, f"2026010{i}T000000-a.h5", engine)
    assert store_engine(store) == expected
    assert choose_engine("auto", store) == (expected or "openvino")
    machine.gpus = ["gpu:0"]
    assert choose_engine("auto", store) == (expected or "keras")
    assert choose_engine("openvino", store) == "openvino"
    assert choose_engine("keras", store) == "keras"


def test_a_damaged_shard_does_not_stop_the_choice(store: Store) -> None:
    _add_shard(store, "20260101T000000-a.h5", "keras-tensorflow")
    (store.shards_folder / "20260102T000000-a.h5").write_bytes(b"\x89HDF")
    assert store_engine(store) == "keras"


def test_an_engine_that_is_not_here_is_told_with_what_to_do(machine: Machine, store: Store) -> None:
    machine.openvino = False
    with pytest.raises(EngineError, match=r"^OpenVINO is not installed; .*--engine keras$"):
        choose_engine("openvino", store)
    _add_shard(store, "20260101T000000-a.h5", "openvino-cpu")
    with pytest.raises(EngineError, match=r"made by OpenVINO, which is not .*--engine keras$"):
        choose_engine("auto", store)
    assert choose_engine("keras", store) == "keras"


def test_names_of_engines_are_known_and_others_are_not() -> None:
    assert [engines.engine_of(name) for name in ("keras", "keras2-x", "", "none")] == [
        "keras", None, None, None,
    ]  # fmt: skip


# --- through the front door ------------------------------------------------------------------


def _engines(store_folder: Path) -> list[str]:
    """Engines of a store's shards, in the order that they were made in."""
    shards = (store_folder / "shards").glob("*.h5")
    return [read_header(path).engine for path in sorted(shards, key=lambda p: p.stat().st_mtime_ns)]


@pytest.fixture
def emostack(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Emostack:
    return command_line(monkeypatch, capfd)


def test_a_store_that_openvino_made_is_one_like_any_other(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    stacks = {}
    for engine in ("keras", "openvino"):
        job = Job(tmp_path / engine)
        job.extract(engine=engine)
        assert wholeness(job.store_folder) == []
        assert {name.partition("-")[0] for name in _engines(job.store_folder)} == {engine}
        store = Store(job.store_folder)
        read = load_dataset(
            select(job.manifest, store), store, job.recipe.recipe_id
        )  # as train does
        stacks[engine] = np.concatenate(list(read.stacks))
    spread = 2e-5 * np.ptp(stacks["keras"])
    np.testing.assert_allclose(stacks["openvino"], stacks["keras"], rtol=0, atol=spread)


@pytest.mark.slow
def test_workers_of_a_cluster_give_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    here, there = Job(tmp_path / "here"), Job(tmp_path / "there")
    here.extract(engine="openvino")
    there.extract(engine="openvino", n_workers=2)
    assert set(_engines(there.store_folder)) == {"openvino-cpu"}
    assert here.features() == there.features()


def test_auto_stays_with_keras_until_it_is_told_otherwise(
    tmp_path: Path, emostack: Emostack
) -> None:
    pytest.importorskip("openvino")
    job = Job(tmp_path)
    job.extract(engine="keras")
    for i, (engine, made_by) in enumerate(
        [("auto", "keras-tensorflow"), ("openvino", "openvino-cpu"), ("auto", "openvino-cpu")]
    ):
        soundfile.write(job.audio / f"u{i}.wav", voice_like(1.1, seed=90 + i), 16000)
        answer = emostack(*job.words(), "--engine", engine)
        assert answer.fields["n_changed"] == 1, answer.err
        assert _engines(job.store_folder)[-1] == made_by
    assert wholeness(job.store_folder) == []


def test_an_unknown_engine_is_wrong_usage(tmp_path: Path, emostack: Emostack) -> None:
    answer = emostack("extract", tmp_path / "m.csv", "--engine", "tpu")
    assert answer.status == 2
    assert "'auto', 'keras', 'openvino'" in answer.err


def test_the_doctor_says_which_engines_are_there(tmp_path: Path, emostack: Emostack) -> None:
    facts = emostack("doctor", "--workdir", tmp_path, "--json").fields["facts"]
    assert facts["engines"].startswith("keras")
    assert ("openvino 20" in facts["engines"]) == engines.has_openvino()


# --- workers ---------------------------------------------------------------------------------


def test_workers_must_have_the_engine_in_the_same_version(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    mine = package_versions("openvino")
    assert set(mine) - set(package_versions()) == {"openvino"}
    client = OneWorker({**mine, "openvino": "2024.0"})
    with pytest.raises(ClusterError, match=r"has openvino 2024\.0 \(here "):
        _refuse_unfit_workers(client, tmp_path, tmp_path, "openvino")  # type: ignore[arg-type]
    with pytest.raises(ClusterError, match=r"has openvino None \(here "):
        refuse_other_versions("tcp://worker", package_versions(), mine)


def test_an_engine_is_loaded_once_a_process(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    recipe_json = tiny_recipe(tmp_path).to_json()
    assert load_network(recipe_json, 8, "openvino").name == "openvino-cpu"
    assert load_network(recipe_json, 8, "openvino") is load_network(recipe_json, 8, "openvino")
    assert load_network(recipe_json, 8).name.startswith("keras-")
