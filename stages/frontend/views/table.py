"""The kinds of views, and views by name."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from stages.frontend.views.gain import Gain
from stages.frontend.views.masks import Masks
from stages.frontend.views.noise import Noise
from stages.frontend.views.pitch import Pitch
from stages.frontend.views.reverb import Reverb
from stages.frontend.views.speed import Speed
from stages.frontend.views.view import View, ViewError
from stages.frontend.views.vtlp import VocalTract

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS: dict[str, type[View]] = {
    kind.kind: kind for kind in (View, Speed, Pitch, Noise, Gain, Reverb, VocalTract, Masks)
}
"""Every kind, by the first word of its names."""


@functools.lru_cache(maxsize=256)
def view(name: str) -> View:
    """Find the view of a name.

    Raises
    ------
    ViewError
        There is none: the message lists the kinds.

    Examples
    --------
    >>> view("noise-20db")
    Noise(snr_db=20.0, colour='white')
    >>> view("pitch+2-formants").text[:46]
    '{"formants":"kept","kind":"pitch","revision":1'
    """
    try:
        found = _parsed(name)
    except ViewError as error:
        raise ViewError(f"the view {_short(name)}: {error}; {_kinds()}") from error
    if found.name != name:
        raise ViewError(f"the view {_short(name)} is spelled {found.name!r}; write it so")
    return found


def views(names: Iterable[str]) -> tuple[View, ...]:
    """Find the views of some names, `clean` first and each once.

    Raises
    ------
    ViewError
        One of them is none.

    Examples
    --------
    >>> [each.name for each in views(["speed-0.9", "clean", "speed-0.9"])]
    ['clean', 'speed-0.9']
    """
    return (View(), *(view(name) for name in dict.fromkeys(names) if name != View().name))


def known_view(name: str) -> View | None:
    """Find the view of a name that a store has, which another version may have written."""
    try:
        return view(name)
    except ViewError:
        return None


def _parsed(name: str) -> View:
    if name == View.kind:
        return View()
    for kind in KINDS.values():
        if kind.pattern is not None and (match := kind.pattern.fullmatch(name)):
            return kind.of(match)
    raise ViewError("there is no such view")


def _kinds() -> str:
    examples = ", ".join(kind.examples[0] for kind in KINDS.values())
    return f"expected one such as {examples}; docs/views.md has them all"


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:40]}...")
