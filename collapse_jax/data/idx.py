"""idx files, the format of MNIST and its kin: a magic number, the sizes of the axes, then the bytes (LeCun et al.)."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

__all__ = ()

_UNSIGNED_BYTE = 8


def read_idx(path: Path, ndim: int) -> UInt8[np.ndarray, "..."]:
    """Return the array of an idx file of unsigned bytes with `ndim` axes, none of them empty; .gz is unpacked.

    Raises ValueError with the file, the byte offset and what was found there: damaged gzip data, another magic
    number, an empty axis, or another number of bytes than the axes need. Offsets are those of the unpacked bytes.
    """
    data = _unpacked(path)
    magic = bytes([0, 0, _UNSIGNED_BYTE, ndim])
    if data[:4] != magic:
        raise ValueError(
            f"{path}: the magic number at byte 0 is 0x{data[:4].hex()}; it must be 0x{magic.hex()}, unsigned bytes on "
            f"{ndim} axes"
        )
    if len(data) < 4 + 4 * ndim:
        raise ValueError(f"{path}: the file ends at byte {len(data)}, within the header of {4 + 4 * ndim} bytes")
    shape = struct.unpack(f">{ndim}I", data[4 : 4 + 4 * ndim])
    if not all(shape):
        axis = shape.index(0)
        raise ValueError(f"{path}: axis {axis} of the shape {shape} is empty, at byte {4 + 4 * axis}")
    expected = 4 + 4 * ndim + math.prod(shape)
    if len(data) != expected:
        raise ValueError(f"{path}: the file ends at byte {len(data)}; the shape {shape} at byte 4 needs {expected}")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if not data:
        raise ValueError(f"{path}: the file is empty")
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip data in its {len(data)} bytes: {error}") from None
