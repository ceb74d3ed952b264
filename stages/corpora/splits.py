"""Names of splits, as folders and files carry them."""

import re
from pathlib import PurePosixPath

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "devel": "dev",
    "development": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
"""Word, lower case -> split."""


def split_of_name(name: str) -> str:
    """Tell the split that a name mentions as a word of its own; empty if none, or two different ones.

    Examples
    --------
    >>> split_of_name("emodb_train"), split_of_name("fold-1.valid"), split_of_name("contest")
    ('train', 'dev', '')
    """
    words = re.split(r"[-._ 0-9]+", name.lower())
    splits = {SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS}
    return splits.pop() if len(splits) == 1 else ""


def split_of_path(file: str) -> str:
    """Tell the split that the folders of a path mention, the innermost one first."""
    for part in reversed(PurePosixPath(file).parts[:-1]):
        split = split_of_name(part)
        if split:
            return split
    return ""
