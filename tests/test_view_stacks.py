"""Views' features beside the utterances that a training starts from."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features_cache.key_columns import keys_of
from features_cache.store import Store
from stages.dataset import DatasetError, load_dataset, select, stored_dataset
from stages.frontend.views.view import ViewError
from stages.stored_stacks import Source, stored_stacks
from stages.view_stacks import view_stacks
from tests.small_job import voice_like
from tests.small_store import publish
from tests.test_extract_views import ViewJob

Stacks = dict[str, list[np.ndarray]]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ViewJob:
    job = ViewJob(tmp_path_factory.mktemp("job"))
    job.ask("speed-0.9", "gain-6db")
    return job


@pytest.fixture
def store(job: ViewJob, tmp_path: Path) -> Store:
    """A copy that may be changed."""
    shutil.copytree(job.store_folder, tmp_path / "store")
    return Store(tmp_path / "store")


def read(
    job: ViewJob,
    names: list[str],
    manifest: pd.DataFrame | None = None,
    store: Store | None = None,
) -> Stacks:
    store = store or Store(job.store_folder)
    selection = select(job.manifest if manifest is None else manifest, store)
    own = load_dataset(selection, store, "r1").stacks
    return {"own": own, **view_stacks(selection, store, names, own)}


def test_stacks_of_views_stand_in_the_order_of_the_selection(job: ViewJob) -> None:
    store = Store(job.store_folder)
    backwards = job.manifest.iloc[::-1].reset_index(drop=True)
    found = read(job, ["speed-0.9", "clean", "speed-0.9"], backwards)
    del found["own"]
    assert list(found) == ["speed-0.9", "clean"]
    for name, stacks in found.items():
        assert len(stacks) == 3
        for utterance_id, stack in zip(backwards["utterance_id"], stacks, strict=True):
            assert stack.dtype == np.float32
            np.testing.assert_array_equal(stack, store.stack(utterance_id, name))


def test_a_view_that_was_never_extracted_says_how_to(job: ViewJob) -> None:
    with pytest.raises(
        DatasetError,
        match=r"3 of 3 utterances .* view masks .*run 'emostack extract --views masks'",
    ):
        read(job, ["gain-6db", "masks"])


def test_a_view_that_is_none_is_told_as_such(job: ViewJob) -> None:
    with pytest.raises(ViewError, match="there is no such view"):
        read(job, ["hologram"])


def test_features_of_an_earlier_revision_are_not_mixed_in(
    job: ViewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.frontend.views.gain.Gain.revision", 2)
    with pytest.raises(DatasetError, match="no features of view gain-6db"):
        read(job, ["gain-6db"])


def test_features_of_audio_that_nobody_knows_are_of_any_revision(
    job: ViewJob, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, store.snapshot.rows().assign(audio_sha256=""))
    monkeypatch.setattr("stages.frontend.views.gain.Gain.revision", 2)
    found = read(job, ["gain-6db"], store=store)
    for name, stack in zip(job.manifest["utterance_id"], found["gain-6db"], strict=True):
        np.testing.assert_array_equal(stack, store.stack(name, "gain-6db"))


def test_a_view_that_was_wanted_and_not_reached_is_told(job: ViewJob, store: Store) -> None:
    rows = store.snapshot.rows()
    is_it = (rows["utterance_id"] == "u1") & (rows["view"] == "gain-6db")
    publish(store, rows.assign(status=rows["status"].mask(is_it, "pending")))
    with pytest.raises(DatasetError, match=r"1 of 3 .* view gain-6db .*\(first: 'u1'\)"):
        read(job, ["gain-6db"], store=store)


def test_a_view_whose_features_are_lost_is_told(job: ViewJob, store: Store) -> None:
    rows = store.snapshot.rows(["utterance_id", "key"], view="gain-6db").set_index("utterance_id")
    store.publish_catalogue(store.catalogue.without(keys_of([rows.loc["u2", "key"]])))
    with pytest.raises(DatasetError, match=r"1 of 3 .* view gain-6db .*\(first: 'u2'\)"):
        read(job, ["gain-6db"], store=store)


def test_an_utterance_stands_for_its_view_that_failed(tmp_path: Path) -> None:
    import soundfile

    job = ViewJob(tmp_path)
    soundfile.write(job.audio / "u1.wav", voice_like(0.03, seed=1), 16000)
    job.ask("speed-2")
    found = read(job, ["speed-2"])
    is_own = [view is own for own, view in zip(found["own"], found["speed-2"], strict=True)]
    assert dict(zip(job.manifest["utterance_id"], is_own, strict=True)) == {
        "u0": False, "u1": True, "u2": False
    }  # fmt: skip


def test_an_utterance_that_came_later_lacks_the_view(tmp_path: Path) -> None:
    job = ViewJob(tmp_path)
    everyone = job.manifest
    job.manifest = everyone.iloc[:2]
    job.ask("gain-6db")
    job.manifest = everyone
    job.ask()
    with pytest.raises(DatasetError, match=r"1 of 3 .*\(first: 'u2'\)"):
        read(job, ["gain-6db"])


def test_a_view_that_failed_is_the_utterance_itself_read_when_asked_for(job: ViewJob) -> None:
    store = Store(job.store_folder)
    selection = select(job.manifest, store)
    own = stored_dataset(selection, store, "r1").stacks
    source = Source(selection.places, store, np.array([True, False, True]))
    stand_in = [stack[:1] + 1 for stack in own]
    found = stored_stacks([source], instead=stand_in)
    expected = [own[0], stand_in[1], own[2]]
    assert found.lengths.tolist() == [len(stack) for stack in expected]
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
