"""What a command says, and where: results on stdout, everything else on stderr."""

import json
import math
import sys
from dataclasses import dataclass, field
from typing import Any

import click


@dataclass(kw_only=True)
class Session:
    """The switches that every verb has, as one call of the command line set them.

    Attributes
    ----------
    as_json : one JSON object on stdout and nothing else there
    quiet : nothing on stderr but warnings and errors
    debug : errors keep their traceback
    warnings : what the user had to know so far
    """

    as_json: bool = False
    quiet: bool = False
    debug: bool = False
    warnings: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Tell what is being done."""
        if not self.quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Tell what the user has to know, quiet or not; no text commands the terminal."""
        if not text.isprintable():
            text = text.encode("unicode_escape").decode("ascii")
        self.warnings.append(text)
        click.echo(click.style("warning: ", fg="yellow") + text, err=True)

    def result(self, fields: dict[str, Any], text: str) -> None:
        """Print the result: `fields` with ``--json``, else `text`."""
        if self.as_json:
            json.dump(_plain(fields), sys.stdout, ensure_ascii=False, allow_nan=False)
            sys.stdout.write("\n")
        else:
            click.echo(text)


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a result holds
    """Turn NaN into null: JSON has no word for it."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)
