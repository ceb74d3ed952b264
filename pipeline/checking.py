"""The corpus doctor as one job: read manifests, examine every utterance, write the page, say it."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.progress import meter
from pipeline.session import Session
from reports.text import count, span, visible
from stages.check import Source, check
from stages.manifest import read_manifest
from stages.recipe import load_recipe

N_NAMED = 10
"""Emotions, corpora and kinds of audio that the text names; ``--json`` has all."""


class CheckError(ValueError):
    """What was asked for cannot be examined."""


def run_check(
    session: Session,
    manifests: Sequence[Path],
    *,
    audio: Sequence[Path],
    allow_absolute: bool,
    recipe_name: str,
    page: Path | None,
) -> None:
    """Examine manifests, each utterance against all others, and say what was found.

    Parameters
    ----------
    session : says what happens
    manifests : files; no file twice
    audio : folder of all manifests' files, or one a manifest; none: each manifest's own
    allow_absolute : take absolute paths outside that folder
    recipe_name : its front end says how short is too short
    page : where to write the HTML page; None: nowhere

    Raises
    ------
    CheckError
        A manifest is named twice, there are neither one nor as many audio folders, or the page's
        folder cannot be written to.
    stages.manifest.ManifestError
        A manifest cannot be read.
    """
    _refuse_twice(manifests)
    if page is not None:
        _refuse_unwritable(page)
    sources = [
        Source(
            name=str(path),
            rows=read_manifest(path, audio=root, allow_absolute=allow_absolute),
            root=root,
        )
        for path, root in zip(manifests, _roots(manifests, audio), strict=True)
    ]
    n_utterances = sum(len(source.rows) for source in sources)
    with meter("check", n_utterances, quiet=session.quiet) as progress:
        found = check(sources, load_recipe(recipe_name).frontend, progress.advance)
    fields = asdict(found)
    lines = [_problem_line(problem) for problem in fields["problems"]]
    lines += overview_lines(found.overview)
    if page is not None:
        title = ", ".join(path.name for path in manifests)
        provenance = {
            "manifest": ", ".join(map(str, manifests)),
            "audio": ", ".join(map(str, audio)) or "beside each manifest",
            "recipe": recipe_name,
            "emostack": __version__,
        }
        _write_page(page, {"title": title, "provenance": provenance, **fields})
        fields["page"] = str(page)
        lines.append(str(page))
    session.result(
        fields, "\n".join([*lines, f"{found.n_ok} of {n_utterances} utterances are fine"])
    )


def overview_lines(overview: dict[str, Any]) -> list[str]:
    """Say what a corpus holds in a few lines of text.

    Parameters
    ----------
    overview : see `stages.checking.overview.overview`
    """
    durations, genders = overview["durations_s"], overview["genders"]
    lines = [
        (
            f"{count(overview['n_utterances'], 'utterance')}, {span(overview['seconds'])}, "
            f"{count(overview['n_speakers'], 'speaker')}, {count(overview['n_emotions'], 'emotion')}"
        )
    ]
    if durations:
        ends = ", ".join(
            f"{name} {span(durations[key])}"
            for name, key in (("shortest", "min"), ("median", "median"), ("longest", "max"))
        )
        lines.append(f"  length    {ends}")
    rates = [(f"{rate} Hz", n) for rate, n in overview["sample_rates_hz"].items()]
    channels = [(count(int(c), "channel"), n) for c, n in overview["n_channels"].items()]
    for title, pairs in (
        ("corpora", [(one["name"], one["n_utterances"]) for one in overview["corpora"]]),
        ("emotions", [(one["name"], one["n_utterances"]) for one in overview["emotions"]]),
        ("speakers", [(one["name"] or "unknown", one["n_speakers"]) for one in genders]),
        ("audio", [*rates, *channels, *overview["sample_formats"].items()]),
    ):
        if pairs and not (title == "corpora" and len(pairs) == 1):
            lines.append(f"  {title:<9} {_some(pairs)}")
    return [*lines, *(f"  look      {visible(line)}" for line in overview["cautions"])]


def _some(pairs: Iterable[tuple[str, int]]) -> str:
    words = [f"{visible(name) or '(none)'} {n:,}" for name, n in pairs]
    more = [f"and {len(words) - N_NAMED} more"] if len(words) > N_NAMED else []
    return ", ".join([*words[:N_NAMED], *more])


def _problem_line(problem: dict[str, str]) -> str:
    where = f"{problem['manifest']!r}: " if problem["manifest"] else ""
    return f"{where}{problem['utterance_id']!r}: {problem['code']}: {problem['message']}"


def _write_page(page: Path, corpus: dict[str, Any]) -> None:
    from reports.corpus_page import write_corpus_page  # imports matplotlib

    write_corpus_page(page, corpus)


def _roots(manifests: Sequence[Path], audio: Sequence[Path]) -> list[Path]:
    """Give each manifest the folder of its files."""
    if len(audio) not in (0, 1, len(manifests)):
        message = (
            f"--audio was given {len(audio)} times for {len(manifests)} manifests; expected one "
            "folder for all of them, or one for each in their order"
        )
        raise CheckError(message)
    if len(audio) == len(manifests):
        return list(audio)
    return [audio[0] if audio else path.parent for path in manifests]


def _refuse_twice(manifests: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for path in manifests:
        if path.resolve() in seen:
            raise CheckError(f"{path} is named twice; expected each manifest once; leave one out")
        seen.add(path.resolve())


def _refuse_unwritable(page: Path) -> None:
    """Tell before the audio is read, and not after it, that the page cannot be written."""
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=page.parent):
            return
    except OSError as error:
        message = (
            f"no file can be made in {page.parent} ({error.strerror}); expected a folder that this "
            "user may write to; give another --html"
        )
        raise CheckError(message) from error
