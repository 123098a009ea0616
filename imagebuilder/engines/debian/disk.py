"""File systems and the GPT disk, made without root and the same every time."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imagebuilder import device
from imagebuilder.engines.debian.tree import Tree
from imagebuilder.hosttools import Toolbox
from imagebuilder.run import run

MIB = 1 << 20
BLOCK = 4096
EPOCH = {"SOURCE_DATE_EPOCH": "0", "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}

EXT4 = ("-m", "0", "-I", "256", "-O", "has_journal,extent,filetype,metadata_csum")
"""Damage to its metadata is seen, and inodes have times beyond 2038."""

# Discoverable Partitions Specification; the type of a root depends on the architecture.
TYPE_ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
TYPE_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
TYPE_ROOT = {
    "aarch64": "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
    "x86_64": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
    "riscv64": "72EC70A6-CF74-40E6-BD49-4BDA08E8F224",
    "armv7": "69DAD710-2CE4-4E3C-B16C-21A1D49ABED3",
}


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: GPT name and type, contents, size in bytes or None for that of the contents."""

    name: str
    type: str
    contents: Path
    size: int | None = None


def identity(*parts: str) -> str:
    """A UUID that depends on the parts only."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def make_erofs(tools: Toolbox, tree: Tree, output: Path, *, compress: bool) -> None:
    """Write a tree as a read-only EROFS."""
    tar = output.with_suffix(".tar")
    tree.write_tar(tar)
    options = ["-zlz4hc", "-C65536"] if compress else []
    fixed = ["-T0", "-U", identity("erofs", output.name), "--quiet"]
    run([*tools.argv("mkfs.erofs"), *options, *fixed, "--tar=f", output, tar], env=EPOCH)
    tar.unlink()


def make_ext4(tools: Toolbox, output: Path, size: int, label: str) -> None:
    """Write an empty ext4 of `size` bytes, with a journal unless it is too small for one.

    See `EXT4`.
    """
    with output.open("wb") as stream:
        stream.truncate(size)
    name = identity("ext4", label)
    options = ["-q", "-F", "-t", "ext4", "-L", label, "-U", name, *EXT4]  # fmt: skip
    fixed = ["-E", f"hash_seed={name},root_owner=0:0,lazy_itable_init=0,nodiscard"]
    configuration = {"MKE2FS_CONFIG": "/dev/null", "E2FSPROGS_FAKE_TIME": "1"}
    run([*tools.argv("mke2fs"), *options, *fixed, output], env={**EPOCH, **configuration})


def make_esp(tools: Toolbox, kernel: Path, name: str, output: Path) -> None:
    """Write a FAT with the kernel as EFI/BOOT/`name`, as large as it needs."""
    size = (kernel.stat().st_size + 2 * MIB) // MIB * MIB
    with output.open("wb") as stream:
        stream.truncate(size)
    label = ["-n", "ESP", "-i", "20260101", "--invariant"]
    run([*tools.argv("mkfs.vfat"), *label, output], env=EPOCH)
    run([*tools.argv("mmd"), "-i", output, "::/EFI", "::/EFI/BOOT"], env=EPOCH)
    os.utime(kernel, (315532800, 315532800))  # 1980, the first time that FAT knows
    target = f"::/EFI/BOOT/{name}"
    run([*tools.argv("mcopy"), "-m", "-i", output, kernel, target], env=EPOCH)


def layout(partitions: Sequence[Partition]) -> list[tuple[int, int]]:
    """Start and size in bytes of each partition, aligned to 1 MiB."""
    places, start = [], MIB
    for partition in partitions:
        size = -(-(partition.size or partition.contents.stat().st_size) // MIB) * MIB
        places.append((start, size))
        start += size
    return places


def disk_size(partitions: Sequence[Partition]) -> int:
    """Bytes of a disk with these partitions and its two tables."""
    start, size = layout(partitions)[-1]
    return start + size + MIB


def make_disk(tools: Toolbox, partitions: Sequence[Partition], seed: str, output: Path) -> None:
    """Write a GPT disk; `seed` decides its identifiers."""
    places = layout(partitions)
    with output.open("wb") as stream:
        stream.truncate(disk_size(partitions))
    run([*tools.argv("sfdisk"), "--quiet", "--no-reread", "--no-tell-kernel", output],
        stdin=sfdisk_script(partitions, places, seed).encode(), env=EPOCH)  # fmt: skip
    with output.open("r+b") as stream:
        for partition, (start, _) in zip(partitions, places, strict=True):
            stream.seek(start)
            _copy_sparse(partition.contents, stream.fileno())


def sfdisk_script(
    partitions: Sequence[Partition], places: Sequence[tuple[int, int]], seed: str
) -> str:
    """The table in sfdisk's script format."""
    lines = ["label: gpt", f"label-id: {identity(seed, 'disk')}", "unit: sectors"]
    for partition, (start, size) in zip(partitions, places, strict=True):
        lines.append(
            f"start={start // 512}, size={size // 512}, type={partition.type}, "
            f'uuid={identity(seed, partition.name)}, name="{partition.name}"'
        )
    return "\n".join(lines) + "\n"


def _copy_sparse(source: Path, target: int) -> None:
    with source.open("rb") as stream:
        while chunk := stream.read(MIB):
            if chunk.count(0) == len(chunk):
                os.lseek(target, len(chunk), os.SEEK_CUR)
            else:
                os.write(target, chunk)


def bmap(image: Path, partitions: Sequence[Partition]) -> str:
    """A block map of an image (bmap-tools, format 2.0): which blocks a flasher must write.

    All contents and both tables, zeros too: what a file system expects to be zero has to be.
    """
    size = image.stat().st_size
    used = [(0, BLOCK * 5)]  # the table: 34 sectors
    for partition, (start, _) in zip(partitions, layout(partitions), strict=True):
        used.append((start, start + partition.contents.stat().st_size))
    used.append((size - BLOCK * 5, size))
    with image.open("rb") as stream:
        ranges = [_range(stream, *blocks) for blocks in block_ranges(used)]
    return _bmap_text(size, ranges)


def block_ranges(used: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending byte ranges (start, end) as ranges of blocks (first, last), joined."""
    found: list[tuple[int, int]] = []
    for start, end in used:
        first, last = start // BLOCK, -(-end // BLOCK) - 1
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _range(stream: BinaryIO, first: int, last: int) -> tuple[int, int, str]:
    digest = hashlib.sha256()
    stream.seek(first * BLOCK)
    for _ in range(first, last + 1):
        digest.update(stream.read(BLOCK))
    return first, last, digest.hexdigest()


def _bmap_text(size: int, ranges: Sequence[tuple[int, int, str]]) -> str:
    mapped = sum(end - start + 1 for start, end, _ in ranges)
    rows = "".join(
        f'        <Range chksum="{digest}"> {start}{f"-{end}" if end > start else ""} </Range>\n'
        for start, end, digest in ranges
    )
    text = (
        '<?xml version="1.0" ?>\n<bmap version="2.0">\n'
        f"    <ImageSize> {size} </ImageSize>\n    <BlockSize> {BLOCK} </BlockSize>\n"
        f"    <BlocksCount> {size // BLOCK} </BlocksCount>\n"
        f"    <MappedBlocksCount> {mapped} </MappedBlocksCount>\n"
        "    <ChecksumType> sha256 </ChecksumType>\n"
        f"    <BmapFileChecksum> {'0' * 64} </BmapFileChecksum>\n"
        f"    <BlockMap>\n{rows}    </BlockMap>\n</bmap>\n"
    )
    # The checksum is taken over the file with zeros in its place.
    return text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest(), 1)


def disk_partitions(parts: dict[str, Path], arch: str, sizes: dict[str, int | None]
                    ) -> list[Partition]:  # fmt: skip
    """The partitions of the device contract, those that there are."""
    types = {device.ESP: TYPE_ESP, device.ROOT: TYPE_ROOT[arch]}
    order = (device.ESP, device.ROOT, device.MODELS, device.DATA)
    return [
        Partition(name, types.get(name, TYPE_LINUX), parts[name], sizes.get(name))
        for name in order
        if name in parts
    ]
