"""Verbs about audio and manifests: corpora, manifest, check, preview."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline import options
from pipeline.session import Session
from pipeline.workdir import Workdir

if TYPE_CHECKING:
    from stages.corpora.reader import Reader

_SHARING = {
    "free": "may be handed on",
    "forbidden": "may not be handed on",
    "unclear": "ask whether they may be handed on",
}


@click.command()
@options.common
def corpora(session: Session, workdir: Workdir) -> None:  # noqa: ARG001 - every verb has one
    """List the corpora that can be read by name.

    \b
    Example: emostack corpora
    """
    from stages.corpora.table import READERS

    fields = [
        {
            "name": name,
            "layout": reader.layout,
            "classes": list(reader.classes),
            "n_utterances": reader.n_utterances,
            "language": reader.language,
            "licence": reader.licence,
            "sharing": reader.sharing,
            "citation": reader.citation,
        }
        for name, reader in READERS.items()
    ]
    session.result({"corpora": fields}, "\n".join(_in_words(reader) for reader in READERS.values()))


def _in_words(reader: "Reader") -> str:
    size = f" ({reader.n_utterances} utterances)" if reader.n_utterances else ""
    return "\n".join(
        [
            reader.name,
            f"  expects   {reader.layout}",
            f"  classes   {', '.join(reader.classes) or 'yours'}{size}",
            f"  language  {reader.language or 'yours'}",
            f"  licence   {reader.licence}",
            f"  features  {_SHARING[reader.sharing]}",
            f"  cite      {reader.citation}",
        ]
    )


@click.command()
@click.argument("reader")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The manifest: .csv or .parquet.",
)
@click.option(
    "--map",
    "label_map",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file: a table [labels] of old = 'new', and a list leave_out; see docs/corpora.md.",
)
@options.common
def manifest(
    session: Session,
    workdir: Workdir,  # noqa: ARG001
    reader: str,
    folder: Path,
    output: Path,
    label_map: Path | None,
) -> None:
    """Turn a corpus FOLDER into a manifest, with the READER of that corpus.

    \b
    Example: emostack manifest emodb /data/emodb -o emodb.csv
    """
    from stages.corpora.labels import read_label_map, settle_labels
    from stages.corpora.table import reader as reader_named
    from stages.manifest import write_manifest

    says = read_label_map(label_map) if label_map else None
    rows, problems = reader_named(reader).read(folder)
    rows, told = settle_labels(rows, says)
    problems += told
    write_manifest(rows, output)
    for problem in problems:
        session.warn(problem)
    emotions = dict(sorted(Counter(rows["emotion"]).items()))
    n_speakers = len(set(rows["speaker"]) - {""})
    root = folder.parent if folder.is_file() else folder
    counts = ", ".join(f"{label or '(none)'} {n}" for label, n in emotions.items())
    session.result(
        {
            "manifest": str(output),
            "n_utterances": len(rows),
            "n_speakers": n_speakers,
            "emotions": emotions,
            "problems": problems,
        },
        f"{output}: {len(rows)} utterances, {n_speakers} speakers; {counts}\n"
        f"its files are relative to {root}: pass --audio {root} along",
    )


@click.command()
@click.argument(
    "manifests",
    nargs=-1,
    required=True,
    metavar="MANIFEST...",
    type=click.Path(dir_okay=False, path_type=Path),
)
@click.option(
    "--audio",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that a manifest's files are relative to: one for all manifests, or one for each in "
    "their order. Default: each manifest's folder.",
)
@options.allow_absolute
@options.recipe
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what was found as a page, too.",
)
@options.common
def check(
    session: Session,
    workdir: Workdir,  # noqa: ARG001
    manifests: tuple[Path, ...],
    audio: tuple[Path, ...],
    allow_absolute: bool,
    recipe_name: str,
    page: Path | None,
) -> None:
    """Read every utterance once: tell what is wrong with it, and what the corpus holds.

    The same audio is found by its samples, whatever the file; with several manifests also between
    them.

    \b
    Example: emostack check emodb.csv --audio /data/emodb --html emodb.html
    Example: emostack check a.csv b.csv --audio /data/a --audio /data/b
    """
    from pipeline.checking import run_check

    run_check(
        session,
        manifests,
        audio=audio,
        allow_absolute=allow_absolute,
        recipe_name=recipe_name,
        page=page,
    )


@click.command()
@click.argument("audio_file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The picture. Default: the audio file's name with .png, in the current folder.",
)
@click.option(
    "--view",
    "view_name",
    default="clean",
    show_default=True,
    help=options.views_help("Draw it through this view."),
)
@click.option(
    "--sound",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what the view sounds like, too: a WAV file.",
)
@options.recipe
@options.common
def preview(
    session: Session,
    workdir: Workdir,  # noqa: ARG001
    audio_file: Path,
    output: Path | None,
    view_name: str,
    sound: Path | None,
    recipe_name: str,
) -> None:
    """Draw what the network sees of an AUDIO_FILE: its segments, channel by channel.

    \b
    Example: emostack preview 03a01Fa.wav -o segments.png
    Example: emostack preview 03a01Fa.wav --view reverb-0.3s --sound room.wav
    """
    from stages.frontend.views.table import view
    from stages.listening import write_sound
    from stages.preview import preview as draw
    from stages.recipe import load_recipe

    recipe = load_recipe(recipe_name)
    seen = view(view_name)
    target = output or Path(f"{audio_file.stem}.png")
    if sound is not None:
        write_sound(audio_file, seen, recipe.frontend.sample_rate, sound)
    file = draw(
        audio_file,
        recipe.frontend,
        recipe.segments,
        target,
        view=seen,
        channels=recipe.network.channels,
    )
    heard = {"sound": str(sound)} if sound else {}
    session.result({"file": str(file), **heard}, str(file))
