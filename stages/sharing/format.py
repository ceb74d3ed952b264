"""What an export format is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.sharing.content import Content

SUMS = "SHA256SUMS"
"""The checksums' file beside every export, in the form of ``sha256sum``."""


class ExportError(ValueError):
    """There is nothing to export, or a format cannot hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of an export; found by its name in `stages.sharing.table.FORMATS`.

    Attributes
    ----------
    name : what the command line calls it
    files : what it writes into the export's folder, in a sentence for the data card
    snippet : Python that reads it, run in that folder, with the format's own reader and nothing of
        ours; it binds ``features``, the rows of the first utterance in the export's order
    write : writes its files into a folder that holds nothing yet; reads each stack exactly once, and
        raises `ExportError` for names that the format cannot hold
    numbers : what values are in its files: ``float32`` or ``text``; empty where they are as stored.
        None of these rounds anything
    front_matter : YAML that stands above the data card; most have none
    """

    name: str
    files: str
    snippet: str
    write: Callable[[Content, Path], None]
    numbers: str = ""
    front_matter: Callable[[Content], str] | None = None
