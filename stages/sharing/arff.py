"""Export to ARFF, after the conventions of WEKA and openSMILE: the name first, the class last.

Names are strings and not nominal, so that a learner refuses them instead of learning from them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from stages.sharing.content import Content
from stages.sharing.format import Format
from stages.sharing.number_text import comma_separated

FILE = "features.arff"
MISSING = "?"

# What both WEKA and liac-arff take without quotes; and what both read back within them.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/+-]+")
_SPECIAL = re.compile(r"[\\'\"%\x00-\x1f]")
_ESCAPES = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def write(content: Content, folder: Path) -> None:
    """Write `FILE`: UTF-8, a missing name or label is ``?``."""
    rows = content.manifest
    names = zip(*(map(quoted, rows[name]) for name in _NAMES), strict=True)
    with (folder / FILE).open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"{line}\n" for line in _header(content))
        for (name, corpus, speaker, emotion), (features, start, _) in zip(
            names, content.stacks(), strict=True
        ):
            texts = comma_separated(features)
            for begins, text in zip(start.tolist(), texts, strict=True):
                file.write(f"{name},{begins},{corpus},{speaker},{text},{emotion}\n")


_NAMES = ("utterance_id", "corpus", "speaker", "emotion")


def _header(content: Content) -> Iterator[str]:
    yield f"@relation emostack-{content.recipe.recipe_id}"
    yield ""
    yield "@attribute name string"
    yield "@attribute frameTime numeric"
    yield "@attribute corpus string"
    yield "@attribute speaker string"
    yield from (f"@attribute {name} numeric" for name in content.feature_names)
    labels = ",".join(quoted(label) for label in content.labels if label)
    # A nominal attribute without values is none: liac-arff stumbles over it.
    yield f"@attribute emotion {{{labels}}}" if labels else "@attribute emotion string"
    yield ""
    yield "@data"


def quoted(text: str) -> str:
    r"""Write a text as a value of ARFF, in quotes where it needs them.

    >>> print(quoted("03a01Fa"), quoted("it's"), quoted("two\nlines"), quoted("?"), quoted(""))
    03a01Fa 'it\'s' 'two\nlines' '?' ?
    """
    if not text:
        return MISSING
    return text if _PLAIN.fullmatch(text) else f"'{_SPECIAL.sub(_escaped, text)}'"


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character >= " ":
        return "\\" + character
    return _ESCAPES.get(character, f"\\{ord(character):03o}")


FORMAT = Format(
    name="arff",
    files="features.arff is for WEKA and its kin; take out name, frameTime, corpus and speaker before "
    "you train on it. scipy.io.arff does not read it, since it knows no strings; liac-arff does.",
    snippet="""\
import arff  # liac-arff
import numpy as np

with open("features.arff", encoding="utf-8") as file:
    rows = arff.load(file)["data"]
features = np.array([row[4:-1] for row in rows if row[0] == rows[0][0]], "float32")
""",
    write=write,
    numbers="text",
)
