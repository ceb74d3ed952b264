"""What may be wrong in a manifest, all of it in one listing."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAX_LISTED = 20

_PARENT = r"(?:^|/)[.][.](?:/|$)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with one row.

    Parameters
    ----------
    row : counted from 1, the header not counted
    utterance_id : as the row has it, possibly empty
    code : `empty_id, duplicate_id, empty_file, nul_in_file, outside_root, bad_start, bad_end` or
        `reversed`
    message : one line, without the row's number
    """

    row: int
    utterance_id: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"row {self.row} ({self.utterance_id!r}): {self.message}"


class ManifestError(ValueError):
    """A manifest cannot be read or written; `problems` holds all that was found in its rows."""

    def __init__(self, message: str, *, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


def validate(
    manifest: pd.DataFrame, *, root: Path | None = None, allow_absolute: bool = False
) -> list[Problem]:
    """Find everything that is wrong in a manifest's rows.

    Parameters
    ----------
    manifest : with all `COLUMNS` (see `complete`)
    root : the audio root; without one, every absolute path counts as outside
    allow_absolute : take absolute paths outside the root

    Returns
    -------
    list of Problem
        By row; empty when all is well. Missing speakers, labels and files are no problems here.
    """
    problems = _id_problems(manifest)
    problems += _file_problems(manifest, root, allow_absolute=allow_absolute)
    problems += _time_problems(manifest)
    return sorted(problems, key=lambda problem: problem.row)


def raise_for(problems: list[Problem], *, source: str) -> None:
    """Raise one `ManifestError` that lists the problems of `source`, if there are any."""
    if not problems:
        return
    problems = sorted(problems, key=lambda problem: problem.row)
    lines = [f"  {problem}" for problem in problems[:MAX_LISTED]]
    if len(problems) > MAX_LISTED:
        lines.append(f"  ... and {len(problems) - MAX_LISTED} more")
    plural = "" if len(problems) == 1 else "s"
    head = f"{source} has {len(problems)} problem{plural}; expected none; mend these rows:"
    raise ManifestError("\n".join([head, *lines]), problems=tuple(problems))


def _flagged(
    manifest: pd.DataFrame,
    mask: NDArray[np.bool_] | pd.Series,
    code: str,
    message: str,
    *columns: str,
) -> list[Problem]:
    """Make a problem of every marked row; `message` is formatted with the row's `columns`."""
    rows = np.flatnonzero(np.asarray(mask, dtype=bool))
    cells = manifest.iloc[rows]
    values = zip(*(cells[column].tolist() for column in columns), strict=True)
    return [
        Problem(row=row + 1, utterance_id=name, code=code, message=message.format(*value))
        for row, name, value in zip(
            rows.tolist(),
            cells["utterance_id"].tolist(),
            values if columns else [()] * rows.size,
            strict=True,
        )
    ]


def _id_problems(manifest: pd.DataFrame) -> list[Problem]:
    ids = manifest["utterance_id"]
    empty = (ids == "").to_numpy(dtype=bool)
    again = ids.duplicated().to_numpy() & ~empty
    problems = _flagged(manifest, empty, "empty_id", "no utterance_id; expected a unique name")
    if again.any():
        first_rows = np.flatnonzero(~ids.duplicated().to_numpy())
        where = first_rows[pd.Index(ids.iloc[first_rows]).get_indexer(ids[again])] + 1
        noted = manifest.loc[:, ["utterance_id"]].assign(first=0)
        noted.loc[again, "first"] = where
        message = "utterance_id is that of row {} too; expected each once"
        problems += _flagged(noted, again, "duplicate_id", message, "first")
    return problems


def _file_problems(
    manifest: pd.DataFrame, root: Path | None, *, allow_absolute: bool
) -> list[Problem]:
    files = manifest["file"]
    problems = _flagged(manifest, files == "", "empty_file", "no file; expected a path")
    for name in manifest.columns:
        if not pd.api.types.is_numeric_dtype(manifest[name]):
            message = f"{name} {{!r}} holds a NUL character; expected text"
            nul = manifest[name].str.contains("\0", regex=False)
            problems += _flagged(manifest, nul, f"nul_in_{name}", message, str(name))
    outside = _outside(files, root, allow_absolute=allow_absolute)
    message = "file {!r} lies outside the audio root; expected a path inside it"
    return problems + _flagged(manifest, outside, "outside_root", message, "file")


def _outside(files: pd.Series, root: Path | None, *, allow_absolute: bool) -> NDArray[np.bool_]:
    """Mark the files that leave the root; only rows that may do so are looked at one by one."""
    # Without a root, a folder that no path can name stands for it: nothing absolute is inside.
    base = "/\0" if root is None else os.path.normpath(root.absolute())
    below = base.rstrip("/") + "/"
    absolute = files.str.startswith("/").to_numpy(dtype=bool)
    climbs = files.str.contains(_PARENT, regex=True).to_numpy(dtype=bool)
    inside = absolute & files.str.startswith(below).to_numpy(dtype=bool) & ~climbs
    suspect = climbs & ~absolute if allow_absolute else (absolute | climbs) & ~inside
    outside = np.zeros(len(files), dtype=bool)
    rows = np.flatnonzero(suspect)
    for row, file in zip(rows.tolist(), files.iloc[rows].tolist(), strict=True):
        path = os.path.normpath(os.path.join(base, file))  # noqa: PTH118 (Path keeps "..")
        outside[row] = path != base and not path.startswith(below)
    return outside


def _time_problems(manifest: pd.DataFrame) -> list[Problem]:
    start = manifest["start"].to_numpy(dtype=np.float64)
    end = manifest["end"].to_numpy(dtype=np.float64)
    bad_start = ~np.isfinite(start) | (start < 0)
    bad_end = np.isinf(end)
    backwards = ~bad_start & ~bad_end & (end <= start)
    message = "start is {}; expected finite seconds from 0 on"
    problems = _flagged(manifest, bad_start, "bad_start", message, "start")
    message = "end is {}; expected finite seconds, or nothing for the end of the file"
    problems += _flagged(manifest, bad_end, "bad_end", message, "end")
    message = "start {} is not before end {}; expected start < end"
    return problems + _flagged(manifest, backwards, "reversed", message, "start", "end")
