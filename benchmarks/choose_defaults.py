"""Which recipe and which settings of the classifier, chosen without the test speakers?

Speakers are dealt into five groups; each of the ten trainings of a candidate leaves out two of them.
For a speaker, the inner score of a candidate is its UAR on all *other* left-out speakers, by the
trainings that had left that speaker out: nothing of the speaker is in it. So for every outer fold
(leave one speaker out) a candidate can be chosen that the fold's test speaker has no part in.

Prints, for every candidate, the UAR pooled over all ten trainings (one default is chosen by it: every
speaker has a part in that choice, and docs/method.md says so), of the classifier and of the linear SVM;
with ``--nested`` also the UAR of leaving one speaker out, each fold with what its inner score chose.

    python benchmarks/choose_defaults.py m.csv --workdir runs --candidates benchmarks/candidates.toml

A candidate names a recipe (whose features and views have been extracted), or a list of them for their
features side by side, and what differs from the default: views, n_components, balance, and fields of the network (``classifier``) and the linear path
(``linear``).
"""

import argparse
import dataclasses
import itertools
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.blstm_attention_dnn import ClassifierSettings
from models.linear_path import LinearPathSettings
from models.linear_svm import uar
from models.settings import from_mapping
from pipeline.stores import open_stores
from pipeline.workdir import Workdir
from stages.baselines import cross_validate_svm, own_vectors
from stages.crossvalidate import cross_validate
from stages.folds import Fold
from stages.manifest import read_manifest
from stages.train import make_networks
from stages.train_options import TrainOptions
from stages.training_features import read_features
from stages.training_task import Task, make_task

N_GROUPS = 5


def main() -> None:
    """Score all candidates, then choose."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--workdir", type=Path, default=Path("runs"))
    parser.add_argument("--candidates", type=Path, required=True)
    parser.add_argument("--normalise", choices=("speaker", "train"), default="speaker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--svm", action="store_true", help="only the SVM, on the utterances alone")
    parser.add_argument("--nested", action="store_true", help="train the outer folds, too")
    given = parser.parse_args()
    listed = tomllib.loads(given.candidates.read_text(encoding="utf-8"))["candidate"]
    tables = {}
    for candidate in listed:
        task, options = prepared(given, candidate)
        inner = dataclasses.replace(task, folds=inner_folds(task.speakers, given.seed))
        svm = cross_validate_svm(inner, own_vectors(inner), given.normalise, options, ignore)
        found = f"SVM {pooled(svm.predictions):.1f}"
        if not given.svm:
            tables[candidate["name"]] = predictions(inner, options, given.normalise)
            found = f"{pooled(tables[candidate['name']]):.1f}, {found}"
        print(f"{candidate['name']}: {found}", flush=True)
    if given.nested and tables:
        nested(given, {each["name"]: each for each in listed}, tables)


def prepared(given: argparse.Namespace, candidate: dict[str, Any]) -> tuple[Task, TrainOptions]:
    """Read a candidate's features and views, and make its options."""
    names = candidate["recipe"] if isinstance(candidate["recipe"], list) else [candidate["recipe"]]
    stores = [store for store, _ in open_stores(Workdir(given.workdir), names)]
    options = TrainOptions(
        seeds=(given.seed,),
        views=tuple(candidate.get("views", ())),
        classifier=from_mapping(ClassifierSettings, candidate.get("classifier", {})),
        linear=from_mapping(LinearPathSettings, candidate.get("linear", {})),
        **{name: candidate[name] for name in ("n_components", "balance") if name in candidate},
    )
    manifest = read_manifest(given.manifest, allow_absolute=True)
    dataset, _ = read_features(manifest, stores, options.views)
    return make_task(dataset, options), options


def inner_folds(speakers: list[str], seed: int) -> list[Fold]:
    """Leave out two of five groups of speakers at a time; a fold is called after its speakers."""
    names = np.random.default_rng(seed).permutation(sorted(set(speakers)))
    groups = np.array_split(names, N_GROUPS)
    own = np.array(speakers)
    folds = []
    for pair in itertools.combinations(groups, 2):
        left_out = np.concatenate(pair)
        is_test = np.isin(own, left_out)
        name = "\n".join(left_out)
        folds.append(Fold(name=name, train=np.flatnonzero(~is_test), test=np.flatnonzero(is_test)))
    return folds


def predictions(task: Task, options: TrainOptions, normalise: str) -> pd.DataFrame:
    """Train and test the classifier on all of a task's folds."""
    networks = make_networks(task, options)
    whole, *_ = cross_validate(task, networks, normalise, options, ignore)
    return whole.predictions


def ignore(_: str) -> None:
    """Tell nobody."""


def pooled(table: pd.DataFrame) -> float:
    """UAR in percent over all rows."""
    return 100 * uar(table["truth"].to_numpy(str), table["predicted"].to_numpy(str))


def inner_score(table: pd.DataFrame, speaker: str) -> float:
    """UAR on the other speakers, by the trainings that had left this one out."""
    is_out = np.array([speaker in name.split("\n") for name in table["fold"]])
    return pooled(table[is_out & (table["speaker"] != speaker).to_numpy()])


def nested(
    given: argparse.Namespace, candidates: dict[str, Any], tables: dict[str, pd.DataFrame]
) -> None:
    """Leave each speaker out with the candidate that its inner score chose."""
    speakers = sorted(set(next(iter(tables.values()))["speaker"]))
    chosen = {
        speaker: max(tables, key=lambda name: inner_score(tables[name], speaker))
        for speaker in speakers
    }
    found = []
    for name in sorted(set(chosen.values())):
        task, options = prepared(given, candidates[name])
        folds = [fold for fold in task.folds if chosen[task.speakers[fold.test[0]]] == name]
        found.append(predictions(dataclasses.replace(task, folds=folds), options, given.normalise))
    for speaker, name in chosen.items():
        print(f"{speaker}: {name}")
    print(f"nested: {pooled(pd.concat(found)):.1f}")


if __name__ == "__main__":
    main()
