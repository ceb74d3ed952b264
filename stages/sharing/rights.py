"""May features of these corpora be handed on? What their licences say, as far as it is known."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stages.corpora.reader import Sharing
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
    # A hand-made manifest may write it in its own way; a licence is not got rid of by that.
    reader = READERS.get(re.sub(r"[\s_]+", "-", corpus.strip()).lower())
    if reader is None:
        return Terms(corpus=corpus)
    return Terms(
        corpus=corpus,
        licence=reader.licence,
        citation=reader.citation,
        language=reader.language,
        sharing=reader.sharing,
    )


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
