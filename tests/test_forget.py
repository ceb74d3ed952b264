"""Forgetting, where something else has happened to the store; `test_store_verbs` has the command."""

from pathlib import Path

import numpy as np
import pytest

from features_cache import forget as module
from features_cache.compact import compact
from features_cache.forget import forget, recordings, remembered
from features_cache.store import Store
from features_cache.verify import verify
from stages.dataset import select
from tests.small_store import add, key_of, make_store, new_shard, publish, reopened, values


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store", ["aaaa", "bbbb", "cccc", "dddd"])


def forgotten(store: Store, *names: str, corpus: str | None = None) -> Store:
    writer = reopened(store)
    forget(writer, remembered(writer, names, corpus))
    return writer


def traces(folder: Path, name: str) -> list[str]:
    """Files that have something of an utterance: its name, its key or its features."""
    key = key_of(name)
    words = [name.encode(), key.encode(), bytes.fromhex(key), values(name).tobytes()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(word in path.read_bytes() for word in words)]


def test_a_reader_goes_on_with_the_rows_that_it_holds(store: Store) -> None:
    reader = Store(store.folder)
    manifest = reader.snapshot.rows(["utterance_id", "corpus", "file", "start", "end"])
    forgotten(store, "aaaa")
    chosen = select(manifest.iloc[1:].reset_index(drop=True), reader)
    found = dict(zip(chosen.manifest["utterance_id"], chosen.places, strict=True))
    assert sorted(found) == ["bbbb", "cccc", "dddd"]
    for name, place in found.items():
        np.testing.assert_array_equal(reader.read(place), values(name))


def test_a_kill_between_two_snapshots_is_mended_by_asking_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same audio had another name in the snapshot that is written later."""
    add(store, new_shard(store, ["eeee"]))
    rows = store.snapshot.rows()
    is_it = rows["utterance_id"] == "aaaa"
    publish(store, rows.assign(utterance_id=rows["utterance_id"].mask(is_it, "qqqq")))
    real, calls = module._without_rows, []

    def killed(*words: object) -> None:
        calls.append(words)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*words)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "_without_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            forgotten(store, "aaaa")
    done = forgotten(store, "aaaa")
    assert traces(store.folder, "aaaa") == []
    assert traces(store.folder, "qqqq") == []
    assert set(done.live()["utterance_id"]) == {"bbbb", "cccc", "dddd", "eeee"}
    assert list(verify(store.folder, full=True)) == []


@pytest.mark.parametrize("name", ["zzzz", "aaaa"])
def test_what_a_killed_run_has_left_goes_whatever_the_corpus(store: Store, name: str) -> None:
    """Nobody knows its corpus: it may be the one that was asked for."""
    new_shard(store, ["new bytes", "other"], ids={"new bytes": name})
    forgotten(store, name, corpus="c")
    assert traces(store.folder, name) == []
    assert traces(store.folder, "new bytes") == []
    assert key_of("other") in set(_keys(reopened(store)))


def _keys(store: Store) -> list[str]:
    return [key.hex() for key in store.catalogue.rows["key"].to_pylist()]


def test_a_torn_shard_that_nobody_needs_goes(store: Store) -> None:
    old = next(store.shards_folder.glob("*.h5"))
    add(store, new_shard(store, ["eeee"]))
    compact(store)
    old.write_bytes(b"torn" + old.read_bytes()[4:])
    memory = remembered(reopened(store), ["aaaa"])
    assert old in memory.damaged
    forgotten(store, "aaaa")
    assert traces(store.folder, "aaaa") == []
    assert list(verify(store.folder, full=True)) == []


def test_a_recording_goes_under_the_name_that_another_store_has_for_it(
    store: Store, tmp_path: Path
) -> None:
    other = make_store(tmp_path / "other")
    add(other, new_shard(other, ["qqqq"]), audio_sha256="ab" * 32)
    add(store, new_shard(store, ["eeee"]), audio_sha256="ab" * 32)
    add(store, new_shard(store, ["ffff"]), audio_sha256="cd" * 32)
    known = recordings([other, store], ["qqqq"], None)
    memory = remembered(reopened(store), ["qqqq"], None, known)
    assert memory.names == (("c", "eeee"),)
    forget(reopened(store), memory)
    assert traces(store.folder, "eeee") == []
    assert "ffff" in set(Store(store.folder).live()["utterance_id"])
