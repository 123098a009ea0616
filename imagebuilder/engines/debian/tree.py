"""A file tree in memory, written as tar or cpio with nothing of this host in it."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.run import run


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder (`S_IFDIR`) or symbolic link (`S_IFLNK`, target in `data`)."""

    mode: int
    data: bytes = b""
    uid: int = 0
    gid: int = 0


@dataclass(slots=True)
class Tree:
    """Entries by path without a leading slash; parents exist by themselves."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def file(self, path: str, data: bytes | str, mode: int = 0o644) -> None:
        """Add a regular file."""
        raw = data.encode() if isinstance(data, str) else data
        self._add(path, Entry(stat.S_IFREG | mode, raw))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def folder(self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """Add a folder."""
        self._add(path, Entry(stat.S_IFDIR | mode, b"", uid, gid))

    def _add(self, path: str, entry: Entry) -> None:
        path = path.strip("/")
        parent = path.rpartition("/")[0]
        if parent and parent not in self.entries:
            self.folder(parent)
        self.entries[path] = entry

    def add_package(self, deb: Path, drop: tuple[str, ...] = ()) -> None:
        """Add the files of a Debian package, merged into /usr; no maintainer script runs."""
        archive = run(["dpkg-deb", "--fsys-tarfile", deb]).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                path = merged_usr(member.name.removeprefix("./").strip("/"))
                if path and not any(fnmatch.fnmatchcase(path, pattern) for pattern in drop):
                    self._add_member(tar, member, path)

    def _add_member(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        if member.isdir():
            if path not in self.entries:
                self._add(path, Entry(stat.S_IFDIR | member.mode & 0o7777, b"",
                                      member.uid, member.gid))  # fmt: skip
        elif member.issym():
            self.link(path, member.linkname)
        elif member.islnk():
            self._add(path, self.entries[merged_usr(member.linkname.removeprefix("./"))])
        elif member.isreg():
            stream = tar.extractfile(member)
            assert stream is not None
            mode = stat.S_IFREG | member.mode & 0o7777
            self._add(path, Entry(mode, stream.read(), member.uid, member.gid))

    def sorted(self) -> Iterator[tuple[str, Entry]]:
        """Entries in an order in which parents come first."""
        yield from sorted(self.entries.items())

    def size(self) -> int:
        """Bytes of all files."""
        return sum(len(entry.data) for entry in self.entries.values())

    def digests(self) -> str:
        """A line for each regular file, as sha256sum writes it."""
        return "".join(
            f"{hashlib.sha256(entry.data).hexdigest()}  {path}\n"
            for path, entry in self.sorted()
            if stat.S_ISREG(entry.mode)
        )

    def write_tar(self, path: Path) -> None:
        """Write a tar with modification times of 0."""
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, entry in self.sorted():
                info = tarfile.TarInfo(name)
                info.mode = stat.S_IMODE(entry.mode)
                info.uid, info.gid = entry.uid, entry.gid
                if stat.S_ISDIR(entry.mode):
                    info.type = tarfile.DIRTYPE
                    tar.addfile(info)
                elif stat.S_ISLNK(entry.mode):
                    info.type, info.linkname = tarfile.SYMTYPE, entry.data.decode()
                    tar.addfile(info)
                else:
                    info.size = len(entry.data)
                    tar.addfile(info, io.BytesIO(entry.data))

    def cpio(self) -> bytes:
        """The tree as a cpio archive in the form `newc` (kernel: Documentation/driver-api/early-
        userspace/buffer-format.rst), as initramfs."""
        parts = [
            _cpio_entry(number, name, entry)
            for number, (name, entry) in enumerate(self.sorted(), start=1)
        ]
        return b"".join([*parts, _cpio_entry(0, "TRAILER!!!", Entry(0))])


def merged_usr(path: str) -> str:
    """`lib/x` as `usr/lib/x`, as in every Debian since bookworm."""
    top = path.partition("/")[0]
    return f"usr/{path}" if top in ("bin", "sbin", "lib", "lib64", "lib32") else path


def _cpio_entry(number: int, name: str, entry: Entry) -> bytes:
    raw = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, entry.uid, entry.gid, links, 0, len(entry.data),
              0, 0, 0, 0, len(raw), 0)  # fmt: skip
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + raw
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
