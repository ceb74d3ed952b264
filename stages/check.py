"""Corpus doctor: read every utterance of a manifest once and say what is wrong with it."""

from __future__ import annotations

import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features_cache.keys import file_sha256
from stages.frontend.audio import CODES, MAX_LEVEL, AudioError, native_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from stages.frontend.audio import NativeBlock
    from stages.frontend.logmel import FrontEnd

AT_A_TIME = 256
"""Utterances examined between two looks at the clock."""

UNREADABLE = frozenset(CODES) - {"silent", "too_short", "non_finite"}
"""Codes of files without samples to compare."""

CLIPPED_SHARE = 0.001  # of the utterance's samples
CLIPPED_RUN = 3  # samples in a row: a wave that merely touches full scale has none such
# The largest magnitude that a coarse sample format can hold falls short of 1.
_FULL_SCALE = {"PCM_U8": 0.992, "PCM_S8": 0.992, "ULAW": 0.98, "ALAW": 0.984}
_FULL_SCALE_16_BIT = 0.99996


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with one utterance.

    Parameters
    ----------
    utterance_id : as in the manifest
    code : one word
        A code of `stages.frontend.audio.CODES`, or ``clipped``, ``duplicated``, ``missing_label``,
        ``missing_speaker``.
    message : one line
    """

    utterance_id: str
    code: str
    message: str


def check(manifest: pd.DataFrame, root: Path, frontend: FrontEnd) -> Iterator[Problem]:
    """Examine every utterance of a manifest.

    Parameters
    ----------
    manifest : the manifest's table
    root : folder that relative ``file`` names start from
    frontend : FrontEnd
        Says how short is too short.

    Yields
    ------
    Problem
        In the manifest's order, an utterance may have several; none for a sound corpus.
    """
    hashes: dict[Path, str] = {}
    first_with: dict[tuple[str, float, float | None], str] = {}
    for row in manifest.itertuples(index=False):
        name, path = str(row.utterance_id), Path(root) / str(row.file)
        start, end = float(row.start), float(row.end)
        problems = _problems(row, path, frontend)
        yield from problems
        if any(problem.code in UNREADABLE for problem in problems):
            continue
        if path not in hashes:
            hashes[path] = file_sha256(path)
        content = (hashes[path], start, None if math.isnan(end) else end)
        twin = first_with.setdefault(content, name)
        if twin != name:
            yield Problem(
                utterance_id=name,
                code="duplicated",
                message=f"the same audio as utterance {twin!r}; expected it once; "
                "leave one of them out",
            )


def check_rows(
    rows: pd.DataFrame, paths: pd.Series, frontend: FrontEnd, stop: Callable[[], bool]
) -> Iterator[Problem]:
    """Examine utterances one by one, several at a time, without looking for twins.

    Parameters
    ----------
    rows : of a manifest
    paths : absolute path of each row's audio file
    frontend : says how short is too short
    stop : tells that there is no time for more
    """
    work = zip(rows.itertuples(index=False), map(Path, paths), strict=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while not stop():
            some = list(itertools.islice(work, AT_A_TIME))
            if not some:
                return
            rows_now, paths_now = zip(*some, strict=True)
            for problems in pool.map(_problems, rows_now, paths_now, itertools.repeat(frontend)):
                yield from problems


def _problems(row: Any, path: Path, frontend: FrontEnd) -> list[Problem]:  # noqa: ANN401
    """Find what is wrong with one row of a manifest, by its words and its sound."""
    name = str(row.utterance_id)
    problems = list(_missing_words(name, str(row.emotion), str(row.speaker)))
    try:
        found = _sound_problem(path, float(row.start), float(row.end), frontend)
    except AudioError as error:
        found = error.code, str(error)
    if found is not None:
        problems.append(Problem(utterance_id=name, code=found[0], message=found[1]))
    return problems


def _missing_words(name: str, emotion: str, speaker: str) -> Iterator[Problem]:
    for code, word, value in (
        ("missing_label", "emotion", emotion),
        ("missing_speaker", "speaker", speaker),
    ):
        if not value.strip():
            yield Problem(
                utterance_id=name,
                code=code,
                message=f"the {word} is empty; expected a name, since training refuses the "
                "utterance without; fill it in",
            )


def _sound_problem(
    path: Path, start: float, end: float, frontend: FrontEnd
) -> tuple[str, str] | None:
    """Read one utterance; code and message of what is wrong with its samples."""
    tally = _Tally()
    for block in native_blocks(path, start=start, end=end):
        tally.add(block)
    if not tally.is_finite:
        return "non_finite", "a sample is not finite; expected full scale 1; mend the file"
    if not tally.peak:
        return "silent", "every sample is zero; expected sound; leave it out or record it again"
    length_s = tally.n_samples / tally.sample_rate
    if round(length_s * frontend.sample_rate) < frontend.window_length:
        message = (
            f"the utterance has {1000 * length_s:.1f} ms; expected at least one analysis window of "
            f"{1000 * frontend.window_s:g} ms; leave it out or widen its range"
        )
        return "too_short", message
    if tally.n_in_runs and tally.clipped_share > CLIPPED_SHARE:
        message = (
            f"{100 * tally.clipped_share:.2f} % of the samples are at full scale; expected at most "
            f"{100 * CLIPPED_SHARE:g} %; record it again with less gain"
        )
        return "clipped", message
    return None


class _Tally:
    """Counts over an utterance's samples, a channel at a time."""

    def __init__(self) -> None:
        self.n_samples = 0
        self.sample_rate = 1
        self.is_finite = True
        self.peak = 0.0
        self.n_in_runs = 0
        self._n_full: NDArray[np.int64] | None = None
        self._before: NDArray[np.bool_] | None = None

    def add(self, block: NativeBlock) -> None:
        """Count a block; runs go on from the one before."""
        level = np.abs(block.samples)
        peak = float(level.max())
        self.is_finite = self.is_finite and peak <= MAX_LEVEL
        self.peak = max(self.peak, peak)
        self.n_samples += len(level)
        self.sample_rate = block.sample_rate
        is_full = level >= _FULL_SCALE.get(block.subtype, _FULL_SCALE_16_BIT)
        n_full = is_full.sum(axis=0)
        self._n_full = n_full if self._n_full is None else self._n_full + n_full
        if self._before is not None:
            is_full = np.concatenate([self._before, is_full])
        if len(is_full) >= CLIPPED_RUN:
            runs = np.lib.stride_tricks.sliding_window_view(is_full, CLIPPED_RUN, axis=0)
            self.n_in_runs += int(runs.all(axis=-1).sum())
        self._before = is_full[1 - CLIPPED_RUN :]

    @property
    def clipped_share(self) -> float:
        """Share of samples at full scale in the channel that has most."""
        return 0.0 if self._n_full is None else int(self._n_full.max()) / self.n_samples
