"""Nothing of a test speaker reaches what is trained, and predictions go to whom they belong."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from sklearn.svm import SVC

from models.blstm_attention_dnn import BLSTMAttentionDNN, ClassifierSettings
from models.fitting import fit
from models.linear_path import LinearPath, LinearPathSettings, pooled, probabilities_of
from models.normalisation import Normalisation
from reports.metrics import evaluate
from stages import training_task
from stages.baselines import cross_validate_svm, own_vectors
from stages.crossvalidate import Evaluation, cross_validate
from stages.dataset import Dataset
from stages.train_options import TrainOptions
from stages.training_task import Task, make_task
from tests.toy_dataset import make_dataset

OPTIONS = TrainOptions(
    folds="session",
    n_components=6,
    classifier=ClassifierSettings(
        lstm_units=8,
        attention_units=4,
        dnn_units=(6,),
        batch_size=16,
        dropout=0.1,
        segment_dropout=0.1,
        epochs=8,
        learning_rate=2e-2,
    ),
)
FOLD = 1
KINDS = ("none", "train", "speaker")


@pytest.fixture(scope="module")
def network() -> BLSTMAttentionDNN:
    return BLSTMAttentionDNN(OPTIONS.classifier, n_features=6, n_labels=3)


def one_fold(dataset: Dataset, targets: np.ndarray | None = None) -> Task:
    """Take one fold of three alone: two speakers are tested, four are trained on."""
    task = make_task(dataset, OPTIONS)
    return replace(
        task, folds=[task.folds[FOLD]], targets=task.targets if targets is None else targets
    )


@dataclass
class Trained:
    """What one fold's training brought forth: names -> bytes, and numbers."""

    evaluation: Evaluation
    arrays: dict[str, bytes] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        return {
            **self.arrays,
            "curves": self.evaluation.curves,
            "chosen C": self.evaluation.chosen_c,
        }

    def probabilities(self, utterance: str) -> list[float]:
        rows = self.evaluation.predictions.set_index("utterance_id")
        return rows.loc[utterance, ["p:angry", "p:calm", "p:sad"]].tolist()


Train = Callable[[Task, str], Trained]


@pytest.fixture
def train_network(network: BLSTMAttentionDNN, monkeypatch: pytest.MonkeyPatch) -> Train:
    fitted: list[Normalisation] = []
    paths: list[LinearPath] = []
    plain_fit, plain_path = training_task.fit_normalisation, training_task.fit_linear_path

    def watched_fit(*args: object, **kwargs: object) -> Normalisation:
        fitted.append(plain_fit(*args, **kwargs))
        return fitted[-1]

    def watched_path(*args: object, **kwargs: object) -> LinearPath:
        paths.append(plain_path(*args, **kwargs))  # type: ignore[arg-type]
        return paths[-1]

    monkeypatch.setattr(training_task, "fit_normalisation", watched_fit)
    monkeypatch.setattr(training_task, "fit_linear_path", watched_path)

    def run(task: Task, kind: str) -> Trained:
        weights: dict[str, np.ndarray] = {}
        fitted.clear()
        paths.clear()
        whole, *_ = cross_validate(
            task, [network], kind, OPTIONS, lambda _: weights.update(network.weights())
        )
        trained = Trained(whole)
        assert len(fitted) == len(paths) == len(task.folds)
        for values in (weights, fitted[0].arrays, paths[0].arrays):
            trained.arrays |= {name: value.tobytes() for name, value in values.items()}
        return trained

    return run


@pytest.fixture
def train_svm(monkeypatch: pytest.MonkeyPatch) -> Train:
    machines: list[SVC] = []

    class WatchedSVC(SVC):
        def fit(self, *args: object, **kwargs: object) -> SVC:
            machines.append(self)
            return super().fit(*args, **kwargs)

    monkeypatch.setattr("models.linear_svm.SVC", WatchedSVC)

    def run(task: Task, kind: str) -> Trained:
        machines.clear()
        own = own_vectors(task)
        trained = Trained(cross_validate_svm(task, own, kind, OPTIONS, lambda _: None))
        for number, machine in enumerate(machines):
            for name in ("support_", "dual_coef_", "intercept_"):
                trained.arrays[f"{number}.{name}"] = getattr(machine, name).tobytes()
        return trained

    return run


@pytest.fixture(params=["network", "svm"])
def train(request: pytest.FixtureRequest) -> Train:
    chosen: Train = request.getfixturevalue(f"train_{request.param}")
    return chosen


def corrupted(task: Task, rows: np.ndarray) -> Task:
    """The same fold with some rows a thousand times as large, their labels dealt out anew."""
    stacks = list(task.dataset.stacks)
    for row in rows:
        stacks[row] = stacks[row] * 1000
    targets = task.targets.copy()
    targets[rows] = (targets[rows] + 1) % 3
    return replace(task, dataset=replace(task.dataset, stacks=stacks), targets=targets)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_test_speakers_reaches_what_is_trained(train: Train, kind: str) -> None:
    task = one_fold(make_dataset(6, shift=2))
    clean = train(task, kind)
    assert clean.facts == train(corrupted(task, task.folds[0].test), kind).facts
    assert clean.facts != train(corrupted(task, task.folds[0].train[:9]), kind).facts


@pytest.mark.parametrize("kind", KINDS)
def test_one_test_utterance_changes_no_other_ones_probabilities(train: Train, kind: str) -> None:
    task = one_fold(make_dataset(6, shift=2))
    first, *others = task.folds[0].test
    if kind == "speaker":  # his other utterances share his mean and deviation: that is the kind
        others = [row for row in others if task.speakers[row] != task.speakers[first]]
    clean, changed = train(task, kind), train(corrupted(task, np.array([first])), kind)
    ids = task.dataset.manifest["utterance_id"]
    assert len(others) >= 9
    for row in others:
        assert clean.probabilities(ids[row]) == changed.probabilities(ids[row])
    assert clean.probabilities(ids[first]) != changed.probabilities(ids[first])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_easy_is_learned(train: Train, kind: str) -> None:
    task = make_task(make_dataset(6, shift=8, apart=0.2), OPTIONS)
    found = train(task, kind).evaluation.predictions
    assert evaluate(found, list(task.labels), n_boot=1)["uar_pooled"] > 90


def test_each_prediction_is_of_the_utterance_that_it_is_credited_to(
    network: BLSTMAttentionDNN, train_network: Train
) -> None:
    task = one_fold(make_dataset(6, shift=2))
    fold = task.folds[0]
    found = train_network(task, "train")
    # The same fold by hand, its test utterances one by one.
    fitted = task.normalisation("train", fold.train, task.versions)
    losses = fit(network, task.part(fitted, task.versions, fold.train), seed=0)
    assert [own["train_loss"] for own in found.evaluation.curves] == [losses]
    stacks = fitted.transform(task.dataset.stacks, task.speakers)
    path = task.linear_path("train", fold.train, OPTIONS)
    scores = path.scores(task.vectors[0], task.speakers)
    truth = task.dataset.manifest.set_index("utterance_id")
    table = found.evaluation.predictions.set_index("utterance_id")
    for row in fold.test:
        name = task.dataset.manifest["utterance_id"][row]
        probabilities, attention = network.predict([stacks[row]])
        heard = pooled(probabilities, scores[[row]], OPTIONS.linear.share)[0]
        np.testing.assert_allclose(found.probabilities(name), heard, atol=1e-5)
        np.testing.assert_allclose(found.evaluation.attention[row], attention[0], atol=1e-5)
        assert table.loc[name, "truth"] == truth.loc[name, "emotion"]
        assert table.loc[name, "speaker"] == truth.loc[name, "speaker"]


def test_the_number_of_networks_changes_nothing(network: BLSTMAttentionDNN) -> None:
    task = make_task(make_dataset(6, shift=2), OPTIONS)
    another = BLSTMAttentionDNN(OPTIONS.classifier, n_features=6, n_labels=3)
    told: list[list[str]] = []
    found = []
    for networks in ([network], [network, another]):
        told.append([])
        found.append(cross_validate(task, networks, "speaker", OPTIONS, told[-1].append))
    assert (
        told[0]
        == told[1]
        == [f"speaker-normalised, fold {fold.name}, seed 0" for fold in task.folds]
    )
    for one, two in zip(*found, strict=True):
        assert (one.name, one.curves) == (two.name, two.curves)
        assert one.predictions.equals(two.predictions)
        assert {row: own.tobytes() for row, own in one.attention.items()} == {
            row: own.tobytes() for row, own in two.attention.items()
        }


def test_the_parts_stand_beside_the_whole_and_make_it_up(network: BLSTMAttentionDNN) -> None:
    options = replace(OPTIONS, seeds=(0, 1))
    task = one_fold(make_dataset(6, shift=2))
    found = cross_validate(task, [network], "train", options, lambda _: None)
    whole, alone, linear = (own.predictions for own in found)
    assert [(own.name, own.classifier) for own in found] == [
        ("train", "blstm_attention_dnn_linear"),
        ("network-train", "blstm_attention_dnn"),
        ("linear-train", "linear_path"),
    ]
    assert (set(whole["seed"]), set(linear["seed"])) == ({0, 1}, {0})  # no chance in a linear path
    shares = [f"p:{label}" for label in task.labels]
    path = task.linear_path("train", task.folds[0].train, options)
    scores = path.scores(task.vectors[0][task.folds[0].test], ["anybody"] * len(linear))
    np.testing.assert_allclose(linear[shares], probabilities_of(scores), atol=1e-6)
    expected = pooled(alone[shares].to_numpy(), np.tile(scores, (2, 1)), options.linear.share)
    np.testing.assert_allclose(whole[shares], expected, atol=1e-6)


def test_without_a_linear_path_the_network_speaks_alone(network: BLSTMAttentionDNN) -> None:
    options = replace(OPTIONS, linear=LinearPathSettings(share=0))
    task = one_fold(make_dataset(6, shift=2))
    (found,) = cross_validate(task, [network], "train", options, lambda _: None)
    assert (found.name, found.classifier) == ("train", "blstm_attention_dnn")
    _, part, _ = cross_validate(task, [network], "train", OPTIONS, lambda _: None)
    assert found.predictions.drop(columns="evaluation").equals(
        part.predictions.drop(columns="evaluation")
    )


def test_an_interrupt_comes_through_and_leaves_no_training_behind(
    network: BLSTMAttentionDNN,
) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    n_threads = threading.active_count()
    task = make_task(make_dataset(6, shift=2), OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(task, [network], "train", OPTIONS, interrupt)
    assert threading.active_count() == n_threads
