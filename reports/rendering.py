"""How templates are filled in: nothing undefined, nothing unescaped."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from reports import text

if TYPE_CHECKING:
    from collections.abc import Callable


@lru_cache
def environment(finalize: Callable[[object], object]) -> jinja2.Environment:
    """Make templates whose every value passes `finalize`, then the escaping of HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for filter_ in (
        text.chance,
        text.count,
        text.moment,
        text.percent,
        text.signed,
        text.size,
        text.span,
    ):
        environment.filters[filter_.__name__] = filter_
    return environment


def html_words(value: object) -> object:
    """Write what would not show, or would reorder the text, as an escape."""
    return text.visible(value) if type(value) is str else value


def markdown_words(value: object) -> object:
    """Keep a text from being read as Markdown or HTML: punctuation that could mean something."""
    if isinstance(value, Markup):
        return value
    words = re.sub(r"([\\`*\[\]<>|~&$@#])", r"\\\1", text.visible(str(value)))
    # An underscore inside a word is only an underscore; bare addresses would become links.
    words = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", words)
    return Markup(re.sub(r"(?i)(https?|ftp|mailto|xmpp|www)([:.])", r"\1\\\2", words))
