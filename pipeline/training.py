"""Stage two as one job: read features, train, report."""

import math
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.store import Store
from pipeline import __version__
from pipeline.progress import meter
from pipeline.session import Session
from pipeline.workdir import Workdir
from reports.page import write_report
from stages.dataset import load_dataset, select
from stages.frontend.audio import AudioError
from stages.frontend.logmel import logmel_blocks
from stages.manifest import audio_paths, write_manifest
from stages.recipe import Recipe
from stages.run_folder import RunNotes
from stages.train import train
from stages.train_options import TrainOptions

RANDOM_WEIGHTS = "the frozen network's weights are seeded random numbers, not ImageNet's: nothing here is a result"


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
    provenance: dict[str, str | int | float] | None = None,
) -> dict[str, Any]:
    """Train on a manifest's cached features and write the run's report.

    Parameters
    ----------
    session : says what happens
    workdir : where the run goes
    manifest, root : the utterances, and the folder of their audio, which need not be there: it only
        serves the spectrograms of the report
    store, recipe : where the features are
    options : what to train
    title : heading of the report
    provenance : what else the report should say of where its numbers come from

    Returns
    -------
    dict
        The contract's fields of ``emostack train --json``.
    """
    selection = select(manifest, store)
    if selection.left_out:
        session.warn(f"{len(selection.left_out)} quarantined utterances are left out")
    warning = RANDOM_WEIGHTS if recipe.has_random_weights else ""
    if warning:
        session.warn(warning)
    dataset = load_dataset(selection, store, recipe.recipe_id)
    run = workdir.new_run(title)
    notes = RunNotes(
        title=title,
        warning=warning,
        provenance={
            "command": shlex.join(["emostack", *sys.argv[1:]]),
            "emostack": __version__,
            "network": recipe.network.network,
            "weights": recipe.network.weights,
            "weights_sha256": recipe.network.weights_sha256,
            "store": str(store.folder),
            **(provenance or {}),
        },
        spectrogram=_Spectrograms(dataset.manifest, root, recipe),
    )
    with meter("training", 1, quiet=session.quiet) as progress:
        fields = train(
            dataset,
            options,
            run,
            notes=notes,
            on_progress=lambda _, n, what: progress.advance(1, what, total=n),
        )
    write_manifest(dataset.manifest, run / "manifest.csv")
    report = write_report(run)
    return {**fields, "manifest": str(run / "manifest.csv"), "report": str(report)}


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
            blocks = list(logmel_blocks(self._paths[row], start=start, end=end, settings=frontend))
        except (AudioError, OSError):
            return None
        return np.concatenate(blocks, axis=1), frontend.hop_s


def summary(fields: dict[str, Any]) -> str:
    """Say the result of a training in a few lines."""
    low, high = fields["uar_interval"] or (math.nan, math.nan)
    kinds = {
        "speaker": "speaker-normalised (transductive: each speaker's own unlabelled statistics)",
        "train": "normalised by the training speakers",
        "none": "not normalised",
    }
    lines = [
        f"UAR {fields['uar_pooled']:.1f}, 95 % interval over speakers {low:.1f} to {high:.1f}",
        f"    {kinds[fields['normalise']]}",
        f"UAR {fields['uar_inductive']:.1f} inductive: nothing of a test speaker seen before",
        *(f"UAR {uar:.1f} {name}, the same folds" for name, uar in fields["baselines"].items()),
        f"report {fields['report']}",
        f"bundle {fields['bundle']}",
    ]
    if fields["warning"]:
        lines.insert(0, f"MIND: {fields['warning']}")
    return "\n".join(lines)
