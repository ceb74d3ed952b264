"""openSMILE's functionals of whole utterances, by the ``opensmile`` package.

The package is an extra: its licence allows research, not products, so nothing here may need it unless it is
asked for. Samples come from our own front end, mono and at 16 kHz, so that every file and every range
that has features can be a baseline's, too. It runs in processes of its own: in one that has loaded
TensorFlow (2.21) its library (2.6) damages its memory and dies. So nothing imported here may import that.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import signal
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.frontend.audio import AudioError, read_blocks
from stages.recordings import check_unchanged, unusable
from stages.vector_cache import VectorMaker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stages.utterance import Utterance

FEATURE_SETS = {"egemaps": "eGeMAPSv02", "compare": "ComParE_2016"}
"""openSMILE's names by ours."""

SAMPLE_RATE = 16000
REVISION = 1
"""Raised by hand when code here changes what openSMILE is given."""

MAX_LEVEL = 32767 / 32768
"""The package casts to 16 bits without a look: a louder sample would come out at the other end."""

INSTALL = 'pip install -e ".[baselines]"'


class OpenSmileError(RuntimeError):
    """openSMILE is not there, or came to a bad end."""


def is_installed() -> bool:
    """Whether the ``opensmile`` package is here."""
    return importlib.util.find_spec("opensmile") is not None


def functionals_maker(name: str, n_workers: int) -> VectorMaker:
    """Say how the functionals of one of `FEATURE_SETS` are made; the package must be here."""
    feature_set = FEATURE_SETS[name]
    return VectorMaker(
        name=name,
        identity={
            "features": feature_set,
            "level": "functionals",
            "opensmile": importlib.metadata.version("opensmile"),
            "sample_rate": SAMPLE_RATE,
            "revision": REVISION,
        },
        make=functools.partial(functionals, feature_set=feature_set, n_workers=n_workers),
        has_own_units=True,
    )


def functionals(
    recordings: Sequence[Utterance], feature_set: str, *, n_workers: int = 1
) -> Iterator[np.ndarray]:
    """Compute the functionals of recordings, in their order.

    Parameters
    ----------
    recordings : whose files are still what their features were made of
    feature_set : openSMILE's name, such as ``eGeMAPSv02``
    n_workers : processes; at least one

    Yields
    ------
    float32, shape (n_functionals,)
        NaN where openSMILE has no number, as for an utterance that is too short for it.

    Raises
    ------
    RecordingError
        Audio that cannot be used.
    OpenSmileError
        The package is not installed, or a process died.
    """
    job = functools.partial(functionals_of, feature_set=feature_set)
    n_done = 0
    try:
        for vector in _in_processes(job, recordings, max(1, n_workers)):
            n_done += 1
            yield vector
    except BrokenProcessPool as error:
        message = (
            f"a process that ran openSMILE died at {recordings[n_done].utterance_id!r} or soon after; "
            "expected vectors; what was done is kept: run it again, leave such recordings out of the "
            "manifest, or train without --baselines"
        )
        raise OpenSmileError(message) from error


def _in_processes(
    job: Callable[[Utterance], np.ndarray], recordings: Sequence[Utterance], n_workers: int
) -> Iterator[np.ndarray]:
    # Spawned: a fork of a process in which TensorFlow has threads may hang.
    context = get_context("spawn")
    with ProcessPoolExecutor(n_workers, mp_context=context, initializer=_begin) as pool:
        yield from pool.map(job, recordings)


def _begin() -> None:
    """Leave interrupts to the process that asked, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def functionals_of(recording: Utterance, feature_set: str) -> np.ndarray:
    """Compute the functionals of one recording."""
    check_unchanged(recording)
    blocks = read_blocks(
        recording.path, start=recording.start, end=recording.end, sample_rate=SAMPLE_RATE
    )
    try:
        samples = np.concatenate(list(blocks)).clip(-1.0, MAX_LEVEL)
    except AudioError as error:
        raise unusable(recording, error) from error
    with warnings.catch_warnings():
        # It fills up with NaN and says so; they are counted and told together.
        warnings.filterwarnings("ignore", message="Segment too short", category=UserWarning)
        values = smile(feature_set).process_signal(samples, SAMPLE_RATE)
    return np.asarray(values, np.float32).reshape(-1)


@functools.cache
def smile(feature_set: str) -> Any:  # noqa: ANN401 - the package ships no types
    """Load openSMILE with a feature set's functionals, once a process.

    Raises
    ------
    OpenSmileError
        The package is not installed, or this process has loaded TensorFlow.
    """
    if "tensorflow" in sys.modules:
        message = (
            "TensorFlow is loaded in the process that is to run openSMILE; expected one without it, "
            "where both live; import it below 'if __name__ == \"__main__\"' in the script that is run"
        )
        raise OpenSmileError(message)
    try:
        import opensmile
    except ImportError as error:
        message = f"the package opensmile is not here ({error}); expected it; {INSTALL}"
        raise OpenSmileError(message) from error
    return opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.Functionals)
