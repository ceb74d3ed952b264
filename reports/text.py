r"""Words and numbers on a page, and pages that are there whole or not at all.

Characters that would not show, or would turn the text around them, are written as escapes
(``\n``, ``\u202e``): a file's name can hold any of them.
"""

from __future__ import annotations

import math
import os
import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["clip", "count", "moment", "percent", "publish", "size", "span", "visible"]


def visible(text: str) -> str:
    r"""Write what would not show, or would reorder the text, as an escape.

    >>> visible("a\nb \u202egnp")
    'a\\nb \\u202egnp'
    """
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in text
    )


def clip(text: str, length: int) -> str:
    """Cut a text to at most ``length`` characters and say so by an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def percent(value: float | None, digits: int = 1) -> str:
    """Format a percentage without its sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    return f"{value:.{digits}f}"


def count(value: int, noun: str = "") -> str:
    """Format a count, and the noun it counts.

    >>> count(1), count(12345, "file"), count(1, "file")
    ('1', '12,345 files', '1 file')
    """
    return f"{value:,}" + (f" {noun}{'' if value == 1 else 's'}" if noun else "")


def size(n_bytes: float) -> str:
    """Format bytes in decimal units.

    >>> size(999), size(1_234_567), size(-2e12)
    ('999 B', '1.2 MB', '-2.0 TB')
    """
    value, units = float(n_bytes), ["B", "kB", "MB", "GB", "TB", "PB"]
    # 999 950 and more would be rounded to "1000.0" of the smaller unit.
    while abs(value) >= (999.5 if units[0] == "B" else 999.95) and len(units) > 1:
        value, units = value / 1000.0, units[1:]
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def span(seconds: float) -> str:
    """Format a time to what a person would say.

    >>> span(1.23), span(41), span(200), span(7500)
    ('1.2 s', '41 s', '3 min 20 s', '2 h 05 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(text: str) -> str:
    """Write an ISO 8601 time to the minute; anything else stays as it is."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return text


def publish(path: Path, text: str) -> None:
    """Write a text file under its final name, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
