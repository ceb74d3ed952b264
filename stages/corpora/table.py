"""The table of corpus readers: to add a corpus, write its reader and name it here."""

import difflib

from stages.corpora.emodb import EMODB
from stages.corpora.generic_csv import GenericCsv
from stages.corpora.reader import CorpusError, Reader

READERS: dict[str, Reader] = {reader.name: reader for reader in (EMODB, GenericCsv())}


def reader(name: str) -> Reader:
    """Find a reader by name.

    Raises
    ------
    CorpusError
        There is none of that name; the nearest is suggested.

    Examples
    --------
    >>> reader("emodb").classes
    ('anger', 'boredom', 'disgust', 'fear', 'happiness', 'neutral', 'sadness')
    """
    if name in READERS:
        return READERS[name]
    near = difflib.get_close_matches(name.lower(), READERS, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "see 'emostack corpora'"
    raise CorpusError(f"no corpus reader is called {name!r}; expected {list(READERS)}; {remedy}")
