"""How templates are filled in: nothing undefined, nothing unescaped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

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
    for filter_ in (text.count, text.moment, text.percent, text.size, text.span):
        environment.filters[filter_.__name__] = filter_
    return environment
