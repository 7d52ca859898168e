"""Read a struct array from a MAT-file of version 5, such as ILSVRC's meta.mat.

scipy.io.loadmat crashes on some damaged files (a segmentation fault in scipy 1.17), and allocates what a file claims.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

MOST = 2**26
"""Bytes of a decompressed MAT-file at most; ILSVRC's have less than 1 MB."""
HEADER = 128
MATRIX, COMPRESSED, UTF8, UTF16 = 14, 15, 16, 17
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Type number of a data element -> numpy type."""
STRUCT, CHARS, NUMERIC = 2, 4, range(6, 16)


def table(content: bytes, name: str) -> list[dict[str, str | float]]:
    """The rows of the struct array ``name``, as dicts from field to text or number; other fields are left out.

    Raises ValueError for a file that is damaged, of another kind, or without a struct array of this name.
    """
    if content[124:128] != b"\x00\x01IM":
        raise ValueError("no MAT-file of version 5")
    for kind, data in _elements(content[HEADER:]):
        if kind == COMPRESSED:
            data = _unpacked(data)
            kind, data = next(_elements(data), (0, b""))
        if kind != MATRIX:
            continue
        form, found, values = _matrix(data)
        if found == name and form == STRUCT:
            return _rows(values)
    raise ValueError(f"no struct array {name!r} in it")


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, MOST)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise ValueError("it is cut short, or too large")
    return content


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, bytes) of each element: a tag of 8 bytes and its data, padded to 8; or up to 4 bytes in the tag itself."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ValueError("it is cut short")
        kind, size = struct.unpack_from("<II", data, at)
        start = at + 8
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        content = data[start : start + size]
        if len(content) != size or (start == at + 4 and size > 4):
            raise ValueError("it is cut short")
        yield kind, content
        at = start + size if kind == COMPRESSED else start + size + -(start + size) % 8


def _matrix(data: bytes) -> tuple[int, str, Iterator[tuple[int, bytes]]]:
    """(class, name, the elements that follow them) of an array."""
    parts = _elements(data)
    try:
        (_, flags), _, (_, name) = next(parts), next(parts), next(parts)
    except StopIteration:
        raise ValueError("an array in it is cut short") from None
    return (flags[0] if flags else 0), name.decode("latin-1"), parts


def _rows(parts: Iterator[tuple[int, bytes]]) -> list[dict[str, str | float]]:
    (_, width), (_, packed) = next(parts, (0, b"")), next(parts, (0, b""))
    each = int.from_bytes(width[:4], "little")
    if not each or len(packed) % each:
        raise ValueError("its fields have no names")
    fields = [packed[at : at + each].split(b"\0")[0].decode("latin-1") for at in range(0, len(packed), each)]
    values = [_value(data) for kind, data in parts if kind == MATRIX]
    if not fields or len(values) % len(fields):
        raise ValueError("its rows are cut short")
    rows = [values[at : at + len(fields)] for at in range(0, len(values), len(fields))]
    return [{name: value for name, value in zip(fields, row, strict=True) if value is not None} for row in rows]


def _value(data: bytes) -> str | float | None:
    """A text, or a single number; None for other arrays."""
    if not data:
        return None
    form, _, parts = _matrix(data)
    kind, content = next(parts, (0, b""))
    if form == CHARS:
        return content.decode("utf-16-le" if kind in (4, UTF16) else "utf-8")
    if form not in NUMERIC or kind not in NUMBERS or len(content) != np.dtype(NUMBERS[kind]).itemsize:
        return None
    return float(np.frombuffer(content, f"<{NUMBERS[kind]}")[0])
