"""Corpus doctor: read every utterance once, say what is wrong with it and what there is."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.checking.overview import overview
from stages.checking.sound import CLIPPED_SHARE, Listening, Sound
from stages.checking.twins import twins
from stages.frontend.audio import CODES, AudioError, native_blocks
from stages.manifest import audio_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stages.frontend.logmel import FrontEnd

AT_A_TIME = 256
"""Utterances examined between two looks at the clock."""

_COLUMNS = ["utterance_id", "emotion", "speaker", "gender", "corpus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with one utterance.

    Parameters
    ----------
    utterance_id : as in the manifest
    code : one word
        A code of `stages.frontend.audio.CODES`, or ``clipped``, ``duplicated``,
        ``duplicated_conflicting``, ``missing_label``, ``missing_speaker``.
    message : one line
    manifest : which one, where there are several
    """

    utterance_id: str
    code: str
    message: str
    manifest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A manifest to examine.

    Parameters
    ----------
    name : what messages call it
    rows : its table
    root : folder that relative ``file`` names start from
    """

    name: str
    rows: pd.DataFrame
    root: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """What the doctor found.

    Attributes
    ----------
    n_ok : utterances without a problem
    problems : in the manifests' order; an utterance may have several
    overview : see `stages.checking.overview.overview`
    """

    n_ok: int
    problems: list[Problem]
    overview: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One utterance after its reading; `sound` is None where there was nothing to hear."""

    problems: tuple[Problem, ...]
    sound: Sound | None


def check(
    sources: Sequence[Source],
    frontend: FrontEnd,
    on_done: Callable[[int], None] = lambda _n: None,
) -> Checkup:
    """Examine every utterance of one manifest or several, each against all others.

    Parameters
    ----------
    sources : the manifests
    frontend : FrontEnd
        Says how short is too short.
    on_done : is told, now and then, how many utterances more are done

    Returns
    -------
    Checkup
    """
    examined: list[Examined] = []
    for source in sources:
        paths = audio_paths(source.rows, source.root)
        for some in _examine(source.rows, paths, frontend):
            examined += some
            on_done(len(some))
    rows = _rows(sources)
    problems = [list(one.problems) for one in examined]
    names = rows["utterance_id"].tolist()
    for row, code, message in twins(rows, pd.Series(map(_comparable, examined), dtype="str")):
        problems[row].append(Problem(utterance_id=names[row], code=code, message=message))
    return Checkup(
        n_ok=sum(not own for own in problems),
        problems=_named(problems, rows["manifest"] if len(sources) > 1 else None),
        overview=overview(rows, [one.sound for one in examined]),
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
    for some in _examine(rows, paths, frontend, stop):
        for one in some:
            yield from one.problems


def _examine(
    rows: pd.DataFrame,
    paths: pd.Series,
    frontend: FrontEnd,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[list[Examined]]:
    """Read utterances on all cores, some at a time, and give them back in their order."""
    work = zip(rows.itertuples(index=False), map(Path, paths), strict=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while not stop():
            some = list(itertools.islice(work, AT_A_TIME))
            if not some:
                return
            rows_now, paths_now = zip(*some, strict=True)
            yield list(pool.map(_examined, rows_now, paths_now, itertools.repeat(frontend)))


def _examined(row: Any, path: Path, frontend: FrontEnd) -> Examined:  # noqa: ANN401
    """Find what is wrong with one row of a manifest, by its words and its sound."""
    name = str(row.utterance_id)
    found = list(_missing_words(str(row.emotion), str(row.speaker)))
    sound = None
    try:
        listening = _listen(path, float(row.start), float(row.end))
    except AudioError as error:
        found.append((error.code, str(error)))
    else:
        found += _sound_problems(listening, frontend)
        sound = listening.sound()
    problems = tuple(
        Problem(utterance_id=name, code=code, message=message) for code, message in found
    )
    return Examined(problems=problems, sound=sound)


def _missing_words(emotion: str, speaker: str) -> Iterator[tuple[str, str]]:
    for code, word, value in (
        ("missing_label", "emotion", emotion),
        ("missing_speaker", "speaker", speaker),
    ):
        if not value.strip():
            yield (
                code,
                (
                    f"the {word} is empty; expected a name, since training refuses the "
                    "utterance without; fill it in"
                ),
            )


def _listen(path: Path, start: float, end: float) -> Listening:
    listening = Listening()
    for block in native_blocks(path, start=start, end=end):
        listening.add(block)
    return listening


def _sound_problems(heard: Listening, frontend: FrontEnd) -> list[tuple[str, str]]:
    """Code and message of what is wrong with an utterance's samples; one at most."""
    if not heard.is_finite:
        message = "a sample is not finite; expected full scale 1; mend the file"
        return [("non_finite", message)]
    if not heard.peak:
        message = "every sample is zero; expected sound; leave it out or record it again"
        return [("silent", message)]
    if round(heard.seconds * frontend.sample_rate) < frontend.window_length:
        message = (
            f"the utterance has {1000 * heard.seconds:.1f} ms; expected at least one analysis "
            f"window of {1000 * frontend.window_s:g} ms; leave it out or widen its range"
        )
        return [("too_short", message)]
    if heard.n_in_runs and heard.clipped_share > CLIPPED_SHARE:
        message = (
            f"{100 * heard.clipped_share:.2f} % of the samples are at full scale; expected at most "
            f"{100 * CLIPPED_SHARE:g} %; record it again with less gain"
        )
        return [("clipped", message)]
    return []


def _rows(sources: Sequence[Source]) -> pd.DataFrame:
    """Put manifests below each other; beside several, one that names no corpus is its own."""
    tables = []
    for source in sources:
        table = source.rows[_COLUMNS].assign(manifest=source.name)
        if len(sources) > 1:
            table["corpus"] = table["corpus"].where(table["corpus"] != "", Path(source.name).stem)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _comparable(examined: Examined) -> str:
    """Digest of a sound; empty where extraction would have none of it: all silence is the same."""
    is_bad = any(problem.code in CODES for problem in examined.problems)
    return "" if examined.sound is None or is_bad else examined.sound.digest


def _named(problems: list[list[Problem]], manifests: pd.Series | None) -> list[Problem]:
    """Put all problems in one list, each with its manifest's name where there are several."""
    if manifests is None:
        return [problem for own in problems for problem in own]
    return [
        replace(problem, manifest=name)
        for own, name in zip(problems, manifests, strict=True)
        for problem in own
    ]
