"""Export to NPZ: NumPy arrays in a zip archive, without pickles, written as they are read.

Texts are arrays of fixed width: four bytes a character of the longest one in a column, for every
utterance. A million utterances whose longest file name has 60 characters cost 240 MB in the memory of
whoever reads that array; on the disk the filling is deflated away. Features are stored as they are:
deflating them would save an eighth, and take most of the time.
"""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import NDArray

from stages.sharing.content import Content
from stages.sharing.format import ExportError, Format

FILE = "features.npz"
BLOCK_BYTES = 2**24
"""Texts that are an array at once, before they are written."""


def write(content: Content, folder: Path) -> None:
    """Write `FILE`: arrays of the names that an export to HDF5 has, its attributes of no dimension.

    Raises
    ------
    ExportError
        A text ends in a NUL character.
    """
    rows = content.manifest
    texts = {name: rows[name] for name in rows if name not in ("start", "end")}
    for name, column in texts.items():
        _refuse_nul(name, column)
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        times = _write_features(archive, content)
        offsets = np.concatenate([[0], np.cumsum(content.n_rows)])
        seconds = {name: rows[name].to_numpy(np.float64) for name in ("start", "end")}
        for name, numbers in {"offsets": offsets, **times, **seconds}.items():
            _write_array(archive, name, numbers.dtype, numbers.shape, [numbers])
        for name, column in {**texts, "key": pd.Series(content.keys)}.items():
            _write_texts(archive, name, column)
        _write_texts(archive, "feature_names", pd.Series(content.feature_names))
        for name, text in content.origin().items():
            _write_texts(archive, name, pd.Series([text]), is_one=True)


def _refuse_nul(name: str, column: pd.Series) -> None:
    bad = column[column.str.endswith("\0")]
    if len(bad):
        message = (
            f"{name} {bad.iloc[0]!r} ends in a NUL character, which NumPy's arrays of text lose; "
            "expected names without; mend the manifest, or export with --anonymise"
        )
        raise ExportError(message)


def _write_features(archive: zipfile.ZipFile, content: Content) -> dict[str, NDArray[np.float64]]:
    """Write the features as they are read; return the times, which wait for their turn."""
    total = int(content.n_rows.sum())
    times = {name: np.empty(total) for name in ("segment_start", "segment_end")}

    def pieces() -> Iterator[NDArray[np.floating]]:
        first = 0
        for features, start, end in content.stacks():
            last = first + len(features)
            times["segment_start"][first:last] = start
            times["segment_end"][first:last] = end
            first = last
            yield features

    shape = (total, content.feature_dim)
    _write_array(archive, "features", content.dtype, shape, pieces())
    return times


def _write_texts(
    archive: zipfile.ZipFile, name: str, column: pd.Series, *, is_one: bool = False
) -> None:
    width = max(1, int(column.str.len().max()))
    step = max(1, BLOCK_BYTES // (4 * width))
    kind = np.dtype(f"<U{width}")
    pieces = (
        np.array(column.iloc[first : first + step].tolist(), kind)
        for first in range(0, len(column), step)
    )
    shape = () if is_one else (len(column),)
    _write_array(archive, name, kind, shape, pieces, compression=zipfile.ZIP_DEFLATED)


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    kind: np.dtype[np.generic],
    shape: tuple[int, ...],
    pieces: Iterable[NDArray[np.generic]],
    compression: int = zipfile.ZIP_STORED,
) -> None:
    kind = kind.newbyteorder("<")
    header = {"descr": dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    member = zipfile.ZipInfo(f"{name}.npy")  # of 1980: the same data, the same bytes
    member.compress_type = compression
    with archive.open(member, "w", force_zip64=True) as file:
        write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(piece.astype(kind, copy=False).tobytes())


FORMAT = Format(
    name="npz",
    files="features.npz holds arrays; rows offsets[i] to offsets[i + 1] are utterance i.",
    snippet="""\
import numpy as np

with np.load("features.npz") as file:
    emotions = file["emotion"]
    features = file["features"][: file["offsets"][1]]
""",
    write=write,
)
