"""Views through stage one's front door: each costs itself, and the store's verbs keep them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from features_cache.store import Store
from pipeline.extraction import Features, extract_features
from pipeline.extraction import Job as Extraction
from stages.segment_features import Failed, window_events
from stages.task_queue import TaskQueue
from stages.utterance import Utterance
from tests.command_line import command_line
from tests.hostile_audio import voice_like
from tests.small_job import Job, times_on_disk, wholeness, write_short_corpus
from tests.test_store_verbs import Keeper

KINDS = ("masks", "noise-20db", "reverb-0.3s", "speed-0.9")


class ViewJob(Job):
    """A few short utterances, and views of them."""

    def __init__(self, folder: Path, n: int = 3) -> None:
        super().__init__(folder)
        for path in self.audio.iterdir():
            path.unlink()
        self.manifest = write_short_corpus(self.audio, n)

    def ask(self, *names: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        return self.done(*names, **options).fields

    def done(self, *names: str, **options: Any) -> Features:  # noqa: ANN401
        from pipeline.extraction import ExtractOptions

        session, workdir, _ = self._what()
        job = Extraction(manifest=self.manifest, root=self.audio, recipe=self.recipe, views=names)
        return extract_features(session, workdir, job, ExtractOptions(n_workers=0, **options))

    def seen(self) -> dict[tuple[str, str], bytes]:
        """(Utterance, view) -> the bytes that readers see."""
        store = Store(self.store_folder)
        live = store.live(["utterance_id", "view"])
        return {
            (name, each): store.stack(name, each).tobytes()
            for name, each in zip(live["utterance_id"], live["view"], strict=True)
        }


@pytest.fixture
def job(tmp_path: Path) -> ViewJob:
    return ViewJob(tmp_path / "one")


def test_a_view_is_added_for_its_own_price_and_the_second_run_does_nothing(job: ViewJob) -> None:
    first = job.ask()
    clean = job.seen()
    added = job.ask("speed-0.9")
    assert (added["n_new"], added["n_skipped"], added["n_to_extract"]) == (0, 3, 3)
    assert added["views"] == {"speed-0.9": {"n_to_extract": 3, "n_there": 0}}
    assert added["n_segments"] <= 1.3 * first["n_segments"]
    again = job.ask("speed-0.9")
    assert (again["n_to_extract"], again["snapshot"]) == (0, added["snapshot"])
    assert job.ask()["snapshot"] == added["snapshot"]
    seen = job.seen()
    assert {key: seen[key] for key in clean} == clean
    assert {name for name, each in seen if each == "speed-0.9"} == {"u0", "u1", "u2"}
    assert max(times_on_disk(job.store_folder).values()) == 1
    assert wholeness(job.store_folder) == []


def test_views_are_the_same_bytes_in_any_order_and_store(job: ViewJob, tmp_path: Path) -> None:
    job.ask()
    for name in KINDS:
        job.ask(name)
    other = ViewJob(tmp_path / "two")
    other.manifest = other.manifest.iloc[::-1].reset_index(drop=True)
    other.ask(*reversed(KINDS))
    assert job.seen() == other.seen()
    stacks = job.seen()
    assert len({stacks["u0", name] for name in ("clean", *KINDS)}) == 5


def test_a_changed_file_redoes_its_views_and_a_renamed_one_costs_nothing(job: ViewJob) -> None:
    job.ask(*KINDS)
    before = job.seen()
    soundfile.write(job.audio / "u1.wav", voice_like(0.9, seed=99), 16000)
    (job.audio / "u2.wav").rename(job.audio / "moved.wav")
    job.manifest = job.manifest.assign(
        utterance_id=["u0", "u1", "moved"], file=["u0.wav", "u1.wav", "moved.wav"]
    )
    done = job.ask(*KINDS)
    counts = [done[f"n_{name}"] for name in ("changed", "renamed", "to_extract", "gone")]
    assert counts == [1, 1, 5, 0]
    after = job.seen()
    for each in ("clean", *KINDS):
        assert after["moved", each] == before["u2", each]
        assert after["u1", each] != before["u1", each]


def test_a_run_that_dies_among_the_views_loses_nothing_that_was_made(
    job: ViewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.ask()
    clean = job.seen()
    from stages.shard_work import ShardResult, ShardTask, extract_shard

    n_calls = 0

    def die_after_two(task: ShardTask) -> ShardResult:
        nonlocal n_calls
        n_calls += 1
        if n_calls > 2:
            raise KeyboardInterrupt
        return extract_shard(task)

    with monkeypatch.context() as patch:
        patch.setattr("stages.shard_work.extract_shard", die_after_two)
        with pytest.raises(KeyboardInterrupt):
            job.ask("speed-0.9", "masks")
    made = job.seen()
    assert {key: made[key] for key in clean} == clean
    n_made = len(made) - len(clean)
    assert 0 < n_made < 6
    assert job.ask("speed-0.9", "masks")["n_to_extract"] == 6 - n_made
    assert max(times_on_disk(job.store_folder).values()) == 1


@pytest.mark.parametrize("step", ["publish_catalogue", "publish_snapshot", "write_index_file"])
def test_what_a_run_made_that_died_while_publishing_is_taken_over(
    job: ViewJob, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    job.ask()

    def die(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(f"features_cache.store.{step}", die)
        with pytest.raises(MemoryError):
            job.ask("masks")
    done = job.ask("masks")
    assert done["n_to_extract"] == 0
    assert done["views"]["masks"]["n_there"] == 3
    assert {name for name, each in job.seen() if each == "masks"} == {"u0", "u1", "u2"}
    assert max(times_on_disk(job.store_folder).values()) == 1
    assert wholeness(job.store_folder) == []


def test_a_bad_file_is_told_once_whatever_the_views(job: ViewJob) -> None:
    (job.audio / "u1.wav").write_bytes(b"not audio at all")
    features = job.done("speed-0.9", "masks")
    assert features.fields["n_quarantined"] == features.fields["n_quarantined_total"] == 1
    assert features.done is not None
    assert features.done.quarantined == {"unreadable": 1}
    assert features.done.n_left == 0
    again = job.ask("speed-0.9", "masks", "gain-6db")
    assert (again["n_quarantined"], again["n_quarantined_total"]) == (0, 1)
    assert again["views"]["gain-6db"] == {"n_to_extract": 2, "n_there": 0}
    assert job.ask("speed-0.9", "masks", "gain-6db")["n_to_extract"] == 0
    soundfile.write(job.audio / "u1.wav", voice_like(0.9), 16000)
    assert job.ask("speed-0.9", "masks", "gain-6db")["n_to_extract"] == 4


def test_an_utterance_that_only_fails_in_a_view_is_told_with_it(
    job: ViewJob, capfd: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(job.audio / "u1.wav", voice_like(0.03, seed=1), 16000)
    from pipeline.extraction_words import tell_quarantined
    from pipeline.session import Session

    features = job.done("speed-2")
    assert features.fields["n_quarantined"] == 1
    assert features.done is not None
    news = features.done.newly_quarantined
    assert news[["utterance_id", "view", "reason"]].values.tolist() == [
        ["u1", "speed-2", "too_short"]
    ]
    tell_quarantined(Session(), features.done)
    assert "quarantined 'u1' in view speed-2: too_short" in capfd.readouterr().err
    assert ("u1", "clean") in job.seen()


def test_another_view_that_fails_later_is_news_of_its_own(job: ViewJob) -> None:
    soundfile.write(job.audio / "u1.wav", voice_like(0.03, seed=1), 16000)
    assert job.ask("speed-2")["n_quarantined"] == 1
    features = job.done("speed-2", "speed-1.9")
    assert features.done is not None
    news = features.done.newly_quarantined
    assert news[["utterance_id", "view"]].values.tolist() == [["u1", "speed-1.9"]]
    assert features.fields["n_quarantined"] == 1
    assert job.ask("speed-2", "speed-1.9")["n_quarantined"] == 0


def test_the_utterance_itself_is_no_view_to_learn_from() -> None:
    from pipeline.options import Views

    assert Views().convert("speed-0.9,clean,gain-6db", None, None) == ("speed-0.9", "gain-6db")
    assert Views().convert("clean", None, None) == ()


def test_times_of_a_faster_view_are_its_own(job: ViewJob) -> None:
    job.ask("speed-2")
    store = Store(job.store_folder)
    ends = {name: store.read_times(store.place("u2", name))[1][-1] for name in ("clean", "speed-2")}
    duration_s = soundfile.info(job.audio / "u2.wav").duration
    assert ends["clean"] == pytest.approx(duration_s, abs=0.03)
    assert ends["speed-2"] == pytest.approx(duration_s / 2, abs=0.03)


def test_what_a_view_sees_is_what_its_own_key_draws(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, voice_like(1.0), 16000)
    found = path.stat()

    def windows(key: str) -> bytes:
        seen = Utterance(
            utterance_id="a", path=path, view="noise-20db", key=key, size=found.st_size,
            mtime_ns=found.st_mtime_ns,
        )  # fmt: skip
        events = window_events([seen], job.recipe)
        return b"".join(event.values.tobytes() for event in events if hasattr(event, "values"))

    job = Job(tmp_path / "job")
    assert windows("ab" * 32) == windows("ab" * 32)
    assert windows("ab" * 32) != windows("ac" * 32)


def test_views_of_an_utterance_that_has_failed_are_not_handed_out(job: ViewJob) -> None:
    from stages.shard_work import ShardTask

    plan = _plan(job, "masks")
    task = ShardTask(store="x", lock_token="x", recipe_json="{}", batch_size=8)
    queue = TaskQueue(plan, task, 4, lambda: False)
    first = next(plan.utterances())
    queue.leave_out_views_of([Failed(utterance=first, code="crashed", message="it killed two")])
    handed: list[Utterance] = []
    while (given := queue.next_task()) is not None:
        handed += given.utterances
    assert [u.utterance_id for u in handed if u.view == "masks"] == ["u1", "u2"]
    assert [u.utterance_id for u in handed if u.view == "clean"] == ["u0", "u1", "u2"]
    assert queue.n_left_out == 1


def _plan(job: ViewJob, *names: str) -> Any:  # noqa: ANN401
    from pipeline.extraction import ExtractOptions, plan_features

    session, workdir, _ = job._what()
    asked = Extraction(manifest=job.manifest, root=job.audio, recipe=job.recipe, views=names)
    return plan_features(session, workdir, asked, ExtractOptions()).plan


# The store's verbs


@pytest.fixture
def keeper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Keeper:
    keeper = Keeper(tmp_path, command_line(monkeypatch, capfd))
    keeper.rows = dict(list(keeper.rows.items())[:2])
    assert keeper.extract("--views", "gain-6db,masks").status == 0
    return keeper


def everything(keeper: Keeper) -> dict[tuple[str, str], bytes]:
    store = keeper.opened()
    live = store.live(["utterance_id", "view"])
    return {
        (name, each): store.stack(name, each).tobytes()
        for name, each in zip(live["utterance_id"], live["view"], strict=True)
    }


def test_ls_counts_utterances_and_names_the_views(keeper: Keeper) -> None:
    (found,) = keeper.store("ls")["stores"]
    assert found["n_utterances"] == 2
    assert found["views"] == {"clean": 2, "gain-6db": 2, "masks": 2}
    assert "views: gain-6db 2, masks 2" in keeper.says("ls")


def test_explain_says_what_would_become_of_each_view(keeper: Keeper) -> None:
    found = keeper.store("explain", "u0")["utterances"]
    assert [facts["view"] for facts in found] == ["clean", "gain-6db", "masks"]
    assert all(facts["next"].startswith("skip it") for facts in found)
    soundfile.write(keeper.audio / "u0.wav", voice_like(0.9, seed=9), 16000)
    found = keeper.store("explain", "u0")["utterances"]
    assert all(facts["next"].startswith("extract it again") for facts in found)
    assert found[1]["next"].endswith("if it is asked for view gain-6db")


def damage(keeper: Keeper) -> None:
    for shard in keeper.opened().shards_folder.glob("*.h5"):
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 0xFF
        shard.write_bytes(content)


@pytest.mark.parametrize(
    "care",
    [
        lambda keeper: keeper.store("compact"),
        lambda keeper: keeper.store("gc", "--yes"),
        lambda keeper: damage(keeper) or keeper.store("repair"),
        lambda keeper: _forget(keeper) or keeper.store("rebuild", keeper.manifest(), "--audio",
                                                       keeper.audio),
        lambda keeper: _forget(keeper) or (keeper.store("rebuild") and keeper.extract()),
    ],
    ids=["compact", "gc", "repair", "rebuild with labels", "rebuild, then extract"],
)  # fmt: skip
def test_looking_after_a_store_keeps_every_view(
    keeper: Keeper, care: Callable[[Keeper], object]
) -> None:
    before = everything(keeper)
    assert len(before) == 6
    care(keeper)
    assert everything(keeper) == before
    assert keeper.store("verify", "--full") == {"problems": []}
    assert keeper.extract("--views", "gain-6db,masks").fields["n_to_extract"] == 0
    assert everything(keeper) == before
    assert (keeper.opened().live(["file"])["file"] != "").all()


def _forget(keeper: Keeper) -> None:
    store = keeper.opened()
    for folder in (store.snapshots_folder, store.catalogue_folder):
        for path in folder.iterdir():
            path.unlink()


def test_merged_stores_hold_the_views_of_both(keeper: Keeper, tmp_path: Path) -> None:
    before = everything(keeper)
    there = tmp_path / "there"
    keeper.extract("--views", "noise-20db", workdir=there)
    keeper.store("merge", there)
    after = everything(keeper)
    assert {key: after[key] for key in before} == before
    assert set(after) - set(before) == {("u0", "noise-20db"), ("u1", "noise-20db")}


def test_an_export_is_of_the_sound_as_it_is_and_comes_back(keeper: Keeper, tmp_path: Path) -> None:
    done = keeper.call(
        "export", keeper.manifest(), "--to", "hdf5", "-o", tmp_path / "out", "--json",
        "--recipe", keeper.folder / "tiny.toml", "--workdir", keeper.workdir,
        "--i-have-the-right",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert done.fields["n_utterances"] == 2
    before = everything(keeper)
    back = keeper.call("import", tmp_path / "out", "--workdir", keeper.workdir, "--json")
    assert back.status == 0, back.err
    assert back.fields["n_added"] == 0
    assert everything(keeper) == before


@pytest.mark.parametrize("name", ["spede-0.9", "speed-9", "speed-0.90", "\n", "a,b"])
def test_a_view_that_is_none_ends_the_command_before_anything_is_read(
    keeper: Keeper, name: str
) -> None:
    if name == "\n":
        assert keeper.extract("--views", name).status == 0  # nothing but space names no view
        return
    answer = keeper.extract("--views", name)
    assert answer.status == 2
    assert "view" in answer.err.splitlines()[-1]


def test_a_night_extracts_the_views_of_its_config_and_counts_utterances(keeper: Keeper) -> None:
    config = keeper.folder / "night.toml"
    config.write_text(
        f"workdir = {json.dumps(str(keeper.workdir))}\nquiet = true\n[nightly]\n"
        f"manifest = {json.dumps(str(keeper.manifest()))}\naudio = {json.dumps(str(keeper.audio))}\n"
        f"recipe = {json.dumps(str(keeper.folder / 'tiny.toml'))}\nworkers = 0\ntrain = false\n"
        'views = "gain-6db,masks,speed-1.1"\n'
    )
    answer = keeper.call("nightly", config, "--json")
    assert answer.status == 0, answer.err
    assert answer.fields["views"]["speed-1.1"] == {"n_to_extract": 2, "n_there": 0}
    record = json.loads(next(keeper.workdir.glob("nights/*/night.json")).read_text())
    assert (record["counts"]["manifest"], record["counts"]["skipped"]) == (2, 2)
    assert record["drift"] is None
    assert record["checks"] == {}
    config.write_text(config.read_text().replace("speed-1.1", "speed-11"))
    answer = keeper.call("nightly", config)
    assert "line 9" in answer.err
    assert "the factor 11 is out of range" in answer.err
