"""Label maps: a corpus' spellings to one's own, from a TOML file."""

import tomllib
from pathlib import Path

from stages.corpora.reader import CorpusError


def read_label_map(path: Path) -> dict[str, str]:
    """Read the table ``[labels]`` of a TOML file.

    Raises
    ------
    CorpusError
        The file is not TOML, or ``[labels]`` is not a table of texts.

    Examples
    --------
    A file that folds two labels into one::

        [labels]
        boredom = "neutral"
        neutral = "neutral"
    """
    try:
        labels = tomllib.loads(path.read_text(encoding="utf-8")).get("labels")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"the label map {path} cannot be read: {error}; expected a TOML file"
        raise CorpusError(message) from error
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        message = f"the label map {path} has no table [labels] of old = 'new'; add one"
        raise CorpusError(message)
    return labels
