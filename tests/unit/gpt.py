"""A disk with a GUID partition table, for tests."""

import struct
from pathlib import Path

from imagebuilder.target.partitions import ENTRY, SECTOR

KIND = bytes(range(16))


def header(first: int = 2, count: int = 4, size: int = ENTRY.size) -> bytes:
    """UEFI 2.10, table 5-5, as far as it is read."""
    return struct.pack("<8s64xQIII", b"EFI PART", first, count, size, 0)


def entry(name: str, start: int, last: int, kind: bytes = KIND) -> bytes:
    return ENTRY.pack(kind, KIND, start, last, b"", name.encode("utf-16-le"))


def disk(folder: Path, head: bytes, *entries: bytes) -> Path:
    path = folder / "disk.img"
    path.write_bytes(bytes(SECTOR) + head.ljust(SECTOR, b"\0") + b"".join(entries))
    return path
