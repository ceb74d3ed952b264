"""Options that many verbs share."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from pipeline.config import use_config
from pipeline.session import Session
from pipeline.workdir import Workdir

CLOCK = re.compile(r"^([01]?\d|2[0-3]):([0-5]\d)$")
FAIL_THRESHOLD = 25.0
"""Percent of utterances that may vanish, or fail, before something must be wrong with the night."""

Command = TypeVar("Command", bound=Callable[..., Any])


def _set(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(context: click.Context, _option: click.Parameter, value: bool) -> None:
        session = context.ensure_object(Session)
        setattr(session, name, getattr(session, name) or value)

    return callback


def _workdir(_context: click.Context, _option: click.Parameter, value: Path) -> Workdir:
    return Workdir(value)


def common(command: Command) -> Command:
    """Add what every verb has; the first two arguments become the session and the workdir."""
    for option in (
        click.option(
            "--workdir",
            type=click.Path(file_okay=False, path_type=Path),
            default="runs",
            envvar="EMOSTACK_WORKDIR",
            show_default=True,
            callback=_workdir,
            help="Everything written goes below this folder.",
        ),
        click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=use_config,
            help="TOML file that sets any option.",
        ),
        _switch("--json", "as_json", "One JSON object on stdout."),
        _switch("--quiet", "quiet", "No progress, no remarks."),
        _switch("--debug", "debug", "Show the traceback of an error."),
    ):
        command = option(command)
    return cast("Command", click.pass_obj(command))


def _switch(flag: str, name: str, text: str) -> Callable[[Command], Command]:
    return click.option(
        flag, name, is_flag=True, expose_value=False, callback=_set(name), help=text
    )


recipe = click.option(
    "--recipe",
    "recipe_name",
    default="emostack-v1",
    show_default=True,
    help="Name of a published recipe, or a TOML file.",
)
recipes = click.option(
    "--recipe",
    "recipe_names",
    multiple=True,
    default=("emostack-v1",),
    show_default=True,
    help="Name of a published recipe, or a TOML file. Given again: the features of these recipes side "
    "by side, on the segments of the first; see docs/reports.md.",
)
audio = click.option(
    "--audio",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that the manifest's files are relative to. Default: the manifest's folder.",
)
allow_absolute = click.option(
    "--allow-absolute",
    is_flag=True,
    help="Let the manifest name files outside the audio folder.",
)
manifest = click.argument("manifest", type=click.Path(dir_okay=False, path_type=Path))
snapshot = click.option(
    "--snapshot",
    "--generation",
    "snapshot",
    type=click.IntRange(min=1),
    help="Read this snapshot of the store, such as the one an earlier run names; --generation is its "
    "old name. Default: the newest.",
)
snapshots = click.option(
    "--snapshot",
    "--generation",
    "snapshots",
    type=click.IntRange(min=1),
    multiple=True,
    help="Read this snapshot of the store, such as the one an earlier run names; of several recipes, "
    "one for each, in their order; --generation is its old name. Default: the newest.",
)
seeds = click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Trainings with different random numbers; the result is their mean.",
)
baselines = click.option(
    "--baselines",
    "with_baselines",
    is_flag=True,
    help="Evaluate on the same folds, too: openSMILE's eGeMAPSv02 and ComParE_2016, whole-utterance "
    "pictures, the majority class; see docs/baselines.md.",
)


def training(command: Command) -> Command:
    """Add the options that say what is trained."""
    for option in (
        click.option(
            "--balance",
            type=click.Choice(["weights", "oversample", "none"]),
            default="weights",
            show_default=True,
            help="What is done about rare classes, in training folds only.",
        ),
        click.option(
            "--normalise",
            type=click.Choice(["speaker", "train", "none"]),
            default="speaker",
            show_default=True,
            help="speaker: each speaker's own unlabelled statistics (transductive); the inductive "
            "number stands beside it.",
        ),
        click.option(
            "--folds",
            default="speaker",
            show_default=True,
            help="What a fold leaves out: speaker, session, or any column of the manifest.",
        ),
    ):
        command = option(command)
    return command


def workers(command: Command) -> Command:
    """Add the options that say who does the work."""
    command = click.option(
        "--workers",
        "n_workers",
        type=click.IntRange(min=0),
        default=None,
        help="Processes of a local cluster; 0: this process, no cluster. "
        f"Default: one a GPU, else one a core ({os.cpu_count()}), or 0 where there is little to do.",
    )(command)
    command = click.option(
        "--scheduler", help="Address of a running Dask scheduler, such as tcp://host:8786."
    )(command)
    return click.option(
        "--batch-size",
        type=click.IntRange(min=8),
        default=32,
        show_default=True,
        help="Segments a call of the network.",
    )(command)


engine = click.option(
    "--engine",
    type=click.Choice(["auto", "keras", "openvino"]),
    default="auto",
    show_default=True,
    help="What runs the network. auto: what made the store's features, which it never changes; for "
    "a new store OpenVINO where it is installed and Keras has no GPU.",
)


VIEWS = (
    "speed-0.9", "pitch+2", "pitch-2-formants", "noise-20db", "noise-20db-pink", "gain-6db",
    "reverb-0.3s", "vtlp-0.9", "masks",
)  # fmt: skip
"""Examples of `stages.frontend.views.table.KINDS`, which a test compares: help must come at once."""


def views_help(text: str) -> str:
    """Add to a help text what views are called."""
    return f"{text} Such as {', '.join(VIEWS)}: docs/views.md."


def limits(command: Command) -> Command:
    """Add the options that end a night early."""
    command = click.option(
        "--until",
        type=Clock(),
        help="Stop at this time of day, local; what is left is done next time.",
    )(command)
    command = click.option(
        "--max-hours",
        type=click.FloatRange(min=0, min_open=True),
        help="Stop after so many hours; what is left is done next time.",
    )(command)
    command = click.option(
        "--fail-threshold",
        type=click.FloatRange(0, 100),
        default=FAIL_THRESHOLD,
        show_default=True,
        metavar="PERCENT",
        help="End with an error when more of the known utterances have vanished (a disk is not "
        "mounted), or more of the tried ones fail.",
    )(command)
    return click.option("--retry-quarantined", is_flag=True, help="Try again what failed before.")(
        command
    )


class Clock(click.ParamType[str]):
    """A time of day."""

    name = "HH:MM"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        context: click.Context | None,
    ) -> str:
        """Refuse what no clock shows."""
        if CLOCK.match(str(value)) is None:
            message = f"{value!r} is no time of day; expected HH:MM, such as 06:00"
            self.fail(message, param, context)
        return str(value)


class Views(click.ParamType[tuple[str, ...]]):
    """Names of views, with commas between them."""

    name = "NAME,..."

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        context: click.Context | None,
    ) -> tuple[str, ...]:
        """Refuse a name that is none; `clean`, which is always there, is not named."""
        from features_cache.keys import CLEAN
        from stages.frontend.views.table import views
        from stages.frontend.views.view import ViewError

        if isinstance(value, tuple):
            return value
        names = [name.strip() for name in str(value).split(",") if name.strip()]
        try:
            return tuple(view.name for view in views(names) if view.name != CLEAN)
        except ViewError as error:
            self.fail(str(error), param, context)


views = click.option(
    "--views",
    type=Views(),
    default=(),
    help=views_help("Extract these views of every utterance, too, for training."),
)
learned_views = click.option(
    "--views",
    type=Views(),
    default=(),
    help=views_help("Learn from these views, too, once 'emostack extract --views' has made them."),
)


class Part(click.ParamType[tuple[int, int]]):
    """``i/n``: the i-th of n parts, counted from 1."""

    name = "i/n"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        context: click.Context | None,
    ) -> tuple[int, int]:
        """Read the two numbers."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)/(\d+)", str(value))
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            self.fail(f"{value!r}; expected i/n with i from 1 to n, such as 2/8", param, context)
        return int(match[1]), int(match[2])
