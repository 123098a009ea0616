"""What a disk holds after a power cut: all that was flushed, and some of what was not.

QEMU logs every write (its driver `blklogwrites`) in the format of Linux's dm-log-writes
(Documentation/admin-guide/device-mapper/log-writes.rst). Killing QEMU alone proves nothing: the
host's page cache keeps what the guest never flushed.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imagebuilder.errors import BuildError

MAGIC = 0x6A736677736872
SECTOR = 512
FLUSH, FUA, DISCARD = 1, 2, 4
SUPER = struct.Struct("<QQQI")
"""Magic, version, number of entries, sector size."""
ENTRY = struct.Struct("<QQQQ")
"""First sector, number of sectors, flags, bytes of extra data; padded to a sector."""


@dataclass(frozen=True, slots=True)
class Write:
    """One logged request; `data` lies at this offset of the log, `size` bytes."""

    sector: int
    size: int
    flags: int
    data: int


def read_log(log: BinaryIO) -> Iterator[Write]:
    """The requests of a log in their order, as far as they were written whole; `BuildError`."""
    end = log.seek(0, 2)
    log.seek(0)
    head = log.read(SUPER.size)
    if len(head) < SUPER.size:
        return
    magic, version, _, sector_size = SUPER.unpack(head)
    if (magic, version, sector_size) != (MAGIC, 1, SECTOR):
        raise BuildError(f"{log.name}: not a log of writes with sectors of {SECTOR} bytes")
    # The number in the head is only renewed at a flush; what follows was not flushed.
    offset = SECTOR
    while offset + SECTOR <= end:
        log.seek(offset)
        sector, count, flags, _ = ENTRY.unpack(log.read(ENTRY.size))
        size = 0 if flags & DISCARD else count * SECTOR
        offset += SECTOR
        if (count == 0 and not flags) or offset + size > end:
            return
        yield Write(sector, count * SECTOR, flags, offset)
        offset += size


def surviving(writes: list[Write], chance: random.Random) -> list[Write]:
    """The writes that reach the disk: all before the last flush, each later one perhaps."""
    flushed = max((at for at, write in enumerate(writes) if write.flags & FLUSH), default=-1)
    return [write for at, write in enumerate(writes)
            if at <= flushed or write.flags & FUA or chance.random() < 0.5]  # fmt: skip


def cut(disk: Path, log: Path, chance: random.Random) -> int:
    """Bring a disk, as it was at power-on, to what a power cut left; gives how many writes it lost.

    Sectors that the guest discarded keep what they held, as a disk may do.
    """
    with log.open("rb") as source, disk.open("r+b") as target:
        writes = list(read_log(source))
        kept = surviving(writes, chance)
        for write in kept:
            if write.flags & DISCARD or not write.size:
                continue
            source.seek(write.data)
            target.seek(write.sector * SECTOR)
            target.write(source.read(write.size))
    return len(writes) - len(kept)
