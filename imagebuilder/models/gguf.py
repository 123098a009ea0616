"""Reads the head of a GGUF file, strictly and without loading its weights.

The format: docs/gguf.md of ggml. A file is hostile until it has been read: every count and offset
is checked against what is left of the file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imagebuilder.errors import UserError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER = 256 << 20
MAX_ITEMS = 1 << 22
"""Most entries of an array."""
MAX_ENTRIES = 1 << 16
"""Most keys, and most tensors."""
MAX_WALKED = 1 << 21
"""Most items, in all arrays, that are not skipped at once: texts, and short arrays."""
MAX_DEPTH = 4
KEPT_ITEMS = 1024
"""Longer arrays, such as vocabularies, are walked through and only counted."""

BLOCKS = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4),
    27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}  # fmt: skip
"""ggml_type → name, elements of a block, bytes of a block (ggml.h and ggml-common.h)."""

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q",
           11: "<q", 12: "<d"}  # fmt: skip
STRING, ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Many:
    """An array too long to keep: how many items it has."""

    count: int


Value = int | float | bool | str | Many | tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor: its type's name, elements, and bytes."""

    name: str
    kind: str
    elements: int
    size: int


@dataclass(frozen=True, slots=True)
class GgufHead:
    """All of a file but the weights."""

    values: Mapping[str, Value]
    tensors: tuple[GgufTensor, ...]
    file_bytes: int


def read_gguf(path: Path) -> GgufHead:
    """Read and check a file's head; `UserError` if it breaks a rule of the format."""
    try:
        with path.open("rb") as stream:
            return _Reader(stream, path.stat().st_size).head()
    except _Malformed as error:
        hint = "fetch the file again, or convert the model again"
        raise UserError(f"{path.name}: not a valid GGUF file: {error}", hint=hint) from error


class _Malformed(Exception):
    """What is wrong, in words."""


class _Reader:
    """Walks through a file that may lie about everything."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._at = 0
        self._walked = 0

    def head(self) -> GgufHead:
        if self._bytes(4) != MAGIC:
            raise _Malformed("it does not begin with GGUF")
        version = self._number("<I")
        if version not in VERSIONS:
            raise _Malformed(f"version {version} is not one of 2 and 3")
        tensors = self._count("tensors", MAX_ENTRIES)
        keys = self._count("keys", MAX_ENTRIES)
        values: dict[str, Value] = {}
        for _ in range(keys):
            name = self._text()
            if name in values:
                raise _Malformed(f"the key {name!r} is doubled")
            values[name] = self._value(self._number("<I"), 0)
        found = [self._tensor() for _ in range(tensors)]
        self._check_places(found, values)
        return GgufHead(values, tuple(tensor for tensor, _ in found), self._size)

    def _check_places(
        self, tensors: list[tuple[GgufTensor, int]], values: Mapping[str, Value]
    ) -> None:
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise _Malformed(f"the alignment {alignment!r} is no power of two")
        if len({tensor.name for tensor, _ in tensors}) != len(tensors):
            raise _Malformed("two tensors have one name")
        start, end = -(-self._at // alignment) * alignment, 0
        for tensor, offset in sorted(tensors, key=lambda item: item[1]):
            if offset % alignment or offset < end:
                raise _Malformed(f"the tensor {tensor.name!r} lies across another one")
            end = offset + tensor.size
        if start + end > self._size:
            raise _Malformed(f"it is truncated: {start + end} bytes are needed, it has "
                             f"{self._size}")  # fmt: skip

    def _tensor(self) -> tuple[GgufTensor, int]:
        name = self._text()
        count = self._number("<I")
        if not 1 <= count <= 4:
            raise _Malformed(f"the tensor {name!r} has {count} dimensions")
        shape = [self._number("<Q") for _ in range(count)]
        kind = self._number("<I")
        offset = self._number("<Q")
        if kind not in BLOCKS:
            raise _Malformed(f"the tensor {name!r} is of the unknown type {kind}")
        label, items, size = BLOCKS[kind]
        if not all(shape) or shape[0] % items:
            raise _Malformed(
                f"the tensor {name!r} has the shape {shape}, which {label} cannot have"
            )
        elements = math.prod(shape)
        return GgufTensor(name, label, elements, elements // items * size), offset

    def _value(self, kind: int, depth: int) -> Value:
        if kind in SCALARS:
            value: int | float | bool = self._unpack(SCALARS[kind])
            return value
        if kind == STRING:
            return self._text()
        if kind != ARRAY or depth >= MAX_DEPTH:
            raise _Malformed(f"a value is of the unknown type {kind}, or nested too deep")
        inner, count = self._number("<I"), self._count("items", MAX_ITEMS)
        if count > KEPT_ITEMS and inner in SCALARS:
            self._bytes(count * struct.calcsize(SCALARS[inner]))
            return Many(count)
        self._walked += count
        if self._walked > MAX_WALKED:
            raise _Malformed(f"its arrays have more than {MAX_WALKED} items")
        if count <= KEPT_ITEMS:
            return tuple(self._value(inner, depth + 1) for _ in range(count))
        for _ in range(count):
            self._value(inner, depth + 1)
        return Many(count)

    def _text(self) -> str:
        try:
            return self._bytes(self._number("<Q")).decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Malformed("a text is not UTF-8") from error

    def _count(self, what: str, most: int) -> int:
        count = self._number("<Q")
        if count > most or count > self._size - self._at:
            raise _Malformed(f"it says that it has {count} {what}, more than there is room for")
        return count

    def _number(self, form: str) -> int:
        number: int = self._unpack(form)
        return number

    def _unpack(self, form: str) -> int:
        number: int
        (number,) = struct.unpack(form, self._bytes(struct.calcsize(form)))
        return number

    def _bytes(self, count: int) -> bytes:
        if count > self._size - self._at:
            raise _Malformed(f"it is truncated at byte {self._size}")
        self._at += count
        if self._at > MAX_HEADER:
            raise _Malformed(f"its head has more than {MAX_HEADER >> 20} MiB")
        data = self._stream.read(count)
        if len(data) != count:
            raise _Malformed(f"it is truncated at byte {self._size}")
        return data
