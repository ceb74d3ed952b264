"""The words of the command line about a second corpus, only to be tested on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def second_corpus(command: Command) -> Command:
    """Add ``--test`` and what belongs to it."""
    for option in (
        click.option(
            "--map",
            "label_map",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="TOML file that names its emotions as MANIFEST does; see docs/cross-corpus.md.",
        ),
        click.option(
            "--test-audio",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder that its files are relative to. Default: its own folder.",
        ),
        click.option(
            "--test",
            "test_manifest",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Manifest of another corpus: train on all of MANIFEST, test on all of this one.",
        ),
    ):
        command = option(command)
    return command


def check_second_corpus(
    test_manifest: Path | None, test_audio: Path | None, label_map: Path | None, folds: str
) -> None:
    """Refuse words about a second corpus where there is none, and about folds where there is one.

    Raises
    ------
    click.UsageError
        Says which to leave out, or what is missing.
    """
    if test_manifest is not None and folds != "speaker":
        message = f"--test makes one fold, and --folds {folds} was given; leave one of them out"
        raise click.UsageError(message)
    for flag, value in (("--test-audio", test_audio), ("--map", label_map)):
        if test_manifest is None and value is not None:
            raise click.UsageError(f"{flag} is of the manifest to test on; expected --test, too")
