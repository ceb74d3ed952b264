"""How much faster is a training than what people write?

In one run, alternating, on the same data, with the same network, epochs and rules:

* naive: stacks padded to the longest of the corpus; for every fold scikit-learn's PCA, and a network
  built, compiled and fitted by ``model.fit``; the linear path beside it. Nothing is shared;
* ours: `stages.crossvalidate.cross_validate`, one seed.

Both run in one process each time, the network's compilation included, but not the import of
TensorFlow. Prints seconds, their ratio with its range over the rounds, the UAR of both and the peak
RSS of a process of each. The machine may be shared, so only the ratios mean much.

    python benchmarks/bench_train.py                         # data made up, as large as EMO-DB
    python benchmarks/bench_train.py --manifest m.csv --workdir runs
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from benchmarks.child import peak_mib_of
from models.blstm_attention_dnn import ClassifierSettings
from models.fitting import class_weights, learning_rate
from models.linear_path import pooled
from models.linear_svm import uar
from models.quiet_keras import keras, layers, ops
from pipeline.stores import open_store
from pipeline.workdir import Workdir
from stages.crossvalidate import cross_validate
from stages.dataset import Dataset, load_dataset, select
from stages.folds import Fold
from stages.manifest import complete, read_manifest
from stages.recipe import DEFAULT
from stages.train import make_networks
from stages.train_options import TrainOptions
from stages.training_task import Task, make_task

SIZES = {"tiny": (3, 9, 8, 1, 1), "quick": (10, 54, 4320, 3, 1), "whole": (10, 54, 4320, 10, 3)}
"""Speakers, utterances of each, features, folds that are run, rounds."""

EMOTIONS = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")
TINY = ClassifierSettings(lstm_units=4, attention_units=2, dnn_units=(3,), epochs=2)
NORMALISE = "speaker"


def main() -> None:
    """Let both ways run in processes of their own, by turns, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="whole")
    parser.add_argument("--quick", action="store_const", const="quick", dest="size")
    parser.add_argument("--manifest", type=Path, help="a corpus with features, instead of chance")
    parser.add_argument("--workdir", type=Path, default=Path("runs"))
    parser.add_argument("--recipe", default=DEFAULT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--way", choices=WAYS, help="run this one alone, once, and print JSON")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(given.rounds or SIZES[given.size][-1]):
        for way, results in found.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results.append(json.loads(done.stdout))
    _print(found)


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Seconds, processor seconds, UAR in percent and peak RSS in MiB of one way."""
    dataset = load(given) if given.manifest else make_up(given.size)
    options = TrainOptions(seeds=(given.seed,))
    if given.size == "tiny":
        options = dataclasses.replace(options, classifier=TINY, n_components=4)
    task = make_task(dataset, options)
    task = dataclasses.replace(task, folds=task.folds[: SIZES[given.size][3]])
    began, began_cpu = time.perf_counter(), time.process_time()
    truth, heard = WAYS[given.way](task, options)
    return {
        "seconds": time.perf_counter() - began,
        "processor seconds": time.process_time() - began_cpu,
        "UAR": 100 * uar(truth, heard),
        "peak RSS, MiB": peak_mib_of(os.getpid()),
    }


def load(given: argparse.Namespace) -> Dataset:
    """Read a real corpus's features."""
    store, recipe = open_store(Workdir(given.workdir), given.recipe, None)
    return load_dataset(select(read_manifest(given.manifest), store), store, recipe.recipe_id)


def make_up(size: str) -> Dataset:
    """Draw features as many and stacks as long as EMO-DB's, with emotions that can be heard."""
    n_speakers, n_each, n_features, _, _ = SIZES[size]
    rng = np.random.default_rng(0)
    n = n_speakers * n_each
    emotions = rng.integers(0, len(EMOTIONS), n)
    voices = rng.normal(size=(len(EMOTIONS), n_features)) * 0.2
    lengths = np.clip(rng.lognormal(2.58, 0.45, n), 5, 53).astype(int)
    stacks = [
        np.abs(rng.standard_normal((length, n_features), np.float32) + voices[emotion])
        for length, emotion in zip(lengths, emotions, strict=True)
    ]
    names = [f"u{i:04d}" for i in range(n)]
    rows = {
        "utterance_id": names,
        "file": [f"{name}.wav" for name in names],
        "speaker": [f"s{i % n_speakers}" for i in range(n)],
        "emotion": [EMOTIONS[emotion] for emotion in emotions],
        "corpus": "chance",
    }
    starts = [0.16 * np.arange(length) for length in lengths]
    return Dataset(
        manifest=complete(pd.DataFrame(rows)),
        stacks=[stack.astype(np.float32) for stack in stacks],
        segment_start=starts,
        segment_end=[start + 0.64 for start in starts],
        keys=names,
        audio_sha256=names,
        recipe_id="chance",
        recipe_json="{}",
        snapshot=1,
    )


def ours(task: Task, options: TrainOptions) -> tuple[np.ndarray, np.ndarray]:
    """Truth and predictions of all folds, as `emostack train` finds them."""
    networks = make_networks(task, options)
    whole, *_ = cross_validate(task, networks, NORMALISE, options, lambda _: None)
    found = whole.predictions
    return found["truth"].to_numpy(), found["predicted"].to_numpy()


def naive(task: Task, options: TrainOptions) -> tuple[np.ndarray, np.ndarray]:
    """Truth and predictions of all folds, as a script would find them."""
    standardised = _by_speaker(task)
    truth, heard = [], []
    for fold in task.folds:
        values, mask = _padded(_projected(standardised, fold, task.n_components))
        model = _fitted(task, options, values, mask, fold.train)
        inputs = [values[fold.test], mask[fold.test]]
        again = dataclasses.replace(task)  # which has to make its vectors anew
        path = again.linear_path(NORMALISE, fold.train, options)
        scores = path.scores(again.vectors[0][fold.test], [task.speakers[i] for i in fold.test])
        both = pooled(model.predict(inputs, verbose=0), scores, options.linear.share)
        truth.append(task.targets[fold.test])
        heard.append(both.argmax(axis=1))
    return np.concatenate(truth), np.concatenate(heard)


WAYS: dict[str, Callable[[Task, TrainOptions], tuple[np.ndarray, np.ndarray]]] = {
    "naive": naive,
    "ours": ours,
}


def _by_speaker(task: Task) -> list[np.ndarray]:
    result = list(task.dataset.stacks)
    for speaker in set(task.speakers):
        rows = [row for row, own in enumerate(task.speakers) if own == speaker]
        together = np.concatenate([result[row] for row in rows])
        mean, deviation = together.mean(axis=0), together.std(axis=0)
        floor = 0.01 * np.median(deviation)
        for row in rows:
            result[row] = (result[row] - mean) / np.maximum(deviation, floor)
    return result


def _projected(stacks: list[np.ndarray], fold: Fold, n_components: int) -> list[np.ndarray]:
    """Principal components of the training segments, by the library that everybody uses."""
    segments = np.concatenate([stacks[row] for row in fold.train])
    pca = PCA(n_components, svd_solver="randomized", random_state=0).fit(segments)
    scale = np.sqrt(pca.explained_variance_.mean())
    projected = pca.transform(np.concatenate(stacks)) / scale
    return np.split(projected, np.cumsum([len(stack) for stack in stacks])[:-1])


def _padded(stacks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    longest = max(len(stack) for stack in stacks)
    values = np.zeros((len(stacks), longest, stacks[0].shape[1]), np.float32)
    mask = np.zeros((len(stacks), longest), bool)
    for row, stack in enumerate(stacks):
        values[row, : len(stack)], mask[row, : len(stack)] = stack, True
    return values, mask


class _SegmentDropout(layers.Layer):
    """Mask other segments in each step of training."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share
        self._seeds = keras.random.SeedGenerator(0)

    def call(self, mask, training=False):  # noqa: ANN001, ANN202
        """Return the mask with a share of it cleared."""
        if not training:
            return mask
        drawn = keras.random.uniform(ops.shape(mask), seed=self._seeds)
        return ops.logical_and(mask, drawn >= self._share)


def _model(settings: ClassifierSettings, n_features: int, n_labels: int) -> keras.Model:
    values = layers.Input((None, n_features))
    given = layers.Input((None,), dtype="bool")
    mask = _SegmentDropout(settings.segment_dropout)(given)
    lstm = layers.LSTM(settings.lstm_units, return_sequences=True)
    steps = layers.Bidirectional(lstm)(layers.Dropout(settings.dropout)(values), mask=mask)
    steps = layers.Dropout(settings.dropout)(steps)
    score = layers.Dense(1)(layers.Dense(settings.attention_units, activation="tanh")(steps))
    attention = ops.softmax(ops.where(mask, ops.squeeze(score, -1), -1e9), axis=-1)
    state = ops.einsum("bt,btu->bu", attention, steps)
    for units in settings.dnn_units:
        state = layers.Dropout(settings.dropout)(layers.Dense(units, activation="relu")(state))
    model = keras.Model([values, given], layers.Dense(n_labels, activation="softmax")(state))
    optimizer = keras.optimizers.AdamW(
        settings.learning_rate, weight_decay=settings.weight_decay, global_clipnorm=1.0
    )
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    model.compile(optimizer, loss, weighted_metrics=[], jit_compile=False)  # faster here
    return model


def _fitted(
    task: Task, options: TrainOptions, values: np.ndarray, mask: np.ndarray, train: np.ndarray
) -> keras.Model:
    """Build, compile and fit."""
    settings, n_labels = options.classifier, len(task.labels)
    keras.utils.set_random_seed(options.seeds[0])
    model = _model(settings, values.shape[2], n_labels)
    model.fit(
        [values[train], mask[train]],
        np.eye(n_labels, dtype=np.float32)[task.targets[train]],
        sample_weight=class_weights(task.targets[train], n_labels)[task.targets[train]],
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        callbacks=[
            keras.callbacks.LearningRateScheduler(
                lambda epoch: learning_rate(settings.learning_rate, epoch / settings.epochs)
            )
        ],
        verbose=0,
    )
    return model


def _print(found: dict[str, list[dict[str, float]]]) -> None:
    for name in ("seconds", "processor seconds", "UAR", "peak RSS, MiB"):
        cells = [f"{way} {np.median([own[name] for own in found[way]]):.1f}" for way in WAYS]
        print(f"{name:<18} {', '.join(cells)}")
    for name in ("seconds", "processor seconds"):
        ratios = [
            slow[name] / fast[name]
            for slow, fast in zip(found["naive"], found["ours"], strict=True)
        ]
        print(
            f"ratio in {name} {np.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} rounds)"
        )


if __name__ == "__main__":
    main()
