import io
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stages.sharing.yaml_text import to_yaml
from tests.shared_store import BREAKING, HOSTILE

SCALARS = st.none() | st.booleans() | st.integers()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_written_is_read(value: dict[str, Any]) -> None:
    text = to_yaml(value)
    assert yaml.safe_load(text) == value
    assert text.splitlines() == text.split("\n")[:-1]


@pytest.mark.parametrize(
    "word",
    ["no", "Off", "null", "~", "1", "1.0", "1e3", "0x1f", "1:30", "2020-01-01", ".nan", "<<", "=", "---",
     "- a", "#", "&a", "*a", "!b", "%", "@", "`", "", " ", *HOSTILE, *BREAKING, "\x85\u2028\N{PILE OF POO}\0"],
)  # fmt: skip
@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.BaseLoader])
def test_a_text_stays_a_text(word: str, loader: type) -> None:
    text = to_yaml({word: word, "list": [word, [word], {word: word}]})
    found = yaml.load(io.StringIO(text), Loader=loader)
    assert found == {word: word, "list": [word, [word], {word: word}]}


def test_plain_words_stand_unquoted() -> None:
    assert to_yaml({"a": "b", "c": [1, 0.5, True, None]}) == (
        "a: b\nc:\n  - 1\n  - 0.5\n  - true\n  - null\n"
    )
