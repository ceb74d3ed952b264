"""Float32 arrays in an ``.npz`` file whose reader trusts nothing.

The caller says which arrays there must be and their shapes. Zip directory and array headers are
held against that before anything is allocated; nothing is unpickled.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DTYPE = np.dtype("<f4")
MAX_HEADER_BYTES = 4096
"""More than any header of a plain float32 array; the zip's own entries are counted by it, too."""


class ArrayFileError(ValueError):
    """A file that does not hold just the arrays that were expected."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as float32 and flush them to disk; the same arrays give the same bytes."""
    with path.open("xb") as file:
        members: dict[str, Any] = {
            name: np.ascontiguousarray(value, DTYPE) for name, value in arrays.items()
        }
        np.savez(file, **members)  # floats are never pickled
        file.flush()
        os.fsync(file.fileno())


def read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read an ``.npz`` file.

    Parameters
    ----------
    path : the file
    shapes : name -> shape of every array that it must hold; no other is allowed

    Returns
    -------
    name -> float32 array, finite, in the order of `shapes`

    Raises
    ------
    ArrayFileError
        Not a zip file, other members, another dtype, order or shape, wrong checksums, not finite.
    OSError
        The file is missing or cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path.name, shapes)
            return {
                name: _read_member(archive, path.name, name, shape)
                for name, shape in shapes.items()
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ArrayFileError(f"{path.name} is not a whole .npz file ({error})") from error


def _check_members(
    archive: zipfile.ZipFile, file_name: str, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    found = [member.filename for member in archive.infolist()]
    expected = [f"{name}.npy" for name in shapes]
    if sorted(found) != sorted(expected):
        wrong = sorted({*found} ^ {*expected}) or ["a name twice"]
        raise ArrayFileError(
            f"{file_name} has missing or unknown members: {', '.join(map(repr, wrong[:5]))}; "
            f"expected {len(expected)} arrays as the settings imply"
        )
    for member in archive.infolist():
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArrayFileError(f"{file_name}: {member.filename} is compressed in a foreign way")
        most = _n_bytes(shapes[member.filename.removesuffix(".npy")]) + MAX_HEADER_BYTES
        if member.file_size > most:
            raise ArrayFileError(
                f"{file_name}: {member.filename} unpacks to {member.file_size} bytes; "
                f"expected at most {most}"
            )


def _n_bytes(shape: tuple[int, ...]) -> int:
    size = DTYPE.itemsize
    for side in shape:
        size *= side
    return size


def _read_member(
    archive: zipfile.ZipFile, file_name: str, name: str, shape: tuple[int, ...]
) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        found = _header(file, f"{file_name}: {name}")
        if found != (shape, False, DTYPE):
            raise ArrayFileError(
                f"{file_name}: {name} has shape {found[0]} and type {found[2]}"
                f"{' in Fortran order' if found[1] else ''}; expected {shape} and {DTYPE}"
            )
        data = file.read(_n_bytes(shape))
        # Reading to the end makes zipfile check the checksum.
        if len(data) != _n_bytes(shape) or file.read(1):
            raise ArrayFileError(f"{file_name}: {name} is shorter or longer than its header says")
    values = np.frombuffer(data, DTYPE).reshape(shape).astype(np.float32)
    if not np.isfinite(values).all():
        raise ArrayFileError(f"{file_name}: {name} holds values that are not finite")
    return values


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ArrayFileError(f"{where} is of .npy version {version}; expected (1, 0)")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(
            file, max_header_size=MAX_HEADER_BYTES
        )
    except ArrayFileError:
        raise
    except ValueError as error:
        raise ArrayFileError(f"{where} is no array ({str(error).splitlines()[0]})") from error
    # One column and Fortran order is C order, too: NumPy writes False for both.
    return shape, fortran, dtype
