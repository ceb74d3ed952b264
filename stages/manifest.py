"""Manifests: one row an utterance, as CSV or Parquet.

Conventions
-----------
A manifest is a pandas DataFrame whose first columns are `COLUMNS`, in that order. All of them are
text, an empty string meaning unknown, except `start` and `end`: float64 seconds, `start` 0.0 by
default, `end` NaN for "to the end of the file". Further columns are kept as text (folds may be made
from them). `file` is relative to the audio root, or absolute; a relative path may never leave the
root, an absolute one only where the caller allows it. Paths are compared as text after `.` and `..`
are resolved: symbolic links are not followed. Whether a file exists is not the manifest's business.

In a file, `utterance_id`, `file`, `speaker` and `emotion` are required columns. Empty speakers and
emotions are allowed. Words such as `NA` and `nan` are text like any other, but in `end`, where `nan`
means the same as nothing.
"""

import csv
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features_cache.atomic import atomic_write
from features_cache.key_columns import Span
from features_cache.snapshot import OWN_COLUMNS
from stages.manifest_checks import ManifestError, Problem, raise_for, validate
from stages.manifest_table import (
    COLUMNS,
    REQUIRED,
    SUFFIXES,
    TIME_DEFAULTS,
    check_suffix,
    from_table,
    read_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "COLUMNS",
    "REQUIRED",
    "RESERVED",
    "SUFFIXES",
    "ManifestError",
    "Problem",
    "audio_paths",
    "complete",
    "in_part",
    "read_manifest",
    "span_of",
    "validate",
    "write_manifest",
]

RESERVED = frozenset({*OWN_COLUMNS, "shard", "row_start", "row_end"})
"""Names of columns that a store keeps for itself; no manifest may have one."""


def read_manifest(
    path: Path, *, audio: Path | None = None, allow_absolute: bool = False
) -> pd.DataFrame:
    """Read a manifest and check every row of it.

    Parameters
    ----------
    path : a `.csv` (UTF-8, comma) or `.parquet` file
    audio : the folder that relative files start from; default: the manifest's own folder
    allow_absolute : take absolute paths that lie outside `audio`

    Returns
    -------
    DataFrame
        `COLUMNS` first, then any others, in file order.

    Raises
    ------
    ManifestError
        The file is not there, is not a table, lacks required columns (all of them named), or has
        bad rows: all of them are in `problems`, the first twenty in the message.
    """
    manifest, problems = from_table(read_table(path), source=str(path))
    reserved = sorted(RESERVED & set(manifest.columns))
    if reserved:
        text = f"{path} has the columns {', '.join(reserved)}, which a store keeps for itself"
        raise ManifestError(f"{text}; expected other names; rename them")
    root = path.parent if audio is None else audio
    problems += validate(manifest, root=root, allow_absolute=allow_absolute)
    raise_for(problems, source=str(path))
    return manifest


def write_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Write a manifest whole or not at all; what `path` held before is replaced.

    The rows are written to a `.partial` file beside `path`, flushed to disk and renamed, so that no
    reader ever sees half a manifest. Missing folders are made. Rows are not validated.

    Raises
    ------
    ManifestError
        The suffix is neither `.csv` nor `.parquet`, required columns are missing, or a column
        cannot be written as text.
    """
    check_suffix(path)
    frame = complete(manifest)
    write: Callable[[Path], None]
    if path.suffix.lower() == ".csv":

        def write(partial: Path) -> None:
            frame.to_csv(partial, index=False, lineterminator="\n", quoting=_quoting(frame))
    else:

        def write(partial: Path) -> None:
            frame.to_parquet(partial, index=False)

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        write(partial)


def audio_paths(manifest: pd.DataFrame, root: Path) -> pd.Series:
    """Give each row's audio file as an absolute path (text), `file` taken as below `root`."""
    base = os.path.join(root.absolute(), "")  # noqa: PTH118 - a worker may have another folder
    files = manifest["file"]
    return files.where(files.str.startswith("/"), base + files)


def span_of(manifest: pd.DataFrame) -> Span:
    """Give all starts and ends in their files, seconds, float64; an end of NaN is the file's."""
    return manifest["start"].to_numpy(np.float64), manifest["end"].to_numpy(np.float64)


def in_part(manifest: pd.DataFrame, i: int, n: int) -> NDArray[np.bool_]:
    """Mark the rows of the `i`-th of `n` parts, counted from 1.

    A part goes by the file's name alone: a growing manifest leaves every row where it was, and the
    ranges of one file stay together.
    """
    digests = (zlib.crc32(file.encode("utf-8", "surrogatepass")) for file in manifest["file"])
    return np.fromiter((digest % n == i - 1 for digest in digests), bool, len(manifest))


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring a table to the manifest's form: optional columns filled in, order and types as stated.

    Raises
    ------
    ManifestError
        Required columns are missing, or a cell cannot be read as its column's type.
    """
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, UnicodeEncodeError) as error:
        text = f"a manifest column mixes types or is not text ({error}); expected str everywhere"
        raise ManifestError(text + "; convert it first") from error
    manifest, problems = from_table(table)
    raise_for(problems, source="the manifest")
    return manifest


def _quoting(frame: pd.DataFrame) -> int:
    # The csv module leaves a lone carriage return bare, and a reader would end the row there.
    texts = [name for name in frame.columns if name not in TIME_DEFAULTS]
    has_return = any(frame[name].str.contains("\r", regex=False).any() for name in texts)
    return csv.QUOTE_NONNUMERIC if has_return else csv.QUOTE_MINIMAL
