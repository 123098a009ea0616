"""Golden tensors: the safetensors format, read strictly, without numpy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.bundle.errors import BundleError, no_doubled_keys
from imagebuilder.bundle.format import Description, Tensor, TensorsCheck

MAX_HEADER = 1 << 20
SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8,
    "F16": 2, "F32": 4, "F64": 8,
}  # fmt: skip
"""Bytes of an element by the header's datatype."""

DTYPES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32",
    "int32": "I32", "uint64": "U64", "int64": "I64", "float16": "F16", "float32": "F32",
    "float64": "F64",
}  # fmt: skip
"""numpy's name → the header's."""

TEXT = "string"
"""Stored as the bytes of its elements, each after its length in 4 bytes, little endian."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of the header; `begin` and `end` count in bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors of a safetensors file; `BundleError` golden-malformed if it breaks a rule."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        length = int.from_bytes(head, "little")
        if len(head) < 8 or length > MAX_HEADER or length > size - 8:
            raise malformed("the header has no room")
        raw = stream.read(length)
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=no_doubled_keys)
    except (ValueError, RecursionError) as error:
        raise malformed("the header is not JSON") from error
    if not isinstance(header, dict):
        raise malformed("the header is no object")
    entries = {n: _entry(n, value) for n, value in header.items() if n != "__metadata__"}
    _check_coverage(entries, size - 8 - length)
    return entries


def _entry(name: str, value: Any) -> Entry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise malformed(f"{name} has not dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if dtype not in SIZES:
        raise malformed(f"{name} has an unknown dtype")
    if not _naturals(shape) or len(shape) > 8 or any(n > 0x7FFFFFFF for n in shape):
        raise malformed("a shape is no list of sizes")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise malformed("data_offsets are not two positions")
    if offsets[1] - offsets[0] != math.prod(shape) * SIZES[dtype]:
        raise malformed(f"{name} has other bytes than its shape needs")
    return Entry(dtype, tuple(shape), offsets[0], offsets[1])


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_coverage(entries: Mapping[str, Entry], size: int) -> None:
    at = 0
    for entry in sorted(entries.values(), key=lambda e: (e.begin, e.end)):
        if entry.begin != at:
            raise malformed("tensors overlap or leave a hole")
        at = entry.end
    if at != size:
        raise malformed("the data do not end where the file ends")


def check_golden(path: Path, description: Description, check: TensorsCheck) -> None:
    """`BundleError` unless a golden file is well formed and holds what `bundle.json` says."""
    entries = read_header(path)
    tensors = [("input", spec) for spec in description.inputs]
    tensors += [("output", spec) for spec in description.outputs]
    if len(entries) != check.samples * len(tensors):
        raise mismatch(f"{path.name}: it has {len(entries)} tensors, not those of "
                       f"{check.samples} samples")  # fmt: skip
    for number in range(check.samples):
        shapes = {}
        for kind, spec in tensors:
            key = f"{number:03}.{kind}.{spec.name}"
            entry = entries.get(key)
            if entry is None:
                raise mismatch(f"{path.name}: there is no {key}")
            shape = _shape(path, entry, spec)
            if shape is None or not shape_fits(shape, spec):
                raise mismatch(f"{path.name}: {key} has another dtype or shape than bundle.json")
            shapes[kind, spec.name] = shape
        free = [spec.name for spec in description.inputs if spec.has_batch]
        if len({shapes["input", name][0] for name in free}) > 1:
            raise mismatch(f"{path.name}: the inputs of sample {number:03} differ in their batch")


def _shape(path: Path, entry: Entry, spec: Tensor) -> tuple[int, ...] | None:
    """The tensor's shape; none if its dtype is another, or if it is no well formed text."""
    if spec.dtype != TEXT:
        return entry.shape if entry.dtype == DTYPES[spec.dtype] else None
    count = _count_texts(path, entry)
    if count is None or not spec.has_batch:
        return spec.shape if count == math.prod(spec.shape) else None
    row = math.prod(spec.shape[1:])
    return None if row == 0 or count % row else (count // row, *spec.shape[1:])


def _count_texts(path: Path, entry: Entry) -> int | None:
    if entry.dtype != "U8" or len(entry.shape) != 1:
        return None
    with path.open("rb") as stream:
        stream.seek(8 + int.from_bytes(stream.read(8), "little") + entry.begin)
        raw = stream.read(entry.end - entry.begin)
    count, at = 0, 0
    while at + 4 <= len(raw):
        at += 4 + int.from_bytes(raw[at : at + 4], "little")
        count += 1
    return count if at == len(raw) else None


def shape_fits(shape: tuple[int, ...], spec: Tensor) -> bool:
    """Whether a concrete shape is one that a specification allows."""
    if not spec.has_batch:
        return shape == spec.shape
    return len(shape) == len(spec.shape) and shape[0] >= 1 and shape[1:] == spec.shape[1:]


def malformed(what: str) -> BundleError:
    """The file breaks a rule of its format."""
    return BundleError("golden-malformed", what)


def mismatch(what: str) -> BundleError:
    """The file does not hold what `bundle.json` says."""
    return BundleError("golden-mismatch", what)
