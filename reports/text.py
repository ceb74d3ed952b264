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
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

__all__ = [
    "chance",
    "clip",
    "count",
    "flat",
    "moment",
    "percent",
    "publish",
    "signed",
    "size",
    "span",
    "visible",
]


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


def signed(value: float | None, digits: int = 1) -> str:
    """Format a difference with its sign; a dash where there is none.

    >>> signed(1.26), signed(-0.04), signed(0.0)
    ('+1.3', '0.0', '0.0')
    """
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def chance(p: float | None) -> str:
    """Format a p-value: three decimals, never rounded to none; a dash where there is none.

    >>> chance(0.0321), chance(0.00002), chance(1.0)
    ('0.032', '<0.001', '1.000')
    """
    if p is None or not math.isfinite(p):
        return "\N{EN DASH}"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


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


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested settings to dotted names and text.

    >>> list(flat({"a": {"b": 1}, "c": [2, 3]}))
    [('a.b', '1'), ('c', '2, 3')]
    """
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", str(value)


def publish(path: Path, text: str) -> None:
    """Write a text file under its final name, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
