"""``emostack store``: looking after stores, as the operator does it."""

import json
import os
import pkgutil
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features_cache.lock import writer_lock
from features_cache.store import Store
from stages.vector_cache import VectorCache, VectorMaker
from tests.command_line import Answer, command_line, write_voices
from tests.small_job import write_recipe

NAMES = [f"u{i}" for i in range(6)]


class Keeper:
    """Someone with a corpus and its store."""

    def __init__(self, folder: Path, call: Callable[..., Answer]) -> None:
        self.folder, self.call = folder, call
        self.workdir, self.audio = folder / "runs", folder / "audio"
        write_voices(self.audio, NAMES)
        write_recipe(folder)
        self.rows = {name: [f"{name}.wav", f"s{i % 3}", "joy"] for i, name in enumerate(NAMES)}

    def manifest(self, corpus: str = "small") -> Path:
        cells = [[name, *row, corpus] for name, row in self.rows.items()]
        columns = ["utterance_id", "file", "speaker", "emotion", "start", "end"]
        columns = [*columns[: len(cells[0]) - 1], "corpus"]
        path = self.folder / f"{corpus}.csv"
        pd.DataFrame(cells, columns=columns).to_csv(path, index=False)
        return path

    def extract(self, *words: object, workdir: Path | None = None, corpus: str = "small") -> Answer:
        return self.call(
            "extract", self.manifest(corpus), "--audio", self.audio, "--recipe",
            self.folder / "tiny.toml", "--workdir", workdir or self.workdir, "--workers", 0,
            "--fail-threshold", 100, "--json", "--quiet", *words,
        )  # fmt: skip

    def store(self, verb: str, *words: object) -> dict[str, Any]:
        """Fields of a verb that is to succeed; said in words, it succeeds as well."""
        done = self.call("store", verb, *words, "--workdir", self.workdir, "--json")
        assert done.status == 0, done.err
        return done.fields

    def says(self, verb: str, *words: object, status: int = 0) -> str:
        done = self.call("store", verb, *words, "--workdir", self.workdir)
        assert done.status == status, done.err
        return done.out

    def opened(self, snapshot: int | None = None, workdir: Path | None = None) -> Store:
        (recipe,) = (workdir or self.workdir).glob("features/*/recipe.json")
        return Store(recipe.parent, snapshot=snapshot)

    def stacks(self, snapshot: int | None = None, workdir: Path | None = None) -> dict[str, bytes]:
        store = self.opened(snapshot, workdir)
        names = store.live(["utterance_id"], "clean")["utterance_id"]
        return {name: store.stack(name).tobytes() for name in names}

    def is_whole(self) -> bool:
        return self.store("verify", "--full") == {"problems": []}

    def train(self, beside: str = "", word: str = "snapshot") -> Path:
        """Leave what a training of the newest snapshot leaves; maybe with a recipe beside it."""
        run = self.workdir / "runs" / "20261123-000000-small"
        (run / "bundle").mkdir(parents=True)
        now = self.opened().snapshot
        provenance: dict[str, object] = {"recipe_id": now.recipe_id, word: now.number}
        if beside:
            provenance = {"recipe_id": f"{beside}+{now.recipe_id}", word: f"9+{now.number}"}
        (run / "run.json").write_text(json.dumps({"provenance": provenance}))
        shutil.copy(self.manifest(), run / "manifest.csv")
        return run


@pytest.fixture
def keeper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Keeper:
    keeper = Keeper(tmp_path, command_line(monkeypatch, capfd))
    assert keeper.extract().status == 0
    return keeper


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))


def damage(keeper: Keeper, name: str) -> str:
    """Flip a byte of an utterance's features; return its shard."""
    store = keeper.opened()
    shard = store.place(name).shard
    path = store.shards_folder / shard
    at = path.read_bytes().index(store.stack(name).tobytes())
    store.close()
    flip(path, at + 5)
    return shard


def test_without_a_store_every_verb_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    call = command_line(monkeypatch, capfd)
    for verb in ("ls", "repair", "gc", "compact", "rebuild"):
        done = call("store", verb, "--workdir", tmp_path)
        assert (done.status, "below" in done.out) == (0, True)
    done = call("store", "explain", "u1", "--workdir", tmp_path)
    assert (done.status, "knows 'u1'" in done.out) == (1, True)
    done = call("store", "merge", tmp_path, "--workdir", tmp_path / "runs")
    assert done.status == 1
    assert "holds no store" in done.err


def test_ls_says_what_is_where(keeper: Keeper) -> None:
    (found,) = keeper.store("ls")["stores"]
    assert (found["snapshot"], found["n_utterances"], found["n_quarantined"]) == (1, 6, 0)
    line = keeper.says("ls")
    assert "snapshot 1  6 utterances" in line
    assert str(keeper.opened().folder) in line


def test_ls_lists_what_is_quarantined_and_why(keeper: Keeper) -> None:
    (keeper.audio / "u1.wav").write_text("no sound")
    assert keeper.extract().status == 3
    assert "  'u1': unreadable: " in keeper.says("ls", "--quarantined")
    assert "'u1'" not in keeper.says("ls")


def test_verify_names_the_damage_and_repair_extracts_exactly_that_again(keeper: Keeper) -> None:
    before = keeper.stacks()
    shard = damage(keeper, "u2")
    assert "everything is whole" in keeper.says("verify")  # structure and attributes are
    text = keeper.says("verify", "--full", status=1)
    assert shard in text
    problems = keeper.call("store", "verify", "--full", "--workdir", keeper.workdir, "--json")
    (problem,) = problems.fields["problems"]
    assert problem["utterance_ids"] == ["u2"]
    (done,) = keeper.store("repair")["stores"]
    assert (done["n_lost"], done["n_extracted"], done["left"]) == (1, 1, [])
    assert [Path(path).name for path in done["moved"]] == [shard]
    assert keeper.stacks() == before
    assert keeper.is_whole()


def test_repair_tells_what_it_could_not_make_again(keeper: Keeper) -> None:
    damage(keeper, "u2")
    (keeper.audio / "u2.wav").unlink()
    done = keeper.call("store", "repair", "--workdir", keeper.workdir)
    assert done.status == 1
    assert "1 could not be" in done.out
    assert "quarantined 'u2': missing" in done.err
    assert keeper.is_whole()
    write_voices(keeper.audio, ["u2"])
    assert keeper.extract().fields["n_segments"] > 0
    assert len(keeper.stacks()) == len(NAMES)


def next_step(keeper: Keeper, name: str) -> list[str]:
    found = keeper.store("explain", name)["utterances"]
    assert all(each["next"] in keeper.says("explain", name) for each in found)
    return [f"{each['status']}: {each['next']}" for each in found]


def test_explain_tells_the_source_the_maker_and_what_comes_next(keeper: Keeper) -> None:
    (live,) = keeper.store("explain", "u0")["utterances"]
    assert live["path"] == str(keeper.audio / "u0.wav")
    assert live["row_end"] > live["row_start"]
    assert {"engine", "keras", "librosa", "emostack"} <= set(live["made_by"])
    assert [event["what"] for event in live["history"]] == ["new: extracted"]
    assert live["next"].startswith("skip it: ")
    write_voices(keeper.audio, ["other"])
    (keeper.audio / "other.wav").replace(keeper.audio / "u0.wav")
    (keeper.audio / "u1.wav").unlink()
    assert next_step(keeper, "u0")[0].startswith("live: extract it again: the file's bytes")
    assert next_step(keeper, "u1")[0].startswith("live: quarantine it: missing: ")
    done = keeper.call("store", "explain", "nobody", "--workdir", keeper.workdir)
    assert (done.status, "knows 'nobody'" in done.out) == (1, True)


def events(keeper: Keeper, name: str) -> list[str]:
    (found,) = keeper.store("explain", name)["utterances"]
    return [each["what"].partition(": ")[0] for each in found["history"]]


def test_explain_tells_quarantined_utterances_from_those_that_have_left(keeper: Keeper) -> None:
    (keeper.audio / "u1.wav").write_text("no sound")
    (keeper.audio / "u3.wav").unlink()
    del keeper.rows["u2"]
    keeper.extract()
    (bad,) = next_step(keeper, "u1")
    assert bad.startswith("unreadable: leave it: its bytes are those that failed")
    (left,) = next_step(keeper, "u2")
    assert left.startswith("gone: leave it: it has left the manifest")
    write_voices(keeper.audio, ["u3"])
    assert next_step(keeper, "u3")[0].startswith("missing: skip it: ")  # its features are there
    assert events(keeper, "u1") == events(keeper, "u3") == ["new", "quarantined"]
    assert events(keeper, "u2") == ["new", "left the manifest"]


def test_explain_tells_that_lost_features_are_made_again(keeper: Keeper) -> None:
    damage(keeper, "u2")
    (keeper.audio / "u2.wav").rename(keeper.folder / "u2.wav")
    keeper.call("store", "repair", "--workdir", keeper.workdir)
    (keeper.folder / "u2.wav").rename(keeper.audio / "u2.wav")
    assert next_step(keeper, "u2")[0].startswith("missing: try it again: ")
    keeper.extract()
    assert next_step(keeper, "u2")[0].startswith("live: skip it: ")
    assert events(keeper, "u2") == ["new", "quarantined", "quarantined", "back"]


def test_explain_tells_two_corpora_with_one_name_apart(keeper: Keeper) -> None:
    assert keeper.extract(corpus="other").status == 0
    found = keeper.store("explain", "u0")["utterances"]
    assert sorted(each["corpus"] for each in found) == ["other", "small"]
    assert len({each["shard"] for each in found}) == 1  # equal audio is stored once
    del keeper.rows["u0"]
    keeper.extract(corpus="other")
    found = keeper.store("explain", "u0")["utterances"]
    assert {each["corpus"]: each["status"] for each in found} == {"other": "gone", "small": "live"}


def test_gc_says_what_it_would_free_and_frees_it_when_told_to(keeper: Keeper) -> None:
    del keeper.rows["u0"], keeper.rows["u1"]
    keeper.extract()
    before = keeper.stacks()
    (plan,) = keeper.store("gc")["stores"]
    assert sorted(plan["utterance_ids"]) == ["u0", "u1"]
    assert (plan["snapshots"], plan["freed_bytes"], plan["bytes"] > 0) == ([1], 0, True)
    text = keeper.says("gc")
    assert "features of 2 utterances" in text
    assert "of 'u0', 'u1'" in text
    assert "--yes" in text
    assert len(keeper.stacks(1)) == len(NAMES)
    freed = keeper.store("gc", "--yes")["freed_bytes"]
    assert freed > 0
    assert keeper.stacks() == before
    assert keeper.opened().snapshots == [2]
    assert keeper.is_whole()
    assert "--yes" not in keeper.says("gc")  # there is no more


HELD = "features of 1 more are wanted by older snapshots that are kept: 1\n"


@pytest.mark.parametrize("word", ["snapshot", "generation"], ids=["now", "version 0.1"])
def test_gc_keeps_what_a_training_was_made_from_until_told_to_let_it_go(
    keeper: Keeper, tmp_path: Path, word: str
) -> None:
    keeper.train(word=word)
    words = ["--to", "parquet", "--recipe", tmp_path / "tiny.toml", "--workdir", keeper.workdir]
    full = shutil.copy(keeper.manifest(), tmp_path / "full.csv")
    assert keeper.call("export", full, "-o", tmp_path / "a", *words).status == 0
    del keeper.rows["u0"]
    keeper.extract()
    assert HELD in keeper.says("gc")
    keeper.store("gc", "--yes")
    assert keeper.call("export", full, "-o", tmp_path / "b", *words).status == 1
    words += [f"--{word}", 1]
    assert keeper.call("export", full, "-o", tmp_path / "b", *words).status == 0
    assert (tmp_path / "a/SHA256SUMS").read_bytes() == (tmp_path / "b/SHA256SUMS").read_bytes()
    keeper.store("gc", "--yes", "--no-keep-trainings")
    done = keeper.call("export", full, "-o", tmp_path / "b", *words)
    assert done.status == 1
    assert "has no snapshot 1; expected one of [2]" in done.err
    assert keeper.is_whole()


def test_gc_keeps_what_a_training_of_several_recipes_was_made_from(keeper: Keeper) -> None:
    keeper.train(beside="f" * 16)
    del keeper.rows["u0"]
    keeper.extract()
    assert HELD in keeper.says("gc")


def test_an_utterance_whose_bytes_have_changed_is_read_once_and_anew(
    keeper: Keeper, tmp_path: Path
) -> None:
    write_voices(keeper.audio, ["other"])
    (keeper.audio / "other.wav").replace(keeper.audio / "u0.wav")
    keeper.extract()
    out, words = tmp_path / "o", ["--recipe", tmp_path / "tiny.toml"]
    words = [*words, "--workdir", keeper.workdir, "--json"]
    done = keeper.call("export", keeper.manifest(), "--to", "parquet", "-o", out, *words)
    assert done.status == 0, done.err
    assert done.fields["n_utterances"] == len(NAMES)
    rows = pd.read_parquet(out / "features.parquet").query("utterance_id == 'u0'")
    assert len(rows) == len(keeper.opened().stack("u0"))
    assert events(keeper, "u0") == ["new", "other bytes"]


@pytest.mark.slow
def test_a_training_is_repeated_on_its_snapshot_after_gc(keeper: Keeper) -> None:
    for i, row in enumerate(keeper.rows.values()):
        row[2] = ("joy", "fear")[i // 3]
    keeper.extract()
    words = ["--recipe", keeper.folder / "tiny.toml", "--workdir", keeper.workdir, "--json"]
    first = keeper.call("train", keeper.manifest(), *words)
    assert first.status == 0, first.err
    run = Path(first.fields["run"])
    snapshot = json.loads((run / "run.json").read_text())["provenance"]["snapshot"]
    assert first.fields["snapshot"] == first.fields["generation"] == snapshot
    del keeper.rows["u0"]
    keeper.extract()
    keeper.store("gc", "--yes")
    for option in ("--snapshot", "--generation"):
        again = keeper.call("train", run / "manifest.csv", option, snapshot, *words)
        assert again.status == 0, again.err
        one, two = (
            pd.read_parquet(Path(f["run"]) / "predictions.parquet")
            for f in (first.fields, again.fields)
        )
        pd.testing.assert_frame_equal(one, two)


def test_compact_makes_fewer_shards_and_disturbs_nobody(keeper: Keeper) -> None:
    for name in ("u6", "u7", "u8"):
        write_voices(keeper.audio, [name])
        keeper.rows[name] = [f"{name}.wav", "s0", "joy"]
        keeper.extract()
    reader = keeper.opened()
    before = keeper.stacks()
    (done,) = keeper.store("compact")["stores"]
    assert done["n_before"] > done["n_after"] == 1
    assert keeper.stacks() == before
    assert {name: reader.stack(name).tobytes() for name in before} == before
    assert keeper.is_whole()
    assert "1 shards before, 1 now" in keeper.says("compact")
    assert keeper.extract().fields["n_to_extract"] == 0
    keeper.store("gc", "--yes")
    assert len(list(reader.shards_folder.glob("*.h5"))) == 1
    assert keeper.stacks() == before


@pytest.mark.parametrize(
    "lost",
    [
        ["snapshots"],
        ["catalogue"],
        ["snapshots", "catalogue"],
        ["snapshots", "catalogue", "recipe.json", "store.h5"],
    ],
    ids="+".join,
)
def test_rebuild_needs_the_shards_alone(keeper: Keeper, lost: list[str]) -> None:
    before, folder = keeper.stacks(), keeper.opened().folder
    for name in lost:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    words = [keeper.manifest(), "--audio", keeper.audio]
    (done,) = keeper.store("rebuild", *words)["stores"]
    assert (done["n_utterances"], done["n_labelled"], done["problems"]) == (6, 6, [])
    assert keeper.stacks() == before
    assert set(keeper.opened().live(["emotion"])["emotion"]) == {"joy"}
    assert keeper.is_whole()
    assert keeper.extract().fields["n_to_extract"] == 0
    assert "6 utterances, 6 of them known" in keeper.says("rebuild")


def test_parts_of_a_job_array_merge_into_what_one_job_makes(keeper: Keeper) -> None:
    parts = [keeper.folder / f"part-{i}" for i in (1, 2, 3)]
    for i, part in enumerate(parts, 1):
        assert keeper.extract("--shard", f"{i}/3", workdir=part).status == 0
    assert sum(len(keeper.stacks(workdir=part)) for part in parts) == len(NAMES)
    whole = keeper.stacks()
    keeper.workdir = keeper.folder / "merged"
    (done,) = keeper.store("merge", *parts)["stores"]
    assert (done["n_added"], done["conflicts"]) == (6, [])
    assert keeper.stacks() == whole
    assert keeper.is_whole()
    assert keeper.extract().fields["n_to_extract"] == 0
    (again,) = keeper.store("merge", *parts)["stores"]
    assert (again["n_added"], again["n_shards"]) == (0, 0)


def test_merge_tells_what_two_stores_do_not_agree_about(keeper: Keeper) -> None:
    other = keeper.folder / "other"
    write_voices(keeper.audio, ["changed"])
    (keeper.audio / "changed.wav").replace(keeper.audio / "u0.wav")
    keeper.rows["u1"][2] = "fear"
    keeper.extract(workdir=other)
    mine = keeper.stacks()
    done = keeper.call("store", "merge", other, "--workdir", keeper.workdir)
    assert done.status == 0
    assert "2 conflicts" in done.out
    assert "warning: 'u0': other_audio: " in done.err
    assert "warning: 'u1': other_labels: " in done.err
    assert keeper.stacks() == mine
    assert keeper.is_whole()


@pytest.mark.parametrize("option", ["--snapshot", "--generation"])
@pytest.mark.parametrize("verb", [["export", "--to", "hdf5"], ["train"]], ids=["export", "train"])
def test_a_snapshot_that_is_not_there_is_told_with_those_that_are(
    keeper: Keeper, verb: list[str], option: str
) -> None:
    words = ["--recipe", keeper.folder / "tiny.toml", "--workdir", keeper.workdir, option, 7]
    out = ["-o", keeper.folder / "o"] if verb[0] == "export" else []
    done = keeper.call(*verb, keeper.manifest(), *words, *out)
    assert done.status == 1
    assert "has no snapshot 7; expected one of [1]" in done.err
    assert not (keeper.folder / "o").exists()
    assert not (keeper.workdir / "runs").exists()


def test_json_names_the_snapshot_by_its_old_name_as_well(keeper: Keeper) -> None:
    other = keeper.folder / "other"
    found = [keeper.extract(workdir=other).fields]
    found += keeper.store("explain", "u0")["utterances"]
    for words in (["ls"], ["compact"], ["rebuild"], ["merge", other]):
        found += keeper.store(*words)["stores"]
    assert [(each["snapshot"], each["generation"]) for each in found] == [(1, 1)] * 6


WITNESS, NAMESAKE = "zebra-0042", "ostrich-0077"


def secrets(keeper: Keeper, name: str, workdir: Path | None = None) -> list[bytes]:
    """All that tells of an utterance: its name, keys, digest of its file, and pieces of features."""
    store = keeper.opened(workdir=workdir)
    rows = store.live(["key", "audio_sha256", "utterance_id", "view"])
    rows = rows[rows["utterance_id"] == name]
    digests = {*rows["key"], *rows["audio_sha256"]}
    data = [store.stack(name, view).tobytes() for view in rows["view"]]
    store.close()
    pieces = [[each[i : i + 64] for i in range(0, len(each) - 63, 64)] for each in data]
    return [
        name.encode(),
        *(digest.encode() for digest in digests),
        *map(bytes.fromhex, digests),
        *(max(each, key=lambda piece: len(set(piece))) for each in pieces),
    ]


def traces(keeper: Keeper, secrets: list[bytes]) -> list[str]:
    """Files of the stores, and beside them, in which a secret is left, packed or not."""
    found = []
    for path in sorted(path for path in keeper.workdir.rglob("features/**/*") if path.is_file()):
        text = path.read_bytes() + unpacked(path)
        found += [f"{path.name}: {secret[:16]!r}" for secret in secrets if secret in text]
    return found


def unpacked(path: Path) -> bytes:
    """Everything in a file that may be compressed there."""
    values: list[object] = []
    if path.suffix == ".parquet":
        texts = (pa.string(), pa.large_string())
        names = [each.name for each in pq.read_schema(path) if each.type in texts]
        for column in pq.read_table(path, read_dictionary=names).columns:
            values += column.to_pylist()
            if pa.types.is_dictionary(column.type):  # with words that no row has any more
                values += [word for chunk in column.chunks for word in chunk.dictionary.to_pylist()]
    elif path.suffix == ".h5":
        with h5py.File(path) as file:
            file.visititems(
                lambda _, node: (
                    values.extend(np.ravel(node[()]).tolist())
                    if isinstance(node, h5py.Dataset) and node.dtype.kind in "SO"
                    else None
                )
            )
    return b"\n".join(each if isinstance(each, bytes) else str(each).encode() for each in values)


def add(keeper: Keeper, name: str, *words: object) -> None:
    """Record somebody, long ago, so that the file's digest is remembered; and extract."""
    write_voices(keeper.audio, [name])
    keeper.rows[name] = [f"{name}.wav", f"speaker of {name}", "joy"]
    os.utime(keeper.audio / f"{name}.wav", (1.5e9, 1.5e9))
    keeper.extract(*words)


@pytest.fixture
def witnessed(keeper: Keeper) -> Keeper:
    """A store of three snapshots, of which the last two have a witness."""
    add(keeper, WITNESS)
    keeper.rows["u0"][2] = "fear"
    keeper.extract()
    return keeper


def without(stacks: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: stack for name, stack in stacks.items() if name not in names}


def test_forget_leaves_nothing_of_an_utterance_and_all_of_the_others(witnessed: Keeper) -> None:
    before = {number: witnessed.stacks(number) for number in (1, 2, 3)}
    known = secrets(witnessed, WITNESS)
    assert len(known) == 6
    assert all(traces(witnessed, [secret]) for secret in known)
    done = witnessed.store("forget", WITNESS)
    assert (done["n_forgotten"], done["also"], done["unknown"], done["runs"]) == (1, [], [], [])
    (of_store,) = done["stores"]
    assert (of_store["n_features"], of_store["n_shards"], of_store["snapshots"]) == (1, 1, [2, 3])
    assert traces(witnessed, known) == []
    assert {n: witnessed.stacks(n) for n in before} == {
        n: without(stacks, WITNESS) for n, stacks in before.items()
    }
    assert witnessed.is_whole()
    del witnessed.rows[WITNESS]
    assert witnessed.extract().fields["n_to_extract"] == 0
    assert witnessed.opened().snapshots == [1, 2, 3]  # as if nobody had ever been there


def test_forgetting_says_what_goes_and_what_is_beyond_reach(witnessed: Keeper) -> None:
    run = witnessed.train()
    text = witnessed.says("forget", WITNESS, "u1")
    assert "2 utterances forgotten: 2 features in 2 shards, rows in 3 snapshots" in text
    assert f"{run} has learnt from 2 of them, and so has its bundle {run / 'bundle'}" in text
    assert "the next extraction makes their features again" in text
    provenance = json.loads((run / "run.json").read_text())["provenance"]
    rows = [*pd.read_csv(run / "manifest.csv")["utterance_id"]]
    assert {rows[i] for i in provenance["forgotten_since"]} == {WITNESS, "u1"}
    assert provenance["snapshot"] == 3
    assert set(witnessed.stacks()) == {*NAMES} - {"u1"}


def test_trainings_say_once_and_for_all_whom_they_have_learnt_from(witnessed: Keeper) -> None:
    run = witnessed.train()
    with writer_lock(witnessed.opened().folder):
        done = witnessed.call("store", "forget", WITNESS, "--workdir", witnessed.workdir)
    assert done.status == 4
    assert "forgotten_since" not in (run / "run.json").read_text()
    witnessed.store("forget", WITNESS)
    words = [WITNESS, "u2", "--workdir", witnessed.workdir, "--json"]
    done = witnessed.call("store", "forget", *words)  # its name is no store's any more
    assert (done.status, done.fields["unknown"]) == (1, [WITNESS])
    assert [each["n_utterances"] for each in done.fields["runs"]] == [2]
    provenance = json.loads((run / "run.json").read_text())["provenance"]
    rows = [*pd.read_csv(run / "manifest.csv")["utterance_id"]]
    assert [rows[i] for i in provenance["forgotten_since"]] == ["u2", WITNESS]


def test_what_imports_have_left_of_a_forgotten_utterance_is_told(witnessed: Keeper) -> None:
    imports, scratch = witnessed.workdir / "imports", witnessed.workdir / "scratch"
    imports.mkdir()
    (scratch / "import-1").mkdir(parents=True)
    shutil.copy(witnessed.manifest(), imports / "theirs.csv")
    text = witnessed.says("forget", "u1", "--dry-run")
    assert f"the manifest {imports / 'theirs.csv'} names some of them" in text
    assert f"an import that was killed left {scratch / 'import-1'}; remove it" in text


def test_a_name_that_only_a_shard_still_has_goes(witnessed: Keeper) -> None:
    (witnessed.audio / f"{WITNESS}.wav").rename(witnessed.audio / f"{NAMESAKE}.wav")
    witnessed.rows[NAMESAKE] = [f"{NAMESAKE}.wav", "s", "joy"]
    del witnessed.rows[WITNESS]
    witnessed.extract()
    witnessed.store("gc", "--yes")
    shards = [*witnessed.opened().shards_folder.glob("*.h5")]
    assert any(WITNESS.encode() in unpacked(path) for path in shards)
    before = witnessed.stacks()
    assert witnessed.store("forget", WITNESS)["unknown"] == []
    assert traces(witnessed, [WITNESS.encode()]) == []
    assert witnessed.stacks() == before


def test_forgetting_lists_only_trainings_that_named_one(witnessed: Keeper) -> None:
    del witnessed.rows["u1"]
    run = witnessed.train()
    assert witnessed.store("forget", "u1")["runs"] == []
    assert "forgotten_since" not in (run / "run.json").read_text()
    (found,) = witnessed.store("forget", "u2")["runs"]
    assert (found["run"], found["n_utterances"]) == (str(run), 1)


def test_forgetting_by_corpus_leaves_the_name_to_other_corpora(witnessed: Keeper) -> None:
    known = secrets(witnessed, WITNESS)
    write_voices(witnessed.audio, ["stranger"])
    witnessed.rows[WITNESS][0] = "stranger.wav"
    witnessed.extract(corpus="other")
    done = witnessed.store("forget", WITNESS, "--corpus", "small")
    assert (done["n_forgotten"], done["also"]) == (1, [])
    assert traces(witnessed, known[1:]) == []
    (left,) = witnessed.store("explain", WITNESS)["utterances"]
    assert (left["corpus"], left["status"]) == ("other", "live")
    words = [WITNESS, "--corpus", "small", "--workdir", witnessed.workdir, "--json"]
    again = witnessed.call("store", "forget", *words)
    assert (again.status, again.fields["unknown"]) == (1, [WITNESS])
    assert witnessed.is_whole()


def test_forgetting_reads_a_file_of_ids(witnessed: Keeper) -> None:
    names = witnessed.folder / "withdrawn.txt"
    names.write_text(f"{WITNESS}\r\n\r\nu3\n{WITNESS}\n")
    known = [*secrets(witnessed, WITNESS), *secrets(witnessed, "u3")[1:]]
    assert witnessed.store("forget", "u1", "--file", names)["n_forgotten"] == 3
    assert traces(witnessed, known) == []
    assert set(witnessed.stacks()) == {*NAMES} - {"u1", "u3"}
    names.write_text("\n")
    done = witnessed.call("store", "forget", "--file", names, "--workdir", witnessed.workdir)
    assert done.status == 2
    assert "no utterance is named" in done.err


def every_byte(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_of_forgetting_says_the_same_and_changes_no_byte(
    witnessed: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    witnessed.train()
    damage(witnessed, "u4")
    witnessed.store("repair")
    leave_orphan(witnessed, monkeypatch)
    before = every_byte(witnessed.workdir)
    text = witnessed.says("forget", WITNESS, "--dry-run")
    assert "1 utterances would be forgotten: 1 features in 1 shards" in text
    plan = witnessed.store("forget", WITNESS, "--dry-run")
    assert every_byte(witnessed.workdir) == before
    assert witnessed.store("forget", WITNESS) == plan
    assert every_byte(witnessed.workdir) != before


def test_an_id_that_no_store_knows_is_told_and_the_others_go(witnessed: Keeper) -> None:
    before = every_byte(witnessed.workdir)
    done = witnessed.call("store", "forget", "nobody", "--workdir", witnessed.workdir)
    assert (done.status, done.out) == (1, "nothing to forget\n")
    assert "knows 'nobody'" in done.err
    assert without_locks(every_byte(witnessed.workdir)) == without_locks(before)
    known = secrets(witnessed, WITNESS)
    words = [WITNESS, "nobody", "--workdir", witnessed.workdir, "--json"]
    done = witnessed.call("store", "forget", *words)
    assert (done.status, done.fields["unknown"]) == (1, ["nobody"])
    assert traces(witnessed, known) == []


def without_locks(files: dict[Path, bytes]) -> dict[Path, bytes]:
    return {path: data for path, data in files.items() if not path.name.startswith("lock")}


@pytest.mark.parametrize("asked", [WITNESS, NAMESAKE])
@pytest.mark.parametrize("is_there", [False, True], ids=["renamed", "twice"])
def test_a_recording_is_forgotten_under_every_name_that_it_has_or_had(
    witnessed: Keeper, is_there: bool, asked: str
) -> None:
    old = witnessed.audio / f"{WITNESS}.wav"
    shutil.copy2(old, witnessed.audio / f"{NAMESAKE}.wav")
    witnessed.rows[NAMESAKE] = [f"{NAMESAKE}.wav", f"speaker of {NAMESAKE}", "joy"]
    if not is_there:
        old.unlink()
        del witnessed.rows[WITNESS]
    witnessed.extract()
    known = [WITNESS.encode(), *secrets(witnessed, NAMESAKE)]
    others = without(witnessed.stacks(2), WITNESS)
    done = witnessed.store("forget", asked)
    (also,) = {WITNESS, NAMESAKE} - {asked}
    assert done["also"] == [{"corpus": "small", "utterance_id": also}]
    assert done["n_forgotten"] == 2
    assert traces(witnessed, known) == []
    assert [witnessed.stacks(n) for n in (2, 4)] == [others, others]
    assert witnessed.is_whole()


def test_what_goes_under_another_name_is_told(witnessed: Keeper) -> None:
    witnessed.rows[NAMESAKE] = [f"{WITNESS}.wav", "s", "joy"]
    witnessed.extract()
    text = witnessed.says("forget", NAMESAKE)
    assert f"among them, since they are the same audio: '{WITNESS}' of 'small'" in text


def test_who_bears_the_old_name_of_a_forgotten_recording_stays(witnessed: Keeper) -> None:
    known = secrets(witnessed, WITNESS)[1:]
    (witnessed.audio / f"{WITNESS}.wav").rename(witnessed.audio / f"{NAMESAKE}.wav")
    witnessed.rows[NAMESAKE] = [f"{NAMESAKE}.wav", "s", "joy"]
    write_voices(witnessed.audio, ["other"])
    (witnessed.audio / "other.wav").rename(witnessed.audio / f"{WITNESS}.wav")
    witnessed.extract()
    before = witnessed.stacks()
    witnessed.store("forget", NAMESAKE)
    assert traces(witnessed, [NAMESAKE.encode(), *known]) == []
    assert witnessed.stacks() == without(before, NAMESAKE)
    assert WITNESS not in witnessed.stacks(2)


VIEWS = ("--views", "gain-6db,noise-20db")


def test_views_are_forgotten_with_their_utterance(keeper: Keeper) -> None:
    add(keeper, WITNESS, *VIEWS)
    known = secrets(keeper, WITNESS)
    assert len(known) == 1 + 2 * 4 + 3
    assert all(traces(keeper, [secret]) for secret in known)
    assert keeper.store("forget", WITNESS)["stores"][0]["n_features"] == 3
    assert traces(keeper, known) == []
    assert len(keeper.opened().stack("u0", "gain-6db")) > 0
    assert keeper.is_whole()


def test_views_that_the_same_audio_has_under_another_name_are_forgotten(witnessed: Keeper) -> None:
    witnessed.rows = {NAMESAKE: [f"{WITNESS}.wav", "s", "joy"]}
    witnessed.extract(*VIEWS, corpus="other")
    known = [WITNESS.encode(), *secrets(witnessed, NAMESAKE)]
    witnessed.store("forget", WITNESS, "--corpus", "small")
    assert traces(witnessed, known) == []
    assert witnessed.is_whole()


def test_another_part_of_the_same_file_stays(keeper: Keeper) -> None:
    keeper.rows = {
        WITNESS: ["u0.wav", "s", "joy", "0", "0.3"],
        "rest": ["u0.wav", "s", "joy", "0.3", ""],
    }
    keeper.extract(corpus="parts")
    before = keeper.stacks()
    done = keeper.store("forget", WITNESS)
    assert (done["n_forgotten"], done["also"]) == (1, [])
    assert traces(keeper, [WITNESS.encode()]) == []
    assert keeper.stacks() == without(before, WITNESS)
    assert {*NAMES, "rest"} == set(before) - {WITNESS}


def test_what_was_put_aside_as_damaged_is_forgotten(witnessed: Keeper) -> None:
    damage(witnessed, WITNESS)
    known = secrets(witnessed, WITNESS)
    witnessed.store("repair")
    folder = witnessed.opened().folder / "damaged"
    assert [WITNESS.encode() in path.read_bytes() for path in folder.iterdir()] == [True]
    assert witnessed.store("forget", WITNESS)["stores"][0]["n_damaged"] == 1
    assert traces(witnessed, known) == []
    assert witnessed.is_whole()


def test_features_in_a_shard_that_cannot_be_read_are_not_called_forgotten(
    witnessed: Keeper,
) -> None:
    known = secrets(witnessed, WITNESS)
    store = witnessed.opened()
    shard = store.shards_folder / store.place(WITNESS).shard
    store.close()
    shard.write_bytes(b"torn" + shard.read_bytes()[4:])
    done = witnessed.call("store", "forget", WITNESS, "--workdir", witnessed.workdir)
    assert done.status == 1
    assert "run 'emostack store " in done.err
    witnessed.store("repair")
    witnessed.store("forget", WITNESS)
    assert traces(witnessed, known) == []


def test_a_file_that_has_been_looked_at_since_is_forgotten_by_its_path(
    witnessed: Keeper,
) -> None:
    path = witnessed.audio / f"{WITNESS}.wav"
    write_voices(witnessed.audio, ["other"])
    (witnessed.audio / "other.wav").rename(path)
    os.utime(path, (1.4e9, 1.4e9))
    assert witnessed.extract("--dry-run").fields["n_changed"] == 1  # the digest is kept
    witnessed.store("forget", WITNESS)
    assert traces(witnessed, [WITNESS.encode()]) == []


def test_a_recording_without_features_is_forgotten_with_the_reason(keeper: Keeper) -> None:
    keeper.rows[WITNESS] = [f"{WITNESS}.wav", f"speaker of {WITNESS}", "joy"]
    (keeper.audio / f"{WITNESS}.wav").write_text("no sound")
    assert keeper.extract().status == 3
    (row,) = keeper.store("explain", WITNESS)["utterances"]
    known = [WITNESS.encode(), bytes.fromhex(row["key"]), bytes.fromhex(row["audio_sha256"])]
    assert all(traces(keeper, [secret]) for secret in known)
    keeper.store("forget", WITNESS)
    assert traces(keeper, known) == []
    assert set(keeper.stacks()) == {*NAMES}


def leave_orphan(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Leave what a run leaves that is killed before it publishes; what that tells of a namesake."""
    before, names = keeper.rows, [NAMESAKE, "bystander"]
    write_voices(keeper.audio, names)
    for name in names:
        os.utime(keeper.audio / f"{name}.wav", (1.5e9, 1.5e9))
    keeper.rows = {name: [f"{name}.wav", "s", "joy"] for name in names}
    with monkeypatch.context() as patch:
        patch.setattr("stages.extract._publish", lambda *_: 1 / 0)
        assert keeper.extract(corpus="new").status == 1
    keeper.extract(corpus="new", workdir=keeper.folder / "as-it-would-be")
    keeper.rows = before
    known = secrets(keeper, NAMESAKE, keeper.folder / "as-it-would-be")
    (keeper.opened().shards_folder / ".x.h5.partial").write_bytes(known[-1])
    return known


def test_what_a_killed_run_has_left_is_forgotten(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = leave_orphan(keeper, monkeypatch)
    assert all(traces(keeper, [secret]) for secret in (known[0], known[-1]))
    before = keeper.stacks()
    keeper.store("forget", NAMESAKE)
    assert traces(keeper, known) == []
    assert keeper.stacks() == before
    assert keeper.is_whole()
    keeper.rows = {"bystander": ["bystander.wav", "s", "joy"]}
    assert keeper.extract(corpus="new").fields["n_to_extract"] == 0


def test_what_a_killed_run_has_left_is_counted_and_who_is_unknown_is_told(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_orphan(keeper, monkeypatch)
    words = [NAMESAKE, "nobody", "--workdir", keeper.workdir, "--json"]
    done = keeper.call("store", "forget", *words)
    assert (done.status, done.fields["unknown"]) == (1, ["nobody"])
    assert done.fields["n_forgotten"] == 1


def test_what_a_killed_part_has_made_comes_in_and_is_not_made_again(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_orphan(keeper, monkeypatch)
    whole = keeper.folder / "whole"
    merged = keeper.call("store", "merge", keeper.workdir, "--workdir", whole, "--json")
    assert merged.status == 0, merged.err
    keeper.call("store", "gc", "--yes", "--workdir", whole)
    keeper.rows = {name: [f"{name}.wav", "s", "joy"] for name in (NAMESAKE, "bystander")}
    assert keeper.extract(corpus="new", workdir=whole).fields["n_to_extract"] == 0


KILLS = [
    ("features_cache.forget.make_batches", 1),
    ("features_cache.store.Store.publish_catalogue", 1),
    ("features_cache.store.write_index_file", 1),
    ("features_cache.forget.sync_file", 1),
    ("features_cache.forget.sync_file", 2),
    ("features_cache.forget.write_snapshot", 1),
    ("features_cache.forget.write_snapshot", 2),
    ("features_cache.store.write_index_file", 2),
    ("features_cache.audio_hashes.AudioHashes.forget", 1),
    ("pipeline.forgetting.forget_vectors", 1),
    ("pipeline.forgetting.atomic_write", 1),
]


@pytest.mark.parametrize(
    ("step", "nth"), KILLS, ids=[f"{s.rpartition('.')[2]}-{n}" for s, n in KILLS]
)
def test_forgetting_that_was_killed_is_finished_by_asking_again(
    witnessed: Keeper, monkeypatch: pytest.MonkeyPatch, step: str, nth: int
) -> None:
    run = witnessed.train()
    vectors = keep_vectors(witnessed, WITNESS, "u0")
    known = secrets(witnessed, WITNESS)
    before = witnessed.stacks()
    calls = []
    real = pkgutil.resolve_name(step)

    def killed(*words: Any, **how: Any) -> Any:  # noqa: ANN401
        calls.append(step)
        if len(calls) == nth:
            raise KeyboardInterrupt
        return real(*words, **how)

    with monkeypatch.context() as patch:
        patch.setattr(step, killed)
        assert witnessed.call("store", "forget", WITNESS, "--workdir", witnessed.workdir).status
    assert len(calls) == nth
    assert without(witnessed.stacks(), WITNESS) == without(before, WITNESS)
    witnessed.call("store", "forget", WITNESS, "--workdir", witnessed.workdir)
    assert traces(witnessed, known) == []
    assert len(pd.read_parquet(vectors)) == 1
    assert "forgotten_since" in (run / "run.json").read_text()
    assert witnessed.stacks() == without(before, WITNESS)
    assert witnessed.is_whole()


def keep_vectors(keeper: Keeper, *names: str) -> Path:
    """Leave what a baseline keeps of some utterances."""
    rows = keeper.opened().live(["utterance_id", "key"])
    keys = rows["key"][rows["utterance_id"].isin(names)]
    maker = VectorMaker(name="toy", identity={}, make=lambda _: iter(()), has_own_units=False)
    cache = VectorCache(keeper.workdir / "baselines", maker)
    cache.save({key: np.ones(3, np.float32) for key in keys})
    assert len(cache.load()) == len(names)
    return cache.path


def test_vectors_that_cannot_be_read_are_forgotten_whole(witnessed: Keeper) -> None:
    path = keep_vectors(witnessed, WITNESS)
    path.write_bytes(b"torn" + path.read_bytes()[:-4])
    witnessed.store("forget", WITNESS)
    assert not path.exists()
