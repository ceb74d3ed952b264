"""What the header of a WAVE or AIFF file promises, against what the file holds.

libsndfile reads a file that was cut short as if it ended there, without a word, and one whose
header says 0 bytes (a recorder that could not go back to fill it in) as having no samples.
Layouts: Microsoft RIFF (1991), EBU Tech 3306 (RF64, BW64), Apple AIFF (1989).
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass

# container, form -> byte order, name of the chunk with the samples
_FORMS = {
    (b"RIFF", b"WAVE"): ("<", b"data"),
    (b"RIFX", b"WAVE"): (">", b"data"),
    (b"RF64", b"WAVE"): ("<", b"data"),
    (b"BW64", b"WAVE"): ("<", b"data"),
    (b"FORM", b"AIFF"): (">", b"SSND"),
    (b"FORM", b"AIFC"): (">", b"SSND"),
}
_MAX_CHUNKS = 1000
_UNKNOWN = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The chunk that holds the samples.

    Parameters
    ----------
    size_at : bytes from the file's start to the chunk's size field, -1 when the file ends before it
    n_promised : bytes, -1 when the header leaves it open
    n_held : bytes that the file has from the chunk's first to its own last one
    is_zero_open : the size field says 0, and that is meant as "open"
    """

    size_at: int
    n_promised: int
    n_held: int
    is_zero_open: bool

    @property
    def is_cut(self) -> bool:
        """Whether the file ends before the first sample's chunk."""
        return self.size_at < 0

    @property
    def n_missing(self) -> int:
        """Bytes promised and not there."""
        return max(0, self.n_promised - self.n_held)


def promised_bytes(descriptor: int) -> Promise | None:
    """Find the chunk of samples; None for a file that is neither WAVE nor AIFF.

    Parameters
    ----------
    descriptor : of a file open for reading; its position is left alone
    """
    head = os.pread(descriptor, 12, 0)
    order, wanted = _FORMS.get((head[:4], head[8:12]), ("", b""))
    if not order:
        return None
    file_size, at, wide_size = os.fstat(descriptor).st_size, 12, -1
    for _ in range(_MAX_CHUNKS):
        header = os.pread(descriptor, 8, at)
        if len(header) < 8:
            break
        name, size = struct.unpack(f"{order}4sI", header)
        if name == wanted:
            outer = struct.unpack(f"{order}I", head[4:8])[0]
            is_zero_open = size == 0 and (_is_open(outer) or outer in (0, at)) and name == b"data"
            if size == _UNKNOWN and wide_size >= 0:
                size = wide_size
            elif _is_open(size) or is_zero_open:
                size = -1
            return Promise(
                size_at=at + 4,
                n_promised=size,
                n_held=file_size - at - 8,
                is_zero_open=is_zero_open and file_size > at + 8,
            )
        if name == b"ds64":
            sizes = os.pread(descriptor, 16, at + 8)
            wide_size = struct.unpack("<Q", sizes[8:16])[0] if len(sizes) == 16 else -1
        at += 8 + size + size % 2
    return Promise(size_at=-1, n_promised=-1, n_held=0, is_zero_open=False)


def _is_open(size: int) -> bool:
    """Whether a size is one that programs write into a pipe, where they cannot know it."""
    return size >= 0xFFFF0000 or 0x7FFF0000 <= size <= 0x80000000


class OpenEnded(io.RawIOBase):
    """A file read as if its chunk of samples said "size unknown" instead of 0."""

    def __init__(self, descriptor: int, size_at: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._size_at = size_at
        self._at = 0

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Fill ``buffer`` from the current position."""
        data = bytearray(os.pread(self._descriptor, len(buffer), self._at))
        for place in range(4):
            inside = self._size_at + place - self._at
            if 0 <= inside < len(data):
                data[inside] = 0xFF
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte of the file."""
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size()}
        self._at = bases[whence] + offset
        return self._at

    def tell(self) -> int:
        """Byte of the file that is read next."""
        return self._at

    def _size(self) -> int:
        return os.fstat(self._descriptor).st_size
