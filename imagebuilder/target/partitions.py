"""Where the partitions of a raw disk lie, from its GUID partition table (UEFI 2.10, chapter 5)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import BuildError

SECTOR = 512
HEADER = struct.Struct("<8s64xQIII")
"""Signature; then first sector of the entries, their number and size, their checksum."""
ENTRY = struct.Struct("<16s16sQQ8s72s")
"""Type, identifier, first and last sector, attributes, name in UTF-16."""
MAX_ENTRIES, MAX_ENTRY = 1024, 4096
"""Number and bytes; tools write 128 of 128 bytes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of a disk."""

    start: int
    size: int


def read_partitions(disk: Path) -> Mapping[str, Place]:
    """Partitions by name; `BuildError` if the disk has no table of sectors of 512 bytes."""
    with disk.open("rb") as stream:
        end = stream.seek(0, 2)
        stream.seek(SECTOR)
        head = stream.read(SECTOR)
        if len(head) < SECTOR or not head.startswith(b"EFI PART"):
            raise BuildError(f"{disk}: no GUID partition table")
        _, first, count, size, _ = HEADER.unpack_from(head)
        damaged = BuildError(f"{disk}: its partition table is damaged")
        if count > MAX_ENTRIES or not ENTRY.size <= size <= MAX_ENTRY:
            raise damaged
        if first * SECTOR + count * size > end:
            raise damaged
        stream.seek(first * SECTOR)
        table = stream.read(count * size)
    entries = [ENTRY.unpack_from(table, at) for at in range(0, len(table), size)]
    used = [entry for entry in entries if any(entry[0])]
    if any(last < start for _, _, start, last, _, _ in used):
        raise damaged
    return {
        name.decode("utf-16-le", "replace").rstrip("\0"): Place(
            start * SECTOR, (last - start + 1) * SECTOR
        )
        for _, _, start, last, _, name in used
    }
