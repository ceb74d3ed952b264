"""The baselines' features of a data set, made once and kept below the workdir."""

from pathlib import Path

import numpy as np

from pipeline.cluster import default_workers
from pipeline.progress import meter
from pipeline.session import Session
from pipeline.workdir import Workdir
from stages.baselines import UtteranceVectors
from stages.dataset import Dataset
from stages.opensmile_features import FEATURE_SETS, INSTALL, functionals_maker, is_installed
from stages.recipe import Recipe
from stages.recordings import recordings_of
from stages.utterance import Utterance
from stages.vector_cache import VectorMaker, cached_vectors
from stages.whole_utterance import whole_utterance_maker

WITHOUT_OPENSMILE = (
    "the package opensmile is not installed: its two baselines are left out; "
    f"{INSTALL} (free for research, not for products)"
)


def rivals_of(
    session: Session,
    workdir: Workdir,
    dataset: Dataset,
    root: Path,
    recipe: Recipe,
    n_workers: int | None = None,
) -> list[UtteranceVectors]:
    """Make, or take from the workdir, the features that the network is measured against.

    Parameters
    ----------
    session : told of what is left out and of gaps
    workdir : keeps what is made
    dataset, root : the utterances, and the folder of their audio, needed for what is not kept yet
    recipe : whose network sees whole utterances
    n_workers : processes that run openSMILE, at least one; None: one a core

    Raises
    ------
    stages.recordings.RecordingError
        Audio that is not there, or has changed since its features were extracted.
    stages.opensmile_features.OpenSmileError, models.weights.WeightsError
        openSMILE dies again and again; the network's weights are not here.
    """
    recordings = recordings_of(dataset, root)
    n_workers = default_workers() if n_workers is None else n_workers
    makers = [whole_utterance_maker(recipe)]
    if is_installed():
        makers += [functionals_maker(name, n_workers) for name in FEATURE_SETS]
    else:
        session.warn(WITHOUT_OPENSMILE)
    return [
        UtteranceVectors(
            name=maker.name,
            vectors=_vectors(session, workdir, maker, recordings),
            has_own_units=maker.has_own_units,
        )
        for maker in makers
    ]


def _vectors(
    session: Session, workdir: Workdir, maker: VectorMaker, recordings: list[Utterance]
) -> np.ndarray:
    with meter(f"baseline {maker.name}", len(recordings), quiet=session.quiet) as progress:
        vectors = cached_vectors(
            workdir.baselines, maker, recordings, lambda _, n: progress.advance(1, total=n)
        )
    is_gap = ~np.isfinite(vectors)
    if is_gap.any():
        session.warn(
            f"baseline {maker.name}: {is_gap.sum()} values of {is_gap.any(axis=1).sum()} "
            f"utterances are no numbers and stand for the average"
        )
    return vectors
