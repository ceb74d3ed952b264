"""Verbs about audio and manifests: corpora, manifest, check, preview."""

from collections import Counter
from pathlib import Path

import click

from pipeline import options
from pipeline.session import Session
from pipeline.workdir import Workdir


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
            "licence": reader.licence,
            "citation": reader.citation,
        }
        for name, reader in READERS.items()
    ]
    text = "\n".join(
        f"{name}\n  expects  {reader.layout}\n  classes  {', '.join(reader.classes) or 'yours'}\n"
        f"  licence  {reader.licence}\n  cite     {reader.citation}"
        for name, reader in READERS.items()
    )
    session.result({"corpora": fields}, text)


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
    help="TOML file: a table [labels] of old = 'new'.",
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
    from stages.corpora.labels import read_label_map
    from stages.corpora.table import reader as reader_named
    from stages.manifest import map_emotions, write_manifest

    rows, problems = reader_named(reader).read(folder)
    if label_map:
        rows = map_emotions(rows, read_label_map(label_map))
    write_manifest(rows, output)
    for problem in problems:
        session.warn(problem)
    emotions = dict(sorted(Counter(rows["emotion"]).items()))
    n_speakers = len(set(rows["speaker"]) - {""})
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
        f"its files are relative to {folder}: pass --audio {folder} along",
    )


@click.command()
@options.manifest
@options.audio
@options.allow_absolute
@options.recipe
@options.common
def check(
    session: Session,
    workdir: Workdir,  # noqa: ARG001
    manifest: Path,
    audio: Path | None,
    allow_absolute: bool,
    recipe_name: str,
) -> None:
    """Read every utterance once and tell what is wrong with it.

    \b
    Example: emostack check emodb.csv --audio /data/emodb
    """
    from stages.check import check as check_manifest
    from stages.manifest import read_manifest
    from stages.recipe import load_recipe

    rows = read_manifest(manifest, audio=audio, allow_absolute=allow_absolute)
    frontend = load_recipe(recipe_name).frontend
    problems = list(check_manifest(rows, audio or manifest.parent, frontend))
    n_ok = len(rows) - len({problem.utterance_id for problem in problems})
    lines = [f"{p.utterance_id!r}: {p.code}: {p.message}" for p in problems]
    session.result(
        {
            "n_ok": n_ok,
            "problems": [
                {"utterance_id": p.utterance_id, "code": p.code, "message": p.message}
                for p in problems
            ],
        },
        "\n".join([*lines, f"{n_ok} of {len(rows)} utterances are fine"]),
    )


@click.command()
@click.argument("audio_file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The picture. Default: the audio file's name with .png, in the current folder.",
)
@options.recipe
@options.common
def preview(
    session: Session,
    workdir: Workdir,  # noqa: ARG001
    audio_file: Path,
    output: Path | None,
    recipe_name: str,
) -> None:
    """Draw what the network sees of an AUDIO_FILE: its segments, three channels.

    \b
    Example: emostack preview 03a01Fa.wav -o segments.png
    """
    from stages.preview import preview as draw
    from stages.recipe import load_recipe

    recipe = load_recipe(recipe_name)
    target = output or Path(f"{audio_file.stem}.png")
    file = draw(audio_file, recipe.frontend, recipe.segments, target)
    session.result({"file": str(file)}, str(file))
