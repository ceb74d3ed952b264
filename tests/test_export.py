"""Exports as a whole: the folder, the card, names, rights; formats have tests of their own."""

import dataclasses
import hashlib
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features_cache.places import Places
from features_cache.store import Store
from pipeline.verbs.features import FORMATS as NAMES
from stages.dataset import Selection, select
from stages.export import Export, ExportOptions, export
from stages.recipe import load_recipe
from stages.sharing.anonymity import SaltError, anonymised, read_salt
from stages.sharing.content import content_of, pooled
from stages.sharing.format import ExportError
from stages.sharing.rights import RightsError
from stages.sharing.table import FORMATS
from tests.shared_store import HOSTILE, fill, recipe, rows_of, selection_of

UTTERANCES = [f"u{i:02}" for i in range(12)]
every_format = pytest.mark.parametrize("to", FORMATS)


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Selection, Store]:
    return selection_of(tmp_path / "store", UTTERANCES)


def give(filled: tuple[Selection, Store], folder: Path, **how: Any) -> Export:  # noqa: ANN401
    options = ExportOptions(**{"to": "hdf5", "version": "0", **how})
    return export(*filled, recipe(), folder, options)


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_command_line_knows_the_formats() -> None:
    assert tuple(FORMATS) == NAMES


@every_format
def test_an_export_is_one_folder_with_card_recipe_splits_and_checksums(
    filled: tuple[Selection, Store], tmp_path: Path, to: str
) -> None:
    done = give(filled, tmp_path / "out", to=to)
    assert {"README.md", "recipe.toml", "splits.csv", "SHA256SUMS"} < set(
        bytes_of(tmp_path / "out")
    )
    assert (done.n_utterances, done.feature_dim) == (12, 5)
    assert done.n_rows == sum(1 + i % 6 for i in range(12))
    for file, digest in zip(done.files, done.sha256, strict=True):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
    lines = (tmp_path / "out" / "SHA256SUMS").read_text().splitlines()
    assert sorted(line.split("  ")[1] for line in lines) == sorted(
        name for name in bytes_of(tmp_path / "out") if name != "SHA256SUMS"
    )
    assert load_recipe(str(tmp_path / "out" / "recipe.toml")) == recipe()


@pytest.mark.parametrize("how", [{}, {"pool": True}, {"salt": b"salt"}])
def test_the_same_store_gives_the_same_bytes(
    filled: tuple[Selection, Store], tmp_path: Path, how: dict[str, Any]
) -> None:
    for to in FORMATS:
        give(filled, tmp_path / "one" / to, to=to, **how)
    time.sleep(1.1)  # a time stamp anywhere would be another one now
    for to in FORMATS:
        give(filled, tmp_path / "other" / to, to=to, **how)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "other")


@every_format
def test_the_snippet_of_the_card_reads_the_first_utterance(
    filled: tuple[Selection, Store], tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(filled, tmp_path / "out", to=to)
    (snippet,) = re.findall(
        r"```python\n(.*?)```", (tmp_path / "out/README.md").read_text(), re.DOTALL
    )
    assert "emostack" not in snippet
    monkeypatch.chdir(tmp_path / "out")
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102 - the point of this test
    np.testing.assert_array_equal(np.asarray(names["features"]), filled[1].stack("u00"))


def test_what_is_there_already_is_left_alone(
    filled: tuple[Selection, Store], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="is there already; expected a new folder"):
        give(filled, tmp_path / "out")
    assert bytes_of(tmp_path / "out") == {}


@every_format
def test_an_export_that_fails_leaves_nothing(
    filled: tuple[Selection, Store], tmp_path: Path, to: str
) -> None:
    next(filled[1].shards_folder.iterdir()).unlink()
    fresh = Store(filled[1].folder)
    with pytest.raises(OSError, match="is missing from"):
        give((filled[0], fresh), tmp_path / "out", to=to)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_empty_selection_is_refused(tmp_path: Path) -> None:
    selection, store = selection_of(tmp_path / "store", UTTERANCES)
    none = Places(shard=pd.Categorical([]), row_start=np.empty(0), row_end=np.empty(0))
    nothing = dataclasses.replace(selection, manifest=selection.manifest[:0], places=none)
    with pytest.raises(ExportError, match="expected at least one"):
        give((nothing, store), tmp_path / "out")


def test_the_card_counts_what_is_there(filled: tuple[Selection, Store], tmp_path: Path) -> None:
    give(filled, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    ends = [0.16 * (i % 6) + 0.655 for i in range(12)]
    assert "# Features of emodb" in card
    assert "| utterances | 12 |" in card
    assert "| speakers | 4 |" in card
    assert f"| anger | 4 | 4 | {sum(ends[0::3]):.1f} |" in card
    assert f"| female | 6 | 2 | {sum(ends[1::2]):.1f} |" in card
    assert "| emodb | 12 | de | CC0-1.0 | yes, under that licence |" in card
    assert "A Database of German Emotional Speech" in card
    assert recipe().network.weights_sha256 in card
    assert "It has learned nothing" in card or "it has learned nothing" in card
    assert "splits.csv does." in card
    assert "Names are those of the recordings" in card


def test_the_stated_rounding_error_bounds_the_true_one(tmp_path: Path) -> None:
    selection, store = selection_of(tmp_path / "store", UTTERANCES)
    give((selection, store), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    (largest, bound) = map(
        float, re.findall(r"reach ([0-9.e+-]+), .* most ([0-9.e+-]+)\.", card)[0]
    )
    values = np.linspace(0, largest, 10001)
    error = np.abs(values.astype(np.float16).astype(np.float64) - values).max()
    assert 0.99 * error <= bound <= 2.1 * error


def test_no_name_is_markup_in_the_card(tmp_path: Path) -> None:
    names = [*HOSTILE, *UTTERANCES]
    filled = selection_of(tmp_path / "store", names, emotion=names, corpus="<b>x</b> | y")
    done = give(filled, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "<script>" not in card
    assert "<b>" not in card
    assert "name begins like a formula" in card or "names begin like a formula" in card
    assert any("like a formula" in remark for remark in done.remarks)
    assert any("is not known here" in remark for remark in done.remarks)


def test_unknown_speakers_get_no_split_files_and_the_card_says_why(tmp_path: Path) -> None:
    filled = selection_of(tmp_path / "store", UTTERANCES, speaker="")
    give(filled, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "splits.csv" not in bytes_of(tmp_path / "out")
    assert "There are no split files: 12 of 12 utterances have no speaker" in card
    assert "and 12 utterances of unknown ones" in card


def test_splits_leave_one_speaker_out(filled: tuple[Selection, Store], tmp_path: Path) -> None:
    give(filled, tmp_path / "out")
    splits = pd.read_csv(tmp_path / "out" / "splits.csv")
    assert splits["utterance_id"].tolist() == UTTERANCES
    assert splits["fold"].tolist() == filled[0].manifest["speaker"].tolist()


@pytest.mark.parametrize(
    "corpus",
    [
        "iemocap",
        "msp-podcast",
        " IEMOCAP",
        "MSP_Podcast",
        "msppodcast 1.11",
        "IEMOCAP_full_release",
    ],
)
def test_a_corpus_that_forbids_it_is_refused_until_the_right_is_stated(
    tmp_path: Path, corpus: str
) -> None:
    filled = selection_of(tmp_path / "store", UTTERANCES, corpus=corpus)
    with pytest.raises(RightsError, match=f"'{corpus}' .* give --i-have-the-right"):
        give(filled, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    give(filled, tmp_path / "out", has_right=True)
    assert "**Restricted.**" in (tmp_path / "out" / "README.md").read_text()


def test_pooled_rows_are_mean_and_deviation(filled: tuple[Selection, Store]) -> None:
    content = pooled(content_of(*filled, recipe()))
    assert content.feature_names[:2] == ("mean_f0", "mean_f1")
    assert content.feature_names[5:7] == ("sd_f0", "sd_f1")
    for number, name in enumerate(UTTERANCES):
        (row,), start, end = content.stack(number)
        stack = filled[1].stack(name).astype(np.float64)
        expected = np.concatenate([stack.mean(axis=0), stack.std(axis=0)])
        np.testing.assert_allclose(row, expected, rtol=1e-6)
        assert (start[0], len(end)) == (0.0, 1)


@every_format
def test_names_are_nowhere_in_an_anonymised_export(tmp_path: Path, to: str) -> None:
    names = [f"secret-utterance-{i}" for i in range(12)]
    speakers = [f"secret-speaker-{i % 4}" for i in range(12)]
    filled = selection_of(tmp_path / "s", names, speaker=speakers, session="secret-session")
    give(filled, tmp_path / "out", to=to, salt=b"a")
    for name, data in bytes_of(tmp_path / "out").items():
        assert b"secret" not in data, name
        for key in filled[0].keys:
            assert key.encode() not in data, name
    assert "salted digests" in (tmp_path / "out" / "README.md").read_text()


def test_why_an_anonymised_export_has_no_splits_names_nobody(tmp_path: Path) -> None:
    speakers = ["secret"] * 12
    filled = selection_of(tmp_path / "s", UTTERANCES, speaker=speakers, file="secret.wav")
    give(filled, tmp_path / "out", salt=b"a")
    assert b"secret" not in b"".join(bytes_of(tmp_path / "out").values())


def test_anonymous_names_keep_who_is_equal_and_lose_who_is_who(tmp_path: Path) -> None:
    manifest = rows_of(UTTERANCES, corpus=["a", "b"] * 6, session=["", "x"] * 6)
    store = fill(tmp_path / "store", manifest)
    content = content_of(select(manifest, store), store, recipe())
    hidden, again, other = (anonymised(content, salt) for salt in (b"1", b"1", b"2"))
    pd.testing.assert_frame_equal(hidden.manifest, again.manifest)
    assert set(hidden.manifest["speaker"]).isdisjoint(other.manifest["speaker"])
    assert hidden.manifest["utterance_id"].is_monotonic_increasing
    sizes = manifest.groupby(["corpus", "speaker"]).size()
    assert sorted(hidden.manifest.groupby("speaker").size()) == sorted(sizes)
    assert (hidden.manifest["session"] == "").sum() == 6
    found = {hidden.stack(i)[0].tobytes() for i in range(12)}
    assert found == {store.stack(name).tobytes() for name in UTTERANCES}
    for i in range(12):
        assert len(hidden.stack(i)[0]) == hidden.n_rows[i]


def test_a_salt_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    salt = read_salt(tmp_path / "deep" / "salt")
    assert len(salt) == 64
    assert read_salt(tmp_path / "deep" / "salt") == salt
    assert (tmp_path / "deep" / "salt").stat().st_mode & 0o777 == 0o600


def test_a_salt_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    (tmp_path / "salt").write_text("\n")
    with pytest.raises(SaltError, match="holds 0 characters; expected 64"):
        read_salt(tmp_path / "salt")


def test_the_card_counts_what_could_not_be_read(tmp_path: Path) -> None:
    selection, store = selection_of(tmp_path / "store", UTTERANCES)
    give((dataclasses.replace(selection, left_out=["a", "b"]), store), tmp_path / "out")
    assert "12; 2 more could not be read" in (tmp_path / "out" / "README.md").read_text()


def test_audio_that_stands_in_two_files_is_on_one_side_of_a_split(tmp_path: Path) -> None:
    selection, store = selection_of(
        tmp_path / "store", UTTERANCES, start=[0.1 * i for i in range(12)]
    )
    sums = pd.Series(["same"] * 2 + [str(i) for i in range(10)])
    give((dataclasses.replace(selection, audio_sha256=sums), store), tmp_path / "out")
    assert not (tmp_path / "out" / "splits.csv").exists()
    assert "shares audio" in (tmp_path / "out" / "README.md").read_text()


def test_a_folder_that_cannot_be_made_is_told_in_one_line(
    filled: tuple[Selection, Store], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file/out", "n" * 300):
        with pytest.raises(OSError, match=r"no folder can be made in .*; expected one that"):
            give(filled, tmp_path / name)


def test_the_rounding_of_a_pooled_export_is_that_of_the_stored_values(
    filled: tuple[Selection, Store], tmp_path: Path
) -> None:
    give(filled, tmp_path / "plain")
    give(filled, tmp_path / "pooled", pool=True)
    cards = [(tmp_path / name / "README.md").read_text() for name in ("plain", "pooled")]
    reach = [re.findall(r"values reach ([0-9.]+)", card) for card in cards]
    assert reach[0] == reach[1]
    assert "computed of the stored values in float64 and kept as float32" in cards[1]
