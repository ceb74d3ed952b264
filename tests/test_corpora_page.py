"""docs/corpora.md says of every reader what the reader says of itself."""

import re
from pathlib import Path

import pytest

from stages.corpora.table import READERS

PAGE = (Path(__file__).parent.parent / "docs" / "corpora.md").read_text(encoding="utf-8")
HANDED_ON = {"free": "yes", "forbidden": "no", "unclear": "ask"}
KNOWN = {name: reader for name, reader in READERS.items() if reader.classes}


def rows() -> dict[str, dict[str, str]]:
    """The cells of the table of known corpora, by reader and heading."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    heading, *cells = lines
    return {row[0].strip("`"): dict(zip(heading, row, strict=True)) for row in cells}


def test_the_page_has_every_known_corpus_once_and_by_name() -> None:
    assert list(rows()) == sorted(KNOWN)
    assert len(re.findall(r"^\| `", PAGE, flags=re.MULTILINE)) == len(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_a_row_says_what_the_reader_says(name: str) -> None:
    row, reader = rows()[name], KNOWN[name]
    assert row["Expected layout"] == reader.layout
    size = reader.n_utterances
    assert row["Utterances"] == ("not known" if size is None else f"{size:,}".replace(",", " "))
    assert row["Classes"] == str(len(reader.classes))
    assert row["Language"] == reader.language
    assert row["Licence"] == reader.licence
    assert row["Features"] == HANDED_ON[reader.sharing]
    assert all(row[each] for each in ["Corpus", "Speakers", "Traps"])


def test_the_page_names_all_canonical_emotions_and_no_other() -> None:
    from stages.corpora.labels import CANONICAL

    listed = re.search(r"same names in all corpora: ([^.]*)\.", PAGE)
    assert listed
    assert sorted(listed[1].replace("\n", " ").split(", ")) == sorted(CANONICAL)
