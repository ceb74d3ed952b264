"""``emostack store``: looking after stores, as the operator does it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features_cache.store import Store
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
        columns = ["utterance_id", "file", "speaker", "emotion", "corpus"]
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

    def opened(self, generation: int | None = None, workdir: Path | None = None) -> Store:
        (recipe,) = (workdir or self.workdir).glob("features/*/recipe.json")
        return Store(recipe.parent, generation=generation)

    def stacks(self, workdir: Path | None = None) -> dict[str, bytes]:
        store = self.opened(workdir=workdir)
        return {name: store.stack(name).tobytes() for name in store.generation.live["utterance_id"]}

    def is_whole(self) -> bool:
        return self.store("verify", "--full") == {"problems": []}

    def train(self, beside: str = "") -> None:
        """Leave what a training of the newest generation leaves; maybe with a recipe beside it."""
        run = self.workdir / "runs" / "20261123-000000-small"
        run.mkdir(parents=True)
        now = self.opened().generation
        provenance: dict[str, object] = {"recipe_id": now.recipe_id, "generation": now.number}
        if beside:
            provenance = {"recipe_id": f"{beside}+{now.recipe_id}", "generation": f"9+{now.number}"}
        (run / "run.json").write_text(json.dumps({"provenance": provenance}))


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
    row = store.generation.find(name).iloc[0]
    path = store.shards_folder / row["shard"]
    at = path.read_bytes().index(store.stack(name).tobytes())
    store.close()
    flip(path, at + 5)
    return str(row["shard"])


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
    assert (found["generation"], found["n_utterances"], found["n_quarantined"]) == (1, 6, 0)
    line = keeper.says("ls")
    assert "generation 1  6 utterances" in line
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


def test_explain_tells_quarantined_and_gone_utterances_from_replaced_bytes(keeper: Keeper) -> None:
    (keeper.audio / "u1.wav").write_text("no sound")
    (keeper.audio / "u3.wav").unlink()
    del keeper.rows["u2"]
    keeper.extract()
    bad, old = next_step(keeper, "u1")
    assert bad.startswith("quarantined: leave it: its bytes are those that failed")
    assert old.startswith("gone: leave it: its utterance has other bytes now")
    assert next_step(keeper, "u2")[0].startswith("gone: leave it: it has left the manifest")
    write_voices(keeper.audio, ["u3"])
    assert next_step(keeper, "u3")[0].startswith("quarantined: try it again: ")
    events = [each["what"] for each in keeper.store("explain", "u2")["utterances"][0]["history"]]
    assert events == ["new: extracted", "left the manifest"]


def test_explain_tells_two_corpora_with_one_name_apart(keeper: Keeper) -> None:
    assert keeper.extract(corpus="other").status == 0
    found = keeper.store("explain", "u0")["utterances"]
    assert sorted(each["corpus"] for each in found) == ["other", "small"]
    assert len({each["shard"] for each in found}) == 1  # equal audio is stored once


def test_gc_says_what_it_would_free_and_frees_it_when_told_to(keeper: Keeper) -> None:
    del keeper.rows["u0"], keeper.rows["u1"]
    keeper.extract()
    before = keeper.stacks()
    (plan,) = keeper.store("gc")["stores"]
    assert sorted(plan["utterance_ids"]) == ["u0", "u1"]
    assert (plan["generations"], plan["freed_bytes"], plan["bytes"] > 0) == ([1, 2], 0, True)
    text = keeper.says("gc")
    assert "features of 2 utterances" in text
    assert "of 'u0', 'u1'" in text
    assert "--yes" in text
    assert len(keeper.opened().generation.rows) == len(NAMES)
    freed = keeper.store("gc", "--yes")["freed_bytes"]
    assert freed > 0
    assert keeper.stacks() == before
    assert len(keeper.opened().generation.rows) == len(NAMES) - 2
    assert keeper.is_whole()
    assert "--yes" not in keeper.says("gc")  # there is no more


def test_gc_keeps_what_a_training_was_made_from_until_told_to_let_it_go(
    keeper: Keeper, tmp_path: Path
) -> None:
    keeper.train()
    words = ["--to", "parquet", "--recipe", tmp_path / "tiny.toml", "--workdir", keeper.workdir]
    full = shutil.copy(keeper.manifest(), tmp_path / "full.csv")
    assert keeper.call("export", full, "-o", tmp_path / "a", *words).status == 0
    del keeper.rows["u0"]
    keeper.extract()
    assert "features of 1 more are held by generations that are kept: 1" in keeper.says("gc")
    keeper.store("gc", "--yes")
    assert keeper.call("export", full, "-o", tmp_path / "b", *words).status == 1
    words += ["--generation", 1]
    assert keeper.call("export", full, "-o", tmp_path / "b", *words).status == 0
    assert (tmp_path / "a/SHA256SUMS").read_bytes() == (tmp_path / "b/SHA256SUMS").read_bytes()
    keeper.store("gc", "--yes", "--no-keep-trainings")
    done = keeper.call("export", full, "-o", tmp_path / "b", *words)
    assert done.status == 1
    assert "has no generation 1; expected one of [3]" in done.err
    assert keeper.is_whole()


def test_gc_keeps_what_a_training_of_several_recipes_was_made_from(keeper: Keeper) -> None:
    keeper.train(beside="f" * 16)
    del keeper.rows["u0"]
    keeper.extract()
    assert "features of 1 more are held by generations that are kept: 1" in keeper.says("gc")


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


@pytest.mark.slow
def test_a_training_is_repeated_on_its_generation_after_gc(keeper: Keeper) -> None:
    for i, row in enumerate(keeper.rows.values()):
        row[2] = ("joy", "fear")[i // 3]
    keeper.extract()
    words = ["--recipe", keeper.folder / "tiny.toml", "--workdir", keeper.workdir, "--json"]
    first = keeper.call("train", keeper.manifest(), *words)
    assert first.status == 0, first.err
    run = Path(first.fields["run"])
    generation = json.loads((run / "run.json").read_text())["provenance"]["generation"]
    del keeper.rows["u0"]
    keeper.extract()
    keeper.store("gc", "--yes")
    again = keeper.call("train", run / "manifest.csv", "--generation", generation, *words)
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


@pytest.mark.parametrize("lost", [["generations"], ["generations", "recipe.json", "store.h5"]])
def test_rebuild_needs_the_shards_alone(keeper: Keeper, lost: list[str]) -> None:
    before, folder = keeper.stacks(), keeper.opened().folder
    for name in lost:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    words = [keeper.manifest(), "--audio", keeper.audio]
    (done,) = keeper.store("rebuild", *words)["stores"]
    assert (done["n_utterances"], done["n_labelled"], done["problems"]) == (6, 6, [])
    assert keeper.stacks() == before
    assert set(keeper.opened().generation.live["emotion"]) == {"joy"}
    assert keeper.is_whole()
    assert keeper.extract().fields["n_to_extract"] == 0
    assert "6 utterances, 6 of them known" in keeper.says("rebuild")


def test_parts_of_a_job_array_merge_into_what_one_job_makes(keeper: Keeper) -> None:
    parts = [keeper.folder / f"part-{i}" for i in (1, 2, 3)]
    for i, part in enumerate(parts, 1):
        assert keeper.extract("--shard", f"{i}/3", workdir=part).status == 0
    assert sum(len(keeper.stacks(part)) for part in parts) == len(NAMES)
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


def test_an_export_of_a_generation_that_is_not_there_names_those_that_are(
    keeper: Keeper, tmp_path: Path
) -> None:
    words = ["--recipe", tmp_path / "tiny.toml", "--workdir", keeper.workdir, "--generation", 7]
    out = tmp_path / "o"
    done = keeper.call("export", keeper.manifest(), "--to", "hdf5", "-o", out, *words)
    assert done.status == 1
    assert "[1]" in done.err
    assert not out.exists()
