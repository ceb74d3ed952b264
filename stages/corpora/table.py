"""The table of corpus readers: to add a corpus, write its reader and name it here."""

import difflib

from stages.corpora.audformat import AUDFORMAT
from stages.corpora.audiofolder import AUDIOFOLDER
from stages.corpora.cafe import CAFE
from stages.corpora.cremad import CREMAD
from stages.corpora.deepspectrum import DEEPSPECTRUM
from stages.corpora.emobox import EMOBOX
from stages.corpora.emodb import EMODB
from stages.corpora.emovo import EMOVO
from stages.corpora.enterface import ENTERFACE
from stages.corpora.esd import ESD, ESD_ENGLISH
from stages.corpora.folders import FOLDERS
from stages.corpora.generic_csv import CSV
from stages.corpora.iemocap import IEMOCAP, IEMOCAP_5, IEMOCAP_IMPROVISED
from stages.corpora.kaldi import KALDI
from stages.corpora.meld import MELD
from stages.corpora.msp_podcast import MSP_PODCAST
from stages.corpora.nkululeko import NKULULEKO
from stages.corpora.ravdess import RAVDESS, RAVDESS_SONG
from stages.corpora.reader import CorpusError, Reader
from stages.corpora.savee import SAVEE
from stages.corpora.shemo import SHEMO
from stages.corpora.subesco import SUBESCO
from stages.corpora.tess import TESS
from stages.corpora.urdu import URDU

# By name.
_READERS: tuple[Reader, ...] = (
    AUDFORMAT,
    AUDIOFOLDER,
    CAFE,
    CREMAD,
    CSV,
    DEEPSPECTRUM,
    EMOBOX,
    EMODB,
    EMOVO,
    ENTERFACE,
    ESD,
    ESD_ENGLISH,
    FOLDERS,
    IEMOCAP,
    IEMOCAP_5,
    IEMOCAP_IMPROVISED,
    KALDI,
    MELD,
    MSP_PODCAST,
    NKULULEKO,
    RAVDESS,
    RAVDESS_SONG,
    SAVEE,
    SHEMO,
    SUBESCO,
    TESS,
    URDU,
)
READERS: dict[str, Reader] = {reader.name: reader for reader in _READERS}


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
