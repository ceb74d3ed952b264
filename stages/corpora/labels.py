"""Labels of a corpus: canonical names for known spellings, and a map of one's own before that.

Conventions
-----------
A label goes one way: what a map says of it (another name, or that its utterances are left out), else
the canonical name of its spelling, else it is unknown. Names that a map gives are taken as they are,
canonical or not. Without a map unknown labels are kept and told; with one they are an error. An empty
label means unlabelled, and that is allowed.
"""

import difflib
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stages.corpora.spellings import CANONICAL, canonical_name

MAX_LISTED = 500
"""How many spellings a message lists; a column with more is hardly one of labels."""


class LabelError(ValueError):
    """A label map cannot be read or does not fit; `problems` holds the labels that are unknown."""

    def __init__(self, message: str, *, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """What somebody says of a corpus' labels.

    Attributes
    ----------
    labels : spelling in the corpus -> name; an empty name means unlabelled
    leave_out : spellings whose utterances do not get into the manifest
    """

    labels: dict[str, str] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()

    def name_of(self, spelling: str) -> str | None:
        """Give a label's name; None if it is unknown. Not to be asked of what is left out."""
        if spelling in self.labels:
            return self.labels[spelling]
        if not spelling or spelling in self.labels.values():
            return spelling
        return canonical_name(spelling)


def read_label_map(path: Path) -> LabelMap:
    """Read a label map, a TOML file.

    Raises
    ------
    LabelError
        The file is not TOML, or holds something else than `leave_out`, a list of texts, and
        ``[labels]``, a table of texts.

    Examples
    --------
    A file that folds two labels into one, and leaves two others out::

        leave_out = ["xxx", "other"]

        [labels]
        boredom = "neutral"
        neutral = "neutral"
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        message = f"the label map {path} cannot be read: {error}; expected a TOML file"
        raise LabelError(message + "; mend it") from error
    mistake = _mistake(given)
    if mistake:
        raise LabelError(f"the label map {path} {mistake}")
    return LabelMap(
        labels=given.get("labels", {}), leave_out=tuple(dict.fromkeys(given.get("leave_out", [])))
    )


def _mistake(given: dict[str, Any]) -> str:
    labels, leave_out = given.get("labels", {}), given.get("leave_out", [])
    unknown = sorted(set(given) - {"labels", "leave_out"})
    if unknown:
        return f"has {unknown[0]!r}; expected [labels] and leave_out only; remove it"
    if not given:
        return "has no table [labels] of old = 'new'; add one"
    if isinstance(labels, dict) and isinstance(labels.get("leave_out"), list):
        return "has leave_out in the table [labels]; expected it before; move it to the first line"
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        return "has no table [labels] of old = 'new'; expected texts in quotes; mend it"
    if not isinstance(leave_out, list) or not all(isinstance(v, str) for v in leave_out):
        return 'has a leave_out that is no list of texts; expected such as ["xxx"]; mend it'
    both = sorted(set(labels) & set(leave_out))
    if both:
        return f"both maps and leaves out {both[0]!r}; expected one of the two; drop the other"
    return ""


def settle_labels(
    manifest: pd.DataFrame, label_map: LabelMap | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Give every label of a manifest its name.

    Returns
    -------
    (DataFrame, list of str)
        The manifest without what the map leaves out; and what was done, one line each: canonical
        names for other spellings, unknown labels that were kept, utterances left out.

    Raises
    ------
    LabelError
        The map mentions labels that no row has, or leaves no row; or, where there is a map, rows
        have labels that are unknown: every spelling is listed with its count, as lines of a map.

    Examples
    --------
    >>> rows, told = settle_labels(pd.DataFrame({"emotion": ["joy", "calm", "awe"]}))
    >>> rows["emotion"].tolist()
    ['happiness', 'calm', 'awe']
    >>> told
    ["known spellings got their canonical names: 'joy' 1 -> happiness",
     "unknown labels were kept: 'awe' 1; name them with --map"]
    """
    says = label_map or LabelMap()
    counts = Counter(manifest["emotion"].tolist())
    _refuse_absent(says, counts)
    left_out = {spelling: counts[spelling] for spelling in says.leave_out}
    names = {spelling: says.name_of(spelling) for spelling in counts if spelling not in left_out}
    unknown = {spelling: counts[spelling] for spelling, name in names.items() if name is None}
    if label_map is not None and unknown:
        raise LabelError(_listing(names, left_out, counts), problems=tuple(sorted(unknown)))
    if len(manifest) and not names:
        message = f"the label map leaves out all {len(manifest)} utterances; expected some to stay"
        raise LabelError(message + "; shorten leave_out")
    told = _told(says, names, counts, left_out)
    final = {spelling: spelling if name is None else name for spelling, name in names.items()}
    kept = manifest.loc[~manifest["emotion"].isin(list(left_out))].reset_index(drop=True)
    return kept.assign(emotion=kept["emotion"].map(final)), told


def _refuse_absent(label_map: LabelMap, counts: Counter[str]) -> None:
    absent = sorted({*label_map.labels, *label_map.leave_out} - set(counts))
    if absent:
        present = sorted(counts)
        near = difflib.get_close_matches(absent[0], present, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; remove it from the label map"
        text = f"no row has the emotion {absent}; expected some of {present[:MAX_LISTED]}{hint}"
        raise LabelError(text)


def _told(
    label_map: LabelMap,
    names: dict[str, str | None],
    counts: Counter[str],
    left_out: dict[str, int],
) -> list[str]:
    changed = [
        f"{spelling!r} {counts[spelling]} -> {name}"
        for spelling, name in sorted(names.items())
        if name is not None and name != spelling and spelling not in label_map.labels
    ]
    unknown = [f"{s!r} {counts[s]}" for s, name in sorted(names.items()) if name is None]
    without = [f"{spelling!r} {n}" for spelling, n in sorted(left_out.items())]
    return [
        f"{what}: {_cut(items)}{remedy}"
        for what, items, remedy in [
            ("known spellings got their canonical names", changed, ""),
            ("unknown labels were kept", unknown, "; name them with --map"),
            ("utterances left out by the label map", without, ""),
        ]
        if items
    ]


def _cut(items: list[str]) -> str:
    more = f" and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
    return ", ".join(items[:MAX_LISTED]) + more


def _listing(names: dict[str, str | None], left_out: Iterable[str], counts: Counter[str]) -> str:
    """List every spelling as a line of a map: the unknown ones first, as classes of their own."""
    n_unknown = sum(name is None for name in names.values())
    head = (
        f"{n_unknown} label(s) are neither mapped, nor left out, nor canonical "
        f"({' '.join(CANONICAL)}); expected each to be one of these; the lines below make them "
        "classes of their own: change them and put them into the label map"
    )
    lines = [
        head,
        *(f"# left out: {toml_text(label)}  # {counts[label]} utterances" for label in left_out),
        "[labels]",
    ]
    for spelling, name in sorted(names.items(), key=lambda item: (item[1] is not None, item[0])):
        mark = ", unknown" if name is None else ""
        target = spelling if name is None else name
        if spelling or target:
            line = f"{toml_text(spelling)} = {toml_text(target)}"
            lines.append(f"{line}  # {counts[spelling]} utterances{mark}")
    rest = len(lines) - MAX_LISTED
    return "\n".join([*lines[:MAX_LISTED], *([f"# and {rest} more"] if rest > 0 else [])])


def toml_text(text: str) -> str:
    r"""Write a text as TOML does, nothing in it that a terminal would obey.

    Examples
    --------
    >>> print(toml_text('a "b"\n'))
    "a \"b\"\u000a"
    """
    return f'"{"".join(_toml_character(character) for character in text)}"'


def _toml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
