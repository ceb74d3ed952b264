"""What the headers of formats say of the corpora: names, licences, languages."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from stages.sharing.rights import Terms

ISO_639_3: Mapping[str, str] = MappingProxyType(
    {
        "ar": "ara", "bn": "ben", "cs": "ces", "da": "dan", "de": "deu", "el": "ell", "en": "eng",
        "es": "spa", "et": "est", "fa": "fas", "fi": "fin", "fr": "fra", "hi": "hin", "hu": "hun",
        "it": "ita", "ja": "jpn", "ko": "kor", "nl": "nld", "no": "nor", "pl": "pol", "pt": "por",
        "ru": "rus", "sv": "swe", "ta": "tam", "tr": "tur", "ur": "urd", "zh": "zho",
    }
)  # fmt: skip
"""ISO 639-1 codes -> ISO 639-3, for the languages of emotional speech corpora."""


def names(terms: Iterable[Terms]) -> str:
    """Name the corpora in one line; `recordings` where one has no name."""
    return ", ".join(each.corpus or "recordings" for each in terms)


def licence(terms: Iterable[Terms]) -> str:
    """Give the licence that all corpora share; empty where they differ or one is not known."""
    stated = {each.licence for each in terms}
    return stated.pop() if len(stated) == 1 else ""


def languages(terms: Iterable[Terms]) -> list[str]:
    """List the languages of the corpora as their readers code them, sorted.

    Examples
    --------
    >>> languages([Terms(corpus="esd", language="zh,en"), Terms(corpus="emodb", language="de")])
    ['de', 'en', 'zh']
    """
    codes = (code.strip() for each in terms for code in each.language.split(","))
    return sorted(set(codes) - {""})
