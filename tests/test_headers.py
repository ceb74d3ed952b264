import pytest

from stages.corpora.table import READERS
from stages.sharing.headers import ISO_639_3, languages, licence, names
from stages.sharing.rights import Terms


def test_the_languages_of_all_readers_have_a_long_code() -> None:
    known = [Terms(corpus=name, language=reader.language) for name, reader in READERS.items()]
    assert set(languages(known)) <= set(ISO_639_3)


def test_the_long_codes_are_those_of_the_standard() -> None:
    audformat = pytest.importorskip("audformat")
    for short, long in ISO_639_3.items():
        assert audformat.utils.map_language(short) == long


@pytest.mark.parametrize(
    ("licences", "expected"),
    [(["MIT"], "MIT"), (["MIT", "MIT"], "MIT"), (["MIT", ""], ""), (["MIT", "CC0-1.0"], ""), ([], "")],
)  # fmt: skip
def test_a_licence_is_that_of_all(licences: list[str], expected: str) -> None:
    assert (
        licence(Terms(corpus=str(i), licence=text) for i, text in enumerate(licences)) == expected
    )


def test_a_corpus_without_a_name_is_just_recordings() -> None:
    assert names([Terms(corpus=""), Terms(corpus="emodb")]) == "recordings, emodb"
