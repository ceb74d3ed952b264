"""docs/sharing.md keeps up with the formats; tests/test_export.py runs their snippets."""

import re
from pathlib import Path

from stages.sharing.table import FORMATS

PAGE = (Path(__file__).parent.parent / "docs" / "sharing.md").read_text(encoding="utf-8")


def test_the_page_has_a_section_for_each_format_with_its_own_words_and_snippet() -> None:
    sections = re.findall(
        r"^### `(\w+)`\n\n(.*?)\n\n```python\n(.*?)```$", PAGE, re.DOTALL | re.MULTILINE
    )
    assert [(name, " ".join(words.split()), snippet) for name, words, snippet in sections] == [
        (entry.name, entry.files, entry.snippet) for entry in FORMATS.values()
    ]


def test_snippets_are_short_and_need_nothing_of_ours() -> None:
    for entry in FORMATS.values():
        lines = [line for line in entry.snippet.splitlines() if line]
        assert len(lines) <= 6, entry.name
        assert not re.search(r"emostack|stages|features_cache|pipeline", entry.snippet)
