"""What earlier versions wrote, this one opens: stores, trainings, bundles, exports, nights."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features_cache import format_1
from features_cache.key_columns import hex_of
from features_cache.numbered import TableError, in_parts
from features_cache.rebuild import rebuild
from features_cache.snapshot import LIVE
from features_cache.store import Store, StoreError
from features_cache.verify import verify
from models.bundle import load_bundle
from pipeline.night_record import previous_night
from reports.run_folder import read_run, snapshot_of
from stages.predict import Prediction, predict
from stages.recipe import RecipeError, recipe_from_json
from stages.utterance import Utterance
from tests.command_line import Answer, command_line
from tests.plain_reader import read

ARCHIVE = Path(__file__).parent / "archives" / "0.1"
EXPECTED: dict[str, Any] = json.loads((ARCHIVE / "expected.json").read_text(encoding="utf-8"))
NUMBERS = [1, 2, 3]

Live = dict[tuple[str, str, str], str]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ARCHIVE, tmp_path / "0.1"))


@pytest.fixture
def folder(archive: Path) -> Path:
    return archive / EXPECTED["store"]


def digest_of(store: Store, key: str) -> str:
    place = store.places([key])[0]
    parts = (store.read(place), *store.read_times(place))
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def live(store: Store) -> Live:
    rows = store.live(["corpus", "utterance_id", "view", "key"])
    names = zip(rows["corpus"], rows["utterance_id"], rows["view"], strict=True)
    digests = [digest_of(store, key) for key in rows["key"]]
    return dict(zip(names, digests, strict=True))


def expected_live(number: int) -> Live:
    rows = EXPECTED["generations"][str(number)]["live"]
    return {(row["corpus"], row["utterance_id"], row["view"]): row["sha256"] for row in rows}


def bad(store: Store) -> dict[tuple[str, str, str], tuple[str, str]]:
    rows = store.snapshot.rows()
    rows = rows[rows["status"] != LIVE]
    names = zip(rows["corpus"], rows["utterance_id"], rows["view"], strict=True)
    return dict(zip(names, zip(rows["status"], rows["key"], strict=True), strict=True))


def expected_bad(number: int) -> dict[tuple[str, str, str], tuple[str, str]]:
    return {
        (row["corpus"], row["utterance_id"], row["view"]): (row["reason"], row["key"])
        for row in EXPECTED["generations"][str(number)]["quarantined"]
    }


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def emostack(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *words: object
) -> Answer:
    return command_line(monkeypatch, capfd)(*words)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("is_upgraded", [False, True])
def test_every_generation_is_read_as_it_was(folder: Path, number: int, is_upgraded: bool) -> None:
    if is_upgraded:
        Store.for_writing(folder)
        assert not (folder / format_1.GENERATIONS).exists()
    store = Store(folder, snapshot=number)
    assert store.format == 1 + is_upgraded
    assert live(store) == expected_live(number)
    assert bad(store) == expected_bad(number)
    assert store.snapshot.audio == EXPECTED["generations"][str(number)]["audio"]
    assert store.snapshot.parent == EXPECTED["generations"][str(number)]["parent"]


def test_reading_an_old_store_writes_nothing(folder: Path) -> None:
    before = files(folder)
    store = Store(folder)
    assert store.stack("a-joy").shape[1] > 0
    assert list(verify(folder, full=True)) == []
    store.close()
    assert files(folder) == before


@pytest.mark.parametrize("is_upgraded", [False, True])
def test_what_was_gone_and_what_was_given_up_is_in_the_catalogue(
    folder: Path, is_upgraded: bool
) -> None:
    store = Store.for_writing(folder) if is_upgraded else Store(folder)
    rows = EXPECTED["generations"]["3"]
    kept = [row for row in (*rows["gone"], *rows["quarantined"]) if row["sha256"]]
    assert len(kept) > 4
    for row in kept:
        assert digest_of(store, row["key"]) == row["sha256"], row
    reasons = store.catalogue.only(~store.catalogue.is_place)
    found = dict(zip(hex_of(reasons.keys), reasons.texts("reason"), strict=True))
    assert found == {
        row["key"]: row["reason"] for row in rows["quarantined"] if row["reason"] != "missing"
    }


def test_an_orphan_of_the_old_version_is_adopted(folder: Path) -> None:
    store = Store.for_writing(folder)
    assert store.unknown_shards() == [EXPECTED["orphan"]["shard"]]
    store.adopt()
    for row in EXPECTED["orphan"]["utterances"]:
        assert digest_of(store, row["key"]) == row["sha256"]


def test_old_code_refuses_an_upgraded_store(folder: Path) -> None:
    Store.for_writing(folder)
    text = (folder / "recipe.json").read_text(encoding="utf-8")
    with pytest.raises(RecipeError):  # what it would read the file with
        recipe_from_json(text)
    assert text != Store(folder).recipe_json


@pytest.mark.parametrize(
    "step", ["write_snapshot", "publish_catalogue", "write_recipe", "remove", "unlink"]
)
def test_an_upgrade_that_is_killed_is_begun_anew(
    folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    where = {
        "write_recipe": "features_cache.store.write_recipe",
        "unlink": "pathlib.Path.unlink",
    }.get(step, f"features_cache.format_1.{step}")
    with monkeypatch.context() as patch:
        patch.setattr(where, die)
        with pytest.raises(Killed):
            Store.for_writing(folder)
    assert live(Store(folder, snapshot=2)) == expected_live(2)
    Store.for_writing(folder)
    assert [live(Store(folder, snapshot=n)) for n in NUMBERS] == [expected_live(n) for n in NUMBERS]
    assert [p.code for p in verify(folder, full=True)] in ([], ["stale_index"])


def tear(folder: Path, number: int) -> None:
    path = folder / "generations" / f"{number:08d}.parquet"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize("number", [1, 2])
def test_a_torn_older_generation_ends_no_night(folder: Path, number: int) -> None:
    tear(folder, number)
    store = Store.for_writing(folder)
    assert live(store) == expected_live(3)
    assert store.snapshots == NUMBERS
    assert {problem.code for problem in verify(folder)} == {"torn_snapshot"}


def test_generations_without_a_recipe_are_not_taken_for_an_empty_store(folder: Path) -> None:
    recipe = (folder / "recipe.json").read_text(encoding="utf-8")
    (folder / "recipe.json").unlink()
    with pytest.raises(StoreError, match="run 'emostack store rebuild'"):
        Store.create(folder, recipe)
    assert live(rebuild(folder).store) == expected_live(3)


def test_the_number_of_a_torn_generation_is_not_given_again(folder: Path) -> None:
    tear(folder, 3)
    with pytest.raises(TableError, match=r"00000003\.parquet"):
        Store.for_writing(folder)
    assert (folder / "generations").is_dir()
    assert rebuild(folder).store.snapshot.number == 4
    assert live(Store(folder)) == expected_live(2)
    assert list(verify(folder, full=True)) == []


def test_an_old_backup_over_an_upgraded_store_removes_no_snapshot(folder: Path) -> None:
    backup = shutil.copytree(folder, folder.parent / "backup")
    store = Store.for_writing(folder)
    store.publish_snapshot(in_parts(store.snapshot.table()), store.recipe_id)
    shutil.copytree(backup, folder, dirs_exist_ok=True)
    with pytest.raises(
        TableError, match=r"snapshots \[4\] of format 2 and a recipe.json of format 1"
    ):
        Store.for_writing(folder)
    assert [path.stem for path in sorted((folder / "snapshots").iterdir())][-1] == "00000004"


def test_a_reader_goes_on_while_the_store_is_upgraded(folder: Path) -> None:
    reader = Store(folder)
    Store.for_writing(folder)
    assert live(reader) == expected_live(3)


@pytest.mark.parametrize("is_upgraded", [False, True])
def test_a_reader_made_from_the_specification_alone_reads_both_formats(
    folder: Path, is_upgraded: bool
) -> None:
    if is_upgraded:
        Store.for_writing(folder)
    found = read(folder)
    assert found.keys() == {(n, *name) for n in NUMBERS for name in expected_live(n)}
    for number in NUMBERS:
        store = Store(folder, snapshot=number)
        for name in expected_live(number):
            if name[0] == "one":  # ids of the two corpora differ
                np.testing.assert_array_equal(found[number, *name], store.stack(*name[1:]))


def test_nothing_is_extracted_again_and_nothing_is_lost(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def extract(manifest: str, audio: str, *more: str) -> dict[str, Any]:
        words = ("extract", archive / manifest, "--audio", archive / "audio" / audio, "--json")
        how = ("--recipe", archive / "tiny.toml", "--workdir", archive / "runs", "--workers", "0")
        answer = emostack(monkeypatch, capfd, *words, *how, *more)
        assert answer.status == 0, answer.err
        return dict(answer.fields)

    for manifest in ("one", "two"):
        fields = extract(f"{manifest}.csv", manifest)
        assert (fields["n_to_extract"], fields["n_gone"], fields["n_quarantined"]) == (0, 0, 0)
    assert live(Store(archive / EXPECTED["store"])) == expected_live(3)
    fields = extract("one-next.csv", "one", "--views", "speed-0.9")
    assert (fields["n_to_extract"], fields["n_new"], fields["n_skipped"]) == (0, 0, 7)
    names = {("one", row["utterance_id"], row["view"]) for row in EXPECTED["orphan"]["utterances"]}
    store = Store(archive / EXPECTED["store"])
    assert live(store).keys() == {*expected_live(3), *names}
    assert list(verify(store.folder, full=True)) == []
    older = Store(store.folder, snapshot=2)
    assert live(older) == expected_live(2)


def test_gc_keeps_what_the_old_training_has_read(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for words in (("compact",), ("gc", "--yes")):
        done = emostack(
            monkeypatch, capfd, "store", *words, "--workdir", archive / "runs", "--json"
        )
        assert done.status == 0, done.err
    folder = archive / EXPECTED["store"]
    assert Store(folder).snapshots == [2, 3]
    assert live(Store(folder, snapshot=2)) == expected_live(2)
    assert live(Store(folder, snapshot=3)) == expected_live(3)
    assert list(verify(folder, full=True)) == []


def test_the_old_training_is_read_and_repeated_on_its_generation(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = archive / "runs" / "runs" / EXPECTED["run"]["folder"].rpartition("/")[2]
    run = read_run(folder)
    assert snapshot_of(run.provenance) == "2"
    uars = {each.name: each.metrics["uar_pooled"] for each in run.evaluations}
    assert uars == pytest.approx(EXPECTED["run"]["uar_pooled"])
    answer = emostack(monkeypatch, capfd, "report", folder, "--workdir", archive / "runs", "--json")
    assert answer.status == 0, answer.err
    from stages.dataset import load_dataset, select
    from stages.manifest import read_manifest

    manifest = read_manifest(folder / "manifest.csv", audio=archive / "audio" / "one")
    store = Store.for_writing(archive / EXPECTED["store"])
    older = Store(store.folder, snapshot=2)
    dataset = load_dataset(select(manifest, older), older, older.recipe_id)
    assert dataset.snapshot == 2
    assert len(dataset.stacks) == len(manifest)


def test_the_old_bundle_predicts_what_it_did(archive: Path) -> None:
    bundle = load_bundle(next((archive / "runs" / "runs").glob("*/bundle")))
    expected = EXPECTED["run"]["predictions"]
    asked = [Utterance(utterance_id=e["file"], path=archive / e["file"]) for e in expected]
    for found, then in zip(predict(bundle, asked), expected, strict=True):
        assert isinstance(found, Prediction)
        assert found.probabilities == pytest.approx(then["probabilities"], abs=1e-4)


@pytest.mark.parametrize("kind", ["plain", "anonymised"])
def test_old_exports_are_imported(
    archive: Path,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    workdir = tmp_path / "fresh"
    words = ("import", archive / "export" / kind, "--workdir", workdir, "--json")
    answer = emostack(monkeypatch, capfd, *words)
    assert answer.status == 0, answer.err
    (folder,) = (workdir / "features").glob("*/recipe.json")
    digests = sorted(live(Store(folder.parent)).values())
    there = [sha for (corpus, _, each), sha in expected_live(3).items()
             if (corpus, each) == ("one", "clean")]  # fmt: skip
    assert digests == sorted(there)


def test_an_old_night_is_the_one_before(archive: Path) -> None:
    before = previous_night(archive / "runs" / "nights" / "29991231-000000")
    record = json.loads((archive / "night" / "night.json").read_text(encoding="utf-8"))
    assert before == {name: record[name] for name in ("night", "status", "ended")}
