"""May features of these corpora be handed on? What their licences say, as far as it is known."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stages.corpora.generic import Generic
from stages.corpora.reader import Reader, Sharing
from stages.corpora.table import READERS


class RightsError(PermissionError):
    """A corpus' licence forbids handing on what is derived from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is known of one corpus.

    Attributes
    ----------
    corpus : as the manifest calls it; empty for utterances that name none
    licence, citation, language : empty where nothing is known
    sharing : see `stages.corpora.reader.Sharing`
    """

    corpus: str
    licence: str = ""
    citation: str = ""
    language: str = ""
    sharing: Sharing = "unclear"


def terms_of(corpora: Iterable[str]) -> list[Terms]:
    """Say what is known of each corpus, by its name; sorted, each once."""
    return [_terms(corpus) for corpus in sorted(set(corpora))]


def _terms(corpus: str) -> Terms:
    reader = _reader(corpus)
    if reader is None:
        return Terms(corpus=corpus)
    return Terms(
        corpus=corpus,
        licence=reader.licence,
        citation=reader.citation,
        language=reader.language,
        sharing=reader.sharing,
    )


def _reader(corpus: str) -> Reader | None:
    """Find a corpus' reader by a name that a hand-made manifest may write in its own way.

    A name that goes on after that of a forbidden corpus (a release, a part) means that corpus: a
    licence is not got rid of by a suffix.
    """
    readers = {_letters(n): r for n, r in READERS.items() if not isinstance(r, Generic)}
    name = _letters(corpus)
    begun = (r for n, r in readers.items() if r.sharing == "forbidden" and name.startswith(n))
    return readers.get(name) or next(begun, None)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def refuse_forbidden(terms: Iterable[Terms]) -> None:
    """Refuse corpora whose licence forbids handing on derived data.

    Raises
    ------
    RightsError
        There are some; all of them are named, with their licence.
    """
    forbidden = [
        f"{each.corpus!r} ({each.licence})" for each in terms if each.sharing == "forbidden"
    ]
    if forbidden:
        message = (
            f"the licence of {', '.join(forbidden)} forbids handing on what is derived from it; "
            "expected corpora that allow it; leave it out, or give --i-have-the-right if you do"
        )
        raise RightsError(message)
