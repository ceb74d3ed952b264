"""Training on one corpus, testing on another."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.bundle import load_bundle
from reports.page import write_report
from stages.corpora.labels import LabelError, LabelMap
from stages.cross_corpus import check_test_labels, cross_fold, joined, settle_test_labels
from stages.dataset import Dataset
from stages.folds import Audio, FoldError
from stages.manifest import complete
from stages.run_folder import RunNotes
from stages.train import train
from stages.train_options import TrainError, TrainOptions
from stages.training_task import make_task
from tests.toy_dataset import SMALL_NETWORK, make_dataset

QUICK = TrainOptions(
    seeds=(0, 3), n_components=6, n_examples=3, classifier=replace(SMALL_NETWORK, epochs=6)
)


def second(**columns: Any) -> Dataset:  # noqa: ANN401
    """Other people and other recordings, called alike; nobody is calm."""
    dataset = make_dataset(n_speakers=3, apart=2.0)
    kept = [row for row, emotion in enumerate(dataset.manifest["emotion"]) if emotion != "calm"]

    def pick(values: list[Any]) -> list[Any]:
        return [values[row] for row in kept]

    manifest = dataset.manifest.iloc[kept].reset_index(drop=True)
    return replace(
        dataset,
        manifest=manifest.assign(**{"corpus": "other", **columns}),
        stacks=pick(dataset.stacks),
        segment_start=pick(dataset.segment_start),
        segment_end=pick(dataset.segment_end),
        keys=[f"other-{key}" for key in pick(dataset.keys)],
        audio_sha256=[f"other-{sha256}" for sha256 in pick(dataset.audio_sha256)],
    )


def task_of(first: Dataset, other: Dataset) -> Any:  # noqa: ANN401
    return make_task(joined(first, other), QUICK, n_test=len(other.stacks))


# One fold


def test_all_of_the_first_corpus_trains_and_all_of_the_second_is_tested() -> None:
    task = task_of(make_dataset(), second())
    (fold,) = task.folds
    assert fold.name == "other"
    assert fold.train.tolist() == task.learnt_rows.tolist() == list(range(36))
    assert fold.test.tolist() == task.only_tested.tolist() == list(range(36, 54))
    assert task.labels == ("angry", "calm", "sad")
    assert {task.speakers[row] for row in fold.test} == {"other/s0", "other/s1", "other/s2"}


def test_a_single_corpus_is_all_learnt() -> None:
    task = make_task(make_dataset(), QUICK)
    assert task.learnt_rows.tolist() == list(range(36))
    assert not len(task.only_tested)


def test_views_are_of_the_first_corpus_alone() -> None:
    first, other = make_dataset(), second()
    faster = [stack + 1 for stack in first.stacks]
    seen = replace(first, views={"speed-1.1": faster})
    task = task_of(seen, replace(other, views={"masks": other.stacks}))
    (_, views) = task.versions
    assert len(views) == len(task.targets)
    for row in task.learnt_rows:
        assert np.array_equal(views[row], faster[row])
    with_views = task.normalisation("train", task.learnt_rows, task.versions).arrays
    alone = make_task(seen, QUICK)
    expected = alone.normalisation("train", alone.learnt_rows, alone.versions).arrays
    assert with_views.keys() == expected.keys()
    assert all(np.array_equal(with_views[name], expected[name]) for name in expected)


def test_people_of_one_corpus_are_the_same_people_in_two_manifests() -> None:
    with pytest.raises(FoldError, match=r"'toy' shares speaker s0, s1, s2 .*take them out of one"):
        task_of(make_dataset(), second(corpus="toy"))
    others = [f"t{i // 6}" for i in range(18)]
    task = task_of(make_dataset(), second(corpus="toy", speaker=others))
    assert {task.speakers[row] for row in task.only_tested} == {"t0", "t1", "t2"}


def test_audio_that_is_in_both_is_refused() -> None:
    first, other = make_dataset(), second()
    again = replace(other, keys=[first.keys[5], *other.keys[1:]])
    with pytest.raises(FoldError, match=r"shares audio key-0-5 between .*take them out of one"):
        task_of(first, again)
    again = replace(other, audio_sha256=[first.audio_sha256[7], *other.audio_sha256[1:]])
    with pytest.raises(FoldError, match=r"shares audio sha-0-7 "):
        task_of(first, again)


def test_unknown_speakers_are_refused_on_both_sides() -> None:
    with pytest.raises(FoldError, match="18 of 54 utterances have no speaker"):
        task_of(make_dataset(), second(speaker=""))


def test_a_corpus_without_a_name_makes_a_fold_with_one() -> None:
    manifest = complete(
        pd.DataFrame(
            {"utterance_id": ["a", "b"], "file": "x", "speaker": ["1", "2"], "emotion": "e"}
        )
    )
    fold = cross_fold(manifest, Audio(keys=["k", "l"]), 1)
    assert (fold.name, fold.train.tolist(), fold.test.tolist()) == ("test", [0], [1])


@pytest.mark.parametrize("change", [{"recipe_id": "r2"}, {"snapshot": 8}])
def test_features_of_another_store_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TrainError, match="expected r1, snapshot 7"):
        joined(make_dataset(), replace(second(), **change))


def test_a_test_corpus_without_features_is_refused() -> None:
    nothing = replace(second(), stacks=[], manifest=second().manifest.iloc[:0])
    with pytest.raises(TrainError, match="no utterance of the test manifest has features"):
        joined(make_dataset(), nothing)


# Labels


def test_emotions_that_the_training_corpus_lacks_are_told_with_their_counts() -> None:
    emotions = ["angry", "awe"] * 6 + ["calm", "sad", "zeal"] * 2
    with pytest.raises(TrainError) as error:
        task_of(make_dataset(), second(emotion=emotions))
    assert str(error.value) == (
        "8 of 18 test utterances have emotions that the training corpus lacks: 'awe' 6, 'zeal' 2; "
        "expected angry, calm, sad; name them so, or leave them out, with --map"
    )


def test_many_strange_emotions_are_told_in_one_line() -> None:
    with pytest.raises(TrainError, match=r"40 of 40 .*'e17' 1, \.\.\.; expected a; ") as error:
        check_test_labels([f"e{i}" for i in range(40)], ["a"])
    assert "\n" not in str(error.value)


def settled(emotions: list[str], known: list[str], **says: Any) -> list[str]:  # noqa: ANN401
    rows = pd.DataFrame({"emotion": emotions})
    kept, _ = settle_test_labels(rows, LabelMap(**says), known)
    return list(kept["emotion"])


@pytest.mark.parametrize(
    ("emotions", "known", "says", "expected"),
    [
        (["joy"], ["joy", "calm"], {"leave_out": ()}, ["joy"]),
        (["joy"], ["happiness"], {}, ["happiness"]),
        (["joy"], ["glad"], {"labels": {"joy": "glad"}}, ["glad"]),
        (["joy", "calm"], ["joy"], {"leave_out": ("calm",)}, ["joy"]),
        (["joy", "awe"], ["joy"], {}, ["joy", "awe"]),
    ],
    ids=["both have it", "canonical", "mapped", "left out", "nobody knows it"],
)
def test_the_map_comes_first_then_the_training_corpus_then_canonical_names(
    emotions: list[str], known: list[str], says: dict[str, Any], expected: list[str]
) -> None:
    assert settled(emotions, known, **says) == expected


def test_a_map_of_labels_that_no_test_utterance_has_is_refused() -> None:
    with pytest.raises(LabelError, match="no row has the emotion"):
        settled(["joy"], ["joy"], labels={"jy": "joy"})


# A run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs") / "cross"
    first, other = make_dataset(), second()
    notes = RunNotes(title="toy, tested on other")
    result = train(joined(first, other), QUICK, folder, n_test=18, notes=notes)
    return folder, result


PARTS = ("", "network-", "linear-", "svm-")


def test_predictions_are_of_the_second_corpus_alone(finished: tuple[Path, dict[str, Any]]) -> None:
    table = pd.read_parquet(finished[0] / "predictions.parquet")
    assert set(table["speaker"]) == {"other/s0", "other/s1", "other/s2"}
    assert set(table["fold"]) == {"other"}
    names = {f"{stem}{kind}" for stem in PARTS for kind in ("speaker", "train")}
    assert set(table["evaluation"]) == names
    own = table[(table["evaluation"] == "train") & (table["seed"] == 3)]
    assert own["utterance_id"].tolist() == second().manifest["utterance_id"].tolist()
    assert own["truth"].tolist() == second().manifest["emotion"].tolist()
    assert np.allclose(own[["p:angry", "p:calm", "p:sad"]].sum(axis=1), 1, atol=1e-4)


def test_the_uar_is_over_the_classes_that_are_tested(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = finished
    assert set(result["recall_by_class"]) == {"angry", "sad"}
    assert result["uar_pooled"] == pytest.approx(np.mean(list(result["recall_by_class"].values())))
    assert result["uar_pooled"] > 60
    assert result["uar_interval"] is not None
    evaluations = json.loads((folder / "run.json").read_text(encoding="utf-8"))["evaluations"]
    assert {own["metrics"]["n_speakers"] for own in evaluations} == {3}
    assert {own["metrics"]["n_utterances"] for own in evaluations} == {18}


def test_the_bundle_is_trained_on_the_first_corpus_alone(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    bundle = load_bundle(finished[0] / "bundle")
    told = {"corpora": "toy", "n_utterances": 36, "n_speakers": 4, "folds": "test manifest"}
    assert {name: bundle.card[name] for name in told} == told
    other = second()
    louder = replace(other, stacks=[stack * 3 + 1 for stack in other.stacks])
    options = replace(QUICK, normalise="train", own_svm=False)
    train(joined(make_dataset(), louder), options, tmp_path / "run", n_test=18)
    again = load_bundle(tmp_path / "run" / "bundle")
    assert again.normalisation.arrays.keys() == bundle.normalisation.arrays.keys()
    for name, array in bundle.normalisation.arrays.items():
        assert np.array_equal(array, again.normalisation.arrays[name])
    for ours, theirs in zip(bundle.weights[0], again.weights[0], strict=True):
        assert np.array_equal(bundle.weights[0][ours], again.weights[0][theirs])


def test_result_card_and_page_say_who_trained_and_who_was_tested(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = finished
    told = {
        "trained_on": "toy: 36 utterances of 4 speakers, 3 emotions",
        "tested_on": "other: 18 utterances of 3 speakers, 2 emotions",
    }
    card = load_bundle(folder / "bundle").card
    provenance = json.loads((folder / "run.json").read_text(encoding="utf-8"))["provenance"]
    for name, words in told.items():
        assert result[name] == card[name] == provenance[name] == words
    page = write_report(folder).read_text(encoding="utf-8")
    assert f"trained on {told['trained_on']}" in page
    assert f"tested on {told['tested_on']}" in page
    assert "Fold by fold" not in page
    assert "Mean over folds" not in page


def test_examples_are_of_the_second_corpus(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = finished
    examples = json.loads((folder / "run.json").read_text(encoding="utf-8"))["examples"]
    assert examples
    other = second()
    ids = other.manifest["utterance_id"].tolist()
    with np.load(folder / "examples.npz") as arrays:
        for i, example in enumerate(examples):
            row = ids.index(example["utterance_id"])
            assert example["truth"] == other.manifest["emotion"][row]
            assert np.array_equal(arrays[f"segment_start_{i}"], other.segment_start[row])
