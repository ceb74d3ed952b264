"""Stage two as one job: read features, train, report."""

import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.store import Store
from pipeline import __version__
from pipeline.baselines import rivals_of
from pipeline.cross_corpus import SecondCorpus, load_second_corpus, with_second_corpus
from pipeline.progress import meter
from pipeline.session import Session
from pipeline.workdir import Workdir
from reports.evaluation_names import evaluation_words
from reports.page import write_report
from stages.baselines import MOST_FOR_SVM, fits_svm
from stages.frontend.audio import AudioError
from stages.frontend.logmel import logmel_blocks
from stages.fusing import joint_name
from stages.manifest import audio_paths, write_manifest
from stages.recipe import Recipe
from stages.run_folder import RunNotes
from stages.train import train
from stages.train_options import TrainOptions
from stages.training_features import read_features
from stages.training_task import make_task

RANDOM_WEIGHTS = "the frozen network's weights are seeded random numbers, not ImageNet's: nothing here is a result"
SYNTHETIC_VOICES = (
    "the voices are synthetic, not real speech: the numbers say nothing about emotion"
)
SHORT = {RANDOM_WEIGHTS: "random weights", SYNTHETIC_VOICES: "synthetic voices"}
"""What a warning is called on a line that has no room for it."""
CORPORA = ("trained_on", "tested_on")
"""Fields of a training that was tested on a second corpus."""

NORMALISED = {
    "speaker": "speaker-normalised (transductive)",
    "train": "normalised by the training speakers (inductive)",
    "none": "not normalised (inductive)",
}


def run_training(
    session: Session,
    workdir: Workdir,
    manifest: pd.DataFrame,
    root: Path,
    store: Store,
    recipe: Recipe,
    options: TrainOptions,
    *,
    title: str,
    beside: Sequence[tuple[Store, Recipe]] = (),
    second: SecondCorpus | None = None,
    warning: str = "",
    provenance: dict[str, str | int | float] | None = None,
    with_baselines: bool = False,
    n_workers: int | None = None,
    memory_gib: float | None = None,
) -> dict[str, Any]:
    """Train on a manifest's cached features and write the run's report.

    Parameters
    ----------
    session : says what happens
    workdir : where the run goes
    manifest, root : the utterances, and the folder of their audio, which need not be there: it only
        serves the spectrograms of the report, and baselines whose features are not kept yet
    store, recipe : where the features are
    options : what to train
    title : heading of the report
    beside : other recipes, whose features stand beside the first's: see `stages.fusing`. The report's
        spectrograms and the baselines are by the first
    second : another corpus, the only one to be tested on; None: cross-validation
    warning : what keeps the numbers from being a result, beside random weights, which are always
        told; shown wherever a number is
    provenance : what else the report should say of where its numbers come from
    with_baselines : evaluate other features than the store's, and the majority class, too
    n_workers : processes that make those features; None: one a core
    memory_gib : what the corpus' features may take in memory; larger ones are streamed, again and
        again, from the store. None: half of what is free

    Returns
    -------
    dict
        The contract's fields of ``emostack train --json``.
    """
    sources = [(store, recipe), *beside]
    stores = [each for each, _ in sources]
    memory_bytes = _free_memory() / 2 if memory_gib is None else memory_gib * 2**30
    dataset, left_out = read_features(manifest, stores, options.views, memory_bytes=memory_bytes)
    if left_out:
        session.warn(f"{len(left_out)} quarantined utterances are left out")
    is_random = any(each.has_random_weights for _, each in sources)
    warning = "; ".join(each for each in (RANDOM_WEIGHTS if is_random else "", warning) if each)
    if warning:
        session.warn(warning)
    own = {"manifest": dataset}
    if second is not None:
        own["test_manifest"] = load_second_corpus(
            session, second, stores, memory_bytes - dataset.n_bytes
        )
        dataset = with_second_corpus(dataset, root, own["test_manifest"], second.root)
    n_test = len(dataset.stacks) - len(own["manifest"].stacks)
    is_svm_left_out = not fits_svm(len(dataset.stacks)) and (options.own_svm or with_baselines)
    if is_svm_left_out:
        session.warn(
            f"{len(dataset.stacks)} utterances are more than the {MOST_FOR_SVM} that linear SVMs are "
            "trained on: they are left out"
        )
    is_streamed = not all(each.is_in_memory for each in own.values())
    if is_streamed:
        gib, most = dataset.n_bytes / 2**30, memory_bytes / 2**30
        session.say(f"features take {gib:.1f} GiB, of {most:.1f} allowed: they are streamed")
    rivals = None
    if with_baselines:
        make_task(dataset, options, n_test=n_test)  # refuses now what minutes were spent on else
        rivals = []
        if not is_svm_left_out:
            rivals = rivals_of(session, workdir, dataset, root, recipe, n_workers)
    run = workdir.new_run(title)
    notes = RunNotes(
        title=title,
        warning=warning,
        provenance={**_provenance(sources), **(provenance or {})},
        spectrogram=_Spectrograms(dataset.manifest, root, recipe),
    )
    try:
        with (
            meter("training", 1, quiet=session.quiet) as progress,
            _scratch(workdir, is_needed=is_streamed) as scratch,
        ):
            fields = train(
                dataset,
                options,
                run,
                n_test=n_test,
                scratch=scratch,
                notes=notes,
                rivals=rivals,
                on_progress=lambda _, n, what: progress.advance(1, what, total=n),
            )
    finally:
        if not any(run.iterdir()):  # refused before anything was written
            run.rmdir()
    for name, each in own.items():
        write_manifest(each.manifest, run / f"{name}.csv")
    manifests = {name: str(run / f"{name}.csv") for name in own}
    told = {**fields, **manifests, "streamed": is_streamed}
    return {**told, "report": str(write_report(run))}


def _free_memory() -> int:
    """Bytes that are free, here and, as far as this process knows, in a container around it."""
    import psutil
    from distributed.system import MEMORY_LIMIT

    own = psutil.Process().memory_info().rss
    return min(int(psutil.virtual_memory().available), max(0, int(MEMORY_LIMIT) - int(own)))


@contextmanager
def _scratch(workdir: Workdir, *, is_needed: bool) -> Iterator[Path | None]:
    """Give a folder for what a streamed training makes, gone with the block; None if there is no need."""
    if not is_needed:
        yield None
        return
    workdir.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=workdir.scratch, prefix="train-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _provenance(sources: Sequence[tuple[Store, Recipe]]) -> dict[str, str | int | float]:
    networks = [recipe.network for _, recipe in sources]
    return {
        "command": shlex.join(["emostack", *sys.argv[1:]]),
        "emostack": __version__,
        "network": joint_name(dict.fromkeys(each.network for each in networks)),
        "weights": joint_name(dict.fromkeys(each.weights for each in networks)),
        "weights_sha256": joint_name(dict.fromkeys(each.weights_sha256 for each in networks)),
        "store": joint_name(store.folder for store, _ in sources),
    }


class _Spectrograms:
    """Log-Mel spectrograms of a manifest's rows, for the report, where the audio is at hand."""

    def __init__(self, manifest: pd.DataFrame, root: Path, recipe: Recipe) -> None:
        self._manifest = manifest
        self._paths = audio_paths(manifest, root)
        self._recipe = recipe

    def __call__(self, row: int) -> tuple[NDArray[np.float32], float] | None:
        """Return (n_mels, n_frames) in dB and seconds a frame, or None without the audio."""
        start, end = self._manifest["start"].iloc[row], self._manifest["end"].iloc[row]
        frontend = self._recipe.frontend
        try:
            blocks = list(
                logmel_blocks(Path(self._paths.iloc[row]), start=start, end=end, settings=frontend)
            )
        except (AudioError, OSError):
            return None
        return np.concatenate(blocks, axis=1), frontend.hop_s


def summary(fields: dict[str, Any]) -> str:
    """Say the result of a training in a few lines, each number with its kind and its warning."""
    mark = _short(fields["warning"])
    normalise = fields["normalise"]
    interval = _interval(fields["uar_interval"])
    ours = "BLSTM and linear path" if fields["parts"] else "BLSTM"
    numbers = [f"UAR {fields['uar_pooled']:.1f} {ours}, {NORMALISED[normalise]}{interval}"]
    if normalise == "speaker":
        numbers.append(f"UAR {fields['uar_inductive']:.1f} {ours}, {NORMALISED['train']}")
    for name, uar in (fields["parts"] | fields["baselines"]).items():
        words, kind = evaluation_words(name)
        normalised = f", {NORMALISED[kind]}" if kind else ""
        numbers.append(f"UAR {uar:.1f} {words}{normalised}, the same folds")
    return "\n".join(
        [
            *([f"MIND: {fields['warning']}"] if mark else []),
            *(f"{what.replace('_', ' ')} {fields[what]}" for what in CORPORA if what in fields),
            *(number + mark for number in numbers),
            f"report {fields['report']}",
            f"bundle {fields['bundle']}",
        ]
    )


def _interval(interval: list[float] | None) -> str:
    if interval is None:
        return ""
    low, high = interval
    return f", 95 % interval over speakers {low:.1f} to {high:.1f}"


def _short(warning: str) -> str:
    """Shorten a warning to what fits behind a number."""
    if not warning:
        return ""
    known = [short for long, short in SHORT.items() if long in warning]
    return f" [{', '.join(known) or 'mind the warning'}, not a result]"
